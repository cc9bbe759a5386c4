//! `stop` of a stage: when its answer is given up while it arrives.

use super::fields::Fields;
use super::names::Names;
use super::{AcceptRule, Cut, EarlyEffect, PrefixCut, ScoreInput, ScoreSource, Stop, codes};
use crate::document::read::{Findings, Item};
use crate::document::write::{Writer, inline, list, number};
use crate::policy::Score;
use crate::signal::BuiltIn;

pub(super) const KEYS: &[&str] = &["most_tokens", "below"];
pub(super) const EFFECT: &[&str] = &["cost_saving", "quality_change", "tokens_spared"];

/// `{ most_tokens = 512, below = [[8, -1.3], [32, -0.7]] }`.
pub(super) fn write(stop: &Stop) -> String {
    let mut entries = Vec::new();
    if let Some(most) = stop.most_tokens {
        entries.push(("most_tokens", most.to_string()));
    }
    let cuts = stop.cuts.iter().map(|cut| list([cut.after.to_string(), number(cut.below)]));
    entries.push(("below", list(cuts)));
    inline(entries)
}

/// Reads it; `rule` is that of its stage.
pub(super) fn read<'d>(
    findings: &'d Findings,
    item: &Item<'d>,
    rule: Option<AcceptRule>,
    names: &Names<'_>,
    scores: &[Option<Score>],
) -> Option<Stop> {
    let mut fields = Fields { table: item.table(findings)?, known: KEYS };
    let most_tokens = match fields.table.take("most_tokens") {
        Some(item) => Some(item.natural(findings)?),
        None => None,
    };
    let below = fields.item("below");
    fields.finish();
    let below = below?;
    let cuts: Option<Vec<_>> = below.list(findings)?.iter().map(|item| cut(findings, item)).collect();
    let cuts = cuts?;
    if cuts.windows(2).any(|pair| pair[0].after >= pair[1].after) {
        findings.push(below.out_of_range(findings, "must have strictly increasing numbers of tokens"));
        return None;
    }
    if !rule.is_some_and(|rule| runs_with_the_tokens(rule, names, scores)) {
        let message = format!(
            "`{}` stops answers by a score that nobody knows while they arrive: it must read its stage's score, and that \
             nothing but log-probabilities",
            item.path
        );
        findings.push(item.error(findings, codes::INVALID_PLAN, message, ""));
        return None;
    }
    Some(Stop { most_tokens, cuts })
}

fn cut(findings: &Findings, item: &Item<'_>) -> Option<PrefixCut> {
    let pair = item.list(findings)?;
    let [after, below] = pair.as_slice() else {
        findings.push(item.out_of_range(findings, "must be a number of tokens and a score"));
        return None;
    };
    let (tokens, below) = (after.natural(findings)?, below.number(findings)?);
    let tokens = u32::try_from(tokens).ok().filter(|tokens| *tokens > 0);
    if tokens.is_none() {
        findings.push(after.out_of_range(findings, "must be a number of tokens from 1 on"));
    }
    Some(PrefixCut { after: tokens?, below })
}

/// As [`super::Rules::runs_with_the_tokens`], before there are rules.
fn runs_with_the_tokens(rule: AcceptRule, names: &Names<'_>, scores: &[Option<Score>]) -> bool {
    let built_in =
        |signal: usize| names.signals.get(signal).is_some_and(|name| BuiltIn::parse(name).is_some());
    let signals = match rule.score {
        ScoreSource::Signal(signal) => vec![signal],
        ScoreSource::Score(score) => {
            // What is wrong with one that cannot be read is reported there.
            let Some(Some(score)) = scores.get(score) else { return true };
            let read = score.terms.iter().filter_map(|term| match term.input {
                ScoreInput::Signal(signal) => Some(signal),
                ScoreInput::Prediction(_) => None,
            });
            read.collect()
        }
    };
    Cut::needs_score(rule.at_least) && !signals.is_empty() && signals.into_iter().all(built_in)
}

/// `[expected.early_escalation]`.
pub(super) fn write_effect(writer: &mut Writer, effect: &EarlyEffect) {
    writer.table("expected.early_escalation");
    for (key, estimate) in
        EFFECT.iter().zip([&effect.cost_saving, &effect.quality_change, &effect.tokens_spared])
    {
        writer.pair(key, super::write::estimate(estimate));
    }
}

pub(super) fn read_effect(mut fields: Fields<'_>) -> Option<EarlyEffect> {
    let cost_saving = fields.estimate("cost_saving");
    let quality_change = fields.estimate("quality_change");
    let tokens_spared = fields.estimate("tokens_spared");
    fields.finish();
    Some(EarlyEffect {
        cost_saving: cost_saving?,
        quality_change: quality_change?,
        tokens_spared: tokens_spared?,
    })
}
