//! Prompt features and the router that reads them: what is known before anything is generated.
//!
//! A [`Router`] turns a request into numbers ([`Inputs`]), predicts quality and cost of every tier with linear heads,
//! and [`choose_plan`] takes the plan with the highest predicted quality − λ · predicted cost (MATH.md 7 and 14). The
//! fit, replay and the runtime run this same code on the same bytes.

mod changes;
mod hashed;
mod inputs;
mod lexicon;
mod reasons;
mod router;
mod surface;
#[cfg(all(test, feature = "fit"))]
mod tests;
pub mod text;
mod weights;

pub use changes::changes;
pub use inputs::{EmbeddingInput, Inputs, NumberInput, Standard, TagInput, TextInput};
#[cfg(feature = "fit")]
pub(crate) use inputs::{Encoded, single};
pub use reasons::{Contribution, InputFamily, contributions};
pub use router::{CostHead, Heads, Predictions, Router, argmax};
pub use surface::COUNT as SURFACE_STATISTICS;
pub use weights::{ENDING as WEIGHTS_ENDING, Sidecar, WeightsError};
pub(crate) use weights::{from_base64, to_base64};

use crate::policy::Rules;

/// What a surface statistic is, in words.
#[cfg(feature = "fit")]
pub(crate) fn surface_name(at: usize) -> &'static str {
    surface::NAMES.get(at).copied().unwrap_or_default()
}

/// What the router sees of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestView<'a> {
    /// Routing text: the user and tool text parts in order, joined by newlines.
    pub text: &'a str,
    /// Numbers the application knows, sorted by name.
    pub features: &'a [(&'a str, f64)],
    /// Labels the application knows, sorted by name.
    pub tags: &'a [(&'a str, &'a str)],
    /// An embedding of the text by the model that the configuration names; only a router that reads it needs it.
    pub embedding: Option<&'a [f32]>,
    /// Its id, by which a mixture draws; `None` where it is not known.
    pub id: Option<&'a str>,
}

/// Space for a routing decision, reused from request to request.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    reading: text::Reading,
    surface: surface::Values,
    encoded: inputs::Encoded,
    sums: Vec<f32>,
    predictions: Predictions,
}

impl Scratch {
    /// What the router predicted of the last request; empty without a router.
    pub fn predictions(&self) -> &Predictions {
        &self.predictions
    }

    /// Takes predictions made before by the same router.
    #[cfg(feature = "log")]
    pub(crate) fn set_predictions(&mut self, known: &Predictions) {
        self.predictions.clone_from(known);
    }

    /// Sizes of everything that grows, to show that nothing does.
    #[cfg(test)]
    fn capacities(&self) -> [usize; 7] {
        let [words, pieces] = self.reading.capacities();
        let Self { encoded, sums, predictions, .. } = self;
        [
            words,
            pieces,
            encoded.embedding.capacity(),
            encoded.dense.capacity(),
            encoded.sparse.capacity(),
            sums.capacity(),
            predictions.log_odds.capacity() + predictions.cost_usd.capacity(),
        ]
    }

    /// The last request as numbers, for the fit.
    #[cfg(feature = "fit")]
    pub(crate) fn encoded(&self) -> &Encoded {
        &self.encoded
    }
}

/// Something the router needs and the request does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissingInput {
    /// A number the application should pass.
    Feature(String),
    /// A label the application should pass.
    Tag(String),
    /// A label the application should pass for the guard, which keeps some labels on one tier.
    GuardTag(String),
    /// An embedding by this model.
    Embedding(String),
    /// An embedding of the length that the router was fitted on.
    EmbeddingLength {
        /// The model.
        model: String,
        /// The length that it should have.
        expected: usize,
        /// The length that it has.
        found: usize,
    },
    /// An embedding by this model whose numbers are all finite.
    EmbeddingNotFinite(String),
    /// The router's weights: the file of that name beside the policy was not read.
    Weights(String),
}

impl std::fmt::Display for MissingInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Feature(name) => write!(f, "the policy's router needs the feature `{name}`"),
            Self::Tag(name) => write!(f, "the policy's router needs the tag `{name}`"),
            Self::GuardTag(name) => write!(f, "the policy's guard needs the tag `{name}`"),
            Self::Embedding(model) => {
                write!(f, "the policy's router needs an embedding by `{model}`")
            }
            Self::EmbeddingLength { model, expected, found } => write!(
                f,
                "the policy's router needs an embedding by `{model}` of {expected} numbers, and this one has {found}"
            ),
            Self::EmbeddingNotFinite(model) => {
                write!(f, "the policy's router needs an embedding by `{model}`, and this one is not finite")
            }
            Self::Weights(file) => write!(f, "the policy's router needs the weights in `{file}`"),
        }
    }
}

/// Chooses a plan from the prompt: argmax of predicted quality − penalty − λ · predicted cost; of equal plans the cheaper, then
/// the first. Without a router the first plan is chosen, or in a mixture the one that the request's id draws. A guard goes
/// before: a request with one of its labels gets the guard's own plan, whose number is that after the last.
///
/// # Errors
/// [`MissingInput`] if the router or the guard needs a feature, a tag or an embedding that the request lacks.
pub fn choose_plan(
    rules: &Rules,
    request: &RequestView<'_>,
    scratch: &mut Scratch,
) -> Result<usize, MissingInput> {
    if let Some(plan) = guarded_plan(rules, request)? {
        return Ok(plan);
    }
    let Some(router) = &rules.router else {
        return Ok(rules.mixture.map_or(0, |mixture| mixture.plan(request.id)));
    };
    // Nobody asks for an embedding that changes nothing, since it is paid for.
    if router.inputs.embedding.is_some() && !rules.reads_embedding() {
        scratch.predictions.clear();
        return Ok(0);
    }
    Ok(best_plan(rules, router.predict(request, scratch)?))
}

/// The guard's own plan, if the request has one of its labels.
///
/// # Errors
/// [`MissingInput::GuardTag`] if the request lacks the tag that the guard reads.
pub(crate) fn guarded_plan(rules: &Rules, request: &RequestView<'_>) -> Result<Option<usize>, MissingInput> {
    let Some(guard) = &rules.guard else { return Ok(None) };
    let label = request.tags.iter().find(|(name, _)| *name == guard.tag);
    let (_, label) = label.ok_or_else(|| MissingInput::GuardTag(guard.tag.clone()))?;
    Ok(guard.keeps(label).then_some(rules.plans.len()))
}

/// Whether [`choose_plan`] needs an embedding of this request: the router reads one, and no guard goes before it. Only such
/// requests pay for one.
pub fn needs_embedding(rules: &Rules, request: &RequestView<'_>) -> bool {
    rules.reads_embedding() && matches!(guarded_plan(rules, request), Ok(None))
}

/// The plan that these predictions favour, as [`choose_plan`] chooses it where no guard goes before.
pub fn best_plan(rules: &Rules, predictions: &Predictions) -> usize {
    let Some(router) = &rules.router else { return 0 };
    argmax(router.shadow_price, expected(rules, predictions))
}

/// What is expected of each plan by these predictions: quality less the plan's penalty, and cost in US dollars. [`best_plan`]
/// weighs the one against the other.
pub fn expected<'a>(rules: &'a Rules, predictions: &'a Predictions) -> impl Iterator<Item = (f64, f64)> + 'a {
    rules.plans.iter().map(|plan| {
        if let Some(forecast) = &plan.forecast {
            return (
                forecast.quality.value(predictions) - plan.penalty,
                forecast.cost_usd.value(predictions),
            );
        }
        let tier = plan.stages.first().map_or(usize::MAX, |stage| stage.tier);
        let at = |values: &[f64]| values.get(tier).copied().unwrap_or(f64::NAN);
        (crate::decide::logistic(at(&predictions.log_odds)) - plan.penalty, at(&predictions.cost_usd))
    })
}
