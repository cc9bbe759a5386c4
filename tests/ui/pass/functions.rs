//! Functions that ask routes.

use cascade_sdk::provider::{Reply, Scripted};
use cascade_sdk::{Error, Request, Routed, TierName, client, route};
use schemars::JsonSchema;
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;

/// What these tests ask of language models.
#[client("ui/pass/cascade.toml")]
#[allow(deprecated, reason = "one route is not fitted yet")]
pub struct Llm;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Team {
    Billing,
    Technical,
}

/// An application's own error.
#[derive(Debug)]
pub(super) enum Failed {
    Cascade(Error),
    Empty,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Cascade(error)
    }
}

/// Which team should have this ticket?
#[route(Llm::triage)]
async fn triage(llm: &Llm, ticket: &str) -> Result<Team, Error> {
    format!("Which team?\n\n{ticket}")
}

/// The whole story.
#[route(Llm::triage)]
async fn triage_routed(llm: Arc<Llm>, ticket: String) -> Result<Routed<Team, TriageTier>, Error> {
    ticket
}

/// `?` and `.await` in the body, an error of the application's own, and arguments for a router.
#[route(Llm::reply)]
pub(crate) async fn reply<'a, T>(
    llm: &Llm,
    #[feature] length: usize,
    #[tag] subject: &'a str,
    text: T,
) -> Result<String, Failed>
where
    T: AsRef<str> + Send + 'a,
{
    let text = check(text.as_ref())?.to_owned();
    let text = std::future::ready(text).await;
    let words = text.split(' ').map(|word| {
        if word.is_empty() {
            return 0;
        }
        word.len()
    });
    let count: usize = words.sum();
    Request::new(format!("{subject} {length} {count} {text}")).with_id("request-1")
}

fn check(text: &str) -> Result<&str, Failed> {
    if text.is_empty() { Err(Failed::Empty) } else { Ok(text) }
}

/// A body that is not written yet.
#[route(Llm::reply)]
async fn later(_llm: &Llm) -> Result<String, Error> {
    todo!()
}

struct App<C> {
    llm: Llm,
    context: C,
}

impl<C: fmt::Display + Sync> App<C> {
    #[route(Llm::reply, client = self.llm)]
    async fn reply(&self, text: &str) -> std::result::Result<String, Error> {
        format!("{}: {text}", self.context)
    }
}

impl Llm {
    #[route(Self::reply)]
    async fn reply_shortly(&self, text: &str) -> Result<String, Error> {
        format!("Be brief. {text}")
    }
}

type Outcome<T> = std::result::Result<T, Failed>;

mod alias {
    pub(super) type Result<T> = super::Outcome<T>;
}

#[route(Llm::reply)]
async fn aliased(llm: &Llm, text: &str) -> alias::Result<String> {
    text
}

fn llm(script: &Scripted) -> Llm {
    Llm::builder().provider("local", script.clone()).build().unwrap()
}

fn sure(text: &str) -> Reply {
    Reply::text(text).with_signal("mean_logprob", -0.1)
}

fn unsure(text: &str) -> Reply {
    Reply::text(text).with_signal("mean_logprob", -0.9)
}

#[tokio::test]
async fn a_function_gives_the_answer() {
    let script = Scripted::new().reply("small", sure("{\"answer\":\"billing\"}"));
    assert_eq!(triage(&llm(&script), "My invoice is wrong").await.unwrap(), Team::Billing);
    assert_eq!(script.asked()[0].text, "Which team?\n\nMy invoice is wrong");
}

#[tokio::test]
async fn a_function_gives_the_whole_story() {
    let script = Scripted::new()
        .reply("small", unsure("{\"answer\":\"billing\"}"))
        .reply("large", Reply::text("{\"answer\":\"technical\"}"));
    let routed = triage_routed(Arc::new(llm(&script)), "It does not start".to_owned()).await.unwrap();
    assert_eq!((routed.answer, routed.tier), (Team::Technical, TriageTier::Large));
    assert_eq!(routed.path.iter().map(|step| step.tier).collect::<Vec<_>>(), TriageTier::ALL);
    assert_eq!(routed.tier.to_string(), "large");
}

#[tokio::test]
async fn a_body_may_fail_before_anything_is_asked() {
    let script = Scripted::new().reply("small", sure("hello"));
    let llm = llm(&script);
    assert!(matches!(reply(&llm, 0, "greeting", "").await, Err(Failed::Empty)));
    assert!(script.asked().is_empty());
    assert_eq!(reply(&llm, 2, "greeting", "hi you").await.unwrap(), "hello");
    assert_eq!(script.asked()[0].text, "greeting 2 5 hi you");
}

#[tokio::test]
async fn methods_and_aliases() {
    let script = Scripted::new().reply_always("small", sure("hello"));
    let app = App { llm: llm(&script), context: "context" };
    assert_eq!(app.reply("hi").await.unwrap(), "hello");
    assert_eq!(app.llm.reply_shortly("hi").await.unwrap(), "hello");
    assert_eq!(aliased(&app.llm, "hi").await.unwrap(), "hello");
    let asked: Vec<_> = script.asked().into_iter().map(|asked| asked.text).collect();
    assert_eq!(asked, ["context: hi", "Be brief. hi", "hi"]);
}

#[tokio::test]
async fn errors_of_a_route_become_those_of_the_function() {
    let failed = aliased(&llm(&Scripted::new()), "hi").await.unwrap_err();
    let Failed::Cascade(error) = failed else { panic!("{failed:?}") };
    assert!(error.is_provider(), "{error}");
}

#[tokio::test]
#[should_panic(expected = "not yet implemented")]
async fn a_body_that_is_not_written_yet_panics_when_called() {
    let _ = later(&llm(&Scripted::new())).await;
}

#[test]
fn futures_can_be_sent_and_clients_shared() {
    fn shared<T: Clone + fmt::Debug + Send + Sync + 'static>(_: &T) {}
    fn sendable<T: Send>(_: T) {}
    let llm = llm(&Scripted::new());
    shared(&llm);
    sendable(triage(&llm, ""));
    sendable(triage_routed(Arc::new(llm.clone()), String::new()));
    sendable(reply(&llm, 0, "", ""));
    sendable(App { llm: llm.clone(), context: 1 }.reply(""));
}

#[test]
fn the_policy_is_a_constant() {
    let policy =
        cascade_sdk_core::policy::read(&cascade_sdk_core::diag::Source::new("", Llm::TRIAGE_POLICY)).unwrap();
    assert_eq!(policy.route, "triage");
    assert!(Llm::REPLY_POLICY.contains("reply"));
}

#[test]
fn the_schema_beside_the_configuration_is_that_of_the_type() {
    assert_eq!(include_str!("team.json"), cascade_sdk::AnswerSchema::of::<Team>().to_json());
}

#[test]
fn debug_shows_the_name_and_no_secret() {
    let shown = format!("{:?}", llm(&Scripted::new()));
    assert!(shown.starts_with("Llm("), "{shown}");
}
