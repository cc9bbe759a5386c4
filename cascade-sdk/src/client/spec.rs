//! What `#[client]` bakes into an application: texts, to be read once at start by the same readers as everywhere else.

/// A client as its macro saw it.
#[derive(Debug)]
pub struct ClientSpec {
    /// The application's package name.
    pub package: &'static str,
    /// The application's `CARGO_MANIFEST_DIR`.
    pub manifest_dir: &'static str,
    /// Path of the configuration relative to `manifest_dir`.
    pub config_path: &'static str,
    /// The text of the configuration.
    pub config: &'static str,
    /// One entry for each route, in the order of the configuration.
    pub routes: &'static [RouteSpec],
}

/// A route as its macro saw it.
#[derive(Debug)]
pub struct RouteSpec {
    /// The route's name.
    pub name: &'static str,
    /// Where the policy was read from, for messages.
    pub policy_path: Option<&'static str>,
    /// The text of the policy; `None` for a route that needs none yet.
    pub policy: Option<&'static str>,
    /// The text of the answer's JSON Schema; `None` for plain text.
    pub schema: Option<&'static str>,
    /// The router's weights, where they do not stand in the policy itself.
    pub weights: Option<&'static [u8]>,
}
