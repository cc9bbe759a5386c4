//! Prompt features and the router that reads them: what is known before anything is generated.

/// What the router sees of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestView<'a> {
    /// Routing text: the user and tool text parts in order, joined by newlines.
    pub text: &'a str,
    /// Numbers the application knows, sorted by name.
    pub features: &'a [(&'a str, f64)],
    /// Labels the application knows, sorted by name.
    pub tags: &'a [(&'a str, &'a str)],
}

/// A fitted router.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Router {
    /// λ: quality per US dollar.
    pub shadow_price: f64,
}

/// Space for a routing decision, reused from request to request.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    predictions: Vec<f64>,
}

impl Scratch {
    /// The router's log-odds per tier for the last request, empty without a router.
    pub fn predictions(&self) -> &[f64] {
        &self.predictions
    }
}

/// Something the router needs and the request does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MissingInput {
    /// A number the application should pass.
    Feature(String),
    /// A label the application should pass.
    Tag(String),
}

impl std::fmt::Display for MissingInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Feature(name) => write!(f, "the policy's router needs the feature `{name}`"),
            Self::Tag(name) => write!(f, "the policy's router needs the tag `{name}`"),
        }
    }
}

/// Chooses a plan from the prompt: argmax of predicted quality − λ · predicted cost.
///
/// # Errors
/// [`MissingInput`] if the router needs a feature or tag that the request lacks.
pub fn choose_plan(
    _rules: &crate::policy::Rules,
    _request: &RequestView<'_>,
    _scratch: &mut Scratch,
) -> Result<usize, MissingInput> {
    Ok(0)
}
