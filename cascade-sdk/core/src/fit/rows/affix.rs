//! The part of the prompts that nearly all of them share: instructions in front, "Answer:" behind.

use crate::feature::text::{Affix, MOST_AFFIX_BYTES};

/// Share of the prompts that must agree, in percent: one odd row must not hide the template of all others.
const AGREEING_PERCENT: usize = 90;

/// The longest prefix, then the longest suffix of what is left, that at least nine tenths of the prompts share.
///
/// Both end where a word ends, and hold at most [`MOST_AFFIX_BYTES`]. Fewer than ten prompts share nothing.
pub(in crate::fit) fn learn(texts: &[&str]) -> (Affix, Affix) {
    if texts.len() < 10 {
        return (Affix::default(), Affix::default());
    }
    let prefix = Affix::of(shared_prefix(texts));
    let mut reversed: Vec<Vec<u8>> = texts
        .iter()
        .map(|text| {
            let rest = prefix.strip_start(text).as_bytes();
            rest[rest.len().saturating_sub(MOST_AFFIX_BYTES)..].iter().rev().copied().collect()
        })
        .collect();
    reversed.sort_unstable();
    let bytes: Vec<&[u8]> = reversed.iter().map(Vec::as_slice).collect();
    let mut shared: Vec<u8> = longest_shared(&bytes).iter().rev().copied().collect();
    // A suffix begins with a whole character, and where a word begins.
    let inside_word = |byte: u8| byte >= 0x80 || byte.is_ascii_alphanumeric();
    let start = shared.iter().position(|&byte| !inside_word(byte)).unwrap_or(shared.len());
    shared.drain(..start);
    (prefix, Affix::of(std::str::from_utf8(&shared).unwrap_or("")))
}

fn shared_prefix<'a>(texts: &[&'a str]) -> &'a str {
    let mut sorted: Vec<&str> = texts.to_vec();
    sorted.sort_unstable();
    let bytes: Vec<&[u8]> =
        sorted.iter().map(|text| &text.as_bytes()[..text.len().min(MOST_AFFIX_BYTES)]).collect();
    let shared = longest_shared(&bytes);
    let Some(text) = sorted.iter().find(|text| text.as_bytes().starts_with(shared)) else { return "" };
    let cut =
        shared.iter().rposition(|&byte| byte < 0x80 && !byte.is_ascii_alphanumeric()).map_or(0, |at| at + 1);
    text.get(..cut).unwrap_or("")
}

/// The longest common prefix of any nine tenths of the sorted byte strings.
fn longest_shared<'a>(sorted: &[&'a [u8]]) -> &'a [u8] {
    let needed = (sorted.len() * AGREEING_PERCENT).div_ceil(100).max(1);
    let mut best: &[u8] = &[];
    for window in sorted.windows(needed) {
        // Sorted strings share what their first and last share.
        let (first, last) = (window[0], window[needed - 1]);
        let length = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        if length > best.len() {
            best = &first[..length];
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(texts: &[String]) -> Vec<&str> {
        let views: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (prefix, suffix) = learn(&views);
        texts.iter().map(|text| suffix.strip_end(prefix.strip_start(text))).collect()
    }

    #[test]
    fn a_template_is_found_although_one_row_lacks_it() {
        let mut texts: Vec<String> = (0..40)
            .map(|row| format!("Answer briefly.\n\nQuestion: is it {}\n\nAnswer: ", row * 7919))
            .collect();
        texts.push("hello".into());
        let rest = stripped(&texts);
        assert_eq!(rest[3], "23757");
        assert_eq!(rest[40], "hello");
    }

    #[test]
    fn words_and_characters_stay_whole() {
        let texts: Vec<String> =
            ["ä", "ö", "ü"].iter().cycle().take(30).map(|end| format!("Frage{end} ja{end}")).collect();
        let rest = stripped(&texts);
        assert_eq!(rest[0], "Frageä jaä");
    }

    #[test]
    fn odd_logs_are_harmless() {
        for texts in [vec![String::new(); 20], vec!["same text ".to_owned(); 20], vec!["a b".to_owned(); 3]] {
            assert_eq!(stripped(&texts).len(), texts.len());
        }
    }
}
