//! What the attributes expand to, and what they say of mistakes.

mod client;
mod route;

use crate::load::Project;
use cascade_sdk_core::config;
use cascade_sdk_core::diag::Source;
use cascade_sdk_core::policy::{self, Policy};
use proc_macro2::TokenStream;
use std::path::Path;
use tempfile::TempDir;

/// A configuration of one route with two tiers, fitted in none of the tests that use it.
const TWO_TIERS: &str = include_str!("two_tiers.toml");

/// A policy for the route of [`TWO_TIERS`], fresh after `change`.
fn fitted(change: impl FnOnce(&mut Policy)) -> String {
    fitted_for(TWO_TIERS, change)
}

/// The same for another configuration.
fn fitted_for(config: &str, change: impl FnOnce(&mut Policy)) -> String {
    let text = include_str!("../../../cascade-sdk/core/tests/policy/ok/pair.toml");
    let mut policy = policy::read(&Source::new("pair.toml", text)).unwrap();
    let (config, _) = config::read(&Source::new("cascade.toml", config));
    policy.fitted.config_hash = config::fingerprint(&config.unwrap(), "triage", None).unwrap();
    change(&mut policy);
    policy::write(&policy)
}

/// A package in a directory of its own.
struct Package {
    dir: TempDir,
    project: Project,
}

impl Package {
    fn new(config: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let project = Project {
            root: dir.path().to_owned(),
            variable: "CARGO_MANIFEST_DIR",
            package: "app".to_owned(),
            policy_dir: None,
        };
        let package = Self { dir, project };
        package.write("cascade.toml", config);
        package
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Expands `#[client("cascade.toml")]` on a struct.
    fn client(&self, item: &str) -> String {
        self.client_with("\"cascade.toml\"", item)
    }

    fn client_with(&self, args: &str, item: &str) -> String {
        pretty(crate::expand::client(tokens(args), &tokens(item), &self.project))
    }
}

/// Expands `#[route(args)]` on a function.
fn route(args: &str, item: &str) -> String {
    pretty(crate::expand::route(tokens(args), &tokens(item)))
}

fn tokens(text: &str) -> TokenStream {
    text.parse().unwrap()
}

fn pretty(tokens: TokenStream) -> String {
    let text = tokens.to_string();
    let printable = |file: &syn::File| !file.items.iter().any(|item| matches!(item, syn::Item::Verbatim(_)));
    // What is half typed, or no Rust, is expanded too.
    syn::parse2(tokens).ok().filter(printable).map_or(text, |file| prettyplease::unparse(&file))
}

/// The messages of all `compile_error!`s in an expansion.
fn messages(expansion: &str) -> Vec<String> {
    let file = syn::parse_file(expansion).unwrap();
    let errors = file.items.iter().filter_map(|item| match item {
        syn::Item::Macro(item) if item.mac.path.segments.last()?.ident == "compile_error" => {
            Some(item.mac.parse_body::<syn::LitStr>().unwrap().value())
        }
        _ => None,
    });
    errors.collect()
}
