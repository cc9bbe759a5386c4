//! Logs with known properties, and a configuration for them.

use cascade_sdk_core::config::{Config, Goal, Objective};
use cascade_sdk_core::diag::Source;
use cascade_sdk_core::fit::random::SplitMix64;
use cascade_sdk_core::fit::route::{FitInput, FitOptions, FitOutcome, fit_route};
use cascade_sdk_core::log::{EvalLog, LogSource, ReadOptions, read};
use cascade_sdk_core::policy;
use std::fmt::Write as _;

/// A log of tiers `a`, `b`, `c` (cheap to dear). `strength` in [0, 1] says how much the signal tells of correctness.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe {
    pub(crate) rows: usize,
    pub(crate) seed: u64,
    pub(crate) strength: f64,
    pub(crate) accuracies: [f64; 3],
    /// Whether quality takes values between 0 and 1.
    pub(crate) real_valued: bool,
    /// Rows of one group, which share their difficulty; 1 for rows on their own.
    pub(crate) group_size: usize,
    /// Whether results say how long they took: 50 to 150 ms, 150 to 450 ms, 450 to 1,350 ms.
    pub(crate) latencies: bool,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            rows: 600,
            seed: 1,
            strength: 0.9,
            accuracies: [0.5, 0.7, 0.9],
            real_valued: false,
            group_size: 1,
            latencies: false,
        }
    }
}

impl Recipe {
    /// The log as JSON lines; `half` names the half of a row.
    pub(crate) fn lines(&self, half: impl Fn(usize) -> Option<&'static str>) -> Vec<String> {
        let mut random = SplitMix64::new(self.seed, 0);
        let mut difficulty = 0.0;
        let mut clock = SplitMix64::new(self.seed, 1);
        (0..self.rows)
            .map(|row| {
                if row % self.group_size == 0 {
                    difficulty = random.fraction();
                }
                let mut line = format!(r#"{{"id":"r{row:05}","input":"prompt number {row}""#);
                if self.group_size > 1 {
                    let _ = write!(line, r#","group":"g{}""#, row / self.group_size);
                }
                if let Some(half) = half(row) {
                    let _ = write!(line, r#","split":"{half}""#);
                }
                line.push_str(r#","results":{"#);
                for (tier, (name, accuracy)) in ["a", "b", "c"].into_iter().zip(self.accuracies).enumerate() {
                    // Half of what decides is shared between the tiers: the difficulty of the row.
                    let luck = f64::midpoint(difficulty, random.fraction());
                    // The sum of two uniforms, halved, has this distribution function.
                    let level = if luck < 0.5 { 2.0 * luck * luck } else { 1.0 - 2.0 * (1.0 - luck) * (1.0 - luck) };
                    let margin = accuracy - level;
                    let quality = match (self.real_valued, margin > 0.0) {
                        (true, _) => ((margin + 0.5).clamp(0.0, 1.0) * 8.0).round() / 8.0,
                        (false, right) => f64::from(u8::from(right)),
                    };
                    let signal = self.strength * margin + (1.0 - self.strength) * (random.fraction() - 0.5);
                    let cost = [1e-5, 4e-5, 2e-4][tier] * (0.5 + random.fraction());
                    if tier > 0 {
                        line.push(',');
                    }
                    let latency = if self.latencies {
                        format!(r#""latency_ms":{:.1},"#, [100.0, 300.0, 900.0][tier] * (0.5 + clock.fraction()))
                    } else {
                        String::new()
                    };
                    let _ = write!(
                        line,
                        r#""{name}":{{"quality":{quality},"cost_usd":{cost:.9},{latency}"signals":{{"confidence":{signal:.3}}}}}"#
                    );
                }
                line.push_str("}}");
                line
            })
            .collect()
    }

    pub(crate) fn log(&self) -> EvalLog {
        log_of(&self.lines(|_| None))
    }
}

pub(crate) fn log_of(lines: &[String]) -> EvalLog {
    let text = lines.join("\n");
    read([LogSource::new("log.jsonl", text.as_bytes())], &ReadOptions::default()).expect("a good log").log
}

/// A configuration with one route `answer` over the three tiers.
pub(crate) fn config(goal: Goal, confidence: Option<f64>) -> Config {
    let mut text = String::from("schema = 1\n[providers.log]\napi = \"replay\"\n");
    for tier in ["a", "b", "c"] {
        let _ = write!(
            text,
            "[tiers.{tier}]\nprovider = \"log\"\nmodel = \"{tier}\"\nprice = {{ input = 1.0, output = 1.0 }}\n\
             max_input_tokens = 300\nmax_output_tokens = 100\n"
        );
    }
    text.push_str(
        "[routes.answer]\ntiers = [\"a\", \"b\", \"c\"]\nlog = [\"log.jsonl\"]\npolicy = \"policies/answer.toml\"\n\
         [routes.answer.objective]\nmin_quality = 0.5\n\
         [routes.answer.fit]\nfamilies = [\"single\", \"pair\", \"chain\"]\n",
    );
    let (config, findings) = cascade_sdk_core::config::read(&Source::new("cascade.toml", text));
    let mut config = config.unwrap_or_else(|| panic!("{findings:#?}"));
    config.routes[0].objective =
        Some(Objective { goal, max_latency_ms_p95: None, max_cost_tail: None, confidence });
    config
}

/// The outcome of a fit; a policy that it selected is fresh, and its file reads back as it is.
pub(crate) fn fit(config: &Config, log: &EvalLog, threads: usize) -> FitOutcome {
    fit_with(config, log, FitOptions { threads, ..FitOptions::default() })
}

/// The same as a simulation needs it: only what a policy needs.
pub(crate) fn fit_policy(config: &Config, log: &EvalLog) -> FitOutcome {
    fit_with(config, log, FitOptions { details: false, ..FitOptions::default() })
}

pub(crate) fn fit_with(config: &Config, log: &EvalLog, options: FitOptions) -> FitOutcome {
    let outcome =
        fit_route(&FitInput { config, route: "answer", log, unreadable_rows: 0, schema: None, options })
            .expect("the fit goes through");
    if let Some(policy) = &outcome.policy {
        let read = policy::read(&Source::new("policy.toml", policy::write(policy)));
        assert_eq!(read.as_ref(), Ok(policy));
        assert_eq!(policy::staleness(policy, config, "answer", None), []);
    }
    outcome
}
