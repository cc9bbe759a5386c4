// Its example reads a configuration that this package does not have; the tests of the book compile it.
#![cfg_attr(not(doctest), doc = include_str!("docs/crate.md"))]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "replay")]
pub use cascade_sdk_core::log;
#[cfg(feature = "replay")]
pub use cascade_sdk_core::replay::{DecidedRow, DecidedStage, ReplayError, replay_decisions};
pub use cascade_sdk_core::{config, decide, diag, money, policy};

#[cfg(feature = "runtime")]
mod answer;
#[cfg(feature = "runtime")]
pub mod budget;
#[cfg(feature = "build")]
pub mod build;
#[cfg(feature = "runtime")]
mod client;
#[cfg(feature = "runtime")]
pub mod embedding;
#[cfg(feature = "runtime")]
mod error;
#[cfg(feature = "runtime")]
mod eval_prompts;
#[cfg(feature = "runtime")]
mod generated;
#[cfg(feature = "runtime")]
mod observe;
#[cfg(feature = "runtime")]
pub mod provider;
#[cfg(feature = "runtime")]
mod request;
#[cfg(feature = "runtime")]
mod routed;
#[cfg(feature = "runtime")]
mod session;
#[cfg(feature = "runtime")]
pub mod signal;

#[cfg(feature = "runtime")]
pub use answer::{AnswerError, AnswerSchema};
#[cfg(feature = "macros")]
#[cfg_attr(not(doctest), doc = include_str!("docs/client.md"))]
pub use cascade_macros::client;
#[cfg(feature = "macros")]
#[cfg_attr(not(doctest), doc = include_str!("docs/route.md"))]
pub use cascade_macros::route;
#[cfg(feature = "runtime")]
pub use client::{Answer, AnswerStream, Builder, Call, Client, PolicySource, StreamEvent, Turn};
#[cfg(feature = "runtime")]
pub use error::Error;
#[cfg(feature = "runtime")]
pub use eval_prompts::EvalPrompt;
#[cfg(feature = "runtime")]
pub use observe::signals;
#[cfg(feature = "runtime")]
pub use request::{Bound, Image, IntoRequest, Message, Part, Request, Role, Tool, ToolCall, ToolResult};
#[cfg(feature = "runtime")]
pub use routed::{Failure, Paced, Routed, Step, TierName};
#[cfg(feature = "runtime")]
pub use session::Session;

/// What generated code uses. Not for people: it may change with any release.
#[cfg(feature = "runtime")]
#[doc(hidden)]
pub mod __private {
    pub mod v1 {
        pub use crate::client::{AnswerStream, Builder, Call, Client, ClientSpec, RouteSpec};
        pub use crate::error::Error;
        pub use crate::eval_prompts::EvalPrompt;
        pub use crate::generated::{
            FeatureValue, FromClient, InputKind, NeededInput, RouteInputs, TagValue, check_inputs, needed,
        };
        pub use crate::request::{IntoRequest, Request};
        pub use crate::routed::TierName;
    }
}
