//! What an application sees when a file that its client was made of changes: in a package of its own, built by Cargo.

use cascade_sdk_core::policy;
use cascade_tests::policies;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const CONFIG: &str = r#"schema = 1

[providers.openai]
api = "openai"
api_key_env = "OPENAI_API_KEY"

[tiers.small]
provider = "openai"
model = "gpt-4.1-nano"
price = { input = 0.10, output = 0.40 }

[tiers.large]
provider = "openai"
model = "gpt-4.1"
price = { input = 2.00, output = 8.00 }

[routes.triage]
tiers = ["small", "large"]
log = ["evals/triage.jsonl"]
request = { top_logprobs = 5 }
objective = { max_cost_usd = 0.0008 }
"#;

/// The SDK goes by another name here, so that nothing that is generated may rely on `::cascade_sdk`.
const MAIN: &str = r#"
#![deny(warnings)]
mod models {
    use sdk::client;

    #[client("cascade.toml", crate = sdk)]
    pub struct Llm;
}

#[sdk::route(models::Llm::triage, crate = sdk)]
async fn triage(llm: &models::Llm, ticket: &str) -> Result<String, sdk::Error> {
    ticket
}

fn main() {
    use sdk::TierName as _;
    let tiers: Vec<_> = models::TriageTier::ALL.iter().map(|tier| tier.name()).collect();
    println!("{}", tiers.join(" "));
    println!("{}", models::Llm::TRIAGE_POLICY);
    let _ = |llm: models::Llm| drop(triage(&llm, ""));
}
"#;

/// The build script of an application that fits its policies anew.
const BUILD: &str = r#"
fn main() {
    sdk::build::Fit::new("cascade.toml").check();
}
"#;

/// An application in a directory of its own. What it depends on is compiled once and kept for the next run.
struct Application {
    directory: PathBuf,
    target: PathBuf,
    /// What is set in the environment of Cargo.
    environment: Vec<(&'static str, PathBuf)>,
}

impl Application {
    /// An application with the [`MAIN`] program and nothing for its client to read.
    fn new(name: &str) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rebuild");
        let application =
            Self { directory: root.join(name), target: root.join("target"), environment: Vec::new() };
        let _ = fs::remove_dir_all(&application.directory);
        let sdk = super::workspace().join("cascade-sdk");
        let manifest = format!(
            r#"
[package]
name = "{name}"
version = "1.0.0"
edition = "2024"

[dependencies.sdk]
package = "cascade-sdk"
path = '{sdk}'
default-features = false
features = ["macros"]

[build-dependencies.sdk]
package = "cascade-sdk"
path = '{sdk}'
default-features = false
features = ["build"]

[workspace]

[profile.dev]
debug = false
"#,
            sdk = sdk.display()
        );
        application.write("Cargo.toml", &manifest);
        // The versions that are here already, since the test uses no network.
        application.write("Cargo.lock", &fs::read_to_string(super::workspace().join("Cargo.lock")).unwrap());
        application.write("src/main.rs", MAIN);
        application
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        // Cargo compares times: a file that is written in the same moment as the last build must count as newer.
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(2);
        fs::File::options().append(true).open(&path).unwrap().set_modified(later).unwrap();
    }

    /// Writes the configuration and a policy that was fitted for it.
    fn write_config(&self, config: &str) {
        self.write("cascade.toml", config);
        self.write("policies/triage.toml", &fitted(config, 285));
    }

    fn cargo(&self, command: &str) -> Output {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([command, "--offline", "--color", "never"]).current_dir(&self.directory);
        for unset in ["CASCADE_POLICY_DIR", "CASCADE_REFIT", "CASCADE_STRICT", "RUSTFLAGS"] {
            cargo.env_remove(unset);
        }
        cargo.env("CARGO_TARGET_DIR", &self.target).envs(self.environment.clone());
        cargo.output().unwrap()
    }

    /// Builds it and runs it: the tiers, and the policy's text.
    fn run(&self) -> (String, String) {
        let output = self.cargo("run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let (tiers, policy) = text.split_once('\n').unwrap();
        (tiers.to_owned(), policy.trim_end().to_owned())
    }

    /// The errors of a build that fails.
    fn errors(&self) -> String {
        let output = self.cargo("build");
        assert!(!output.status.success(), "it was built");
        String::from_utf8(output.stderr).unwrap()
    }
}

/// A policy for the route of this configuration, told apart from others by the number of rows.
fn fitted(config: &str, rows: usize) -> String {
    let config = policies::config(config);
    let mut policy = policies::pair(&config, &config.routes[0], None);
    policy.fitted.calibration_rows = rows;
    policy::write(&policy)
}

/// The line of a policy that sets this key.
fn line<'p>(policy: &'p str, key: &str) -> Option<&'p str> {
    policy.lines().find(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(" = ")))
}

#[test]
fn an_application_follows_its_files() {
    let mut application = Application::new("following");
    let errors = application.errors();
    assert!(errors.contains("there is no configuration `cascade.toml`"), "{errors}");

    application.write("cascade.toml", CONFIG);
    let errors = application.errors();
    assert!(errors.contains("cascade fit triage"), "{errors}");

    application.write_config(CONFIG);
    let (tiers, policy) = application.run();
    assert_eq!(tiers, "small large");
    assert_eq!(line(&policy, "calibration_rows"), Some("calibration_rows = 285"));

    // Another policy, and nothing else.
    application.write("policies/triage.toml", &fitted(CONFIG, 286));
    assert_eq!(line(&application.run().1, "calibration_rows"), Some("calibration_rows = 286"));

    // A policy that a build script fitted goes before it, for as long as the variable is set.
    application.write("out/following/triage.toml", &fitted(CONFIG, 287));
    application.environment.push(("CASCADE_POLICY_DIR", application.directory.join("out")));
    assert_eq!(line(&application.run().1, "calibration_rows"), Some("calibration_rows = 287"));
    application.environment.clear();
    assert_eq!(line(&application.run().1, "calibration_rows"), Some("calibration_rows = 286"));

    // Another configuration: first the policy is stale, then it is fitted again.
    let renamed = CONFIG.replace("[tiers.large]", "[tiers.huge]").replace("\"large\"]", "\"huge\"]");
    application.write("cascade.toml", &renamed);
    let errors = application.errors();
    assert!(errors.contains("policy::other-tiers") && errors.contains("cascade.toml:18:"), "{errors}");
    application.write_config(&renamed);
    assert_eq!(application.run().0, "small huge");
}

/// Small answers are right exactly where they are more confident than `least`.
fn log(least: f64) -> String {
    let mut log = String::new();
    for row in 0..200 {
        let signal = -f64::from((row * 37) % 100) / 100.0;
        let quality = u8::from(signal > least);
        let results = serde_json::json!({
            "small": { "quality": quality, "cost_usd": 0.00001, "signals": { "mean_logprob": signal } },
            "large": { "quality": 1, "cost_usd": 0.001, "signals": {} },
        });
        let row = serde_json::json!({ "id": format!("r{row}"), "input": format!("question {row}"), "results": results });
        let _ = writeln!(log, "{row}");
    }
    log
}

#[test]
fn a_build_script_fits_the_policy_that_is_compiled_in() {
    let mut application = Application::new("refitting");
    application.write("build.rs", BUILD);
    application.write("cascade.toml", CONFIG);
    application.write("evals/triage.jsonl", &log(-0.6));
    application.environment.push(("CASCADE_REFIT", "1".into()));
    let (_, first) = application.run();
    assert!(line(&first, "log_hash").is_some(), "{first}");
    assert!(!application.directory.join("policies").exists(), "a build script wrote into the source tree");

    // Another log, and nothing else.
    application.write("evals/triage.jsonl", &log(-0.3));
    let (_, second) = application.run();
    assert_ne!(line(&second, "log_hash"), line(&first, "log_hash"));

    // Without a refit the committed policy is taken, and a log that is not its own is only a warning.
    application.write("policies/triage.toml", &first);
    application.environment.clear();
    let output = application.cargo("build");
    let warnings = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && warnings.contains("the log of route `triage` has changed"),
        "{warnings}"
    );
    assert_eq!(application.run().1, first.trim_end());

    // Unless it is to be an error.
    application.environment.push(("CASCADE_STRICT", "1".into()));
    assert!(application.errors().contains("the log of route `triage` has changed"));
}
