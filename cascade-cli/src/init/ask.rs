//! Asking on a terminal for what no flag gave.

use crate::failure::Result;
use cascade_sdk_core::diag::Diagnostic;
use std::io::{BufRead, Write};

/// Asks one question; an empty line takes the default. Asks again while `read` refuses, and says why.
///
/// # Errors
/// An input that ends or breaks.
pub(crate) fn ask<T>(
    input: &mut impl BufRead,
    output: &mut impl Write,
    question: &str,
    default: &str,
    mut read: impl FnMut(&str) -> std::result::Result<T, String>,
) -> Result<T> {
    let failed =
        |error: std::io::Error| Diagnostic::error("cli::io", format!("cannot ask on this terminal: {error}"));
    loop {
        write!(output, "{question} [{default}]: ").and_then(|()| output.flush()).map_err(failed)?;
        let mut line = String::new();
        if input.read_line(&mut line).map_err(failed)? == 0 {
            return Err(Diagnostic::error("cli::io", "the answers ended before the questions")
                .help("give the answers as flags, or take the defaults with --yes")
                .into());
        }
        let answer = line.trim();
        match read(if answer.is_empty() { default } else { answer }) {
            Ok(value) => return Ok(value),
            Err(why) => writeln!(output, "  {why}").map_err(failed)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> std::result::Result<u32, String> {
        text.parse().map_err(|_| "not a number".to_owned())
    }

    #[test]
    fn refused_answers_are_asked_again_and_empty_ones_take_the_default() {
        let mut output = Vec::new();
        let answer = ask(&mut "x\n 7 \n".as_bytes(), &mut output, "how many", "3", number).unwrap();
        assert_eq!(answer, 7);
        assert_eq!(String::from_utf8(output).unwrap(), "how many [3]:   not a number\nhow many [3]: ");
        assert_eq!(ask(&mut "\n".as_bytes(), &mut Vec::new(), "how many", "3", number).unwrap(), 3);
        assert!(ask(&mut "".as_bytes(), &mut Vec::new(), "how many", "3", number).is_err());
    }
}
