//! The client: the struct, its constructors, and for each route a constant, a method and an enum.

use super::tiers;
use crate::item::ClientItem;
use crate::load::{Project, WATCHED};
use crate::paths::Sdk;
use crate::plan::{ClientPlan, Embedded, RoutePlan};
use cascade_sdk_core::name;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Attribute;

pub(super) fn client(
    item: &ClientItem,
    plan: &ClientPlan,
    project: &Project,
    sdk: &Sdk,
    warn_at: Span,
) -> TokenStream {
    let ClientItem { attrs, vis, ident } = item;
    let span = ident.span();
    let name = ident.to_string();
    let Sdk { client, builder, error, eval_prompt, client_spec, from_client, .. } = sdk;
    let enums = plan.routes.iter().map(|route| tiers::tiers(route, vis, sdk, span));
    let policies = plan.routes.iter().filter_map(|route| policy(route, span));
    let methods = plan.routes.iter().enumerate().map(|(index, route)| method(index, route, sdk, span));
    let spec = spec(plan, project, sdk, span);
    let allowed: Vec<_> = attrs.iter().filter(|attr| attr.path().is_ident("allow")).collect();
    let warnings = plan.warnings.iter().map(|warning| warn(warning, warn_at, &allowed));
    let from_env_docs = &plan.from_env_docs;
    let watched = WATCHED;
    quote! {
        #(#attrs)*
        #vis struct #ident {
            client: #client,
        }

        #[allow(dead_code)]
        impl #ident {
            #(#policies)*

            const __CASCADE_SPEC: &'static #client_spec = #spec;

            #[doc = #from_env_docs]
            pub fn from_env() -> ::core::result::Result<Self, #error> {
                ::core::result::Result::map(#client::from_spec_env(Self::__CASCADE_SPEC), |client| Self { client })
            }

            /// Makes a client by hand: with providers of the application's own, and in tests.
            pub fn builder() -> #builder<Self> {
                #builder::new(Self::__CASCADE_SPEC)
            }

            /// Writes requests of the application to a file of prompts that `cascade collect` reads as it is; how many there are.
            /// It needs no key and no network, and never overwrites other prompts.
            ///
            /// # Errors
            /// `Error::is_config()`, with every request that `collect` could not ask as the client does, or why the file cannot be
            /// written.
            pub fn write_eval_prompts(
                path: impl ::core::convert::AsRef<::std::path::Path>,
                requests: impl ::core::iter::IntoIterator<Item = impl ::core::convert::Into<#eval_prompt>>,
            ) -> ::core::result::Result<usize, #error> {
                #client::write_eval_prompts(path, requests)
            }

            #(#methods)*
        }

        #[automatically_derived]
        impl ::core::clone::Clone for #ident {
            fn clone(&self) -> Self {
                Self { client: ::core::clone::Clone::clone(&self.client) }
            }
        }

        #[automatically_derived]
        impl ::core::fmt::Debug for #ident {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_tuple(#name).field(&self.client).finish()
            }
        }

        #[automatically_derived]
        impl ::core::ops::Deref for #ident {
            type Target = #client;

            fn deref(&self) -> &Self::Target {
                &self.client
            }
        }

        #[automatically_derived]
        impl #from_client for #ident {
            fn from_client(client: #client) -> Self {
                Self { client }
            }
        }

        #(#enums)*

        #(#warnings)*

        const _: &[::core::option::Option<&str>] = &[#(::core::option_env!(#watched)),*];
    }
}

fn method(index: usize, route: &RoutePlan, sdk: &Sdk, span: Span) -> TokenStream {
    let method = Ident::new(&name::method(&route.name), span);
    let tier = tiers::ident(route, span);
    let docs = &route.docs;
    let stream_method = Ident::new(&name::stream_method(&route.name), span);
    let stream_docs = format!(
        "Asks the route `{}` as `{method}` does, and shows the answer while it arrives.",
        route.name.replace('`', "'")
    );
    let Sdk { answer_stream, call, into_request, .. } = sdk;
    quote! {
        #[doc = #docs]
        pub fn #method(&self, request: impl #into_request) -> #call<'_, #tier> {
            self.client.call(#index, request)
        }

        #[doc = #stream_docs]
        pub fn #stream_method(&self, request: impl #into_request) -> #answer_stream<#tier> {
            self.client.call(#index, request).stream()
        }
    }
}

/// `TRIAGE_POLICY`.
fn policy_ident(route: &RoutePlan, span: Span) -> Ident {
    let name = name::method(&route.name).trim_end_matches('_').to_uppercase();
    format_ident!("{}_POLICY", name, span = span)
}

fn policy(route: &RoutePlan, span: Span) -> Option<TokenStream> {
    let policy = route.policy.as_ref()?;
    let ident = policy_ident(route, span);
    let docs = format!("The policy of the route `{}` as it was compiled in: `{}`.", route.name, policy.path);
    let text = include(&policy.file, &quote!(include_str));
    Some(quote! {
        #[doc = #docs]
        pub const #ident: &'static str = #text;
    })
}

fn spec(plan: &ClientPlan, project: &Project, sdk: &Sdk, span: Span) -> TokenStream {
    let Sdk { client_spec, route_spec, .. } = sdk;
    let routes = plan.routes.iter().map(|route| {
        let name = &route.name;
        let policy_ident = policy_ident(route, span);
        let policy_path = option(route.policy.as_ref().map(|policy| &policy.path));
        let policy = option(route.policy.as_ref().map(|_| quote!(Self::#policy_ident)));
        let schema = option(route.schema.as_ref().map(|schema| include(schema, &quote!(include_str))));
        let weights = route.policy.as_ref().and_then(|policy| policy.weights.as_ref());
        let weights = option(weights.map(|weights| include(weights, &quote!(include_bytes))));
        quote! {
            #route_spec {
                name: #name,
                policy_path: #policy_path,
                policy: #policy,
                schema: #schema,
                weights: #weights,
            }
        }
    });
    let variable = project.variable;
    let config_path = &plan.config_path;
    let config =
        if let Some(config) = &plan.config { include(config, &quote!(include_str)) } else { quote!("") };
    quote! {
        &#client_spec {
            package: ::core::env!("CARGO_PKG_NAME"),
            manifest_dir: ::core::env!(#variable),
            config_path: #config_path,
            config: #config,
            routes: &[#(#routes),*],
        }
    }
}

/// Reading a file into the program also makes Cargo build it again when the file changes.
fn include(file: &Embedded, how: &TokenStream) -> TokenStream {
    let Embedded { variable, path } = file;
    let path = format!("/{path}");
    quote!(::core::#how!(::core::concat!(::core::env!(#variable), #path)))
}

fn option(value: Option<impl quote::ToTokens>) -> TokenStream {
    if let Some(value) = value {
        quote!(::core::option::Option::Some(#value))
    } else {
        quote!(::core::option::Option::None)
    }
}

/// Macros cannot warn, but rustc warns of the use of something deprecated; `#[allow(deprecated)]` on the struct stops it.
fn warn(message: &str, at: Span, allowed: &[&Attribute]) -> TokenStream {
    let used = quote_spanned!(at=> CASCADE_TOML);
    quote! {
        #(#allowed)*
        const _: () = {
            #[deprecated(note = #message)]
            const CASCADE_TOML: () = ();
            #used
        };
    }
}
