//! Writes TOML in one canonical form, so that the same values give the same bytes.

/// The lines of a document in the order in which they are added.
#[derive(Debug)]
pub(crate) struct Writer {
    out: String,
}

impl Writer {
    /// A document that begins with a comment.
    pub(crate) fn new(comment: &str) -> Self {
        Self { out: format!("# {comment}\n") }
    }

    /// `[path]`, after an empty line.
    pub(crate) fn table(&mut self, path: &str) {
        self.out.push_str("\n[");
        self.out.push_str(path);
        self.out.push_str("]\n");
    }

    /// `[[path]]`, after an empty line.
    pub(crate) fn table_of_list(&mut self, path: &str) {
        self.out.push_str("\n[[");
        self.out.push_str(path);
        self.out.push_str("]]\n");
    }

    /// `key = value`, the value as TOML.
    pub(crate) fn pair(&mut self, name: &str, value: impl AsRef<str>) {
        self.out.push_str(&key(name));
        self.out.push_str(" = ");
        self.out.push_str(value.as_ref());
        self.out.push('\n');
    }

    /// The whole text.
    pub(crate) fn finish(self) -> String {
        self.out
    }
}

/// The shortest decimal that reads back as the same number; whole numbers keep `.0`.
pub(crate) fn number(value: f64) -> String {
    // Debug writes `NaN`, which is not TOML; readers refuse what is not finite, and should see that it is a number.
    if value.is_nan() { "nan".to_owned() } else { format!("{value:?}") }
}

/// A basic string. JSON's escapes are all TOML's as well.
pub(crate) fn string(text: &str) -> String {
    super::json::Json::text(text).compact()
}

/// A key: bare where TOML allows it, else quoted.
pub(crate) fn key(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { key.to_owned() } else { string(key) }
}

/// `[a, b]`, the items as TOML.
pub(crate) fn list(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(", "))
}

/// `["a", "b"]`.
pub(crate) fn strings<T: AsRef<str>>(texts: &[T]) -> String {
    list(texts.iter().map(|text| string(text.as_ref())))
}

/// The items on a line each.
pub(crate) fn lines(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<_> = items.into_iter().collect();
    if items.is_empty() { "[]".to_owned() } else { format!("[\n  {},\n]", items.join(",\n  ")) }
}

/// `{ a = 1, b = 2 }`, the values as TOML.
pub(crate) fn inline<K: AsRef<str>>(entries: impl IntoIterator<Item = (K, String)>) -> String {
    let entries: Vec<_> =
        entries.into_iter().map(|(name, value)| format!("{} = {value}", key(name.as_ref()))).collect();
    format!("{{ {} }}", entries.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shortest_and_toml() {
        for (value, text) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1.3e-5, "1.3e-5"),
            (1e21, "1e21"),
            (f64::NAN, "nan"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(number(value), text);
            let text = format!("x = {text}");
            assert!(toml::de::DeTable::parse(&text).is_ok(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_reads_back(text in ".*", name in ".*") {
            let document = format!("{} = {}\n", key(&name), string(&text));
            let read = toml::de::DeTable::parse(&document).unwrap();
            let value = read.get_ref().get(name.as_str()).unwrap();
            proptest::prop_assert_eq!(value.get_ref().as_str(), Some(text.as_str()));
        }

        #[test]
        fn any_number_reads_back(bits in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO) {
            proptest::prop_assert_eq!(number(bits).parse::<f64>().unwrap().to_bits(), bits.to_bits());
        }
    }
}
