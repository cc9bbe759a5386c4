//! The document.

use crate::Known;
use crate::calls::CallShares;
use crate::measure::{SIMPLER, Spread, Study};
use crate::sweeps::Varied;
use cascade_sdk_core::config::Family;
use std::fmt::Write as _;

const INTRODUCTION: &str = "\
# Findings on real eval logs

Made by

```sh
cargo run --release -p cascade-sdk-core --features fit --example findings -- FOLDER > docs/findings.md
```

from a folder of public logs in the format of [eval-log.md](reference/eval-log.md). The logs are not part of this
repository, because some of their licences are unclear; without them the command says which are missing.

**How it was measured.** Each log is cut in halves by group (rows with the same prompt stay together), several times.
Everything is chosen on one half: tiers in order of cost, signals, thresholds, λ, the router. Then the other half is
opened. A family is measured by `area_hull`: mean held-out quality over 20 budgets from the cheapest tier's cost to the
most accurate tier's, each corrected for what it spent more or less than its budget at the shadow price of that budget.
All figures are differences of that area, in percentage points of quality, of two families on the same split.
`[a, b]` after a mean are the 10 and 90 % points over splits; splits overlap, so these show variability and are no
confidence intervals. *95 %* is a bootstrap interval over groups at the frozen policies of the first split.
The paper is arXiv 2605.06350; its figures are recomputed from the curves that its authors released.
";

/// Writes the document.
pub(crate) fn write(studied: &[(Known, Study)], missing: &[&str], varied: Option<&Varied>) -> String {
    let mut text = INTRODUCTION.to_owned();
    if !missing.is_empty() {
        let _ = writeln!(text, "\nNot in the folder, hence not below: {}.", missing.join(", "));
    }
    if studied.is_empty() {
        return text;
    }
    logs(&mut text, studied);
    chains(&mut text, studied);
    depth(&mut text, studied);
    routers(&mut text, studied);
    recipe(&mut text, studied);
    text.push_str(&routed_cascades(studied));
    dear_calls(&mut text, studied);
    if let Some(varied) = varied {
        conditions(&mut text, varied);
    }
    text.push_str(ELSEWHERE);
    text
}

const ELSEWHERE: &str = "
## Certificates, speed, and a generic optimiser
Measured on synthetic logs, of which the truth is known, by programs that anyone can run again:

| what | command | last results |
|---|---|---|
| how often a certified promise fails, and what it costs | `cargo run --release -p cascade-sdk-core --features fit --example certificates` | [certificates.md](certificates.md) |
| speed, growth with the number of rows, memory | `cargo bench -p cascade-sdk-core --features fit --bench fit` | [benchmarks.md](benchmarks.md) |
| NSGA-II on the same chain problem | `cargo bench -p cascade-sdk-core --features fit --bench nsga2` | [benchmarks.md](benchmarks.md) |
";

fn points(value: f64) -> String {
    format!("{:+.2}", 100.0 * value)
}

fn spread(values: Vec<f64>) -> String {
    Spread::of(values).map_or_else(
        || "–".into(),
        |Spread { mean, low, high }| format!("{} [{}, {}]", points(mean), points(low), points(high)),
    )
}

fn interval(ends: Option<[f64; 2]>) -> String {
    ends.map_or_else(|| "–".into(), |[low, high]| format!("{} to {}", points(low), points(high)))
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), |value| format!("{value:.2}"))
}

/// How many of the differences are above 0.
fn ahead(differences: &[f64]) -> String {
    format!("{} of {}", differences.iter().filter(|value| **value > 0.0).count(), differences.len())
}

fn logs(text: &mut String, studied: &[(Known, Study)]) {
    text.push_str(
        "\n## The logs\n*Signal*: area under the ROC curve of a tier's best signal for its own answers, median over the \
         tiers that can escalate; *benefit*: the same for \"the dearest tier is better\". *Price ratio*: dearest over \
         cheapest tier.\n\n\
         | log | rows × tiers | price ratio | signal | benefit | splits | |\n|---|---|---|---|---|---|---|\n",
    );
    for (known, study) in studied {
        let _ = writeln!(
            text,
            "| {} | {} × {} | {:.0} | {} | {} | {} | {} |",
            known.name,
            study.rows,
            study.tiers,
            study.price_ratio,
            number(study.auroc),
            number(study.benefit_auroc),
            study.areas.len(),
            known.note
        );
    }
}

/// Logs on which cascades can do anything.
fn with_signals(studied: &[(Known, Study)]) -> Vec<&(Known, Study)> {
    studied.iter().filter(|(_, study)| study.auroc.is_some()).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Names of the logs whose mean difference is above (or not above) 0.
fn names<'a>(studied: &[&'a (Known, Study)], first: Family, second: Family, above: bool) -> Vec<&'a str> {
    studied
        .iter()
        .filter(|(_, study)| {
            let differences = study.differences(first, second);
            !differences.is_empty() && (mean(&differences) > 0.0) == above
        })
        .map(|(known, _)| known.name)
        .collect()
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

fn chains(text: &mut String, studied: &[(Known, Study)]) {
    text.push_str(
        "\n## Does the envelope of pairs beat the full chain?\n\
         The envelope holds every pair of tiers and every single tier; the full chain runs all non-dominated tiers in \
         order of cost and nothing else.\n\n\
         | log | pairs − single tiers | full chain − single tiers | pairs − full chain | 95 % | pairs ahead |\n\
         |---|---|---|---|---|---|\n",
    );
    let studied = with_signals(studied);
    for (known, study) in &studied {
        let lead = study.differences(Family::Pair, Family::FullChain);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            known.name,
            spread(study.differences(Family::Pair, Family::Single)),
            spread(study.differences(Family::FullChain, Family::Single)),
            spread(lead.clone()),
            interval(study.interval(Family::Pair, Family::FullChain)),
            ahead(&lead)
        );
    }
    let _ = writeln!(
        text,
        "\nOn average over splits the envelope is ahead on: {}. It is not on: {}.\n\n\
         The paper finds the envelope ahead by 2.96, 1.69, 3.34, 2.20 and 2.42 points on its five data sets. It chooses \
         the envelope's thresholds and its best pair on the test half, however, and the chain's on the calibration half; \
         the same shortcut is worth about 0.3 points. Here both are chosen on calibration rows.",
        list(&names(&studied, Family::Pair, Family::FullChain, true)),
        list(&names(&studied, Family::Pair, Family::FullChain, false)),
    );
}

fn depth(text: &mut String, studied: &[(Known, Study)]) {
    text.push_str(
        "\n## Do longer chains help on held-out rows?\n\
         Chains of up to three stages, searched exactly, against pairs. On calibration rows they are never worse.\n\n\
         | log | chains − single tiers | chains − pairs | 95 % | chains ahead |\n|---|---|---|---|---|\n",
    );
    let studied: Vec<_> = with_signals(studied).into_iter().filter(|(_, study)| study.tiers > 2).collect();
    for (known, study) in &studied {
        let lead = study.differences(Family::Chain, Family::Pair);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            known.name,
            spread(study.differences(Family::Chain, Family::Single)),
            spread(lead.clone()),
            interval(study.interval(Family::Chain, Family::Pair)),
            ahead(&lead)
        );
    }
    let _ = writeln!(
        text,
        "\nThe third stage pays on average on: {}; not on: {}.\n\n\
         The paper's optimised subsequences of up to four tiers differ from its envelope by +0.03, −0.24, −0.18, −0.09 \
         and −0.66 points, and its authors' later exact study finds −0.10 to +0.05 for three stages against two: depth is \
         fitted, not useful. Whether that holds depends on the signals: a third stage helps where the second tier's \
         score says something that the first one's does not.",
        list(&names(&studied, Family::Chain, Family::Pair, true)),
        list(&names(&studied, Family::Chain, Family::Pair, false)),
    );
}

fn routers(text: &mut String, studied: &[(Known, Study)]) {
    text.push_str(
        "\n## Where does a router beat the best cascade, and how much of that is structural?\n\
         Router − pairs = structural + signal + richness. *Structural*: not paying the cheap call of a request that goes \
         on. *Signal*: deciding before the cheap call rather than after it. *Richness*: choosing among all tiers rather \
         than two. *Interaction*: how far the first two depend on each other. κ*: the share of the cheap call's cost, \
         charged on escalation, at which cascade and router tie (mean over the splits that have one, and their number).\n\n\
         | log | router − single tiers | router − pairs | 95 % | structural | signal | richness | interaction | κ* | routed \
         cascade − pairs |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (known, study) in studied {
        let part = |of: fn(&cascade_sdk_core::fit::report::StructuralCost) -> f64| {
            study.structure(of).map_or_else(|| "–".into(), |spread| points(spread.mean))
        };
        let ties: Vec<f64> = study.structure.iter().filter_map(|cost| cost.tie_at_share).collect();
        let tie = if ties.is_empty() { "–".into() } else { format!("{:.2} ({})", mean(&ties), ties.len()) };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {tie} | {} |",
            known.name,
            spread(study.differences(Family::Router, Family::Single)),
            spread(study.differences(Family::Router, Family::Pair)),
            interval(study.interval(Family::Router, Family::Pair)),
            part(|cost| cost.structural),
            part(|cost| cost.signal),
            part(|cost| cost.richness),
            part(|cost| cost.interaction),
            spread(study.differences(Family::RoutedCascade, Family::Pair)),
        );
    }
    let all: Vec<_> = studied.iter().collect();
    let strong: Vec<f64> = studied
        .iter()
        .filter(|(_, study)| study.auroc.is_some())
        .flat_map(|(_, study)| study.structure.iter().map(|cost| cost.structural))
        .collect();
    let lost: Vec<f64> = studied
        .iter()
        .filter(|(_, study)| study.auroc.is_some())
        .flat_map(|(_, study)| study.structure.iter().map(|cost| cost.signal))
        .collect();
    let _ = writeln!(
        text,
        "\nThe router is ahead of the pairs on average on: {}; behind on: {}. Where there is a signal, not paying the cheap \
         call is worth {} points on average, and deciding without that signal costs {}.\n\n\
         The paper finds the router ahead by 1.22, 2.74, 1.27 and 2.93 points on four of its five data sets and behind by \
         2.55 on the fifth, and concludes that cascades pay a structural cost. The structural cost is real here too, but the \
         sign of the total is not a law: it is the structural gain less what the better signal of a finished answer is \
         worth. In the paper that signal is weak (benefit-AUROC .50 to .56 on three sets, .68 and .76 on the others).",
        list(&names(&all, Family::Router, Family::Pair, true)),
        list(&names(&all, Family::Router, Family::Pair, false)),
        points(mean(&strong)),
        points(mean(&lost)),
    );
}

/// The routed cascade against the best of what it contains.
pub(crate) fn routed_cascades(studied: &[(Known, Study)]) -> String {
    let mut text = "\n## Is the routed cascade as good as the best of what it contains?\n\
         It contains the pairs, the chains and the router, and does not know which of them is best; *best* below is chosen \
         afterwards, on held-out rows, by its mean over the splits, which favours it. *Error* is one standard error of the \
         difference on one split, paired by row, by group, mean over splits. `--routed` before the folder prints this table \
         alone.\n\n\
         | log | pairs | chains | router | routed cascade | best | routed cascade − best | error |\n\
         |---|---|---|---|---|---|---|---|\n"
        .to_owned();
    let (mut own, mut others, mut behind) = (Vec::new(), Vec::new(), Vec::new());
    for (known, study) in studied {
        let area = |family: Family| mean(&study.differences(family, Family::Single));
        let best = SIMPLER.into_iter().reduce(|best, next| if area(next) > area(best) { next } else { best });
        let Some(best) = best else { continue };
        let errors: Vec<f64> =
            study.routed_errors.iter().filter_map(|errors| errors.get(&best).copied()).collect();
        let lead = mean(&study.differences(Family::RoutedCascade, best));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {:.2} |",
            known.name,
            points(area(Family::Pair)),
            points(area(Family::Chain)),
            points(area(Family::Router)),
            points(area(Family::RoutedCascade)),
            best.name(),
            spread(study.differences(Family::RoutedCascade, best)),
            100.0 * mean(&errors),
        );
        own.push(area(Family::RoutedCascade));
        others.push(area(best));
        if lead < -mean(&errors) {
            behind.push(known.name);
        }
    }
    let _ = writeln!(
        text,
        "\nAll areas are over that of the single tiers. Mean over the logs: routed cascade {}, the best of each log {}. More \
         than one standard error behind: {}.",
        points(mean(&own)),
        points(mean(&others)),
        list(&behind)
    );
    text
}

/// RouteLLM's own figures on MMLU: dear calls at 50 and 80 % of the gap, and APGR (arXiv 2406.18665).
const ROUTE_LLM: [(&str, &str, &str, &str); 5] = [
    ("matrix factorisation", "35.5", "71.4", ".597"),
    ("similarity-weighted", "35.4", "71.6", ".603"),
    ("causal LLM", "35.5", "70.3", ".600"),
    ("BERT", "41.3", "72.2", ".572"),
    ("random", "50.1", "79.9", ".500"),
];

/// The router of the paper on three of these logs, as MATH.md 14 gives it: percentage points over the single tiers.
const RECIPE: [(&str, &str); 3] =
    [("zellinger_mmlu", "-0.10"), ("zellinger_medmcqa", "-0.18"), ("zellinger_triviaqa", "-0.18")];

fn recipe(text: &mut String, studied: &[(Known, Study)]) {
    let known = |name: &str| studied.iter().find(|(known, _)| known.name == name).map(|(_, study)| study);
    if RECIPE.iter().all(|(name, _)| known(name).is_none()) {
        return;
    }
    text.push_str(
        "\n## Is the router as good as the paper's?\n\
         The paper's router reads sentence embeddings (MiniLM, 384 numbers) by one L2 logistic model a tier, C = 1, and takes \
         each tier's mean cost. Its area on three of these logs was measured apart, over 20 halvings of its own; the router of \
         this project reads the prompts without any model, over the halvings of this document. Both are differences from the \
         single tiers. Halvings differ and tiers may, and no embedding was computed here: read the signs, not the hundredths.\n\n\
         | log | router, words and form of the prompt | the paper's recipe |\n|---|---|---|\n",
    );
    for (name, theirs) in RECIPE {
        let Some(study) = known(name) else { continue };
        let ours = spread(study.differences(Family::Router, Family::Single));
        let _ = writeln!(text, "| {name} | {ours} | {theirs} |");
    }
}

fn dear_calls(text: &mut String, studied: &[(Known, Study)]) {
    let of_two: Vec<_> = studied.iter().filter(|(_, study)| !study.calls.is_empty()).collect();
    if of_two.is_empty() {
        return;
    }
    text.push_str(
        "\n## Routers by dear calls\n\
         The measure of RouteLLM, which does not see prices: share of calls to the dear tier at which half and four fifths \
         of the gap in quality are closed, and the mean share of the gap closed over all shares of calls (APGR; a coin has \
         .500). Held-out rows, mean over splits.\n\n\
         | log | router | 50 % of the gap | 80 % | APGR |\n|---|---|---|---|---|\n",
    );
    for (known, study) in of_two {
        let average = |of: fn(&CallShares) -> f64| mean(&study.calls.iter().map(of).collect::<Vec<f64>>());
        let _ = writeln!(
            text,
            "| {} | this project's | {:.1} % | {:.1} % | {:.3} |",
            known.name,
            100.0 * average(|calls| calls.half),
            100.0 * average(|calls| calls.most),
            average(|calls| calls.mean)
        );
        if known.name == "routellm_mmlu" {
            for (router, half, most, mean) in ROUTE_LLM {
                let _ =
                    writeln!(text, "| {} | RouteLLM, {router} | {half} % | {most} % | {mean} |", known.name);
            }
        }
    }
    text.push_str(
        "\nRouteLLM's routers were trained on arena votes and about 1,500 labelled rows of this kind, and judged on all rows; \
         ours on half of this log, subjects included.\n",
    );
}

fn conditions(text: &mut String, varied: &Varied) {
    let header = "| pairs − single tiers | router − single tiers | router − pairs | structural | signal | richness |\n\
                  |---|---|---|---|---|---|---|\n";
    let row = |study: &Study| {
        let part = |of: fn(&cascade_sdk_core::fit::report::StructuralCost) -> f64| {
            study.structure(of).map_or_else(|| "–".into(), |spread| points(spread.mean))
        };
        format!(
            "{} | {} | {} | {} | {} | {}",
            spread(study.differences(Family::Pair, Family::Single)),
            spread(study.differences(Family::Router, Family::Single)),
            spread(study.differences(Family::Router, Family::Pair)),
            part(|cost| cost.structural),
            part(|cost| cost.signal),
            part(|cost| cost.richness),
        )
    };
    let _ = write!(
        text,
        "\n## On what it depends\n{} again, three splits, under other conditions.\n\n\
         Weaker signals: the rank of each signal mixed with noise.\n\n| noise (AUROC) {header}",
        crate::VARIED
    );
    for (noise, study) in &varied.noise {
        let _ = writeln!(text, "| {:.0} % ({}) | {} |", 100.0 * noise, number(study.auroc), row(study));
    }
    let _ = write!(
        text,
        "\nOther prices: the ratio of each tier's cost to the dearest one's raised to a power, which leaves the order as it \
         is.\n\n| power (price ratio) {header}"
    );
    for (power, study) in &varied.prices {
        let _ = writeln!(text, "| {power} ({:.0}) | {} |", study.price_ratio, row(study));
    }
    text.push_str(
        "\nThe strength of the signal decides: with noise in place of signals the pairs lose their lead over single tiers, \
         and the router, which does not read them, passes the cascade. Prices matter less: the nearer the cheap tier's \
         price is to the dear one's, the more a cascade pays for asking it first.\n\n\
         Metadata: on routellm_mmlu the only input besides the prompt is the subject, and routers there have no signal to \
         compete with; tags of that kind are worth handing to the router wherever an application has them.\n",
    );
}
