//! Why a router predicts what it predicts: the signed part that each input has in the log-odds of every tier.
//!
//! The heads are linear, so the parts and the intercept add up to the prediction. Words of the prompt are named only
//! where the caller may show them; otherwise all hashed inputs stand together.

use super::inputs::FIRST_PIECE;
use super::text::{self, Token};
use super::{MissingInput, RequestView, Router, Scratch};
use std::collections::BTreeMap;

/// What an input is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum InputFamily {
    /// An embedding of the prompt, all its numbers together.
    Embedding,
    /// Length, marks, structure and form of question.
    Surface,
    /// Words and pairs of neighbouring words.
    Words,
    /// Pieces of three to five letters within words.
    Pieces,
    /// A number the application passes.
    Number,
    /// A label the application passes.
    Tag,
}

impl InputFamily {
    /// The family in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedding => "embedding of the prompt",
            Self::Surface => "form of the prompt",
            Self::Words => "words of the prompt",
            Self::Pieces => "parts of words",
            Self::Number => "features",
            Self::Tag => "tags",
        }
    }
}

/// What an input adds to a prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Contribution {
    /// The input in words, such as `subject = law` or `share of digits`.
    pub input: String,
    /// What it is made of.
    pub family: InputFamily,
    /// What it adds to the log-odds of quality, in nats; one entry a tier.
    pub log_odds: Vec<f64>,
}

impl Contribution {
    /// Largest minus smallest entry: how far the input moves tiers apart, which is what a choice between them depends on.
    pub fn spread(&self) -> f64 {
        let high = self.log_odds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let low = self.log_odds.iter().copied().fold(f64::INFINITY, f64::min);
        (high - low).max(0.0)
    }
}

/// What every input adds to the log-odds of every tier, the inputs that move tiers furthest apart first; of equal ones in
/// order of their names. Inputs that add nothing are left out.
///
/// With `show_words` the hashed part is given word by word: it then holds text of the prompt. Without it that part is one
/// entry for words and one for pieces of words.
///
/// # Errors
/// [`MissingInput`] as [`Router::predict`].
pub fn contributions(
    router: &Router,
    request: &RequestView<'_>,
    show_words: bool,
) -> Result<Vec<Contribution>, MissingInput> {
    let mut scratch = Scratch::default();
    router.predict(request, &mut scratch)?;
    let (inputs, heads) = (&router.inputs, &router.heads);
    let tiers = heads.tiers();
    let encoded = &scratch.encoded;
    let mut found = Vec::new();
    if let Some(embedding) = &inputs.embedding {
        // Its single numbers mean nothing to anybody.
        let mut log_odds = vec![0.0; tiers];
        super::router::add_dense(&mut log_odds, &encoded.embedding, &heads.embedding);
        let (input, family) = (format!("embedding by {}", embedding.model), InputFamily::Embedding);
        found.push(Contribution { input, family, log_odds });
    }
    for (index, (&value, weights)) in encoded.dense.iter().zip(heads.dense.chunks_exact(tiers)).enumerate() {
        found.push(Contribution {
            input: inputs.dense_name(index),
            family: inputs.dense_family(index),
            log_odds: weights.iter().map(|&weight| f64::from(value) * f64::from(weight)).collect(),
        });
    }
    let hashed = |input: u32, value: f32| -> Vec<f64> {
        let weights = heads.hashed.get(input as usize * tiers..).unwrap_or_default();
        let steps = weights.iter().zip(&heads.step);
        steps.map(|(&weight, &step)| f64::from(value) * f64::from(weight) * f64::from(step)).collect()
    };
    let parts: BTreeMap<u32, Vec<f64>> =
        encoded.sparse.iter().map(|&(input, value)| (input, hashed(input, value))).collect();
    let mut by_name: BTreeMap<(InputFamily, String), Vec<f64>> = BTreeMap::new();
    let mut add = |key: (InputFamily, String), part: &[f64], share: f64| {
        let sums = by_name.entry(key).or_insert_with(|| vec![0.0; tiers]);
        sums.iter_mut().zip(part).for_each(|(sum, value)| *sum += share * value);
    };
    if show_words {
        let tokens = text::tokens(text::window(inputs.stripped(request.text)));
        let mut uses: BTreeMap<u32, f64> = BTreeMap::new();
        for Token { input, .. } in &tokens {
            *uses.entry(*input).or_default() += 1.0;
        }
        // Inputs that several words share are divided among them by how often each occurs.
        for Token { input, text } in tokens {
            if let (Some(part), Some(&uses)) = (parts.get(&input), uses.get(&input)) {
                add((family(input), format!("`{text}`")), part, 1.0 / uses);
            }
        }
    } else {
        for (&input, part) in &parts {
            add((family(input), family(input).name().to_owned()), part, 1.0);
        }
    }
    found.extend(by_name.into_iter().map(|((family, input), log_odds)| Contribution {
        input,
        family,
        log_odds,
    }));
    found.retain(|part| part.log_odds.iter().any(|&value| value != 0.0));
    found.sort_by(|a, b| b.spread().total_cmp(&a.spread()).then_with(|| a.input.cmp(&b.input)));
    Ok(found)
}

fn family(input: u32) -> InputFamily {
    if input < FIRST_PIECE { InputFamily::Words } else { InputFamily::Pieces }
}
