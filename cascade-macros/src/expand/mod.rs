//! Tokens. No decision is taken here: what is expanded was judged before.

mod client;
pub(crate) mod docs;
mod route;
mod tiers;

use crate::args::{ClientArgs, RouteArgs};
use crate::errors::Errors;
use crate::item::{ClientItem, RouteItem};
use crate::load::Project;
use crate::paths::Sdk;
use crate::{check, fallback};
use proc_macro2::TokenStream;
use quote::quote;

/// `#[client]`.
pub(crate) fn client(args: TokenStream, item: &TokenStream, project: &Project) -> TokenStream {
    let (parsed, mut errors) = match ClientItem::read(item.clone()) {
        Ok(parsed) => (parsed, Errors::default()),
        Err((errors, Some(parsed))) => (parsed, errors),
        Err((errors, None)) => {
            let errors = errors.into_tokens();
            return quote!(#errors #item);
        }
    };
    let args = syn::parse2::<ClientArgs>(args).map_err(|error| errors.push(error)).ok();
    let plan = args.as_ref().map(|args| match check::client(project, &args.path.value()) {
        Ok(plan) => plan,
        Err(refused) => {
            refused.messages.iter().for_each(|message| errors.at(args.path.span(), message));
            refused.plan
        }
    });
    let sdk = Sdk::at(args.as_ref().and_then(|args| args.sdk.as_ref()));
    let warn_at = args.as_ref().map_or(parsed.ident.span(), |args| args.path.span());
    let client = client::client(&parsed, &plan.unwrap_or_default(), project, &sdk, warn_at);
    let errors = errors.into_tokens();
    quote!(#errors #client)
}

/// `#[route]`.
pub(crate) fn route(args: TokenStream, item: &TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let args = syn::parse2::<RouteArgs>(args).map_err(|error| errors.push(error)).ok();
    let parsed = match syn::parse2::<RouteItem>(item.clone()) {
        Ok(parsed) => parsed,
        Err(error) => {
            errors.push(error);
            let errors = errors.into_tokens();
            return quote!(#errors #item);
        }
    };
    let plan = args.as_ref().and_then(|args| check::route(args, &parsed, &mut errors));
    match (args, plan) {
        (Some(args), Some(plan)) if errors.is_empty() => route::route(&args, &parsed, &plan),
        _ => fallback::route(&parsed, errors),
    }
}
