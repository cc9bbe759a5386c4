//! What a client consists of, after everything was read and judged. Tokens are made of this and of nothing else.

use crate::item::InputKind;
use proc_macro2::Span;
use syn::{Expr, Type};

/// A file whose text becomes part of the program: `env!(variable)` joined with `path`.
///
/// An environment variable rather than an absolute path keeps expansions the same on every machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Embedded {
    pub(crate) variable: &'static str,
    pub(crate) path: String,
}

/// Everything `#[client]` generates.
#[derive(Debug, Default)]
pub(crate) struct ClientPlan {
    /// The configuration; `None` after a mistake.
    pub(crate) config: Option<Embedded>,
    /// Its path as written in the attribute.
    pub(crate) config_path: String,
    pub(crate) from_env_docs: String,
    pub(crate) routes: Vec<RoutePlan>,
    /// What rustc should warn of.
    pub(crate) warnings: Vec<String>,
}

/// One route: a method, an enum of tiers, a constant.
#[derive(Debug)]
pub(crate) struct RoutePlan {
    pub(crate) name: String,
    pub(crate) docs: String,
    pub(crate) tiers: Vec<TierPlan>,
    pub(crate) policy: Option<PolicyPlan>,
    /// The JSON Schema of its answers.
    pub(crate) schema: Option<Embedded>,
    /// What the policy's router must be told.
    pub(crate) needed: Vec<NeededPlan>,
}

/// One variant of a route's enum.
#[derive(Debug)]
pub(crate) struct TierPlan {
    pub(crate) name: String,
    pub(crate) docs: String,
}

/// The policy of a route.
#[derive(Debug)]
pub(crate) struct PolicyPlan {
    pub(crate) file: Embedded,
    /// Path as people know it, relative to the configuration.
    pub(crate) path: String,
    /// The router's weights, where they are too large for the policy file.
    pub(crate) weights: Option<Embedded>,
}

/// A feature or tag that a policy's router reads.
#[derive(Debug)]
pub(crate) struct NeededPlan {
    pub(crate) kind: InputKind,
    pub(crate) name: String,
    /// What to say to somebody whose function lacks it.
    pub(crate) message: String,
}

/// What the body of a route's function ends with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BodyKind {
    /// The request; where it stands.
    Request(Span),
    /// Nothing: the body ends in a macro that panics, as while its author still has to write it.
    Diverges,
}

/// Everything `#[route]` adds to a function.
pub(crate) struct CallPlan {
    pub(crate) client: Expr,
    /// The type of the answer.
    pub(crate) answer: Type,
    /// Whether the function returns the whole story or the answer alone.
    pub(crate) whole_story: bool,
    /// The type of the function's errors; `None` where a type alias hides it.
    pub(crate) error: Option<Type>,
    pub(crate) body: BodyKind,
}
