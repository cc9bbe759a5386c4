//! Arguments that tell a policy's router something.

use cascade_sdk::provider::{Reply, Scripted};
use cascade_sdk::{Error, Request, Routed, client, route};
use std::fmt;

#[client("ui/pass/cascade.toml")]
#[allow(deprecated, reason = "one route is not fitted yet")]
pub(super) struct Llm;

/// A tag of the application's own type; it is used up by the body.
struct Subject(String);

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[route(Llm::by_subject)]
async fn answer(
    llm: &Llm,
    #[feature] length: usize,
    #[tag] subject: Subject,
) -> Result<Routed<String, BySubjectTier>, Error> {
    let Subject(text) = subject;
    format!("{length} words about {text}")
}

/// The weights of this route's router are in a file of their own.
#[route(Llm::by_many_subjects)]
async fn answer_many(
    llm: &Llm,
    #[tag] subject: &str,
    #[feature] length: f32,
) -> Result<Routed<String, ByManySubjectsTier>, Error> {
    Request::new("question")
}

fn llm() -> Llm {
    let script =
        Scripted::new().reply_always("small", Reply::text("s")).reply_always("large", Reply::text("l"));
    Llm::builder().provider("local", script).build().unwrap()
}

#[tokio::test]
async fn the_router_sees_what_the_arguments_are() {
    let llm = llm();
    for (length, subject, expected) in [(500, "law", "l"), (10, "law", "s"), (500, "art", "s")] {
        let routed = answer(&llm, length, Subject(subject.to_owned())).await.unwrap();
        assert_eq!(routed.answer, expected, "{length} {subject}");
    }
}

#[tokio::test]
async fn weights_in_a_file_of_their_own_are_compiled_in() {
    let llm = llm();
    assert!(Llm::BY_MANY_SUBJECTS_POLICY.contains("weights_file"));
    assert_eq!(answer_many(&llm, "law", 500.0).await.unwrap().tier, ByManySubjectsTier::Large);
    assert_eq!(answer_many(&llm, "subject 0007", 500.0).await.unwrap().tier, ByManySubjectsTier::Small);
}

#[tokio::test]
async fn a_method_that_lacks_what_the_router_reads_fails_when_called() {
    let error = llm().by_subject(Request::new("x").feature("length", 1.0)).await.unwrap_err();
    assert!(error.is_config() && error.to_string().contains("subject"), "{error}");
}
