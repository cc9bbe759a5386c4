//! The verdict: is the selected policy worth it, against what, by how much, and how sure are we (DESIGN.md 7).

use super::held::{Held, Holds};
use super::objective::Target;
use crate::config::{Family, Goal};
use crate::fit::inference::compare::{Comparison, Means};
use crate::fit::inference::crossfit::Rival;
use crate::fit::rows::table::{Table, Totals};
use crate::money::DAYS_PER_MONTH;
use crate::policy::{Abstained, Estimate};
use std::fmt::Write as _;

/// What a reviewer reads first.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// True iff the selected policy beats the best single tier and the mixture of single tiers, in the objective's
    /// terms, with 95 % intervals that exclude 0, and does so too without the held-out rows that nearly repeat a calibration
    /// row.
    pub worth_it: bool,
    /// The tier it was compared with: the best single tier that keeps the constraint on calibration rows.
    pub versus: Option<String>,
    /// Held-out quality minus the reference's.
    pub quality_gain: Option<Estimate>,
    /// 1 − cost / the reference's cost, held-out.
    pub cost_saving: Option<Estimate>,
    /// What it saves against the reference in US dollars a month, negative where it costs more; where the route says how
    /// many calls a day it has.
    pub monthly_saving_usd: Option<Estimate>,
    /// Gain over the random mixture of single tiers at equal calibration cost, in quality at equal cost.
    pub gain_over_mixture: Option<Estimate>,
    /// The smallest gain, in quality, that these held-out rows show with a power of 80 %; `None` also where they are so few
    /// that no gain that is possible would show.
    pub smallest_visible_gain: Option<f64>,
    /// Held-out rows at which a gain of `smallest_gain` would show with a power of 80 %.
    pub rows_needed: Option<u64>,
    /// Whether the objective's bound holds on held-out rows; `None` where it bounds no mean.
    pub objective: Option<Held>,
    /// The same in plain words.
    pub text: String,
}

/// The policies of a comparison that the verdict speaks of: positions in the [`Comparison`].
#[derive(Clone, Debug)]
pub struct Contestants {
    /// The selected policy.
    pub selected: usize,
    /// First position of the single tiers; tier `t` of the table is at `singles + t`.
    pub singles: usize,
}

/// Facts about the fit that the verdict needs.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The selected family.
    pub family: Family,
    /// Sums of the selected policy on calibration rows.
    pub calibration: Totals,
    /// The single tier the selected policy is, if it is one.
    pub selected_tier: Option<usize>,
    /// The family that may most be better than the selected one, on calibration rows.
    pub rival: Option<Rival>,
    /// The objective.
    pub goal: &'a Goal,
    /// The objective on calibration rows.
    pub target: Target,
    /// Rows on which nothing cheaper than the reference of a loss could be certified, so that it was fallen back on.
    pub nothing_cheaper_on: Option<usize>,
    /// The gain worth deciding on, in quality.
    pub smallest_gain: f64,
    /// Calls a day, if the route says so.
    pub calls_per_day: Option<f64>,
    /// The tiers that keep limits on tails, among which references are chosen.
    pub eligible: Vec<usize>,
    /// Calibration rows of the table.
    pub rows: &'a [u32],
    /// Number of held-out rows.
    pub test_rows: usize,
    /// The same verdict without the held-out rows that nearly repeat a calibration row, if there are such and others.
    pub apart: Option<&'a Apart>,
}

/// A verdict on the held-out rows that repeat no calibration row, not even nearly.
#[derive(Clone, Debug, PartialEq)]
pub struct Apart {
    /// How many there are.
    pub rows: usize,
    /// What they say.
    pub verdict: Verdict,
}

/// z for a two-sided test at 5 % plus z for a power of 80 %.
const DETECTION: f64 = 1.959_963_985 + 0.841_621_234;

/// The best of some single tiers that keeps the constraint, by the objective, on calibration rows.
pub fn reference_tier(table: &Table, rows: &[u32], target: Target, tiers: &[usize]) -> Option<usize> {
    let better = |a: Totals, b: Totals| match target {
        Target::Budget(_) => (a.quality, -a.cost) > (b.quality, -b.cost),
        Target::Floor(_) => (-a.cost, a.quality) > (-b.cost, b.quality),
        Target::Price(price) => {
            let value = |totals: Totals| totals.quality as f64 - price * totals.cost as f64;
            value(a) > value(b)
        }
    };
    tiers
        .iter()
        .map(|&tier| (tier, table.single(tier, rows)))
        .filter(|(_, totals)| target.is_met(*totals))
        .reduce(|best, next| if better(next.1, best.1) { next } else { best })
        .map(|(tier, _)| tier)
}

/// The mixture of two of some single tiers on their hull that costs `cost` on calibration rows: (cheap, dear, weight of
/// the dear one, slope in quality per US dollar).
pub fn mixture_at(
    table: &Table,
    rows: &[u32],
    cost: i128,
    tiers: &[usize],
) -> Option<(usize, usize, f64, f64)> {
    let singles: Vec<(Totals, usize)> = tiers.iter().map(|&tier| (table.single(tier, rows), tier)).collect();
    let set = crate::fit::frontier::point_set::PointSet::new(singles);
    let hull: Vec<&(Totals, usize)> = set.hull().collect();
    let first = hull.first()?;
    let after = hull.partition_point(|vertex| vertex.0.cost <= cost);
    match (after.checked_sub(1).and_then(|at| hull.get(at)), hull.get(after)) {
        (Some(left), Some(right)) => {
            let width = (right.0.cost - left.0.cost) as f64;
            let slope = (right.0.quality - left.0.quality) as f64 / width;
            Some((left.1, right.1, (cost - left.0.cost) as f64 / width, slope))
        }
        (Some(last), None) => Some((last.1, last.1, 0.0, 0.0)),
        (None, _) => Some((first.1, first.1, 0.0, 0.0)),
    }
}

/// Judges the selected policy on held-out rows.
pub fn judge(comparison: &Comparison, who: &Contestants, table: &Table, facts: &Facts<'_>) -> Verdict {
    let versus = match facts.goal {
        Goal::MaxQualityLoss { versus, .. } => table.tiers.iter().position(|tier| &tier.name == versus),
        _ => None,
    };
    let objective = Held::of(facts.goal, comparison, who.selected, versus.map(|tier| who.singles + tier));
    let Some(reference) = reference_tier(table, facts.rows, facts.target, &facts.eligible) else {
        return Verdict {
            worth_it: facts.selected_tier.is_none(),
            versus: None,
            quality_gain: None,
            cost_saving: None,
            monthly_saving_usd: None,
            gain_over_mixture: None,
            smallest_visible_gain: None,
            rows_needed: None,
            text: if facts.selected_tier.is_none() {
                "Worth it for the objective's sake: no single tier keeps its constraints on calibration rows, so there is \
                 nothing to compare with."
                    .to_owned()
                    + &broken(objective.as_ref(), true)
            } else {
                "No single tier keeps the objective's constraints on calibration rows, so there is nothing to compare with."
                    .to_owned()
                    + &broken(objective.as_ref(), false)
            },
            objective,
        };
    };
    let single = who.singles + reference;
    let name = &table.tiers[reference].name;
    let gain = |m: &dyn Fn(usize) -> Means| m(who.selected).quality - m(single).quality;
    let saving = |m: &dyn Fn(usize) -> Means| 1.0 - m(who.selected).cost / m(single).cost;
    // The objective's terms: quality for a budget, dollars for a floor, both at a price.
    let in_terms = |m: &dyn Fn(usize) -> Means| match facts.target {
        Target::Budget(_) => gain(m),
        Target::Floor(_) => m(single).cost - m(who.selected).cost,
        Target::Price(price) => gain(m) - price * (m(who.selected).cost - m(single).cost),
    };
    let mixture = mixture_at(table, facts.rows, facts.calibration.cost, &facts.eligible);
    let over_mixture = mixture.map(|(cheap, dear, share, slope)| {
        comparison.paired(|m| {
            let (a, b) = (m(who.singles + cheap), m(who.singles + dear));
            let mixed = Means {
                quality: a.quality + share * (b.quality - a.quality),
                cost: a.cost + share * (b.cost - a.cost),
            };
            // Held-out costs differ a little; the mixture's own slope converts the difference into quality.
            m(who.selected).quality - mixed.quality - slope * (m(who.selected).cost - mixed.cost)
        })
    });
    let versus_single = comparison.paired(in_terms);
    let standard_error = comparison.standard_error(gain);
    let beats = |estimate: &Estimate| estimate.low > 0.0;
    // Rows whose near-duplicate was fitted on flatter whatever was fitted.
    let holds_apart = facts.apart.is_none_or(|apart| apart.verdict.worth_it);
    let worth_it = facts.selected_tier.is_none()
        && beats(&versus_single)
        && over_mixture.as_ref().is_some_and(beats)
        && holds_apart;
    let quality_gain = comparison.paired(gain);
    let cost_saving = comparison.paired(saving);
    // One model against itself shows nothing held-out: what its rivals might gain is known from calibration rows.
    let (standard_error, rows) = match (facts.selected_tier, facts.rival) {
        (Some(_), Some(rival)) => (rival.standard_error, facts.rows.len()),
        _ => (standard_error, facts.test_rows),
    };
    let mut verdict = Verdict {
        worth_it,
        versus: Some(name.clone()),
        quality_gain: Some(quality_gain),
        cost_saving: Some(cost_saving),
        monthly_saving_usd: facts.calls_per_day.map(|calls| {
            comparison.paired(|m| (m(single).cost - m(who.selected).cost) * calls * DAYS_PER_MONTH)
        }),
        gain_over_mixture: over_mixture,
        smallest_visible_gain: Some(DETECTION * standard_error).filter(|gain| *gain > 0.0 && *gain <= 1.0),
        rows_needed: rows_needed(standard_error, rows, facts.smallest_gain),
        objective,
        text: String::new(),
    };
    verdict.text = words(&verdict, table, name, &versus_single, facts, comparison, who);
    verdict
}

/// Rows at which `smallest_gain` would show: the variance of the paired difference scales with 1 / rows.
fn rows_needed(standard_error: f64, rows: usize, smallest_gain: f64) -> Option<u64> {
    let variance = rows as f64 * standard_error * standard_error;
    (variance > 0.0).then(|| rows_to_show(smallest_gain, variance))
}

/// Held-out rows at which a gain shows with a power of 80 % (two-sided test at 5 %), from the variance of one row's
/// paired difference. An observed gain takes no part: planning with it is known to mislead (MATH.md 11).
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive, and saturating at u64::MAX"
)]
pub fn rows_to_show(gain: f64, variance: f64) -> u64 {
    let ratio = DETECTION / gain;
    (variance * ratio * ratio).ceil() as u64
}

/// The smallest gain that so many held-out rows show with a power of 80 %; the inverse of [`rows_to_show`].
pub fn visible_gain(rows: u64, variance: f64) -> f64 {
    DETECTION * (variance / rows as f64).sqrt()
}

fn words(
    verdict: &Verdict,
    table: &Table,
    reference: &str,
    versus_single: &Estimate,
    facts: &Facts<'_>,
    comparison: &Comparison,
    who: &Contestants,
) -> String {
    let mut text = String::new();
    let points = |estimate: &Estimate| {
        format!(
            "{:+.1} points [{:+.1}, {:+.1}]",
            100.0 * estimate.value,
            100.0 * estimate.low,
            100.0 * estimate.high
        )
    };
    let percent = |estimate: &Estimate| {
        format!(
            "{:+.1} % [{:+.1}, {:+.1}]",
            100.0 * estimate.value,
            100.0 * estimate.low,
            100.0 * estimate.high
        )
    };
    let family = facts.family.name().replace('_', " ");
    if let Some(tier) = facts.selected_tier {
        text.push_str(&one_model(&table.tiers[tier].name, facts));
        text.push_str(&broken(verdict.objective.as_ref(), false));
    } else {
        let (gain, saving) =
            (verdict.quality_gain.unwrap_or_default(), verdict.cost_saving.unwrap_or_default());
        let beats_single = versus_single.low > 0.0;
        let opening = if verdict.worth_it {
            format!("Worth it: the {family} policy beats")
        } else if versus_single.high < 0.0 {
            format!("Not worth it: the {family} policy loses to")
        } else if beats_single {
            format!("The verdict is undecided: the {family} policy beats")
        } else {
            format!("The verdict is undecided: the {family} policy does not clearly beat")
        };
        let _ = write!(
            text,
            "{opening} always using `{reference}`: quality {}, cost {} on held-out rows.",
            points(&gain),
            percent(&Estimate { value: -saving.value, low: -saving.high, high: -saving.low })
        );
        text.push_str(&broken(verdict.objective.as_ref(), verdict.worth_it));
        if let Some(mixture) = &verdict.gain_over_mixture {
            let beyond = if beats_single && mixture.low <= 0.0 {
                "But it does not clearly beat drawing single tiers at random at equal cost"
            } else {
                "Against drawing single tiers at random at equal cost"
            };
            let _ = write!(text, " {beyond}: {}.", points(mixture));
        }
    }
    if let Some(Apart { rows, verdict: apart }) = facts.apart.filter(|_| facts.selected_tier.is_none()) {
        let saving = apart.cost_saving.unwrap_or_default();
        let change = match (verdict.worth_it, apart.worth_it, &verdict.gain_over_mixture) {
            (false, false, Some(mixture)) if beats_single_and(versus_single, mixture) => {
                " That is not clearly better, and rows which nearly repeat what was fitted on prove nothing."
            }
            _ => "",
        };
        let _ = write!(
            text,
            " On the {rows} of {} held-out rows that do not nearly repeat a calibration row: quality {}, cost {}.{change}",
            facts.test_rows,
            points(&apart.quality_gain.unwrap_or_default()),
            percent(&Estimate { value: -saving.value, low: -saving.high, high: -saving.low })
        );
    }
    if let Some((Abstained { share, quality_answered }, worth)) = comparison.abstained(who.selected) {
        let _ = write!(
            text,
            " It answers \"don't know\" to {:.1} % of requests, which counts as a quality of {worth}; where it answers, \
             quality is {:.1} %.",
            100.0 * share.value,
            100.0 * quality_answered.value
        );
    }
    let single_model = facts.selected_tier.is_some();
    let (rows, kind) =
        if single_model { (facts.rows.len(), "calibration") } else { (facts.test_rows, "held-out") };
    let refuted = facts.selected_tier.is_none() && versus_single.high < 0.0;
    if let Some(needed) =
        verdict.rows_needed.filter(|_| !verdict.worth_it && !refuted && facts.nothing_cheaper_on.is_none())
    {
        let shown = rows_show(rows as u64, kind, verdict.smallest_visible_gain);
        let _ = write!(text, " {shown}");
        if needed > rows as u64 {
            let _ = write!(text, "; {}", rows_are_needed(facts.smallest_gain, needed, kind));
        }
        text.push('.');
    }
    if let (Some(calls), Some(monthly), false) =
        (facts.calls_per_day, &verdict.monthly_saving_usd, single_model)
    {
        text.push_str(&monthly_words(calls, monthly, reference));
    }
    text
}

fn beats_single_and(versus_single: &Estimate, mixture: &Estimate) -> bool {
    versus_single.low > 0.0 && mixture.low > 0.0
}

/// The smallest gain that rows of a kind show, in words; `None` where none that is possible would show.
pub fn rows_show(rows: u64, kind: &str, visible: Option<f64>) -> String {
    match visible {
        Some(gain) => {
            format!(
                "The smallest gain that these {rows} {kind} rows could have shown is {:.1} points",
                100.0 * gain
            )
        }
        None => format!("These {rows} {kind} rows could have shown no gain that is possible"),
    }
}

/// The rows that it takes to show the smallest gain worth deciding on, in words.
pub fn rows_are_needed(smallest_gain: f64, needed: u64, kind: &str) -> String {
    format!("for {:.1} points (smallest_gain) about {needed} {kind} rows are needed", 100.0 * smallest_gain)
}

/// A sentence that held-out rows refute the objective, if they do.
fn broken(objective: Option<&Held>, but: bool) -> String {
    let Some(held) = objective.filter(|held| held.holds == Holds::No) else { return String::new() };
    let mut text = held.text.clone();
    if but {
        return format!(" But {text}.");
    }
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    format!(" {text}.")
}

/// Whether one model is a finding or only what is left when these rows cannot tell.
fn one_model(reference: &str, facts: &Facts<'_>) -> String {
    if let Some(rows) = facts.nothing_cheaper_on {
        return format!("Use one model: `{reference}`. Nothing cheaper could be certified on {rows} rows.");
    }
    let Some(rival) = facts.rival else { return format!("Use one model: `{reference}`.") };
    let family = rival.family.name().replace('_', " ");
    let most = 100.0 * rival.most();
    if rival.most() > facts.smallest_gain {
        format!(
            "The verdict is undecided, so use one model, the simplest: `{reference}`. On calibration rows no other family is \
             clearly better, but the {family} may still gain up to {most:.1} points (95 % limit, at equal cost)."
        )
    } else {
        format!(
            "Use one model: `{reference}`. On calibration rows no other family gains {:.1} points (smallest_gain) at equal \
             cost: the {family} comes nearest, with at most {most:+.1} (95 % limit).",
            100.0 * facts.smallest_gain
        )
    }
}

/// What a saving a month (negative where the policy costs more) means in dollars.
fn monthly_words(calls: f64, saving: &Estimate, reference: &str) -> String {
    if saving.value == 0.0 && saving.low == 0.0 && saving.high == 0.0 {
        return String::new();
    }
    let opening = format!(" At {calls} calls a day");
    let (low, high) = (saving.low, saving.high);
    if low >= 0.0 {
        format!(
            "{opening} it saves {} USD a month against `{reference}` [{}, {}].",
            whole(saving.value),
            whole(low),
            whole(high)
        )
    } else if high <= 0.0 {
        format!(
            "{opening} it costs {} USD a month more than `{reference}` [{}, {}].",
            whole(-saving.value),
            whole(-high),
            whole(-low)
        )
    } else {
        format!(
            "{opening} its cost a month lies between {} USD less and {} USD more than that of `{reference}`.",
            whole(high),
            whole(-low)
        )
    }
}

fn whole(dollars: f64) -> String {
    if dollars.abs() < 100.0 { format!("{dollars:.2}") } else { format!("{dollars:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_say_who_pays() {
        let words = |value, low, high| monthly_words(1000.0, &Estimate { value, low, high }, "big");
        assert_eq!(
            words(14.07, 12.0, 150.4),
            " At 1000 calls a day it saves 14.07 USD a month against `big` [12.00, 150]."
        );
        assert_eq!(
            words(-14.07, -16.0, -12.5),
            " At 1000 calls a day it costs 14.07 USD a month more than `big` [12.50, 16.00]."
        );
        assert_eq!(
            words(1.0, -2.0, 3.0),
            " At 1000 calls a day its cost a month lies between 3.00 USD less and 2.00 USD more than that of `big`."
        );
        assert_eq!(words(0.0, 0.0, 0.0), "");
    }
}
