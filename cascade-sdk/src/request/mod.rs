//! What an application asks: messages, and what is known about the request beside them.

mod message;
mod tool;

pub use cascade_sdk_core::prompt::Role;
pub use message::{Bound, Image, Message, Part};
pub use tool::{Tool, ToolCall, ToolResult};

use crate::session::Session;
use cascade_sdk_core::prompt;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A request to a route: messages, plus what routing, budgets and accounting need to know.
///
/// `&str` and `String` become a request of one user message. What shapes a request beyond its messages (temperature,
/// answer schema and so on) is configuration, because a policy is only valid for the shape it was fitted on.
///
/// ```
/// use cascade_sdk::Request;
/// let request = Request::new("Which team should handle this ticket?").with_id("ticket-17").feature("length", 211.0);
/// assert_eq!(request.id(), Some("ticket-17"));
/// ```
#[derive(Clone, Default)]
pub struct Request {
    pub(crate) id: Option<String>,
    pub(crate) system: Option<String>,
    pub(crate) messages: Vec<Message>,
    pub(crate) tools: Vec<Tool>,
    pub(crate) features: BTreeMap<String, f64>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) tenant: Option<String>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) tier: Option<String>,
    pub(crate) session: Option<Session>,
}

impl Request {
    /// One user message.
    pub fn new(text: impl Into<String>) -> Self {
        Self { messages: vec![Message::user(text)], ..Self::default() }
    }

    /// A conversation, oldest message first.
    pub fn from_messages(messages: impl IntoIterator<Item = Message>) -> Self {
        Self { messages: messages.into_iter().collect(), ..Self::default() }
    }

    /// Adds a message at the end.
    #[must_use]
    pub fn with_message(mut self, message: Message) -> Self {
        self.messages.push(message);
        self
    }

    /// Adds instructions of this request to the route's own system prompt, which stays in front.
    #[must_use]
    pub fn with_system(mut self, text: impl Into<String>) -> Self {
        self.system = Some(text.into());
        self
    }

    /// Lets the model call this tool of the application. The route must say `tools = true`.
    #[must_use]
    pub fn with_tool(mut self, tool: Tool) -> Self {
        self.tools.push(tool);
        self
    }

    /// Names the request: in decision logs, to find its row when a log is replayed, and to draw its plan where the policy is a
    /// mixture. Without one the client makes one.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Tells the router a number that the application knows.
    #[must_use]
    pub fn feature(mut self, name: impl Into<String>, value: f64) -> Self {
        self.features.insert(name.into(), value);
        self
    }

    /// Tells the router a label that the application knows.
    #[must_use]
    pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// Charges the request to this tenant's share of the budget as well.
    #[must_use]
    pub fn with_tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// The longest time that the whole request may take, all tiers and retries together.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Asks this tier of the route and no other, whatever the policy says; recorded as forced.
    #[must_use]
    pub fn with_tier(mut self, tier: impl Into<String>) -> Self {
        self.tier = Some(tier.into());
        self
    }

    /// Makes the request the next turn of a conversation; `sticky` under `[routes.R.runtime]` says what its turns share.
    #[must_use]
    pub fn with_session(mut self, session: Session) -> Self {
        self.session = Some(session);
        self
    }

    /// The conversation that the request belongs to.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// The request's name.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The messages, oldest first.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The tools that the model may call.
    pub fn tools(&self) -> &[Tool] {
        &self.tools
    }

    /// The routing text: what the router sees, and what finds a row in a log. User and tool texts in order, joined by
    /// newlines; system prompt, images and earlier answers are left out (DESIGN.md 5). A text that stands alone is borrowed.
    pub fn routing_text(&self) -> Cow<'_, str> {
        prompt::routing_text(self.messages.iter().flat_map(|message| {
            message.parts.iter().filter_map(|part| match part {
                Part::Text(text) => Some((message.role, text.as_str())),
                Part::ToolResult(result) => Some((Role::Tool, result.content.as_str())),
                Part::Image(_) | Part::ToolCall(_) | Part::Bound(_) => None,
            })
        }))
    }
}

/// What a route's method takes: text or a whole [`Request`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a request",
    label = "not a request",
    note = "a request is a `String`, a `&str` or a `cascade_sdk::Request`"
)]
pub trait IntoRequest {
    /// The request.
    fn into_request(self) -> Request;
}

impl IntoRequest for Request {
    fn into_request(self) -> Request {
        self
    }
}

impl IntoRequest for String {
    fn into_request(self) -> Request {
        Request::new(self)
    }
}

impl IntoRequest for &str {
    fn into_request(self) -> Request {
        Request::new(self)
    }
}

impl IntoRequest for &String {
    fn into_request(self) -> Request {
        Request::new(self.as_str())
    }
}

/// Prompts do not belong in logs: `Debug` shows lengths only.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("id", &self.id)
            .field("messages", &self.messages)
            .field("tier", &self.tier)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routing_text_leaves_out_what_the_router_must_not_see() {
        let request = Request::from_messages([
            Message::user("first").with_image("https://example.com/a.png"),
            Message::assistant("answer"),
            Message::user("second"),
        ])
        .with_system("be brief")
        .with_message(Message::assistant("calling").with_part(Part::ToolCall(ToolCall::new(
            "1",
            "f",
            serde_json::json!({}),
        ))))
        .with_message(Message::tool(ToolResult::new("1", "f", "found")));
        assert_eq!(request.routing_text(), "first\nsecond\nfound");
    }

    #[test]
    fn debug_shows_no_prompt() {
        let request = Request::new("secret prompt").with_system("secret system");
        let shown = format!("{request:?}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}
