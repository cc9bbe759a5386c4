//! What `#[route]` stands on: an `async fn` whose body builds a request and whose result is an answer.

use crate::args::RouteArgs;
use crate::errors::Errors;
use crate::item::RouteItem;
use crate::plan::{BodyKind, CallPlan};
use proc_macro2::Span;
use quote::ToTokens as _;
use syn::parse::Parser as _;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Block, Expr, ExprReturn, FnArg, GenericArgument, Macro, Pat, PathArguments, Stmt, Type};

const RETURNS: &str =
    "a route returns `Result<T, E>`, where `T` is the answer, or `Routed<T, Tier>` for the whole story";
const BODY: &str = "the body of a route ends with its request: a `String`, a `&str` or a `Request`";

/// Macros that never give a value: the body of a function that is not written yet.
const DIVERGING: [&str; 4] = ["todo", "unimplemented", "unreachable", "panic"];

/// Judges the function; `None` after a mistake.
pub(crate) fn route(args: &RouteArgs, item: &RouteItem, errors: &mut Errors) -> Option<CallPlan> {
    if item.sig.asyncness.is_none() {
        errors.on(item.sig.fn_token, "a route waits for a model: write `async fn`");
    }
    let client = client(args, item, errors);
    let answer = answer(item, errors);
    let body = body(item, errors);
    let (answer, whole_story, error) = answer?;
    Some(CallPlan { client: client?, answer, whole_story, error, body: body? })
}

fn client(args: &RouteArgs, item: &RouteItem, errors: &mut Errors) -> Option<Expr> {
    if let Some(client) = &args.client {
        return Some(client.clone());
    }
    match item.sig.inputs.first() {
        Some(FnArg::Receiver(receiver)) => {
            // Only in the client's own `impl` is `self` the client.
            if args.route.segments.first().is_some_and(|segment| segment.ident == "Self") {
                let this = receiver.self_token;
                return Some(syn::parse_quote!(#this));
            }
            let route = args.route.to_token_stream().to_string().replace(' ', "");
            errors.on(receiver, format!("say where the client is: `#[route({route}, client = self.field)]`"));
        }
        Some(FnArg::Typed(argument)) => match &*argument.pat {
            Pat::Ident(pattern) => {
                let name = &pattern.ident;
                return Some(syn::parse_quote!(#name));
            }
            pattern => {
                errors.on(pattern, "the first argument of a route is the client, by name: `llm: &Llm`");
            }
        },
        None => {
            let message = "a route needs a client: take it as first argument, or add `client = expression` to the attribute";
            errors.on(&item.sig.ident, message);
        }
    }
    None
}

/// The type of the answer, whether the whole story is asked for, and the type of errors where it is written.
fn answer(item: &RouteItem, errors: &mut Errors) -> Option<(Type, bool, Option<Type>)> {
    let syn::ReturnType::Type(_, returned) = &item.sig.output else {
        errors.on(&item.sig.ident, RETURNS);
        return None;
    };
    let Some(arguments) = type_arguments(returned, "Result").filter(|arguments| !arguments.is_empty()) else {
        errors.on(returned, RETURNS);
        return None;
    };
    let error = arguments.get(1).cloned();
    let answer = arguments.into_iter().next()?;
    match type_arguments(&answer, "Routed") {
        None => Some((answer, false, error)),
        // Without arguments it is no type, as rustc will say.
        Some(arguments) => Some((arguments.into_iter().next()?, true, error)),
    }
}

/// The types in `Name<…>`, by the last part of a path; `None` if it is another type.
fn type_arguments(ty: &Type, name: &str) -> Option<Vec<Type>> {
    let path = match ty {
        Type::Path(ty) => &ty.path,
        // Types that come out of a `macro_rules` macro are grouped.
        Type::Group(group) => return type_arguments(&group.elem, name),
        Type::Paren(group) => return type_arguments(&group.elem, name),
        _ => return None,
    };
    let last = path.segments.last().filter(|segment| segment.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return Some(Vec::new()) };
    let types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty.clone()),
        _ => None,
    });
    Some(types.collect())
}

fn body(item: &RouteItem, errors: &mut Errors) -> Option<BodyKind> {
    // A body that does not parse goes to rustc as it is: its message is better, and completion works meanwhile.
    let Ok(statements) = Block::parse_within.parse2(item.body.stream()) else {
        return Some(BodyKind::Request(item.body.span()));
    };
    let mut returns = Returns(Vec::new());
    for statement in &statements {
        returns.visit_stmt(statement);
    }
    for span in &returns.0 {
        let message =
            "a route's body cannot `return`: it builds the request, and the answer comes afterwards";
        errors.at(*span, message);
    }
    let kind = match statements.last() {
        Some(Stmt::Expr(Expr::Macro(tail), _)) if diverges(&tail.mac) => Some(BodyKind::Diverges),
        Some(Stmt::Macro(tail)) if diverges(&tail.mac) => Some(BodyKind::Diverges),
        Some(Stmt::Expr(tail, None)) => Some(BodyKind::Request(tail.span())),
        Some(Stmt::Macro(tail)) if tail.semi_token.is_none() => Some(BodyKind::Request(tail.span())),
        // The `return` that stands there was reported.
        Some(Stmt::Expr(Expr::Return(_), _)) => None,
        Some(last) => {
            errors.on(last, BODY);
            None
        }
        None => {
            errors.at(item.body.span(), BODY);
            None
        }
    };
    kind.filter(|_| returns.0.is_empty())
}

fn diverges(mac: &Macro) -> bool {
    mac.path.segments.last().is_some_and(|segment| DIVERGING.iter().any(|name| segment.ident == name))
}

/// Finds every `return` of the function itself.
struct Returns(Vec<Span>);

impl Visit<'_> for Returns {
    fn visit_expr_return(&mut self, node: &ExprReturn) {
        self.0.push(node.return_token.span());
        visit::visit_expr_return(self, node);
    }

    fn visit_expr_closure(&mut self, _: &syn::ExprClosure) {}

    fn visit_expr_async(&mut self, _: &syn::ExprAsync) {}

    fn visit_item(&mut self, _: &syn::Item) {}
}
