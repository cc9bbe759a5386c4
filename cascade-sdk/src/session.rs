//! Conversations: what one turn leaves behind for the next.

use serde::{Deserialize, Serialize};

/// Where a conversation stands. The caller carries it: [`crate::Routed::session`] is what the next turn passes to
/// [`crate::Request::with_session`], and it can be stored beside the conversation as JSON.
///
/// Nothing is kept in the client, so that any process of a fleet, and one that was restarted, can answer the next turn.
///
/// ```
/// use cascade_sdk::{Request, Session};
/// let request = Request::new("Hello").with_session(Session::new("chat-17"));
/// assert_eq!(request.session().map(Session::turn), Some(0));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    id: String,
    turn: u64,
    /// The plan of the first turn, and the policy that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plan: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    /// The tier that the policy last came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tier: Option<String>,
}

impl Session {
    /// A conversation before its first turn.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), turn: 0, plan: None, policy: None, tier: None }
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How many turns came before.
    pub fn turn(&self) -> u64 {
        self.turn
    }

    /// The plan that every turn runs, while this policy decides.
    pub(crate) fn plan(&self, policy: Option<&str>) -> Option<usize> {
        self.plan.filter(|_| self.policy.as_deref() == policy)
    }

    /// The tier that the policy last came to.
    pub(crate) fn tier(&self) -> Option<&str> {
        self.tier.as_deref()
    }

    /// What this turn leaves behind for the next. `reached` is the tier that the policy came to; without one the session keeps the
    /// tier that it has.
    pub(crate) fn after(&self, plan: Option<usize>, policy: Option<&str>, reached: Option<&str>) -> Self {
        let kept = self.plan(policy);
        Self {
            id: self.id.clone(),
            turn: self.turn.saturating_add(1),
            plan: kept.or(plan),
            policy: policy.map(str::to_owned),
            tier: reached.map(str::to_owned).or_else(|| self.tier.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_plan_stays_while_its_policy_does() {
        let first = Session::new("chat").after(Some(2), Some("a"), Some("small"));
        let second = first.after(Some(0), Some("a"), Some("large"));
        assert_eq!((second.turn(), second.plan(Some("a")), second.tier()), (2, Some(2), Some("large")));
        assert_eq!(second.plan(Some("b")), None);
        let third = second.after(Some(1), Some("b"), None);
        assert_eq!((third.plan(Some("b")), third.tier()), (Some(1), Some("large")));
    }

    #[test]
    fn it_is_stored_as_json() {
        let session = Session::new("chat").after(Some(2), Some("a"), Some("small"));
        let text = serde_json::to_string(&session).unwrap();
        assert_eq!(serde_json::from_str::<Session>(&text).unwrap(), session);
        assert_eq!(
            serde_json::from_str::<Session>(r#"{"id":"chat","turn":0}"#).unwrap(),
            Session::new("chat")
        );
    }
}
