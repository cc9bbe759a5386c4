//! What the attributes may stand on.

use crate::errors::Errors;
use proc_macro2::{Group, TokenStream, TokenTree};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, FnArg, Ident, Item, ItemStruct, Pat, Path, Signature, Token, Type, Visibility};

/// The unit struct that becomes a client.
pub(crate) struct ClientItem {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) ident: Ident,
}

/// Traits that every client has.
const OWN_TRAITS: [&str; 2] = ["Clone", "Debug"];

impl ClientItem {
    /// Reads the item.
    ///
    /// # Errors
    /// All that is wrong with it, and the item if it is a struct at all: its name is needed elsewhere.
    pub(crate) fn read(item: TokenStream) -> Result<Self, (Errors, Option<Self>)> {
        let item = match syn::parse2(item) {
            Ok(Item::Struct(item)) => item,
            Ok(other) => {
                let message = "`#[client]` goes on a unit struct such as `pub struct Llm;`";
                return Err((syn::Error::new_spanned(other, message).into(), None));
            }
            Err(error) => return Err((error.into(), None)),
        };
        let mut errors = Errors::default();
        if !item.fields.is_empty() || !matches!(item.fields, syn::Fields::Unit) {
            let message = "a client has no fields of its own: write `struct NAME;`";
            errors.on(&item.fields, message);
        }
        if !item.generics.params.is_empty() {
            errors.on(&item.generics, "a client has no generic parameters");
        }
        check_derives(&item, &mut errors);
        let ItemStruct { mut attrs, vis, ident, .. } = item;
        if errors.is_empty() {
            return Ok(Self { attrs, vis, ident });
        }
        // Derives that a client cannot have would be reported a second time.
        attrs.retain(|attr| !attr.path().is_ident("derive"));
        Err((errors, Some(Self { attrs, vis, ident })))
    }
}

fn check_derives(item: &ItemStruct, errors: &mut Errors) {
    for attr in item.attrs.iter().filter(|attr| attr.path().is_ident("derive")) {
        // What does not parse is for rustc to complain about.
        let paths = attr.parse_args_with(Punctuated::<Path, Token![,]>::parse_terminated).unwrap_or_default();
        for path in paths {
            let name = path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
            if OWN_TRAITS.contains(&name.as_str()) {
                errors.on(path, format!("every client is `{name}` already: remove it from the derives"));
            }
        }
    }
}

/// The function that becomes a call of a route. Its body stays as it was written.
pub(crate) struct RouteItem {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    /// Without the argument attributes `#[feature]` and `#[tag]`, which are in `inputs`.
    pub(crate) sig: Signature,
    pub(crate) body: Group,
    pub(crate) inputs: Vec<RouterInput>,
}

/// `#[feature] name: f64` or `#[tag] name: Subject`.
pub(crate) struct RouterInput {
    pub(crate) kind: InputKind,
    pub(crate) name: Ident,
    pub(crate) ty: Type,
}

/// What the router gets from an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputKind {
    /// A number.
    Feature,
    /// A label.
    Tag,
}

impl Parse for RouteItem {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        const EXPECTED: &str = "`#[route]` goes on an `async fn` with a body that builds the request";
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let fork = input.fork();
        if fork.parse::<Signature>().is_err() && !is_function(input) {
            return Err(syn::Error::new(input.span(), EXPECTED));
        }
        let mut sig: Signature = input.parse()?;
        let inputs = take_inputs(&mut sig)?;
        match input.parse()? {
            TokenTree::Group(body) if body.delimiter() == proc_macro2::Delimiter::Brace => {
                Ok(Self { attrs, vis, sig, body, inputs })
            }
            other => Err(syn::Error::new(other.span(), EXPECTED)),
        }
    }
}

/// True if `fn` stands among the words that may begin a function, so that `syn`'s own message is the better one.
fn is_function(input: ParseStream<'_>) -> bool {
    let fork = input.fork();
    while let Ok(TokenTree::Ident(word)) = fork.parse() {
        match word.to_string().as_str() {
            "fn" => return true,
            "const" | "async" | "unsafe" | "extern" => {}
            _ => return false,
        }
    }
    false
}

fn take_inputs(sig: &mut Signature) -> syn::Result<Vec<RouterInput>> {
    let mut inputs = Vec::new();
    for argument in &mut sig.inputs {
        let FnArg::Typed(argument) = argument else { continue };
        let (marks, others) = std::mem::take(&mut argument.attrs)
            .into_iter()
            .partition::<Vec<_>, _>(|attr| kind(attr).is_some());
        argument.attrs = others;
        for mark in &marks {
            mark.meta.require_path_only()?;
            let Some(kind) = kind(mark) else { continue };
            let Pat::Ident(pattern) = &*argument.pat else {
                return Err(syn::Error::new_spanned(&argument.pat, "what the router reads needs a name"));
            };
            inputs.push(RouterInput { kind, name: pattern.ident.clone(), ty: (*argument.ty).clone() });
        }
    }
    Ok(inputs)
}

fn kind(attr: &Attribute) -> Option<InputKind> {
    if attr.path().is_ident("feature") {
        Some(InputKind::Feature)
    } else if attr.path().is_ident("tag") {
        Some(InputKind::Tag)
    } else {
        None
    }
}
