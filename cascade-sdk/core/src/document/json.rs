//! JSON text by hand: the proc-macro compiles this package and must not pay for serde.

/// A JSON value to be written. Objects keep the order in which they were built.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// A number; must be finite.
    Number(f64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object.
    Object(Vec<(String, Json)>),
    /// Text that is JSON already.
    Raw(&'static str),
    /// `null`.
    Null,
}

impl Json {
    /// A string.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// An object.
    pub(crate) fn object<K: Into<String>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Object(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// On one line, without spaces.
    pub(crate) fn compact(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, None);
        out
    }

    /// Indented by two spaces, with a trailing newline.
    pub(crate) fn pretty(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, Some(0));
        out.push('\n');
        out
    }

    fn write(&self, out: &mut String, depth: Option<usize>) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Raw(text) => out.push_str(text),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Integer(value) => out.push_str(&value.to_string()),
            Self::Number(value) => out.push_str(&super::write::number(*value)),
            Self::Text(text) => string(out, text),
            Self::List(items) => {
                sequence(out, depth, ['[', ']'], items, |out, item, depth| item.write(out, depth));
            }
            Self::Object(entries) => {
                sequence(out, depth, ['{', '}'], entries, |out, (key, value), depth| {
                    string(out, key);
                    out.push_str(if depth.is_some() { ": " } else { ":" });
                    value.write(out, depth);
                });
            }
        }
    }
}

fn sequence<T>(
    out: &mut String,
    depth: Option<usize>,
    [open, close]: [char; 2],
    items: &[T],
    mut write: impl FnMut(&mut String, &T, Option<usize>),
) {
    out.push(open);
    let inner = depth.map(|depth| depth + 1);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        new_line(out, inner);
        write(out, item, inner);
    }
    if !items.is_empty() {
        new_line(out, depth);
    }
    out.push(close);
}

fn new_line(out: &mut String, depth: Option<usize>) {
    if let Some(depth) = depth {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    }
}

fn string(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            letter if letter.is_control() => {
                // Control characters need at most two hexadecimal digits.
                out.push_str("\\u00");
                out.push_str(&crate::hash::hex(&[u8::try_from(u32::from(letter)).unwrap_or(0)]));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_survives() {
        let text = "quote \" slash \\ tab \t newline \n bell \u{7} next \u{85} wide \u{1F600}";
        let value = Json::object([("k\n", Json::List(vec![Json::text(text), Json::Null]))]);
        for written in [value.compact(), value.pretty()] {
            let read: serde_json::Value = serde_json::from_str(&written).unwrap();
            assert_eq!(read["k\n"][0], text);
        }
    }

    #[test]
    fn numbers_are_json() {
        for (value, written) in [(1.0, "1.0"), (1e-7, "1e-7"), (-0.25, "-0.25"), (1e300, "1e300")] {
            assert_eq!(Json::Number(value).compact(), written);
            assert_eq!(serde_json::from_str::<f64>(written).unwrap().to_bits(), value.to_bits());
        }
    }
}
