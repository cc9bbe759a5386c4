//! Checks and refits in temporary projects.

use super::*;
use std::fmt::Write as _;

const CONFIG: &str = r#"
schema = 1

[providers.local]
api = "openai"
base_url = "http://127.0.0.1:9/v1"

[tiers.small]
provider = "local"
model = "s"
price = { input = 1.0, output = 2.0 }

[tiers.large]
provider = "local"
model = "l"
price = { input = 10.0, output = 20.0 }

[routes.triage]
tiers = ["small", "large"]
log = ["evals/*.jsonl"]

[routes.triage.objective]
max_cost_usd = 0.0009

[routes.triage.request]
top_logprobs = 2
"#;

/// Small answers are right exactly where they are confident; `shift` moves the confidence at which that begins.
fn log(shift: f64) -> String {
    let mut log = String::new();
    for row in 0..300 {
        let signal = -f64::from((row * 37) % 100) / 100.0;
        let quality = f64::from(u8::from(signal > shift));
        writeln!(
            log,
            r#"{{"id":"r{row}","input":"question {row}","results":{{"small":{{"quality":{quality},"cost_usd":0.0001,"signals":{{"mean_logprob":{signal}}}}},"large":{{"quality":1,"cost_usd":0.001,"signals":{{}}}}}}}}"#
        )
        .unwrap();
    }
    log
}

struct Project {
    directory: tempfile::TempDir,
    out: tempfile::TempDir,
}

impl Project {
    fn new() -> Self {
        let project = Self { directory: tempfile::tempdir().unwrap(), out: tempfile::tempdir().unwrap() };
        project.write("cascade.toml", CONFIG);
        project.write("evals/a.jsonl", &log(-0.6));
        project
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn run(&self, set: &[(&str, &str)]) -> Vec<String> {
        let env = |name: &str| match name {
            "CARGO_MANIFEST_DIR" => Some(self.directory.path().display().to_string()),
            "OUT_DIR" => Some(self.out.path().display().to_string()),
            "CARGO_PKG_NAME" => Some("app".to_owned()),
            "NUM_JOBS" => Some("2".to_owned()),
            _ => set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()),
        };
        Check::new(&Fit::new("cascade.toml"), &env).run()
    }

    fn refitted(&self) -> Option<String> {
        std::fs::read_to_string(self.out.path().join("cascade-policies/app/triage.toml")).ok()
    }

    /// Every file below the package, with its text.
    fn sources(&self) -> Vec<(PathBuf, String)> {
        let all = ["**/*".to_owned(), "*".to_owned()];
        let files = LogFiles::find(self.directory.path(), &all).files.into_values();
        files.map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
    }
}

/// What was said, without what is watched.
fn said(directives: &[String]) -> Vec<&str> {
    directives.iter().map(String::as_str).filter(|line| !line.contains("rerun-if")).collect()
}

#[test]
fn a_refit_goes_to_out_dir_and_follows_the_log() {
    let project = Project::new();
    let before = project.sources();
    let directives = project.run(&[("CASCADE_REFIT", "1")]);
    let out = project.out.path().join("cascade-policies");
    assert_eq!(said(&directives), [format!("cargo::rustc-env=CASCADE_POLICY_DIR={}", out.display())]);
    let first = project.refitted().unwrap();
    assert_eq!(project.sources(), before);
    // Again: the same bytes, and the file is left alone.
    project.run(&[("CASCADE_REFIT", "1")]);
    assert_eq!(project.refitted().as_ref(), Some(&first));
    project.write("evals/a.jsonl", &log(-0.2));
    project.run(&[("CASCADE_REFIT", "1")]);
    assert_ne!(project.refitted().unwrap(), first);
    // Once the committed policy is fresh, it is the one to take.
    project.write("policies/triage.toml", &project.refitted().unwrap());
    let directives = project.run(&[("CASCADE_REFIT", "1")]);
    assert_eq!((said(&directives).len(), project.refitted()), (1, None));
}

#[test]
fn a_changed_log_warns_and_fails_where_that_is_asked_for() {
    let project = Project::new();
    project.run(&[("CASCADE_REFIT", "1")]);
    project.write("policies/triage.toml", &project.refitted().unwrap());
    assert_eq!(said(&project.run(&[])), Vec::<&str>::new());
    project.write("evals/b.jsonl", &log(-0.6).replace("\"r", "\"more-"));
    let directives = project.run(&[]);
    let [warning] = said(&directives)[..] else { panic!("{directives:?}") };
    assert!(warning.starts_with("cargo::warning=the log of route `triage` has changed"), "{warning}");
    let strict = project.run(&[("CASCADE_STRICT", "1")]);
    assert!(said(&strict)[0].starts_with("cargo::error="), "{strict:?}");
}

#[test]
fn a_signal_that_no_call_would_have_is_told_with_its_place() {
    let project = Project::new();
    let silent = CONFIG.replace("top_logprobs = 2", "temperature = 0.0");
    project.write("cascade.toml", &silent);
    let told = |directives: &[String]| {
        let said: Vec<String> = said(directives).into_iter().map(str::to_owned).collect();
        said.into_iter()
            .filter(|line| line.contains("`mean_logprob` of the tier `small`"))
            .collect::<Vec<_>>()
    };
    // By the fit, and once its policy is the committed one by the check.
    let fitting = told(&project.run(&[("CASCADE_REFIT", "1")]));
    assert!(
        matches!(&fitting[..], [line] if line.starts_with("cargo::warning=fitting route `triage`: ")),
        "{fitting:?}"
    );
    project.write("policies/triage.toml", &project.refitted().unwrap());
    let checked = told(&project.run(&[]));
    let [warning] = &checked[..] else { panic!("{checked:?}") };
    assert!(warning.starts_with("cargo::warning=cascade.toml:"), "{warning}");
    assert!(warning.contains("set `top_logprobs` under [routes.triage.request]"), "{warning}");
}

#[test]
fn a_changed_configuration_is_stale_too() {
    let project = Project::new();
    project.run(&[("CASCADE_REFIT", "1")]);
    project.write("policies/triage.toml", &project.refitted().unwrap());
    project.write("cascade.toml", &CONFIG.replace("0.0009", "0.0005"));
    let directives = project.run(&[]);
    assert!(said(&directives)[0].contains("stale"), "{directives:?}");
}

#[test]
fn logs_that_are_not_there_are_not_checked() {
    let project = Project::new();
    project.run(&[("CASCADE_REFIT", "1")]);
    project.write("policies/triage.toml", &project.refitted().unwrap());
    std::fs::remove_dir_all(project.directory.path().join("evals")).unwrap();
    let directives = project.run(&[("CASCADE_STRICT", "1")]);
    let [note] = said(&directives)[..] else { panic!("{directives:?}") };
    assert!(note.starts_with("cargo::warning=note: there is no log"), "{note}");
}

#[test]
fn cargo_is_told_what_to_watch_and_nothing_that_is_not_there() {
    let project = Project::new();
    let directives = project.run(&[]);
    let root = project.directory.path();
    for path in ["cascade.toml", "evals", "evals/a.jsonl"] {
        let expected = format!("cargo::rerun-if-changed={}", root.join(path).display());
        assert!(directives.contains(&expected), "{path}: {directives:?}");
    }
    assert!(!directives.iter().any(|line| line.contains("rerun-if-changed") && line.contains("policies")));
    for name in [REFIT, STRICT] {
        assert!(directives.contains(&format!("cargo::rerun-if-env-changed={name}")));
    }
    // The missing policy is said, the package as a whole never watched.
    assert!(said(&directives)[0].contains("policies/triage.toml"), "{directives:?}");
    assert!(!directives.contains(&format!("cargo::rerun-if-changed={}", root.display())));
}

#[test]
fn a_broken_configuration_fails_with_its_place_on_one_line() {
    let project = Project::new();
    project.write("cascade.toml", &CONFIG.replace("max_cost_usd", "max_cots_usd"));
    let directives = project.run(&[]);
    assert!(
        said(&directives).iter().any(|line| line.starts_with("cargo::error=cascade.toml:23:")),
        "{directives:?}"
    );
    assert!(directives.iter().all(|line| !line.contains('\n')));
}

#[test]
fn what_cannot_be_fitted_is_an_error_and_leaves_no_policy() {
    let project = Project::new();
    project.write("cascade.toml", &CONFIG.replace("0.0009", "0.0000001"));
    let directives = project.run(&[("CASCADE_REFIT", "1")]);
    assert!(said(&directives)[0].contains("no policy keeps the objective"), "{directives:?}");
    assert_eq!(project.refitted(), None);
}
