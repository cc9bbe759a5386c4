//! The only file that writes paths into the SDK. All of them go through one versioned module, so that a macro and an SDK
//! that do not belong together fail with a clear name.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::Path;

macro_rules! items {
    ($($field:ident = $name:literal;)+) => {
        /// Paths of the SDK's items, ready to be put into tokens.
        pub(crate) struct Sdk {
            root: TokenStream,
            $(pub(crate) $field: TokenStream,)+
        }

        impl Sdk {
            /// The SDK at the path of the attribute's `crate = …`, else at `::cascade_sdk`.
            pub(crate) fn at(path: Option<&Path>) -> Self {
                let root = path.map_or_else(|| quote!(::cascade_sdk), ToTokens::to_token_stream);
                Self {
                    $($field: item(&root, $name, Span::call_site()),)+
                    root,
                }
            }
        }
    };
}

items! {
    answer_stream = "AnswerStream";
    builder = "Builder";
    call = "Call";
    check_inputs = "check_inputs";
    client = "Client";
    client_spec = "ClientSpec";
    error = "Error";
    eval_prompt = "EvalPrompt";
    from_client = "FromClient";
    input_kind = "InputKind";
    into_request = "IntoRequest";
    needed = "needed";
    needed_input = "NeededInput";
    request = "Request";
    route_inputs = "RouteInputs";
    route_spec = "RouteSpec";
    tier_name = "TierName";
}

/// Traits that a body or an argument of the wrong type is measured against: the error is to point there.
impl Sdk {
    pub(crate) fn request_bound(&self, span: Span) -> TokenStream {
        item(&self.root, "IntoRequest", span)
    }

    pub(crate) fn feature_bound(&self, span: Span) -> TokenStream {
        item(&self.root, "FeatureValue", span)
    }

    pub(crate) fn tag_bound(&self, span: Span) -> TokenStream {
        item(&self.root, "TagValue", span)
    }
}

fn item(root: &TokenStream, name: &str, span: Span) -> TokenStream {
    let name = Ident::new(name, span);
    quote_spanned!(span=> #root::__private::v1::#name)
}
