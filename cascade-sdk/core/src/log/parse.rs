//! From the JSON of one line to a [`RowRecord`], noting every value of the wrong type instead of stopping at the first.

use super::record::{RawJson, ResultRecord, RowRecord};
use crate::money::Usd;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// Something wrong with a row: which key, and what about it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    /// Stable code of the diagnostic.
    pub(super) code: &'static str,
    /// Keys from the row down to the value.
    pub(super) path: Vec<String>,
    /// What is wrong, to follow the path: `is 1.7, outside [0, 1]`.
    pub(super) message: String,
    /// The remedy.
    pub(super) help: Option<&'static str>,
}

impl Fault {
    pub(super) fn new(code: &'static str, key: &str, message: impl Into<String>) -> Self {
        Self { code, path: vec![key.to_owned()], message: message.into(), help: None }
    }

    #[must_use]
    pub(super) fn help(mut self, help: &'static str) -> Self {
        self.help = Some(help);
        self
    }

    /// A value of the wrong type.
    fn mistyped(key: &str, expected: &str, found: &Scalar<'_>) -> Self {
        Self::new("log::type", key, format!("should be {expected} but is {}", found.kind()))
    }
}

/// Reads one line.
///
/// # Errors
/// Of syntax only; everything else is a fault.
pub(super) fn row<'de>(line: &'de str, faults: &mut Vec<Fault>) -> Result<RowRecord<'de>, serde_json::Error> {
    let mut row = RowRecord::default();
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let found = Object { key: "", target: &mut row, faults: &mut *faults }.deserialize(&mut deserializer)?;
    if !found && faults.is_empty() {
        faults.push(Fault { path: Vec::new(), ..Fault::mistyped("", "an object", &Scalar::Null) });
    }
    deserializer.end()?;
    Ok(row)
}

/// JSON whose unpaired surrogate escapes, which stand for no character and which no reader takes, are replaced by U+FFFD at
/// equal length; `None` if it has none. Whoever calls it says so.
///
/// ```
/// # use cascade_sdk_core::log::mend_surrogates;
/// assert_eq!(mend_surrogates(r#"{"input":"\ud83d"}"#).as_deref(), Some(r#"{"input":"\uFFFD"}"#));
/// assert_eq!(mend_surrogates(r#"{"input":"\ud83d\ude00"}"#), None);
/// ```
pub fn mend_surrogates(line: &str) -> Option<String> {
    let bytes = line.as_bytes();
    let mut mended: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\\')) {
        let escape = at + found;
        at = escape + 2;
        let Some(unit) = code_unit(bytes, escape) else { continue };
        at = escape + 6;
        match unit {
            0xD800..=0xDBFF if matches!(code_unit(bytes, at), Some(0xDC00..=0xDFFF)) => at += 6,
            0xD800..=0xDFFF => {
                let out = mended.get_or_insert_with(|| bytes.to_vec());
                if let Some(place) = out.get_mut(escape + 2..escape + 6) {
                    place.copy_from_slice(b"FFFD");
                }
            }
            _ => {}
        }
    }
    mended.and_then(|bytes| String::from_utf8(bytes).ok())
}

/// The code unit of the escape `\uXXXX` at `at`.
fn code_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Any JSON value, with the contents of arrays and objects passed over.
enum Scalar<'de> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(Cow<'de, str>),
    Array,
    Object,
}

impl Scalar<'_> {
    /// What it is, without showing text.
    fn kind(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Unsigned(value) => format!("the number {value}"),
            Self::Signed(value) => format!("the number {value}"),
            Self::Float(value) => format!("the number {value}"),
            Self::Text(_) => "a string".to_owned(),
            Self::Array => "an array".to_owned(),
            Self::Object => "an object".to_owned(),
        }
    }
}

impl<'de> de::Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Unsigned(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Signed(value))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Float(value))
    }
    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(value)))
    }
    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(value.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Array)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Object)
    }
}

/// A key, borrowed from the line unless it has escapes.
struct Key<'de>(Cow<'de, str>);

impl<'de> de::Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Scalar::deserialize(deserializer)? {
            Scalar::Text(text) => Ok(Self(text)),
            _ => Err(de::Error::custom("key must be a string")),
        }
    }
}

/// Something filled from the members of an object.
trait Fill<'de> {
    /// Takes the value of one key.
    fn field<A: MapAccess<'de>>(
        &mut self,
        key: Cow<'de, str>,
        members: &mut A,
        faults: &mut Vec<Fault>,
    ) -> Result<(), A::Error>;
}

/// Reads an object into `target`; null leaves it as it is, anything else is a fault of `key`.
struct Object<'t, T> {
    key: &'t str,
    target: &'t mut T,
    faults: &'t mut Vec<Fault>,
}

impl<'de, T: Fill<'de>> DeserializeSeed<'de> for Object<'_, T> {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<T> Object<'_, T> {
    fn mistyped(self, found: &Scalar<'_>) -> bool {
        let mut fault = Fault::mistyped(self.key, "an object", found);
        // The faults of an object's members get their path from the caller, which also names this one.
        fault.path.clear();
        self.faults.push(fault);
        false
    }
}

impl<'de, T: Fill<'de>> Visitor<'de> for Object<'_, T> {
    /// Whether there was an object.
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<bool, A::Error> {
        while let Some(Key(key)) = members.next_key()? {
            self.target.field(key, &mut members, self.faults)?;
        }
        Ok(true)
    }
    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }
    fn visit_bool<E>(self, value: bool) -> Result<bool, E> {
        Ok(self.mistyped(&Scalar::Bool(value)))
    }
    fn visit_u64<E>(self, value: u64) -> Result<bool, E> {
        Ok(self.mistyped(&Scalar::Unsigned(value)))
    }
    fn visit_i64<E>(self, value: i64) -> Result<bool, E> {
        Ok(self.mistyped(&Scalar::Signed(value)))
    }
    fn visit_f64<E>(self, value: f64) -> Result<bool, E> {
        Ok(self.mistyped(&Scalar::Float(value)))
    }
    fn visit_str<E>(self, value: &str) -> Result<bool, E> {
        Ok(self.mistyped(&Scalar::Text(Cow::Borrowed(value))))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self.mistyped(&Scalar::Array))
    }
}

/// Reads the object of `key` into `target` and puts the key in front of the paths of its faults.
fn object<'de, A: MapAccess<'de>, T: Fill<'de>>(
    key: &str,
    target: &mut T,
    members: &mut A,
    faults: &mut Vec<Fault>,
) -> Result<bool, A::Error> {
    let before = faults.len();
    let found = members.next_value_seed(Object { key, target, faults })?;
    for fault in faults.iter_mut().skip(before) {
        fault.path.insert(0, key.to_owned());
    }
    Ok(found)
}

impl<'de> Fill<'de> for RowRecord<'de> {
    fn field<A: MapAccess<'de>>(
        &mut self,
        key: Cow<'de, str>,
        members: &mut A,
        faults: &mut Vec<Fault>,
    ) -> Result<(), A::Error> {
        match &*key {
            "id" => {
                let id = match members.next_value()? {
                    Scalar::Unsigned(id) => Cow::Owned(id.to_string()),
                    Scalar::Signed(id) => Cow::Owned(id.to_string()),
                    other => text(&key, other, faults).unwrap_or_default(),
                };
                if !self.id.is_empty() {
                    faults.push(repeated(&key));
                }
                self.id = id;
            }
            "input" => set(&mut self.input, text(&key, members.next_value()?, faults), &key, faults),
            "messages" => set(&mut self.messages, raw(members)?, &key, faults),
            "split" => set(&mut self.split, text(&key, members.next_value()?, faults), &key, faults),
            "group" => set(&mut self.group, text(&key, members.next_value()?, faults), &key, faults),
            "weight" => set(&mut self.weight, number(&key, members.next_value()?, faults), &key, faults),
            "sampling_probability" => {
                set(
                    &mut self.sampling_probability,
                    number(&key, members.next_value()?, faults),
                    &key,
                    faults,
                );
            }
            "features" => _ = object(&key, &mut ByName(number, &mut self.features), members, faults)?,
            "tags" => _ = object(&key, &mut ByName(text, &mut self.tags), members, faults)?,
            "embedding" => set(&mut self.embedding, raw(members)?, &key, faults),
            "embedding_model" => {
                set(&mut self.embedding_model, text(&key, members.next_value()?, faults), &key, faults);
            }
            "embedding_cost_usd" => {
                set(&mut self.embedding_cost_usd, money(&key, members.next_value()?, faults), &key, faults);
            }
            "embedding_latency_ms" => {
                set(
                    &mut self.embedding_latency_ms,
                    number(&key, members.next_value()?, faults),
                    &key,
                    faults,
                );
            }
            "session" => set(&mut self.session, text(&key, members.next_value()?, faults), &key, faults),
            "turn" => set(&mut self.turn, count(&key, members.next_value()?, faults), &key, faults),
            "reference" => set(&mut self.reference, raw(members)?, &key, faults),
            "results" => _ = object(&key, &mut self.results, members, faults)?,
            _ => {
                let value = RawJson::from_raw(members.next_value()?);
                self.unknown.insert(key, value);
            }
        }
        Ok(())
    }
}

impl<'de> Fill<'de> for BTreeMap<Cow<'de, str>, ResultRecord<'de>> {
    fn field<A: MapAccess<'de>>(
        &mut self,
        key: Cow<'de, str>,
        members: &mut A,
        faults: &mut Vec<Fault>,
    ) -> Result<(), A::Error> {
        let mut result = ResultRecord::default();
        // A tier that is null was not collected, like one that is absent.
        if object(&key, &mut result, members, faults)? {
            if self.contains_key(&key) {
                faults.push(repeated(&key));
            }
            self.insert(key, result);
        }
        Ok(())
    }
}

impl<'de> Fill<'de> for ResultRecord<'de> {
    fn field<A: MapAccess<'de>>(
        &mut self,
        key: Cow<'de, str>,
        members: &mut A,
        faults: &mut Vec<Fault>,
    ) -> Result<(), A::Error> {
        match &*key {
            "quality" => set(&mut self.quality, number(&key, members.next_value()?, faults), &key, faults),
            "cost_usd" => set(&mut self.cost_usd, money(&key, members.next_value()?, faults), &key, faults),
            "input_tokens" => {
                set(&mut self.input_tokens, count(&key, members.next_value()?, faults), &key, faults);
            }
            "cached_input_tokens" => {
                set(&mut self.cached_input_tokens, count(&key, members.next_value()?, faults), &key, faults);
            }
            "cache_write_tokens" => {
                set(&mut self.cache_write_tokens, count(&key, members.next_value()?, faults), &key, faults);
            }
            "output_tokens" => {
                set(&mut self.output_tokens, count(&key, members.next_value()?, faults), &key, faults);
            }
            "reasoning_tokens" => {
                set(&mut self.reasoning_tokens, count(&key, members.next_value()?, faults), &key, faults);
            }
            "latency_ms" => {
                set(&mut self.latency_ms, number(&key, members.next_value()?, faults), &key, faults);
            }
            "signals" => _ = object(&key, &mut ByName(number, &mut self.signals), members, faults)?,
            "signal_cost_usd" => {
                _ = object(&key, &mut ByName(money, &mut self.signal_cost_usd), members, faults)?;
            }
            "output" => set(&mut self.output, text(&key, members.next_value()?, faults), &key, faults),
            "token_logprobs" => set(&mut self.token_logprobs, raw(members)?, &key, faults),
            "graded_by" => set(&mut self.graded_by, text(&key, members.next_value()?, faults), &key, faults),
            "served_model" => {
                set(&mut self.served_model, text(&key, members.next_value()?, faults), &key, faults);
            }
            "finish" => set(&mut self.finish, text(&key, members.next_value()?, faults), &key, faults),
            "request_hash" => {
                set(&mut self.request_hash, text(&key, members.next_value()?, faults), &key, faults);
            }
            "error" => set(&mut self.error, text(&key, members.next_value()?, faults), &key, faults),
            _ => {
                let value = RawJson::from_raw(members.next_value()?);
                self.unknown.insert(key, value);
            }
        }
        Ok(())
    }
}

/// A map whose values are all read by one function.
struct ByName<'m, 'de, V>(
    fn(&str, Scalar<'de>, &mut Vec<Fault>) -> Option<V>,
    &'m mut BTreeMap<Cow<'de, str>, Option<V>>,
);

impl<'de, V> Fill<'de> for ByName<'_, 'de, V> {
    fn field<A: MapAccess<'de>>(
        &mut self,
        key: Cow<'de, str>,
        members: &mut A,
        faults: &mut Vec<Fault>,
    ) -> Result<(), A::Error> {
        let value = self.0(&key, members.next_value()?, faults);
        if self.1.contains_key(&key) {
            faults.push(repeated(&key));
        }
        self.1.insert(key, value);
        Ok(())
    }
}

fn set<V>(slot: &mut Option<V>, value: Option<V>, key: &str, faults: &mut Vec<Fault>) {
    if slot.is_some() && value.is_some() {
        faults.push(repeated(key));
    }
    *slot = value;
}

fn repeated(key: &str) -> Fault {
    Fault::new("log::duplicate-key", key, "stands twice in the same object").help("keep one of them")
}

fn raw<'de, A: MapAccess<'de>>(members: &mut A) -> Result<Option<RawJson<'de>>, A::Error> {
    let value = RawJson::from_raw(members.next_value::<&'de RawValue>()?);
    Ok((!value.is_null()).then_some(value))
}

fn text<'de>(key: &str, value: Scalar<'de>, faults: &mut Vec<Fault>) -> Option<Cow<'de, str>> {
    match value {
        Scalar::Null => None,
        Scalar::Text(text) => Some(text),
        other => {
            faults.push(Fault::mistyped(key, "a string", &other));
            None
        }
    }
}

fn number(key: &str, value: Scalar<'_>, faults: &mut Vec<Fault>) -> Option<f64> {
    match value {
        Scalar::Null => None,
        Scalar::Unsigned(value) => Some(value as f64),
        Scalar::Signed(value) => Some(value as f64),
        Scalar::Float(value) => Some(value),
        other => {
            faults.push(Fault::mistyped(key, "a number", &other));
            None
        }
    }
}

fn money(key: &str, value: Scalar<'_>, faults: &mut Vec<Fault>) -> Option<Usd> {
    let dollars = number(key, value, faults)?;
    match Usd::from_f64(dollars) {
        Ok(amount) => Some(amount),
        Err(why) => {
            faults.push(Fault::new("log::value", key, format!("is {dollars}: {why}")));
            None
        }
    }
}

fn count(key: &str, value: Scalar<'_>, faults: &mut Vec<Fault>) -> Option<u64> {
    match value {
        Scalar::Null => None,
        Scalar::Unsigned(value) => Some(value),
        // Tools that keep whole numbers as floats write 132.0.
        Scalar::Float(value) if (0.0..9e15).contains(&value) && value.fract() == 0.0 => Some(whole(value)),
        other => {
            faults.push(Fault::mistyped(key, "a whole number, zero or more", &other));
            None
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the caller checked that it is whole and small"
)]
fn whole(value: f64) -> u64 {
    value as u64
}
