//! From a prompt to text features: the part that every prompt shares is taken off, a bounded window is read, words and
//! their pieces are hashed (MATH.md 14).
//!
//! Nothing depends on tables that change between compiler releases: outside ASCII, letters are told from punctuation
//! and lower-cased by the fixed ranges below.

pub use super::hashed::BUCKETS;
use super::hashed::{Counts, bucket};
use super::inputs::FIRST_PIECE;
use super::lexicon::{self, Kind};

/// Most bytes read from the start of a prompt.
pub const HEAD_BYTES: usize = 12 * 1024;

/// Most bytes read from the end of a longer prompt, where the question often stands.
pub const TAIL_BYTES: usize = 4 * 1024;

/// Longest start or end of prompts that is taken off as shared, so that the work per decision stays bounded.
pub const MOST_AFFIX_BYTES: usize = 4 * 1024;

/// Characters whose pieces are hashed.
const PIECE_CHARS: usize = 1_500;

/// Letters of one word that are hashed; the rest of a longer word is passed over.
const WORD_CHARS: usize = 64;

/// 2⁶⁴ / φ: multiplying by it spreads a key over the high bits (Fibonacci hashing).
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Start and end of the part of the prompts that is the same in (nearly) all of them.
///
/// Only length and hash are kept, so that a policy holds no prompt text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Affix {
    /// Length in bytes.
    pub bytes: usize,
    /// [`hash_bytes`] of it.
    pub hash: u64,
}

impl Affix {
    /// The affix that is this text.
    pub fn of(text: &str) -> Self {
        Self { bytes: text.len(), hash: hash_bytes(text.as_bytes()) }
    }

    fn matches(self, text: Option<&str>) -> bool {
        text.is_some_and(|text| hash_bytes(text.as_bytes()) == self.hash)
    }

    /// The text without this prefix; the text itself if it begins otherwise.
    pub fn strip_start(self, text: &str) -> &str {
        if self.bytes > 0 && self.matches(text.get(..self.bytes)) { &text[self.bytes..] } else { text }
    }

    /// The text without this suffix; the text itself if it ends otherwise.
    pub fn strip_end(self, text: &str) -> &str {
        let Some(end) = text.len().checked_sub(self.bytes).filter(|_| self.bytes > 0) else { return text };
        if self.matches(text.get(end..)) { &text[..end] } else { text }
    }
}

/// A 64-bit hash of bytes, eight at a time; not secure, stable for ever.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut hash = SPREAD ^ bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = mix(hash, u64::from_le_bytes(*word));
    }
    for &byte in rest {
        hash = mix(hash, u64::from(byte));
    }
    hash
}

const fn mix(hash: u64, value: u64) -> u64 {
    let product = (hash ^ value).wrapping_mul(SPREAD);
    product ^ (product >> 29)
}

/// The bytes that are read: all of a short text, else its start and its end.
pub fn window(text: &str) -> [&str; 2] {
    if text.len() <= HEAD_BYTES + TAIL_BYTES {
        return [text, ""];
    }
    let (head, tail) = (floor_boundary(text, HEAD_BYTES), floor_boundary(text, text.len() - TAIL_BYTES));
    [&text[..head], &text[tail..]]
}

fn floor_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// What one reading of a text yields. Arrays are boxed, so that futures which hold one stay small.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    /// Words and pairs of neighbouring words.
    pub(super) words: Counts,
    /// Pieces of three to five letters within words.
    pub(super) pieces: Counts,
    /// How often each byte occurs.
    pub(super) bytes: Box<ByteCounts>,
    /// What the surface statistics count word by word.
    pub(super) tally: Tally,
    word: Box<Symbols>,
}

/// The symbols of one word between its two boundary marks.
#[derive(Clone, Debug)]
struct Symbols {
    of: [u64; WORD_CHARS + 2],
    len: usize,
}

impl Default for Symbols {
    fn default() -> Self {
        Self { of: [BOUNDARY; WORD_CHARS + 2], len: 0 }
    }
}

impl Symbols {
    fn as_slice(&self) -> &[u64] {
        &self.of[..self.len]
    }
}

/// How often each byte occurs.
#[derive(Clone, Debug)]
pub(super) struct ByteCounts(pub(super) [u32; 256]);

impl Default for ByteCounts {
    fn default() -> Self {
        Self([0; 256])
    }
}

/// Counts made while words are read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tally {
    /// Words.
    pub(super) words: u32,
    /// Letters in all words.
    pub(super) letters: u32,
    /// Letters of the longest word.
    pub(super) longest: u32,
    /// Words of digits alone.
    pub(super) numbers: u32,
    /// Digits of the longest number.
    pub(super) longest_number: u32,
    /// Words that begin with a capital and go on in small letters.
    pub(super) capitalised: u32,
    /// Words of two and more capitals alone.
    pub(super) all_capitals: u32,
    /// Words by lexical kind.
    pub(super) kinds: [u32; Kind::COUNT],
    /// Kind of the first word.
    pub(super) first: Option<Kind>,
}

impl Reading {
    /// Sizes of everything that grows.
    #[cfg(test)]
    pub(super) fn capacities(&self) -> [usize; 2] {
        [self.words.capacity(), self.pieces.capacity()]
    }

    /// Reads the window of a text.
    pub(super) fn read(&mut self, window: [&str; 2], hashed: bool) {
        self.words.clear();
        self.pieces.clear();
        *self.bytes = ByteCounts::default();
        self.tally = Tally::default();
        let mut pieces_left = if hashed { PIECE_CHARS } else { 0 };
        for part in window {
            self.read_part(part, hashed, &mut pieces_left);
        }
    }

    fn read_part(&mut self, text: &str, hashed: bool, pieces_left: &mut usize) {
        for &byte in text.as_bytes() {
            self.bytes.0[usize::from(byte)] += 1;
        }
        let bytes = text.as_bytes();
        let mut previous: Option<u64> = None;
        let mut at = 0;
        while at < bytes.len() {
            let start = at;
            let word = Word::read(bytes, &mut at, &mut self.word);
            if word.letters == 0 {
                // The character at `start` belongs to no word.
                at = start + width(bytes[start]);
                continue;
            }
            self.tally.add(&word);
            if !hashed {
                continue;
            }
            self.words.add_all(2, |words| {
                words.add(word.key());
                if let Some(previous) = previous {
                    words.add(pair_key(previous, word.hash));
                }
            });
            previous = Some(word.hash);
            if *pieces_left > 0 {
                self.add_pieces();
                *pieces_left = pieces_left.saturating_sub(word.letters as usize);
            }
        }
    }

    /// Hashes all runs of 3, 4 and 5 symbols of the current word between its two boundary marks.
    fn add_pieces(&mut self) {
        let Self { word, pieces, .. } = self;
        pieces.add_all(3 * word.len, |slots| for_each_piece(word.as_slice(), |key| slots.add(key)));
    }
}

/// Keys of all runs of 3, 4 and 5 symbols, by their start, shorter ones first.
#[inline]
fn for_each_piece(symbols: &[u64], mut f: impl FnMut(u64)) {
    let step = |hash: u64, symbol: &u64| (hash ^ symbol).wrapping_mul(SPREAD);
    let key = |hash: u64| hash ^ (hash << 27);
    let start = |run: [&u64; 3]| run.into_iter().fold(SPREAD, step);
    for window in symbols.windows(5) {
        let [first, second, third, fourth, fifth] = window else { continue };
        let short = start([first, second, third]);
        let middle = step(short, fourth);
        f(key(short));
        f(key(middle));
        f(key(step(middle, fifth)));
    }
    if let [.., first, second, third, fourth] = symbols {
        let short = start([first, second, third]);
        f(key(short));
        f(key(step(short, fourth)));
    }
    if let [.., first, second, third] = symbols {
        f(key(start([first, second, third])));
    }
}

/// Key of two neighbouring words, from their hashes.
#[inline]
fn pair_key(previous: u64, word: u64) -> u64 {
    (previous.rotate_left(23) ^ word).wrapping_mul(SPREAD)
}

/// One use of a hashed input, and the text behind it.
pub(super) struct Token {
    /// Words below [`BUCKETS`], pieces above.
    pub(super) input: u32,
    /// The word or pair of words; for a piece the word it is in.
    pub(super) text: String,
}

/// Most characters of a word that a [`Token`] repeats.
const TOKEN_CHARS: usize = 40;

/// Every use of a hashed input in the order of the text, as [`Reading::read`] makes them; for explanations.
pub(super) fn tokens(window: [&str; 2]) -> Vec<Token> {
    let (mut found, mut symbols, mut pieces_left) = (Vec::new(), Symbols::default(), PIECE_CHARS);
    for part in window {
        let bytes = part.as_bytes();
        let (mut at, mut previous) = (0, None::<(u64, String)>);
        while at < bytes.len() {
            let start = at;
            let word = Word::read(bytes, &mut at, &mut symbols);
            if word.letters == 0 {
                at = start + width(bytes[start]);
                continue;
            }
            let text: String = part[start..].chars().take((word.letters as usize).min(TOKEN_CHARS)).collect();
            found.push(Token { input: u32::from(bucket(word.key())), text: text.clone() });
            if let Some((hash, before)) = &previous {
                let text = format!("{before} {text}");
                found.push(Token { input: u32::from(bucket(pair_key(*hash, word.hash))), text });
            }
            if pieces_left > 0 {
                for_each_piece(symbols.as_slice(), |key| {
                    found.push(Token { input: FIRST_PIECE + u32::from(bucket(key)), text: text.clone() });
                });
                pieces_left = pieces_left.saturating_sub(word.letters as usize);
            }
            previous = Some((word.hash, text));
        }
    }
    found
}

impl Tally {
    fn add(&mut self, word: &Word) {
        self.words += 1;
        self.letters += word.letters;
        self.longest = self.longest.max(word.letters);
        if word.digits == word.letters {
            self.numbers += 1;
            self.longest_number = self.longest_number.max(word.letters);
        }
        if word.starts_capital && word.capitals == 1 && word.letters > 1 {
            self.capitalised += 1;
        }
        if word.capitals == word.letters && word.letters > 1 {
            self.all_capitals += 1;
        }
        let kind = lexicon::kind(word.hash);
        if self.words == 1 {
            self.first = kind;
        }
        if let Some(kind) = kind {
            self.kinds[kind as usize] += 1;
        }
    }
}

/// What is known of one word.
struct Word {
    hash: u64,
    letters: u32,
    digits: u32,
    capitals: u32,
    starts_capital: bool,
}

/// The symbol on either side of a word's pieces.
const BOUNDARY: u64 = 1;

impl Word {
    /// What the word is counted under.
    #[inline]
    fn key(&self) -> u64 {
        self.hash.wrapping_mul(SPREAD)
    }

    /// Reads the longest run of letters and digits at `at`, leaving `at` behind it and its symbols in `symbols`.
    #[expect(clippy::cast_possible_truncation, reason = "places of 16 bits")]
    fn read(bytes: &[u8], at: &mut usize, symbols: &mut Symbols) -> Self {
        let mut starts_capital = bytes.get(*at).is_some_and(u8::is_ascii_uppercase);
        let (mut hash, mut known, mut counts) = (lexicon::SEED, 0, 0_u64);
        loop {
            for &byte in &bytes[*at..] {
                let letter = ASCII[usize::from(byte)];
                if letter == 0 {
                    break;
                }
                *at += 1;
                counts = counts.wrapping_add(letter);
                if known < WORD_CHARS {
                    known += 1;
                    hash = lexicon::step(hash, letter >> SYMBOL);
                    symbols.of[known] = letter >> SYMBOL;
                }
            }
            if bytes.get(*at).is_none_or(u8::is_ascii) {
                *at += 1;
                break;
            }
            let letter = decode(bytes, at);
            if !is_letter(letter) {
                break;
            }
            let lower = lower(letter);
            let capital = lower != letter;
            starts_capital |= capital && counts == 0;
            counts += 1 << LETTERS | u64::from(capital) << CAPITALS;
            if known < WORD_CHARS {
                known += 1;
                hash = lexicon::step(hash, u64::from(lower));
                symbols.of[known] = u64::from(lower);
            }
        }
        symbols.of[known + 1] = BOUNDARY;
        symbols.len = known + 2;
        let [letters, capitals, digits] = [LETTERS, CAPITALS, DIGITS].map(|place| (counts >> place) as u16);
        Self {
            hash,
            letters: letters.into(),
            digits: digits.into(),
            capitals: capitals.into(),
            starts_capital,
        }
    }
}

/// Places of what is known of a letter in [`ASCII`]. The first three add up over a word, which is shorter than 2¹⁶.
const LETTERS: u32 = 0;
const CAPITALS: u32 = 16;
const DIGITS: u32 = 32;
const SYMBOL: u32 = 56;

const _: () = assert!(HEAD_BYTES + TAIL_BYTES < 1 << 16);

/// Letters and digits by byte: one letter, whether it is a capital or a digit, and the lower-case letter that stands for
/// it; 0 for everything else. One addition then counts all three.
static ASCII: [u64; 256] = {
    let mut table = [0; 256];
    let mut letter = 0_u8;
    while letter < 128 {
        if letter.is_ascii_alphanumeric() {
            table[letter as usize] = 1 << LETTERS
                | (letter.is_ascii_uppercase() as u64) << CAPITALS
                | (letter.is_ascii_digit() as u64) << DIGITS
                | (letter.to_ascii_lowercase() as u64) << SYMBOL;
        }
        letter += 1;
    }
    table
};

/// Bytes of the UTF-8 sequence that begins with `lead`.
fn width(lead: u8) -> usize {
    match lead {
        0..0xC0 => 1,
        0xC0..0xE0 => 2,
        0xE0..0xF0 => 3,
        _ => 4,
    }
}

/// The code point at `at`, which is moved behind it. The bytes come from a `str`.
fn decode(bytes: &[u8], at: &mut usize) -> u32 {
    let lead = bytes[*at];
    let width = width(lead);
    let first = match width {
        2 => u32::from(lead & 0x1F),
        3 => u32::from(lead & 0x0F),
        _ => u32::from(lead & 0x07),
    };
    let rest = bytes.get(*at + 1..*at + width).unwrap_or_default();
    *at += width;
    rest.iter().fold(first, |code, &byte| code << 6 | u32::from(byte & 0x3F))
}

/// Outside ASCII everything is a letter but signs, punctuation and spaces.
fn is_letter(code: u32) -> bool {
    !matches!(
        code,
        0x80..=0xA9 | 0xAB..=0xB4 | 0xB6..=0xB9 | 0xBB..=0xBF | 0xD7 | 0xF7
            | 0x2000..=0x2BFF | 0x2E00..=0x2E7F | 0x3000..=0x3004 | 0x3008..=0x3020
            | 0xFE30..=0xFE6F | 0xFF00..=0xFF0F | 0xFF1A..=0xFF20 | 0x1F000..=0x1FAFF
    )
}

/// Small letters for the capitals of Latin-1, Greek and Cyrillic.
fn lower(code: u32) -> u32 {
    match code {
        0xC0..=0xD6 | 0xD8..=0xDE | 0x391..=0x3A9 | 0x410..=0x42F => code + 0x20,
        0x400..=0x40F => code + 0x50,
        _ => code,
    }
}
