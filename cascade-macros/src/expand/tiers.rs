//! The enum of a route's tiers.

use crate::item::InputKind;
use crate::paths::Sdk;
use crate::plan::RoutePlan;
use cascade_sdk_core::name;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};
use syn::Visibility;

/// `TriageTier`.
pub(super) fn ident(route: &RoutePlan, span: Span) -> Ident {
    format_ident!("{}Tier", name::variant(&route.name), span = span)
}

pub(super) fn tiers(route: &RoutePlan, vis: &Visibility, sdk: &Sdk, span: Span) -> TokenStream {
    let ident = ident(route, span);
    let docs = format!("The tiers of the route `{}`, in the order of the configuration.", route.name);
    let names: Vec<_> = route.tiers.iter().map(|tier| &tier.name).collect();
    let variants: Vec<_> = names.iter().map(|name| Ident::new(&name::variant(name), span)).collect();
    let variant_docs = route.tiers.iter().map(|tier| &tier.docs);
    let Sdk { tier_name, route_inputs, needed_input, input_kind, .. } = sdk;
    let needed = route.needed.iter().map(|needed| {
        let kind = match needed.kind {
            InputKind::Feature => quote!(#input_kind::Feature),
            InputKind::Tag => quote!(#input_kind::Tag),
        };
        let (name, message) = (&needed.name, &needed.message);
        quote!(#needed_input { kind: #kind, name: #name, message: #message })
    });
    quote! {
        #[doc = #docs]
        #[derive(
            ::core::clone::Clone,
            ::core::marker::Copy,
            ::core::fmt::Debug,
            ::core::cmp::PartialEq,
            ::core::cmp::Eq,
            ::core::hash::Hash
        )]
        #[allow(dead_code)]
        #[non_exhaustive]
        #vis enum #ident {
            #(#[doc = #variant_docs] #variants,)*
        }

        #[automatically_derived]
        impl #tier_name for #ident {
            const ALL: &'static [Self] = &[#(Self::#variants),*];

            fn name(self) -> &'static str {
                match self {
                    #(Self::#variants => #names,)*
                }
            }

            fn from_name(name: &str) -> ::core::option::Option<Self> {
                match name {
                    #(#names => ::core::option::Option::Some(Self::#variants),)*
                    _ => ::core::option::Option::None,
                }
            }
        }

        #[automatically_derived]
        impl #route_inputs for #ident {
            const NEEDED: &'static [#needed_input] = &[#(#needed),*];
        }

        #[automatically_derived]
        impl ::core::fmt::Display for #ident {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.pad(#tier_name::name(*self))
            }
        }
    }
}
