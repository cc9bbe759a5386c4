//! Clients as `#[client]` makes them: from texts that were baked in.

use cascade_sdk::__private::v1::{Builder, ClientSpec, RouteSpec};
use cascade_sdk::{AnswerStream, Error, Routed, StreamEvent, TierName};
use cascade_sdk_core::config::{self, Family, Goal, Objective};
use cascade_sdk_core::diag::Source;
use cascade_sdk_core::policy::{
    self, AcceptRule, Cut, Expected, Fitted, Plan, Policy, Rules, ScoreSource, Stage,
};
use std::path::Path;
use std::sync::Mutex;

pub(crate) const CONFIG: &str = r#"
schema = 1

[providers.local]
api = "openai"
base_url = "http://127.0.0.1:9/v1"
api_key_env = "CASCADE_TEST_KEY"

[tiers.small]
provider = "local"
model = "s"
price = { input = 1.0, output = 2.0 }
max_output_tokens = 50
timeout_s = 0.4

[tiers.large]
provider = "local"
model = "l"
price = { input = 10.0, output = 20.0 }
max_output_tokens = 50
timeout_s = 5

[routes.one]
tiers = ["large"]

[routes.two]
tiers = ["small", "large"]
log = ["log.jsonl"]

[routes.two.objective]
max_cost_usd = 0.001

[routes.two.request]
top_logprobs = 2
"#;

/// The same, answered from the log of route `two`.
pub(crate) fn replay_config() -> String {
    let server = "api = \"openai\"\nbase_url = \"http://127.0.0.1:9/v1\"\napi_key_env = \"CASCADE_TEST_KEY\"";
    assert!(CONFIG.contains(server));
    CONFIG.replace(server, "api = \"replay\"")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    Small,
    Large,
}

impl TierName for Tier {
    const ALL: &'static [Self] = &[Self::Small, Self::Large];
    fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "large",
        }
    }
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|tier| tier.name() == name)
    }
}

/// Small first, kept from a mean log-probability of −0.2 on; else large.
pub(crate) fn rules() -> Rules {
    let rule = AcceptRule { score: ScoreSource::Signal(0), at_least: Cut(-0.2) };
    Rules {
        tiers: vec!["small".into(), "large".into()],
        signals: vec!["mean_logprob".into()],
        plans: vec![Plan::new(vec![Stage { tier: 0, rule: Some(rule) }, Stage { tier: 1, rule: None }])],
        ..Rules::default()
    }
}

/// The text of a policy that belongs to route `two` of a configuration.
pub(crate) fn policy(config_text: &str) -> String {
    policy_of(config_text, rules())
}

/// The same with these rules.
pub(crate) fn policy_of(config_text: &str, rules: Rules) -> String {
    policy_for(config_text, rules, None)
}

/// The same for answers of a schema.
pub(crate) fn policy_for(config_text: &str, rules: Rules, schema: Option<&str>) -> String {
    let (config, findings) = config::read(&Source::new("cascade.toml", config_text));
    let config = config.unwrap_or_else(|| panic!("{findings:?}"));
    let policy = Policy {
        route: "two".into(),
        family: Family::Pair,
        fitted: Fitted {
            log_hash: "0".repeat(64),
            config_hash: config::fingerprint(&config, "two", schema).unwrap(),
            algorithm: policy::ALGORITHM,
            calibration_rows: 7,
            test_rows: 3,
            seed: 7,
            refit_on_all: false,
            repriced: false,
            traffic_hash: None,
        },
        objective: Objective {
            goal: Goal::MaxCost(cascade_sdk::money::Usd::parse("0.001").unwrap()),
            max_latency_ms_p95: None,
            max_cost_tail: None,
            confidence: None,
        },
        expected: Expected { share: vec![policy::Estimate::default(); 2], ..Expected::default() },
        rules,
        frontier: Vec::new(),
        certificate: None,
    };
    policy::write(&policy)
}

/// A client of the test configuration, with a policy for route `two`. `directory` holds the log.
pub(crate) fn builder(directory: &Path, config: &str) -> Builder {
    builder_of(directory, config, policy(config))
}

/// The same with another policy for route `two`.
pub(crate) fn builder_of(directory: &Path, config: &str, policy: String) -> Builder {
    let policy_path = Some("policies/two.toml");
    let one = RouteSpec { policy_path, ..route("one") };
    let two = RouteSpec { policy_path, policy: Some(leak(policy)), ..route("two") };
    baked(directory, config, vec![one, two])
}

/// A client of these texts. They live as long as the process, as texts that a macro bakes in do.
pub(crate) fn baked(directory: &Path, config: &str, routes: Vec<RouteSpec>) -> Builder {
    Builder::new(Box::leak(Box::new(ClientSpec {
        package: "test",
        manifest_dir: leak(directory.display().to_string()),
        config_path: "cascade.toml",
        config: leak(config.to_owned()),
        routes: Box::leak(routes.into_boxed_slice()),
    })))
}

/// A route without a policy that answers with text.
pub(crate) fn route(name: &'static str) -> RouteSpec {
    RouteSpec { name, policy_path: None, policy: None, schema: None, weights: None }
}

pub(crate) fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// The pieces that a stream shows, and what it ends with.
pub(crate) async fn drained<T>(
    mut stream: AnswerStream<Tier, T>,
) -> (Vec<String>, Result<Routed<T, Tier>, Error>) {
    let mut shown = Vec::new();
    while let Some(event) = stream.next().await {
        let end = match event {
            Ok(StreamEvent::Delta(text)) => {
                shown.push(text);
                continue;
            }
            Ok(StreamEvent::Finished(routed)) => Ok(routed),
            Ok(_) => continue,
            Err(error) => Err(error),
        };
        assert!(stream.next().await.is_none(), "nothing comes after the end");
        return (shown, end);
    }
    panic!("a stream without an end")
}

/// Checks that `docs/faults.md` holds this text between the comments `name` and `end of name`; `BLESS=1` writes it there.
#[track_caller]
pub(crate) fn documented(name: &str, text: &str) {
    // Two tests write their part of one file.
    static FILE: Mutex<()> = Mutex::new(());
    let _alone = FILE.lock();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/faults.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (start, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = page.split_once(&start).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    let wanted = format!("{before}{start}{text}{end}{after}");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    assert!(std::fs::read_to_string(&path).unwrap() == wanted, "run `BLESS=1 cargo test -p cascade-sdk`");
}
