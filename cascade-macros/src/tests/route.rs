use super::{messages, route};

#[test]
fn expansion_of_a_function() {
    insta::assert_snapshot!(route(
        "Llm::triage",
        "/// Which team?\npub(crate) async fn triage<'a, T: AsRef<str>>(llm: &Llm, #[feature] length: f64, #[tag] subject: Subject, text: &'a T) -> Result<Team, Error>\n\
         where T: 'a { let text = check(text.as_ref())?; format!(\"Which team? {text}\") }",
    ));
}

#[test]
fn expansion_of_a_method_with_the_whole_story() {
    insta::assert_snapshot!(route(
        "crate::llm::Llm::triage, client = self.llm, crate = crate::sdk",
        "async fn triage(&self, text: &str) -> anyhow::Result<Routed<Team, TriageTier>> { text }",
    ));
}

#[test]
fn mistakes() {
    const GOOD: &str = "async fn f(llm: &Llm) -> Result<T, E> { \"\" }";
    for (args, item, expected) in [
        ("", GOOD, "expected the client and the name of a route"),
        ("\"triage\"", GOOD, "expected the client and the name of a route"),
        ("triage", GOOD, "expected the client and the name of a route"),
        ("Llm::a, clinet = x", GOOD, "did you mean `client`?"),
        ("Llm::a, timeout = 3", GOOD, "unknown key `timeout`: known are `client`, `crate`"),
        ("Llm::a, client = x, client = y", GOOD, "`client` is set twice"),
        ("Llm::a", "struct S;", "`#[route]` goes on an `async fn`"),
        ("Llm::a", "async fn f(llm: &Llm) -> Result<T, E>;", "`#[route]` goes on an `async fn`"),
        ("Llm::a", "fn f(llm: &Llm) -> Result<T, E> { \"\" }", "write `async fn`"),
        ("Llm::a", "async fn f() -> Result<T, E> { \"\" }", "a route needs a client"),
        (
            "Llm::a",
            "async fn f(_: &Llm) -> Result<T, E> { \"\" }",
            "the first argument of a route is the client",
        ),
        ("Llm::a", "async fn f(&self) -> Result<T, E> { \"\" }", "`#[route(Llm::a, client = self.field)]`"),
        ("Llm::a", "async fn f(llm: &Llm) { \"\" }", "a route returns `Result<T, E>`"),
        ("Llm::a", "async fn f(llm: &Llm) -> T { \"\" }", "a route returns `Result<T, E>`"),
        ("Llm::a", "async fn f(llm: &Llm) -> fmt::Result { \"\" }", "a route returns `Result<T, E>`"),
        ("Llm::a", "async fn f(llm: &Llm) -> Result<T, E> { if x { return \"\" } \"\" }", "cannot `return`"),
        ("Llm::a", "async fn f(llm: &Llm) -> Result<T, E> { }", "ends with its request"),
        ("Llm::a", "async fn f(llm: &Llm) -> Result<T, E> { text; }", "ends with its request"),
        ("Llm::a", "async fn f(llm: &Llm, #[feature] (a, b): T) -> Result<T, E> { \"\" }", "needs a name"),
        ("Llm::a", "async fn f(llm: &Llm, #[tag = 3] a: T) -> Result<T, E> { \"\" }", "unexpected token"),
    ] {
        let expansion = route(args, item);
        let messages = messages(&expansion);
        assert!(messages.iter().any(|message| message.contains(expected)), "{args} {item}: {messages:#?}");
        assert_eq!(messages.len(), 1, "{args} {item}: {messages:#?}");
    }
}

#[test]
fn all_mistakes_of_a_function_are_reported_at_once() {
    let expansion = route("Llm::a", "fn f(&self) -> u8 { return 3 }");
    assert_eq!(messages(&expansion).len(), 4, "{expansion}");
}

#[test]
fn a_return_of_something_else_is_no_return_of_the_function() {
    for body in [
        "let f = |x: u8| { return x }; f(1).to_string()",
        "fn g() -> u8 { return 3 } g().to_string()",
        "let text = async { return String::new() }.await; text",
    ] {
        let expansion = route("Llm::a", &format!("async fn f(llm: &Llm) -> Result<T, E> {{ {body} }}"));
        assert!(messages(&expansion).is_empty(), "{expansion}");
    }
}

#[test]
fn a_body_that_is_not_written_yet_compiles() {
    for body in ["todo!()", "todo!(\"soon\");", "let x = 3; unimplemented!()"] {
        let expansion = route("Llm::a", &format!("async fn f(llm: &Llm) -> Result<T, E> {{ {body} }}"));
        assert!(!expansion.contains("into_request"), "{expansion}");
    }
}

#[test]
fn a_body_that_is_half_typed_reaches_rustc_as_it_is() {
    let expansion = route("Llm::a", "async fn f(llm: &Llm) -> Result<T, E> { let x = llm. }");
    assert!(expansion.contains("let x = llm . }"), "{expansion}");
    assert!(!expansion.contains("compile_error"), "{expansion}");
}

#[test]
fn in_the_clients_own_impl_self_is_the_client() {
    let expansion = route("Self::a", "async fn f(&self) -> Result<T, E> { \"\" }");
    assert!(expansion.contains("let route = Self::a;\n    let call = route(&self, request);"), "{expansion}");
    assert!(expansion.contains("const {"), "{expansion}");
}
