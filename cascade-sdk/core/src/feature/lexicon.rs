//! The few English words whose kind the surface statistics count.

/// What a word is a sign of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Asks for a fact.
    Question,
    /// Asks how, or how many.
    How,
    /// Begins a question that is answered yes or no.
    YesNo,
    /// Gives an order.
    Order,
    /// Negates or excepts.
    Negation,
    /// Compares.
    Comparison,
    /// Joins or quantifies statements.
    Logic,
    /// Belongs to a program.
    Code,
    /// Belongs to mathematics.
    Mathematics,
    /// Says "I" or "you".
    Person,
}

impl Kind {
    pub(super) const COUNT: usize = 10;
}

const WORDS: &[(&str, Kind)] = &[
    ("what", Kind::Question),
    ("which", Kind::Question),
    ("who", Kind::Question),
    ("whom", Kind::Question),
    ("whose", Kind::Question),
    ("where", Kind::Question),
    ("when", Kind::Question),
    ("why", Kind::Question),
    ("how", Kind::How),
    ("many", Kind::How),
    ("much", Kind::How),
    ("is", Kind::YesNo),
    ("are", Kind::YesNo),
    ("was", Kind::YesNo),
    ("were", Kind::YesNo),
    ("do", Kind::YesNo),
    ("does", Kind::YesNo),
    ("did", Kind::YesNo),
    ("can", Kind::YesNo),
    ("could", Kind::YesNo),
    ("will", Kind::YesNo),
    ("would", Kind::YesNo),
    ("should", Kind::YesNo),
    ("has", Kind::YesNo),
    ("have", Kind::YesNo),
    ("write", Kind::Order),
    ("explain", Kind::Order),
    ("describe", Kind::Order),
    ("give", Kind::Order),
    ("list", Kind::Order),
    ("name", Kind::Order),
    ("find", Kind::Order),
    ("calculate", Kind::Order),
    ("compute", Kind::Order),
    ("solve", Kind::Order),
    ("prove", Kind::Order),
    ("determine", Kind::Order),
    ("summarize", Kind::Order),
    ("summarise", Kind::Order),
    ("translate", Kind::Order),
    ("classify", Kind::Order),
    ("create", Kind::Order),
    ("generate", Kind::Order),
    ("rewrite", Kind::Order),
    ("fix", Kind::Order),
    ("answer", Kind::Order),
    ("complete", Kind::Order),
    ("suggest", Kind::Order),
    ("implement", Kind::Order),
    ("not", Kind::Negation),
    ("no", Kind::Negation),
    ("never", Kind::Negation),
    ("none", Kind::Negation),
    ("neither", Kind::Negation),
    ("nor", Kind::Negation),
    ("except", Kind::Negation),
    ("without", Kind::Negation),
    ("cannot", Kind::Negation),
    ("false", Kind::Negation),
    ("incorrect", Kind::Negation),
    ("more", Kind::Comparison),
    ("most", Kind::Comparison),
    ("less", Kind::Comparison),
    ("least", Kind::Comparison),
    ("best", Kind::Comparison),
    ("worst", Kind::Comparison),
    ("than", Kind::Comparison),
    ("larger", Kind::Comparison),
    ("greater", Kind::Comparison),
    ("higher", Kind::Comparison),
    ("lower", Kind::Comparison),
    ("smallest", Kind::Comparison),
    ("largest", Kind::Comparison),
    ("if", Kind::Logic),
    ("then", Kind::Logic),
    ("because", Kind::Logic),
    ("therefore", Kind::Logic),
    ("unless", Kind::Logic),
    ("every", Kind::Logic),
    ("all", Kind::Logic),
    ("some", Kind::Logic),
    ("any", Kind::Logic),
    ("each", Kind::Logic),
    ("only", Kind::Logic),
    ("both", Kind::Logic),
    ("either", Kind::Logic),
    ("suppose", Kind::Logic),
    ("assume", Kind::Logic),
    ("def", Kind::Code),
    ("return", Kind::Code),
    ("class", Kind::Code),
    ("import", Kind::Code),
    ("function", Kind::Code),
    ("const", Kind::Code),
    ("int", Kind::Code),
    ("void", Kind::Code),
    ("null", Kind::Code),
    ("self", Kind::Code),
    ("print", Kind::Code),
    ("select", Kind::Code),
    ("struct", Kind::Code),
    ("fn", Kind::Code),
    ("python", Kind::Code),
    ("sql", Kind::Code),
    ("frac", Kind::Mathematics),
    ("sqrt", Kind::Mathematics),
    ("integer", Kind::Mathematics),
    ("integers", Kind::Mathematics),
    ("equation", Kind::Mathematics),
    ("polynomial", Kind::Mathematics),
    ("triangle", Kind::Mathematics),
    ("probability", Kind::Mathematics),
    ("sum", Kind::Mathematics),
    ("theorem", Kind::Mathematics),
    ("matrix", Kind::Mathematics),
    ("percent", Kind::Mathematics),
    ("i", Kind::Person),
    ("you", Kind::Person),
    ("my", Kind::Person),
    ("your", Kind::Person),
    ("me", Kind::Person),
    ("we", Kind::Person),
];

/// Start of a word's hash.
pub(super) const SEED: u64 = 0xCBF2_9CE4_8422_2325;

/// Adds one symbol to a word's hash.
#[inline]
pub(super) const fn step(hash: u64, symbol: u64) -> u64 {
    (hash ^ symbol).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(29)
}

/// The kind of the lower-case word with this hash.
#[inline]
pub(super) fn kind(hash: u64) -> Option<Kind> {
    let mut slot = slot(hash);
    // The table is never full, so an empty slot ends the search.
    while let Some((known, kind)) = TABLE[slot] {
        if known == hash {
            return Some(kind);
        }
        slot = (slot + 1) % SLOTS;
    }
    None
}

const SLOTS: usize = 512;

const fn slot(hash: u64) -> usize {
    (hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 55) as usize
}

static TABLE: [Option<(u64, Kind)>; SLOTS] = {
    let mut table = [None; SLOTS];
    let mut at = 0;
    while at < WORDS.len() {
        let (word, kind) = WORDS[at];
        let (bytes, mut hash, mut letter) = (word.as_bytes(), SEED, 0);
        while letter < bytes.len() {
            hash = step(hash, bytes[letter] as u64);
            letter += 1;
        }
        let mut free = slot(hash);
        while table[free].is_some() {
            free = (free + 1) % SLOTS;
        }
        table[free] = Some((hash, kind));
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(word: &str) -> u64 {
        word.bytes().fold(SEED, |hash, byte| step(hash, u64::from(byte)))
    }

    #[test]
    fn every_word_is_found_and_others_are_not() {
        for (word, expected) in WORDS {
            assert_eq!(kind(hash(word)), Some(*expected), "{word}");
        }
        for word in ["", "whatever", "x", "teh"] {
            assert_eq!(kind(hash(word)), None, "{word}");
        }
    }
}
