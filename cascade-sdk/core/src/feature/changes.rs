//! What changed between two routers, in words: for reviews of policies. No prompt text is named, since none is kept.

use super::{Inputs, Router, SURFACE_STATISTICS, TextInput};
use crate::decide::logistic;
use std::collections::BTreeMap;

/// Weights of named inputs that are listed at most.
const MOST_WEIGHTS: usize = 6;

/// A change of a weight, in nats per standard deviation (or per label), below which it is not worth a line.
const SMALL_WEIGHT: f64 = 0.05;

/// What changed between two routers, one sentence each; `tiers` are the names of the tiers that the heads predict. Empty
/// where they are the same. Of a router whose weights are not at hand only what stands in the policy is compared.
pub fn changes(old: Option<(&Router, &[String])>, new: Option<(&Router, &[String])>) -> Vec<String> {
    let ((old, old_tiers), (new, new_tiers)) = match (old, new) {
        (None, None) => return Vec::new(),
        (None, Some((new, _))) => return vec![format!("a router is new: it reads {}", reads(&new.inputs))],
        (Some((old, _)), None) => return vec![format!("the router is gone: it read {}", reads(&old.inputs))],
        (Some(old), Some(new)) => (old, new),
    };
    let mut lines = Vec::new();
    if old.shadow_price.to_bits() != new.shadow_price.to_bits() {
        lines.push(format!(
            "the router weighs a dollar at {:.1} of quality instead of {:.1}",
            new.shadow_price, old.shadow_price
        ));
    }
    inputs(&old.inputs, &new.inputs, &mut lines);
    let shared: Vec<(&str, usize, usize)> = new_tiers
        .iter()
        .enumerate()
        .filter_map(|(at, name)| Some((&**name, old_tiers.iter().position(|other| other == name)?, at)))
        .collect();
    for (name, before, after) in &shared {
        let share = |router: &Router, at: usize| {
            router.heads.intercept.get(at).map_or(f64::NAN, |&log_odds| 100.0 * logistic(log_odds))
        };
        let (before, after) = (share(old, *before), share(new, *after));
        if (before - after).abs() >= 1.0 {
            lines.push(format!(
                "{name}: expected to be right {after:.0} % of the time before anything is read, {before:.0} % before"
            ));
        }
    }
    let at_hand = old.awaits.is_none() && new.awaits.is_none();
    if at_hand {
        weights(old, new, &shared, &mut lines);
        embedding(old, new, &shared, &mut lines);
        hashed(old, new, &shared, &mut lines);
    }
    costs(old, new, &shared, &mut lines);
    if at_hand && lines.is_empty() && (old != new || old_tiers != new_tiers) {
        lines.push("the router's weights changed, none of them by much".to_owned());
    }
    lines
}

/// What a router reads, in words.
pub(crate) fn reads(inputs: &Inputs) -> String {
    let mut parts = Vec::new();
    if let Some(text) = &inputs.text {
        parts.push(
            if text.hashed { "words and form of the prompt" } else { "the form of the prompt" }.to_owned(),
        );
    }
    if let Some(embedding) = &inputs.embedding {
        parts.push(format!("an embedding by `{}`", embedding.model));
    }
    parts.extend(inputs.numbers.iter().map(|number| format!("the feature `{}`", number.name)));
    parts.extend(inputs.tags.iter().map(|tag| format!("the tag `{}`", tag.name)));
    if parts.is_empty() { "nothing of a request".to_owned() } else { parts.join(", ") }
}

fn inputs(old: &Inputs, new: &Inputs, lines: &mut Vec<String>) {
    let text = |inputs: &Inputs| match &inputs.text {
        None => "nothing of the prompt",
        Some(TextInput { hashed: false, .. }) => "the form of the prompt",
        Some(TextInput { hashed: true, .. }) => "words and form of the prompt",
    };
    if text(old) != text(new) {
        lines.push(format!("the router reads {} instead of {}", text(new), text(old)));
    }
    match (&old.embedding, &new.embedding) {
        (None, Some(after)) => {
            lines.push(format!("every request now needs an embedding by `{}`", after.model));
        }
        (Some(before), None) => {
            lines.push(format!("the embedding by `{}` is no longer read", before.model));
        }
        (None, None) => {}
        (Some(before), Some(after)) if before == after => {}
        (Some(before), Some(after))
            if (&before.model, before.dimensions) == (&after.model, after.dimensions) =>
        {
            lines.push(format!("the vectors of `{}` come from another file than before", after.model));
        }
        (Some(before), Some(after)) => lines.push(format!(
            "the router reads {} numbers of an embedding by `{}` instead of {} by `{}`",
            after.dimensions, after.model, before.dimensions, before.model
        )),
    }
    if let (Some(before), Some(after)) = (&old.text, &new.text) {
        for (part, before, after) in
            [("beginning", before.prefix, after.prefix), ("end", before.suffix, after.suffix)]
        {
            if before != after {
                lines.push(format!(
                    "the {part} that prompts share, and that is not read, is {} bytes of another text, {} before",
                    after.bytes, before.bytes
                ));
            }
        }
    }
    let numbers = |inputs: &Inputs| -> Vec<String> {
        inputs.numbers.iter().map(|number| number.name.clone()).collect()
    };
    let tags = |inputs: &Inputs| -> Vec<String> { inputs.tags.iter().map(|tag| tag.name.clone()).collect() };
    named("feature", &numbers(old), &numbers(new), lines);
    named("tag", &tags(old), &tags(new), lines);
    for after in &new.tags {
        let Some(before) = old.tags.iter().find(|tag| tag.name == after.name) else { continue };
        let added: Vec<&str> = missing(&before.levels, &after.levels);
        let gone: Vec<&str> = missing(&after.levels, &before.levels);
        if !added.is_empty() {
            lines.push(format!("the tag `{}` has a weight of its own for {}", after.name, some_of(&added)));
        }
        if !gone.is_empty() {
            lines.push(format!("the tag `{}` counts {} as other", after.name, some_of(&gone)));
        }
    }
}

/// The entries of `there` that `here` lacks.
fn missing<'a>(here: &[String], there: &'a [String]) -> Vec<&'a str> {
    there.iter().filter(|name| !here.contains(name)).map(String::as_str).collect()
}

fn some_of(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(5).map(|name| format!("`{name}`")).collect();
    let rest = names.len() - shown.len();
    if rest > 0 { format!("{} and {rest} more", shown.join(", ")) } else { shown.join(", ") }
}

fn named(kind: &str, old: &[String], new: &[String], lines: &mut Vec<String>) {
    let (added, gone) = (missing(old, new), missing(new, old));
    if !added.is_empty() {
        lines.push(format!("every request must now pass the {kind} {}", some_of(&added)));
    }
    if !gone.is_empty() {
        lines.push(format!("the {kind} {} is no longer read", some_of(&gone)));
    }
}

/// The named inputs whose weights changed most.
fn weights(old: &Router, new: &Router, shared: &[(&str, usize, usize)], lines: &mut Vec<String>) {
    let (before, after) = (by_name(old), by_name(new));
    let mut moved: Vec<(f64, String)> = Vec::new();
    for (input, weights) in &after {
        let Some(earlier) = before.get(input) else { continue };
        for &(tier, at_old, at_new) in shared {
            let (Some(&was), Some(&is)) = (earlier.get(at_old), weights.get(at_new)) else { continue };
            let change = (is - was).abs();
            if change >= SMALL_WEIGHT {
                moved.push((change, format!("{input} counts {is:+.2} for {tier}, {was:+.2} before")));
            }
        }
    }
    moved.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let rest = moved.len().saturating_sub(MOST_WEIGHTS);
    lines.extend(moved.into_iter().take(MOST_WEIGHTS).map(|(_, line)| line));
    if rest > 0 {
        lines.push(format!("{rest} more weights of named inputs changed by {SMALL_WEIGHT} or more"));
    }
}

/// Weights of dense inputs by name, in nats per standard deviation of the input or per label.
fn by_name(router: &Router) -> BTreeMap<String, Vec<f64>> {
    let tiers = router.heads.tiers().max(1);
    let surface = router.inputs.text.as_ref().map_or(0, |text| text.surface.len());
    let numbers = router.inputs.numbers.len();
    router
        .heads
        .dense
        .chunks_exact(tiers)
        .enumerate()
        .map(|(at, weights)| {
            let scale = if at < surface {
                1.0 / libm::sqrt(SURFACE_STATISTICS as f64)
            } else if at < surface + numbers {
                1.0 / libm::sqrt(numbers as f64)
            } else {
                1.0
            };
            let weights = weights.iter().map(|&weight| f64::from(weight) * scale).collect();
            (router.inputs.dense_name(at), weights)
        })
        .collect()
}

/// How alike the weights of the embedding are, where both routers read the same.
fn embedding(old: &Router, new: &Router, shared: &[(&str, usize, usize)], lines: &mut Vec<String>) {
    if old.inputs.embedding.is_none() || old.inputs.embedding != new.inputs.embedding {
        return;
    }
    for &(tier, at_old, at_new) in shared {
        let column = |router: &Router, at: usize| -> Vec<f64> {
            let tiers = router.heads.tiers().max(1);
            router.heads.embedding.chunks_exact(tiers).map(|weights| f64::from(weights[at])).collect()
        };
        if let Some(alike) = unlike(&column(old, at_old), &column(new, at_new)) {
            lines.push(format!(
                "{tier}: weights of the embedding agree with those before to {alike:.2} (1 is equal)"
            ));
        }
    }
}

/// The cosine of two columns of weights, where they differ by more than a little.
fn unlike(before: &[f64], after: &[f64]) -> Option<f64> {
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let size = libm::sqrt(product(before, before) * product(after, after));
    let alike = if size > 0.0 { product(before, after) / size } else { 1.0 };
    (alike < 0.99).then_some(alike)
}

/// How alike the weights of words are: their correlation over all hashed inputs.
fn hashed(old: &Router, new: &Router, shared: &[(&str, usize, usize)], lines: &mut Vec<String>) {
    let lengths = (old.inputs.hashed_len(), new.inputs.hashed_len());
    if lengths.0 == 0 || lengths.0 != lengths.1 {
        return;
    }
    for &(tier, at_old, at_new) in shared {
        let column = |router: &Router, at: usize| -> Vec<f64> {
            let tiers = router.heads.tiers().max(1);
            let step = router.heads.step.get(at).copied().unwrap_or(0.0);
            let weights = router.heads.hashed.chunks_exact(tiers);
            weights.map(|weights| f64::from(weights[at]) * f64::from(step)).collect()
        };
        if let Some(alike) = unlike(&column(old, at_old), &column(new, at_new)) {
            lines
                .push(format!("{tier}: weights of words agree with those before to {alike:.2} (1 is equal)"));
        }
    }
}

fn costs(old: &Router, new: &Router, shared: &[(&str, usize, usize)], lines: &mut Vec<String>) {
    for &(tier, at_old, at_new) in shared {
        let (Some(before), Some(after)) = (old.heads.cost.get(at_old), new.heads.cost.get(at_new)) else {
            continue;
        };
        let basis = |head: &super::CostHead| match (head.dense.is_empty(), head.per_byte != 0.0) {
            (false, _) => "all inputs",
            (true, true) => "the prompt's length",
            (true, false) => "nothing",
        };
        if basis(before) != basis(after) {
            lines.push(format!(
                "{tier}: its cost is predicted from {} instead of {}",
                basis(after),
                basis(before)
            ));
            continue;
        }
        // At the mean of all other inputs, which are standardised.
        let at_1_kb = |head: &super::CostHead| head.predict(1_000.0, &[]);
        let (before, after) = (at_1_kb(before), at_1_kb(after));
        if (after - before).abs() > 0.01 * before.abs() {
            lines.push(format!(
                "{tier}: a call with a prompt of 1 kB is expected to cost ${after:.2e} instead of ${before:.2e}"
            ));
        }
    }
}
