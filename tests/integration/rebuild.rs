//! What an application sees when a file that its client was made of changes: in a package of its own, built by Cargo.

use cascade_sdk_core::policy;
use cascade_tests::policies;
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

/// An application in a directory of its own. What it depends on is compiled once and kept for the next run.
struct Application {
    directory: PathBuf,
    target: PathBuf,
}

impl Application {
    fn new() -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rebuild");
        let application = Self { directory: root.join("app"), target: root.join("target") };
        let _ = fs::remove_dir_all(&application.directory);
        let sdk = super::workspace().join("cascade-sdk");
        let manifest = format!(
            "[package]\nname = \"app\"\nversion = \"1.0.0\"\nedition = \"2024\"\n\n[dependencies.sdk]\npackage = \"cascade-sdk\"\n\
             path = '{}'\ndefault-features = false\nfeatures = [\"macros\"]\n\n[workspace]\n\n[profile.dev]\ndebug = false\n",
            sdk.display()
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

    fn cargo(&self, command: &str, policy_dir: Option<&Path>) -> Output {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([command, "--offline", "--quiet", "--color", "never"]).current_dir(&self.directory);
        cargo.env("CARGO_TARGET_DIR", &self.target).env_remove("CASCADE_POLICY_DIR").env_remove("RUSTFLAGS");
        cargo.envs(policy_dir.map(|directory| ("CASCADE_POLICY_DIR", directory)));
        cargo.output().unwrap()
    }

    /// Builds it and runs it: the tiers, and the policy's text.
    fn run(&self, policy_dir: Option<&Path>) -> (String, String) {
        let output = self.cargo("run", policy_dir);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let (tiers, policy) = text.split_once('\n').unwrap();
        (tiers.to_owned(), policy.trim_end().to_owned())
    }

    /// The errors of a build that fails.
    fn errors(&self) -> String {
        let output = self.cargo("build", None);
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

fn rows(policy: &str) -> Option<&str> {
    policy.lines().find(|line| line.starts_with("calibration_rows"))
}

#[test]
fn an_application_follows_its_files() {
    let application = Application::new();
    let errors = application.errors();
    assert!(errors.contains("there is no configuration `cascade.toml`"), "{errors}");

    application.write("cascade.toml", CONFIG);
    let errors = application.errors();
    assert!(errors.contains("cascade fit triage"), "{errors}");

    application.write_config(CONFIG);
    let (tiers, policy) = application.run(None);
    assert_eq!((tiers.as_str(), rows(&policy)), ("small large", Some("calibration_rows = 285")));

    // Another policy, and nothing else.
    application.write("policies/triage.toml", &fitted(CONFIG, 286));
    assert_eq!(rows(&application.run(None).1), Some("calibration_rows = 286"));

    // A policy that a build script fitted goes before it, for as long as the variable is set.
    application.write("out/app/triage.toml", &fitted(CONFIG, 287));
    assert_eq!(
        rows(&application.run(Some(&application.directory.join("out"))).1),
        Some("calibration_rows = 287")
    );
    assert_eq!(rows(&application.run(None).1), Some("calibration_rows = 286"));

    // Another configuration: first the policy is stale, then it is fitted again.
    let renamed = CONFIG.replace("[tiers.large]", "[tiers.huge]").replace("\"large\"]", "\"huge\"]");
    application.write("cascade.toml", &renamed);
    let errors = application.errors();
    assert!(errors.contains("policy::other-tiers") && errors.contains("cascade.toml:18:"), "{errors}");
    application.write_config(&renamed);
    assert_eq!(application.run(None).0, "small huge");
}
