//! A function that asks a route.

use crate::args::RouteArgs;
use crate::item::{InputKind, RouteItem};
use crate::paths::Sdk;
use crate::plan::{BodyKind, CallPlan};
use proc_macro2::{Group, Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Expr;
use syn::spanned::Spanned as _;

pub(super) fn route(args: &RouteArgs, item: &RouteItem, plan: &CallPlan) -> TokenStream {
    let RouteItem { attrs, vis, sig, .. } = item;
    let sdk = &Sdk::at(args.sdk.as_ref());
    let check = check(args, item, sdk);
    let body = match plan.body {
        BodyKind::Request(span) => ask(args, item, plan, sdk, span),
        BodyKind::Diverges => item.body.stream(),
    };
    quote! {
        #(#attrs)*
        #vis #sig {
            #check
            #body
        }
    }
}

/// Makes the request, asks the client, and gives back what the function returns.
fn ask(args: &RouteArgs, item: &RouteItem, plan: &CallPlan, sdk: &Sdk, span: Span) -> TokenStream {
    let path = &args.route;
    let client = borrowed(&plan.client);
    // Names that the body cannot see, and that clash with none of its own.
    let [route, request, call, routed, error] = ["route", "request", "call", "routed", "error"].map(hygienic);
    let (before, after) = router_inputs(item, sdk, &request);
    let build = build(item, sdk, &request, span);
    let (answer, answer_span) = (&plan.answer, plan.answer.span());
    let call_answer = quote_spanned!(answer_span=> #call.answer::<#answer>());
    let value = if plan.whole_story { quote!(#routed) } else { quote!(#routed.answer) };
    let convert = if let Some(ty) = &plan.error {
        let from = &sdk.error;
        quote_spanned!(ty.span()=> <#ty as ::core::convert::From<#from>>::from)
    } else {
        quote!(::core::convert::From::from)
    };
    quote! {
        #before
        #build
        #after
        let #route = #path;
        let #call = #route(#client, #request);
        match #call_answer.await {
            ::core::result::Result::Ok(#routed) => ::core::result::Result::Ok(#value),
            ::core::result::Result::Err(#error) => ::core::result::Result::Err(#convert(#error)),
        }
    }
}

/// The client, by reference whatever it is; a client of the wrong type is pointed at where it stands.
fn borrowed(client: &Expr) -> TokenStream {
    let generated = Span::mixed_site().located_at(client.span());
    quote_spanned!(generated=> &#client)
}

fn hygienic(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// The request that the body makes.
fn build(item: &RouteItem, sdk: &Sdk, request: &Ident, span: Span) -> TokenStream {
    // Marked as generated, so that rustc does not call the braces of a function needless.
    let mut body = Group::new(item.body.delimiter(), item.body.stream());
    body.set_span(Span::mixed_site().located_at(item.body.span()));
    let ty = &sdk.request;
    let into_request = sdk.request_bound(span);
    let made = quote_spanned!(span=> #into_request::into_request(#body));
    quote!(let #request: #ty = #made;)
}

/// Reads the arguments that the router wants before the body uses them up, and adds them to the request afterwards.
fn router_inputs(item: &RouteItem, sdk: &Sdk, request: &Ident) -> (TokenStream, TokenStream) {
    let (mut before, mut after) = (TokenStream::new(), TokenStream::new());
    let ty = &sdk.request;
    for input in &item.inputs {
        let name = &input.name;
        let text = syn::ext::IdentExt::unraw(name).to_string();
        let value = hygienic(&format!("value_of_{text}"));
        let span = input.ty.span();
        match input.kind {
            InputKind::Feature => {
                let feature = sdk.feature_bound(span);
                before.extend(quote_spanned!(span=> let #value: f64 = #feature::feature_value(&#name);));
                after.extend(quote!(let #request = #ty::feature(#request, #text, #value);));
            }
            InputKind::Tag => {
                let tag = sdk.tag_bound(span);
                before.extend(quote_spanned!(span=> let #value = #tag::tag_value(&#name);));
                after.extend(quote!(let #request = #ty::tag(#request, #text, #value);));
            }
        }
    }
    (before, after)
}

/// Compares what the policy's router reads with what the function has, while the program is compiled.
///
/// The route is named exactly as in the call, so that rustc reports a name that does not exist once.
fn check(args: &RouteArgs, item: &RouteItem, sdk: &Sdk) -> TokenStream {
    let path = &args.route;
    let Sdk { check_inputs, needed, request, input_kind: kind, .. } = sdk;
    let span = path.span();
    let given = item.inputs.iter().map(|input| {
        let name = syn::ext::IdentExt::unraw(&input.name).to_string();
        let variant = match input.kind {
            InputKind::Feature => format_ident!("Feature"),
            InputKind::Tag => format_ident!("Tag"),
        };
        quote!((#kind::#variant, #name))
    });
    let compare = quote_spanned! {span=>
        #check_inputs(#needed::<_, #request, _>(#path), &[#(#given),*])
    };
    // An item inside a function is checked even where the function is never called, but cannot name `Self`.
    if path.segments.first().is_some_and(|segment| segment.ident == "Self") {
        quote!(const { #compare })
    } else {
        quote!(const _: () = #compare;)
    }
}
