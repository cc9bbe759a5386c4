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
