//! Names people choose (tiers, routes, budgets) and the Rust identifiers generated from them.

/// Why a name cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// The name holds no letter or digit.
    Empty,
    /// Longer than [`MAX_LENGTH`] bytes.
    TooLong,
    /// A control character, which would break tables and file names.
    Control,
}

/// Longest name, in bytes; eval logs carry names such as `mistralai/Mixtral-8x7B-Instruct-v0.1`.
pub const MAX_LENGTH: usize = 200;

/// Checks a tier, route, provider or budget name. Dots, slashes, `@` and spaces are fine.
///
/// # Errors
/// [`NameError`] says what is wrong.
pub fn check(name: &str) -> Result<(), NameError> {
    if name.len() > MAX_LENGTH {
        Err(NameError::TooLong)
    } else if name.chars().any(char::is_control) {
        Err(NameError::Control)
    } else if !name.chars().any(char::is_alphanumeric) {
        Err(NameError::Empty)
    } else {
        Ok(())
    }
}

/// `gpt-4.1-nano` → `Gpt41Nano`: the enum variant for a tier. Names that begin with a digit get a leading `Tier`.
pub fn variant(name: &str) -> String {
    let mut out = String::new();
    for word in words(name) {
        let mut letters = word.chars();
        if let Some(first) = letters.next() {
            out.extend(first.to_uppercase());
            out.extend(letters);
        }
    }
    // `Self` is the one capitalised keyword.
    if out.is_empty() || out.starts_with(|c: char| c.is_numeric()) || out == "Self" {
        out.insert_str(0, "Tier");
    }
    out
}

/// `Sort tickets` → `sort_tickets`: the method for a route. Keywords get a trailing underscore.
pub fn method(name: &str) -> String {
    let mut out = words(name).collect::<Vec<_>>().join("_").to_lowercase();
    if out.is_empty() || out.starts_with(|c: char| c.is_numeric()) {
        out.insert_str(0, "route_");
    }
    if is_keyword(&out) {
        out.push('_');
    }
    out
}

/// `Sort tickets` → `sort_tickets_stream`: the method that streams a route's answers.
pub fn stream_method(name: &str) -> String {
    format!("{}_stream", method(name).trim_end_matches('_'))
}

/// The identifier-safe words of a name: ASCII letters and digits; everything else separates words.
fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty())
}

/// Strict and reserved keywords of every edition.
fn is_keyword(word: &str) -> bool {
    const KEYWORDS: &str = " abstract as async await become box break const continue crate do dyn else enum extern \
        false final fn for gen if impl in let loop macro match mod move mut override priv pub ref return self Self \
        static struct super trait true try type typeof union unsafe unsized use virtual where while yield ";
    KEYWORDS.contains(&format!(" {word} "))
}

/// A name as it is typed in a command: quoted where a shell would take it apart.
pub fn shell_word(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./@".contains(&byte);
    if !name.is_empty() && name.bytes().all(plain) {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', r"'\''"))
    }
}

/// The command that collects more answers for a route, with further arguments such as `--tiers small`.
pub fn collect_command(route: &str, more: &str) -> String {
    let space = if more.is_empty() { "" } else { " " };
    format!("cascade collect {} --prompts FILE{space}{more}", shell_word(route))
}

/// The nearest of `candidates` to a mistyped word, if one is near enough to be worth suggesting.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut two_back = vec![0; b.len() + 1];
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut current = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let substitute = previous[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            current[j] = substitute.min(previous[j] + 1).min(current[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                current[j] = current[j].min(two_back[j - 2] + 1);
            }
        }
        two_back = std::mem::replace(&mut previous, current);
    }
    previous[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_valid_rust() {
        for (name, as_variant, as_method) in [
            ("small", "Small", "small"),
            ("gpt-4.1-nano", "Gpt41Nano", "gpt_4_1_nano"),
            ("self", "TierSelf", "self_"),
            ("type", "Type", "type_"),
            ("3b", "Tier3b", "route_3b"),
            ("mistralai/Mixtral-8x7B@v0.1", "MistralaiMixtral8x7BV01", "mistralai_mixtral_8x7b_v0_1"),
            ("été", "T", "t"),
        ] {
            assert_eq!(variant(name), as_variant);
            assert_eq!(method(name), as_method);
        }
        assert_eq!(stream_method("type"), "type_stream");
    }

    #[test]
    fn suggestions_are_near() {
        assert_eq!(nearest("pirce", ["price", "provider"]), Some("price"));
        assert_eq!(nearest("max_cots_usd", ["max_cost_usd", "min_quality"]), Some("max_cost_usd"));
        assert_eq!(nearest("zebra", ["price", "provider"]), None);
    }

    #[test]
    fn names_in_commands_stay_whole() {
        for (name, word) in
            [("triage", "triage"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("", "''"), ("$x", "'$x'")]
        {
            assert_eq!(shell_word(name), word);
        }
    }

    #[test]
    fn unusable_names_are_refused() {
        assert_eq!(check("--"), Err(NameError::Empty));
        assert_eq!(check("a\nb"), Err(NameError::Control));
        assert_eq!(check(&"a".repeat(201)), Err(NameError::TooLong));
        assert_eq!(check("gpt-3.5-turbo@cot1-sc"), Ok(()));
    }
}
