//! Findings as GitHub Actions reads them: `::error file=…,line=…,title=…::message`.

use cascade_sdk_core::diag::Diagnostic;

/// One line for each finding.
pub(crate) fn annotations(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(annotation).collect()
}

fn annotation(finding: &Diagnostic) -> String {
    let kind = if finding.is_error() { "error" } else { "warning" };
    let place = finding.labels.first().map_or_else(String::new, |label| {
        let (line, column) = label.source.position(label.span.start);
        format!("file={},line={line},col={column},", property(&label.source.name))
    });
    let text: Vec<String> = std::iter::once(finding.message.clone())
        .chain(finding.help.iter().map(|help| format!("help: {help}")))
        .collect();
    format!("::{kind} {place}title={}::{}\n", property(finding.code), message(&text.join("\n")))
}

/// A remark that is no finding.
pub(crate) fn notice(text: &str) -> String {
    format!("::notice title=cascade::{}\n", message(text))
}

/// Escapes of workflow commands, from the toolkit's own implementation.
fn message(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use cascade_sdk_core::diag::Source;

    #[test]
    fn commands_are_escaped() {
        let source = Source::new("a,b.toml", "x\ny = 100%\n");
        let finding =
            Diagnostic::error("config::syntax", "100 % wrong").at(&source, 2..3, "").help("mend it");
        assert_eq!(
            annotations(&[finding]),
            "::error file=a%2Cb.toml,line=2,col=1,title=config%3A%3Asyntax::100 %25 wrong%0Ahelp: mend it\n"
        );
    }
}
