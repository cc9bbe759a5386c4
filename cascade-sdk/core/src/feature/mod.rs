//! Prompt features and the router that reads them: what is known before anything is generated.
//!
//! A [`Router`] turns a request into numbers ([`Inputs`]), predicts quality and cost of every tier with linear heads,
//! and [`choose_plan`] takes the plan with the highest predicted quality − λ · predicted cost (MATH.md 7 and 14). The
//! fit, replay and the runtime run this same code on the same bytes.

mod changes;
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
#[cfg(feature = "fit")]
pub(crate) use inputs::{Encoded, single};
pub use inputs::{Inputs, NumberInput, Standard, TagInput, TextInput};
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
    fn capacities(&self) -> [usize; 6] {
        let [words, pieces] = self.reading.capacities();
        let Self { encoded, sums, predictions, .. } = self;
        [
            words,
            pieces,
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
    /// The router's weights: the file of that name beside the policy was not read.
    Weights(String),
}

impl std::fmt::Display for MissingInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Feature(name) => write!(f, "the policy's router needs the feature `{name}`"),
            Self::Tag(name) => write!(f, "the policy's router needs the tag `{name}`"),
            Self::GuardTag(name) => write!(f, "the policy's guard needs the tag `{name}`"),
            Self::Weights(file) => write!(f, "the policy's router needs the weights in `{file}`"),
        }
    }
}

/// Chooses a plan from the prompt: argmax of predicted quality − penalty − λ · predicted cost; of equal plans the cheaper, then
/// the first. Without a router the first plan is chosen, or in a mixture the one that the request's id draws. A guard goes
/// before: a request with one of its labels gets the guard's own plan, whose number is that after the last.
///
/// # Errors
/// [`MissingInput`] if the router or the guard needs a feature or tag that the request lacks.
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

/// The plan that these predictions favour, as [`choose_plan`] chooses it where no guard goes before.
pub fn best_plan(rules: &Rules, predictions: &Predictions) -> usize {
    let Some(router) = &rules.router else { return 0 };
    let options = rules.plans.iter().map(|plan| {
        if let Some(forecast) = &plan.forecast {
            return (
                forecast.quality.value(predictions) - plan.penalty,
                forecast.cost_usd.value(predictions),
            );
        }
        let tier = plan.stages.first().map_or(usize::MAX, |stage| stage.tier);
        let at = |values: &[f64]| values.get(tier).copied().unwrap_or(f64::NAN);
        (crate::decide::logistic(at(&predictions.log_odds)) - plan.penalty, at(&predictions.cost_usd))
    });
    argmax(router.shadow_price, options)
}
