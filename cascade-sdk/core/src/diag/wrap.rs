//! Breaking paragraphs into lines.

/// The lines of a paragraph, broken at spaces so that none has more characters than `width`. What people copy stays whole:
/// a command between backticks where it fits on a line of its own, and a word that is longer than a line, such as a path.
/// There is always at least one line.
///
/// ```
/// # use cascade_sdk_core::diag::wrap;
/// assert_eq!(wrap("a policy  of another route", 10), ["a policy", "of another", "route"]);
/// assert_eq!(wrap("then run `cascade fit`", 14), ["then run", "`cascade fit`"]);
/// ```
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let part = quoted(word, &mut words, width).unwrap_or_else(|| word.to_owned());
        let length = part.chars().count();
        if used > 0 && used + 1 + length > width {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(&part);
            used += length;
        }
    }
    lines
}

/// The words up to the one that closes a backtick which this one opens, if they fit on a line together.
fn quoted(first: &str, rest: &mut std::str::SplitWhitespace<'_>, width: usize) -> Option<String> {
    let open = |word: &str| word.matches('`').count() % 2 == 1;
    if !open(first) {
        return None;
    }
    let mut ahead = rest.clone();
    let mut whole = first.to_owned();
    while whole.chars().count() <= width {
        let word = ahead.next()?;
        whole.push(' ');
        whole.push_str(word);
        if open(word) {
            let fits = whole.chars().count() <= width;
            return fits.then(|| {
                *rest = ahead;
                whole
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_whole() {
        assert_eq!(wrap("", 5), [""]);
        assert_eq!(wrap("see /a/long/path here", 8), ["see", "/a/long/path", "here"]);
        assert_eq!(wrap("(`a b`, `c`) `d e", 7), ["(`a b`,", "`c`) `d", "e"]);
        assert_eq!(wrap("run `a long command` now", 10), ["run `a", "long", "command`", "now"]);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig {
            rng_seed: proptest::test_runner::RngSeed::Fixed(7),
            ..proptest::prelude::ProptestConfig::default()
        })]

        #[test]
        fn no_word_is_lost_and_no_line_is_longer_than_it_must_be(text in "[a-zé` ]{0,60}", width in 1_usize..20) {
            let lines = wrap(&text, width);
            let words: Vec<&str> = text.split_whitespace().collect();
            let kept: Vec<&str> = lines.iter().flat_map(|line| line.split_whitespace()).collect();
            proptest::prop_assert_eq!(kept, words);
            proptest::prop_assert!(lines.iter().all(|line| line.chars().count() <= width || !line.contains(' ')));
        }
    }
}
