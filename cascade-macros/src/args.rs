//! The grammar of what stands in the attributes' parentheses.

use cascade_sdk_core::name;
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::{Expr, Ident, LitStr, Path, Token};

/// `#[client("cascade.toml", crate = path)]`.
pub(crate) struct ClientArgs {
    /// Path of the configuration, relative to the package.
    pub(crate) path: LitStr,
    /// Where the SDK is, if not at `::cascade_sdk`.
    pub(crate) sdk: Option<Path>,
}

/// `#[route(Llm::name, client = expression, crate = path)]`.
pub(crate) struct RouteArgs {
    /// The route's method on the client.
    pub(crate) route: Path,
    /// The client; the function's first argument where absent.
    pub(crate) client: Option<Expr>,
    /// Where the SDK is, if not at `::cascade_sdk`.
    pub(crate) sdk: Option<Path>,
}

impl Parse for ClientArgs {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if !input.peek(LitStr) {
            return Err(input.error("expected the path of the configuration: `#[client(\"cascade.toml\")]`"));
        }
        let path = input.parse()?;
        let mut sdk = None;
        options(input, &["crate"], |_, input| set(&mut sdk, input, Path::parse_mod_style))?;
        Ok(Self { path, sdk })
    }
}

impl Parse for RouteArgs {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        const EXPECTED: &str = "expected the client and the name of a route: `#[route(Llm::name)]`";
        let fork = input.fork();
        let is_path = Path::parse_mod_style(&fork).is_ok_and(|path| path.segments.len() > 1);
        if !is_path || fork.peek(Token![=]) {
            return Err(if input.is_empty() { input.error(EXPECTED) } else { pointing(input, EXPECTED) });
        }
        let route = Path::parse_mod_style(input)?;
        let (mut client, mut sdk) = (None, None);
        options(input, &["client", "crate"], |key, input| match key {
            "client" => set(&mut client, input, Expr::parse),
            _ => set(&mut sdk, input, Path::parse_mod_style),
        })?;
        Ok(Self { route, client, sdk })
    }
}

/// An error on the next token; `ParseBuffer::error` alone would add what `syn` expected.
fn pointing(input: ParseStream<'_>, message: &str) -> syn::Error {
    syn::Error::new(input.span(), message)
}

/// `, key = value` until the end. All unknown keys are reported at once.
fn options(
    input: ParseStream<'_>,
    known: &[&str],
    mut take: impl FnMut(&str, ParseStream<'_>) -> syn::Result<bool>,
) -> syn::Result<()> {
    let mut errors: Option<syn::Error> = None;
    let mut report = |error: syn::Error| match &mut errors {
        Some(errors) => errors.combine(error),
        none => *none = Some(error),
    };
    while !input.is_empty() {
        input.parse::<Token![,]>()?;
        if input.is_empty() {
            break;
        }
        let key = input.call(Ident::parse_any)?;
        let text = key.unraw().to_string();
        let is_known = known.contains(&text.as_str());
        if !is_known {
            report(syn::Error::new(key.span(), unknown(&text, known)));
            if !input.peek(Token![=]) {
                continue;
            }
        }
        input.parse::<Token![=]>()?;
        if !is_known {
            input.parse::<Expr>()?;
        } else if !take(&text, input)? {
            report(syn::Error::new(key.span(), format!("`{text}` is set twice")));
        }
    }
    errors.map_or(Ok(()), Err)
}

fn unknown(key: &str, known: &[&str]) -> String {
    let listed = known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
    match name::nearest(key, known.iter().copied()) {
        Some(near) => format!("unknown key `{key}`: did you mean `{near}`?"),
        None => format!("unknown key `{key}`: known are {listed}"),
    }
}

/// Fills a slot; false if it was full.
fn set<T>(
    slot: &mut Option<T>,
    input: ParseStream<'_>,
    parse: impl FnOnce(ParseStream<'_>) -> syn::Result<T>,
) -> syn::Result<bool> {
    Ok(slot.replace(parse(input)?).is_none())
}
