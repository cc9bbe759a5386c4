//! What the families are worth on real eval logs, as a document.
//!
//! `cargo run --release -p cascade-sdk-core --features fit --example findings -- FOLDER > docs/findings.md`
//!
//! FOLDER holds logs under the names that [`LOGS`] lists; those that are missing are named in the document. The bytes
//! depend on the logs alone. `--routed` before FOLDER prints the table of the routed cascade alone, in a minute or two.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line example")]

mod calls;
mod document;
mod measure;
mod sweeps;

use crate::measure::Scope;
use cascade_sdk_core::log::{self, EvalLog, LogSource, ReadOptions};
use std::error::Error;
use std::path::Path;

/// A log of the study.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// File name without `.jsonl.gz`.
    pub(crate) name: &'static str,
    /// The tiers that take part; all if empty.
    pub(crate) tiers: &'static [&'static str],
    /// Splits.
    pub(crate) splits: u64,
    /// What a reader should know.
    pub(crate) note: &'static str,
}

/// Six of the nine tiers of these logs, from the smallest to the largest.
const SIX: &[&str] =
    &["llama3.2-1b", "llama3.1-8b", "gpt-4o-mini", "llama3.1-70b", "llama3.1-405b", "gpt-4o"];

/// The log that comes with this repository.
const QUICKSTART: &str = "quickstart";

/// The logs of the study.
pub(crate) const LOGS: [Known; 13] = [
    Known {
        name: QUICKSTART,
        tiers: &[],
        splits: 10,
        note: "the example of this repository; kind of request as a tag",
    },
    Known { name: "zellinger_mmlu", tiers: SIX, splits: 8, note: "log-probability of the answer token" },
    Known { name: "zellinger_medmcqa", tiers: SIX, splits: 8, note: "log-probability of the answer token" },
    Known {
        name: "zellinger_triviaqa",
        tiers: SIX,
        splits: 8,
        note: "every cost includes the call that asks the model whether it was right",
    },
    Known { name: "smc_mmlu", tiers: &[], splits: 10, note: "quality is agreement with the large model" },
    Known { name: "smc_boolq", tiers: &[], splits: 5, note: "quality is agreement with the large model" },
    Known { name: "smc_sst2", tiers: &[], splits: 5, note: "quality is agreement with the large model" },
    Known { name: "anlp_llama8b_gpt5", tiers: &[], splits: 10, note: "real-valued quality, three signals" },
    Known {
        name: "mot_date",
        tiers: &[
            "gpt-3.5-turbo@cot1-sc",
            "gpt-3.5-turbo@pot1-sc",
            "gpt-3.5-turbo@mot-cot1+pot1",
            "gpt-4@cot1-greedy",
        ],
        splits: 10,
        note: "few rows",
    },
    Known { name: "routellm_mmlu", tiers: &[], splits: 3, note: "no signal; prompts and subject" },
    Known {
        name: "routerarena_cached",
        tiers: &[],
        splits: 10,
        note: "no signal; the cheaper tier is the better one",
    },
    Known {
        name: "zeroeval_math_l5",
        tiers: &[
            "gemma-2-9b-it",
            "gpt-4o-mini-2024-07-18",
            "deepseek-v2.5-0908",
            "gpt-4o-2024-08-06",
            "claude-3-5-sonnet-20241022",
        ],
        splits: 5,
        note: "no signal; prompts",
    },
    Known {
        name: "zeroeval_crux",
        tiers: &[
            "gemma-2-9b-it",
            "gpt-4o-mini-2024-07-18",
            "deepseek-v2.5-0908",
            "gpt-4o-2024-08-06",
            "claude-3-5-sonnet-20241022",
        ],
        splits: 5,
        note: "no signal; prompts",
    },
];

/// The log on which signals and prices are varied.
const VARIED: &str = "zellinger_mmlu";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let routed_alone = arguments.first().is_some_and(|first| first == "--routed");
    arguments.drain(..usize::from(routed_alone));
    let folder = arguments.into_iter().next().ok_or("usage: findings [--routed] FOLDER")?;
    let scope = if routed_alone { Scope::Routed } else { Scope::Everything };
    let (mut studied, mut missing, mut varied) = (Vec::new(), Vec::new(), None);
    for known in LOGS {
        let Some(log) = read(Path::new(&folder), known.name)? else {
            missing.push(known.name);
            continue;
        };
        let all: Vec<&str> = log.tiers.iter().map(|tier| tier.name.as_str()).collect();
        let tiers = if known.tiers.is_empty() { all } else { known.tiers.to_vec() };
        eprintln!("{}", known.name);
        studied.push((known, measure::study(&log, &tiers, known.splits, scope)?));
        if known.name == VARIED && scope == Scope::Everything {
            varied = Some(sweeps::vary(&log, &tiers)?);
        }
    }
    if routed_alone {
        print!("{}", document::routed_cascades(&studied));
        return Ok(());
    }
    print!("{}", document::write(&studied, &missing, varied.as_ref()));
    Ok(())
}

/// `None` if the folder has no such log.
fn read(folder: &Path, name: &str) -> Result<Option<EvalLog>, Box<dyn Error>> {
    let path = if name == QUICKSTART {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/quickstart/evals/answers.jsonl.gz")
    } else {
        folder.join(format!("{name}.jsonl.gz"))
    };
    if !path.exists() {
        return Ok(None);
    }
    let file = std::fs::File::open(&path)?;
    match log::read(vec![LogSource::new(path.display().to_string(), file)], &ReadOptions::default()) {
        Ok(reading) => Ok(Some(reading.log)),
        Err(findings) => {
            let first = findings.first().map_or("", |finding| &finding.message);
            Err(format!("{name} cannot be read: {first}").into())
        }
    }
}
