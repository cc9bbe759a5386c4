//! What is expanded after a mistake: the same public items, so that code that uses them has no errors of its own.

use crate::errors::Errors;
use crate::item::RouteItem;
use crate::plan::{ClientPlan, RoutePlan, TierPlan};
use cascade_sdk_core::name;
use proc_macro2::TokenStream;
use quote::quote;
use std::collections::BTreeSet;
use toml::de::DeTable;

/// A plan of the routes and tiers that can be made out in a configuration with mistakes in it. Its texts are left out:
/// the program does not compile, so nobody reads them.
pub(crate) fn plan(config: &str) -> ClientPlan {
    let (tree, _) = DeTable::parse_recoverable(config);
    let routes = tree.get_ref().get("routes").and_then(|routes| routes.get_ref().as_table());
    let mut taken = BTreeSet::new();
    let routes = routes.into_iter().flat_map(|routes| routes.iter()).filter_map(|(name, route)| {
        let name = name.get_ref();
        let tiers = route.get_ref().as_table()?.get("tiers").and_then(|tiers| tiers.get_ref().as_array());
        // Two routes of one name, which is a mistake that was reported, would give two methods of one name.
        let distinct = taken.insert(name::method(name))
            & taken.insert(name::stream_method(name))
            & taken.insert(name::variant(name));
        distinct
            .then(|| outline(name, tiers.into_iter().flatten().filter_map(|tier| tier.get_ref().as_str())))
    });
    ClientPlan { routes: routes.collect(), ..ClientPlan::default() }
}

fn outline<'a>(route: &str, tiers: impl Iterator<Item = &'a str>) -> RoutePlan {
    let mut taken = BTreeSet::new();
    let tiers = tiers
        .filter(|tier| taken.insert(name::variant(tier)))
        .map(|tier| TierPlan { name: tier.to_owned(), docs: String::new() });
    RoutePlan {
        name: route.to_owned(),
        docs: String::new(),
        tiers: tiers.collect(),
        policy: None,
        schema: None,
        needed: Vec::new(),
    }
}

/// The function with the signature it was written with, and no body.
pub(crate) fn route(item: &RouteItem, errors: Errors) -> TokenStream {
    let RouteItem { attrs, vis, sig, .. } = item;
    let errors = errors.into_tokens();
    quote! {
        #errors
        #(#attrs)*
        #[allow(unused, clippy::all, clippy::pedantic)]
        #vis #sig {
            ::core::unreachable!()
        }
    }
}
