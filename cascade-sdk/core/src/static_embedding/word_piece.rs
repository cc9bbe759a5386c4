//! `WordPiece` tokens with BERT's normaliser, as `tokenizer.json` describes them: the tokenizer of model2vec's English models.

use super::codes;
use super::split::is_punctuation;
use crate::diag::Diagnostic;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use unicode_general_category::{GeneralCategory as Category, get_general_category};
use unicode_normalization::char::decompose_canonical;

/// A vocabulary of pieces of words.
pub(super) struct WordPiece {
    normaliser: Option<Normaliser>,
    /// Pieces that begin a word.
    first: HashMap<Box<str>, u32>,
    /// Pieces that go on, without the prefix that marks them.
    further: HashMap<Box<str>, u32>,
    /// Bytes of the longest piece.
    longest: usize,
    /// Letters of the longest word that is taken apart.
    most_letters: usize,
    /// One more than the highest token.
    len: usize,
}

#[derive(Deserialize)]
struct Tokenizer {
    normalizer: Option<Value>,
    #[serde(rename = "pre_tokenizer")]
    split: Option<Value>,
    model: Model,
    #[serde(default)]
    added_tokens: Vec<Added>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    max_input_chars_per_word: Option<usize>,
    /// Of another kind where the model is no `WordPiece`.
    vocab: Value,
}

#[derive(Deserialize)]
struct Added {
    content: String,
    #[serde(default)]
    special: bool,
}

/// BERT's normaliser.
#[derive(Clone, Copy, Deserialize)]
struct Normaliser {
    clean_text: bool,
    handle_chinese_chars: bool,
    /// As `lowercase` where it is absent.
    strip_accents: Option<bool>,
    lowercase: bool,
}

impl WordPiece {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// A file that is broken, or describes another kind of tokenizer.
    pub(super) fn read(name: &str, bytes: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        let error =
            |message: String, help: &str| Diagnostic::error(codes::TOKENIZER, message).help(help.to_owned());
        let again = "save or copy it again";
        let file: Tokenizer = serde_json::from_slice(bytes)
            .map_err(|why| vec![error(format!("`{name}` is no tokenizer: {why}"), again)])?;
        let mut findings = Vec::new();
        let mut refuse = |what: &str, found: &str, read: &str| {
            let message = format!("`{name}` has the {what} `{found}`, which is not read here");
            findings
                .push(error(message, &format!("{read}; give the client an embedder of your own for others")));
        };
        let kind = file.model.kind.as_deref().unwrap_or("of no type");
        if kind != "WordPiece" {
            refuse("model", kind, "only models of the type `WordPiece` are read");
        }
        let normaliser = match file.normalizer {
            None | Some(Value::Null) => None,
            Some(found) if type_of(&found) == "BertNormalizer" => match serde_json::from_value(found) {
                Ok(normaliser) => Some(normaliser),
                Err(why) => {
                    return Err(vec![error(format!("`{name}`: its normalizer is broken: {why}"), again)]);
                }
            },
            Some(found) => {
                refuse("normalizer", type_of(&found), "only `BertNormalizer` is read");
                None
            }
        };
        let split = file.split.as_ref().map_or("none", type_of);
        if split != "BertPreTokenizer" {
            refuse("pre_tokenizer", split, "only `BertPreTokenizer` is read");
        }
        if let Some(added) = file.added_tokens.iter().find(|added| !added.special) {
            refuse("added token", &added.content, "only special tokens may be added");
        }
        if !findings.is_empty() {
            return Err(findings);
        }
        let vocabulary: BTreeMap<String, u32> = serde_json::from_value(file.model.vocab)
            .map_err(|why| vec![error(format!("`{name}`: its vocabulary is broken: {why}"), again)])?;
        let unknown = file.model.unk_token.unwrap_or_default();
        let prefix = file.model.continuing_subword_prefix.unwrap_or_else(|| "##".into());
        let special = |piece: &str| file.added_tokens.iter().any(|added| added.content == piece);
        let len = vocabulary.values().max().map_or(0, |highest| *highest as usize + 1);
        let (mut first, mut further, mut longest) = (HashMap::new(), HashMap::new(), 0);
        for (piece, token) in vocabulary {
            if piece == unknown || special(&piece) {
                // What stands for a special place is no part of any text.
                continue;
            }
            longest = longest.max(piece.len());
            match piece.strip_prefix(prefix.as_str()).filter(|rest| !prefix.is_empty() && !rest.is_empty()) {
                Some(rest) => further.insert(Box::from(rest), token),
                None => first.insert(piece.into_boxed_str(), token),
            };
        }
        if first.is_empty() {
            return Err(vec![error(format!("`{name}` has no vocabulary"), again)]);
        }
        let most_letters = file.model.max_input_chars_per_word.unwrap_or(100);
        Ok(Self { normaliser, first, further, longest, most_letters, len })
    }

    /// One more than the highest token.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Calls `f` with each token of a text; words that cannot be put together from pieces are passed over.
    pub(super) fn tokens(&self, text: &str, mut f: impl FnMut(u32)) {
        let (mut word, mut found) = (String::new(), Vec::new());
        let mut end = |word: &mut String| {
            self.take_apart(word, &mut found);
            found.drain(..).for_each(&mut f);
            word.clear();
        };
        self.normalised(text, |letter| {
            if letter.is_whitespace() {
                end(&mut word);
            } else if is_punctuation(letter) {
                end(&mut word);
                word.push(letter);
                end(&mut word);
            } else {
                word.push(letter);
            }
        });
        end(&mut word);
    }

    /// The pieces of a word, longest first; none where one is missing.
    fn take_apart(&self, word: &str, found: &mut Vec<u32>) {
        if word.chars().count() > self.most_letters {
            return;
        }
        let mut start = 0;
        while start < word.len() {
            let pieces = if start == 0 { &self.first } else { &self.further };
            let rest = &word[start..];
            let mut end = rest.len().min(self.longest);
            let piece = loop {
                if let Some(token) = rest.get(..end).and_then(|piece| pieces.get(piece)) {
                    break Some((*token, end));
                }
                if end <= 1 {
                    break None;
                }
                end -= 1;
            };
            let Some((token, bytes)) = piece else { return found.clear() };
            found.push(token);
            start += bytes;
        }
    }

    /// Calls `f` with each letter of the normalised text.
    fn normalised(&self, text: &str, mut f: impl FnMut(char)) {
        let Some(normaliser) = self.normaliser else { return text.chars().for_each(f) };
        let strips = normaliser.strip_accents.unwrap_or(normaliser.lowercase);
        let mut put = |letter: char| {
            if normaliser.lowercase {
                letter.to_lowercase().for_each(&mut f);
            } else {
                f(letter);
            }
        };
        let mut bare = |letter: char| {
            if letter.is_ascii() || !strips {
                return put(letter);
            }
            decompose_canonical(letter, |part| {
                if get_general_category(part) != Category::NonspacingMark {
                    put(part);
                }
            });
        };
        for letter in text.chars() {
            if normaliser.clean_text {
                if is_dropped(letter) {
                    continue;
                }
                if letter.is_whitespace() {
                    bare(' ');
                    continue;
                }
            }
            if normaliser.handle_chinese_chars && is_chinese(letter) {
                bare(' ');
                bare(letter);
                bare(' ');
            } else {
                bare(letter);
            }
        }
    }
}

fn type_of(value: &Value) -> &str {
    value.get("type").and_then(Value::as_str).unwrap_or("of no type")
}

/// Control characters and what is no character.
fn is_dropped(letter: char) -> bool {
    if matches!(letter, '\t' | '\n' | '\r') {
        return false;
    }
    let other = || {
        matches!(
            get_general_category(letter),
            Category::Control
                | Category::Format
                | Category::PrivateUse
                | Category::Surrogate
                | Category::Unassigned
        )
    };
    letter == '\u{FFFD}' || letter.is_ascii_control() || !letter.is_ascii() && other()
}

/// Characters that are words of their own in BERT's vocabularies.
fn is_chinese(letter: char) -> bool {
    matches!(
        u32::from(letter),
        0x4E00..=0x9FFF
            | 0x3400..=0x4DBF
            | 0x2_0000..=0x2_A6DF
            | 0x2_A700..=0x2_B73F
            | 0x2_B740..=0x2_B81F
            | 0x2_B920..=0x2_CEAF
            | 0xF900..=0xFAFF
            | 0x2_F800..=0x2_FA1F
    )
}
