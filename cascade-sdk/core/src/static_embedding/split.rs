//! Texts into words: at white space, each punctuation mark a word of its own, as BERT's tokenizers do it.

use unicode_general_category::{GeneralCategory as Category, get_general_category};

/// Calls `f` with each word of a text.
pub(super) fn words<'t>(text: &'t str, mut f: impl FnMut(&'t str)) {
    let mut start = 0;
    for (at, letter) in text.char_indices() {
        let space = letter.is_whitespace();
        if space || is_punctuation(letter) {
            if start < at {
                f(&text[start..at]);
            }
            let end = at + letter.len_utf8();
            if !space {
                f(&text[at..end]);
            }
            start = end;
        }
    }
    if start < text.len() {
        f(&text[start..]);
    }
}

/// Whether a character is a word of its own: ASCII symbols are, and what Unicode calls punctuation.
pub(super) fn is_punctuation(letter: char) -> bool {
    if letter.is_ascii() {
        return letter.is_ascii_punctuation();
    }
    matches!(
        get_general_category(letter),
        Category::ConnectorPunctuation
            | Category::DashPunctuation
            | Category::OpenPunctuation
            | Category::ClosePunctuation
            | Category::InitialPunctuation
            | Category::FinalPunctuation
            | Category::OtherPunctuation
    )
}
