//! `cascade init`.

use crate::cli::{Init, InitApi};
use crate::failure::{Answer, Failure, Result};
use crate::files::write_atomically;
use crate::init::ask::ask;
use crate::init::{self, Answers, TierAnswer};
use crate::outlook::Outlook;
use crate::terminal::Terminal;
use crate::words::some_of;
use cascade_sdk_core::config::{self, Api};
use cascade_sdk_core::diag::{Diagnostic, Source};
use cascade_sdk_core::name;
use serde_json::json;
use std::io::{BufRead, IsTerminal, Write};

/// Runs the command.
///
/// # Errors
/// Answers that cannot be used, files that exist already, or a directory that cannot be written.
pub(crate) fn run(args: &Init, terminal: Terminal) -> Result<Answer> {
    let asks = !args.yes && !terminal.is_json() && std::io::stdin().is_terminal();
    let answers = if asks {
        answers(args, Some((&mut std::io::stdin().lock(), &mut anstream::stderr().lock())))?
    } else {
        answers::<std::io::Empty, std::io::Sink>(args, None)?
    };
    let mut files = init::files(&answers);
    // Many projects have one: the lines are shown instead of written.
    let attributes = files
        .iter()
        .position(|(name, _)| name == ".gitattributes" && args.directory.join(name).exists())
        .map(|at| files.remove(at).1);
    let existing = files.iter().filter(|(name, _)| args.directory.join(name).exists());
    let existing = some_of(existing.map(|(name, _)| name.as_str()));
    if !existing.is_empty() {
        return Err(Diagnostic::error(
            "init::exists",
            format!("already there, so nothing was written: {existing}"),
        )
        .help("choose another directory, or edit what is there")
        .into());
    }
    let config = read_back(&files)?;
    for (name, text) in &files {
        write_atomically(&args.directory.join(name), text.as_bytes())?;
    }
    let outlooks: Vec<_> = config.routes.iter().map(|route| Outlook::new(&config, route, None)).collect();
    let written: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    if terminal.is_json() {
        terminal.print_json(&json!({ "written": written, "routes": outlooks, "gitattributes": attributes }));
        return Ok(Answer::Yes);
    }
    let mut lines: Vec<String> = written.iter().map(|name| format!("wrote {name}")).collect();
    if let Some(attributes) = attributes {
        lines.push(String::new());
        lines.push(".gitattributes exists already; these lines belong into it:".into());
        lines.extend(attributes.lines().map(|line| format!("  {line}")));
    }
    lines.push(String::new());
    lines.extend(outlooks.iter().flat_map(Outlook::lines));
    lines.push(String::new());
    lines.push("next:".into());
    let prompts = written.iter().find(|name| name.ends_with("-prompts.jsonl")).copied().unwrap_or_default();
    let route = name::shell_word(&answers.route);
    if args.directory != std::path::Path::new(".") {
        lines.push(format!("  cd {}", name::shell_word(&args.directory.display().to_string())));
    }
    lines.push(format!("  replace the sample prompts in {prompts} by your own"));
    lines.push(format!("  cascade collect {route} --prompts {prompts} --dry-run"));
    lines.push(format!("  cascade collect {route} --prompts {prompts} --max-spend 1"));
    lines.push(format!("  cascade fit {route}"));
    terminal.print_lines(&lines);
    Ok(Answer::Yes)
}

/// The configuration that would be written; mistakes in the answers show here, before anything is.
fn read_back(files: &[(String, String)]) -> Result<config::Config> {
    let text = files.iter().find(|(name, _)| name == "cascade.toml").map_or("", |(_, text)| text.as_str());
    // Nobody shall look for a file that is not there.
    let (config, findings) = config::read(&Source::new("cascade.toml (not written)", text));
    config.ok_or(Failure(findings))
}

/// An address that requests can go to; empty for that of the api.
fn address_of(text: &str) -> std::result::Result<String, String> {
    if !text.is_empty() {
        config::check_base_url(text, false).map_err(|why| format!("the address {why}"))?;
    }
    Ok(text.to_owned())
}

/// From flags, then from the terminal, then from the defaults.
fn answers<R: BufRead, W: Write>(args: &Init, mut terminal: Option<(&mut R, &mut W)>) -> Result<Answers> {
    let api_of = |name: &str| match Api::parse(name) {
        Some(api) if api.uses_network() => Ok(api),
        _ => Err("openai, anthropic or gemini".to_owned()),
    };
    let route_of = |name: &str| match name::check(name) {
        Ok(()) => Ok(name.to_owned()),
        Err(_) => Err("a name needs a letter or digit, and at most 200 bytes".to_owned()),
    };
    let mut question =
        Questions { terminal: terminal.as_mut().map(|(input, output)| (&mut **input, &mut **output)) };
    let route = question.answer("name of the route", args.route.as_deref(), "answer", route_of)?;
    let api = match args.api {
        Some(InitApi::Openai) => Api::OpenAi,
        Some(InitApi::Anthropic) => Api::Anthropic,
        Some(InitApi::Gemini) => Api::Gemini,
        None => question.answer("api (openai, anthropic, gemini)", None, "openai", api_of)?,
    };
    let url = api.default_base_url().unwrap_or_default();
    let text = |text: &str| Ok(text.to_owned());
    let base_url = match args.base_url.as_deref() {
        // The address is not repeated: it may hold a password.
        Some(given) => address_of(given).map_err(|why| {
            Failure::usage(
                format!("--base-url: {why}"),
                "give `https://HOST/PATH`, or `http://127.0.0.1:PORT/v1`",
            )
        })?,
        None => question.answer("address", None, url, address_of)?,
    };
    let variable = init::usual_key_variable(api);
    // A local server needs no key, so none is missed.
    let variable = if base_url == url { variable } else { "" };
    let api_key_env =
        question.answer("environment variable with the key", args.api_key_env.as_deref(), variable, text)?;
    let tiers = if args.tier.is_empty() {
        let mut tiers = Vec::new();
        for (place, proposal) in ["cheapest tier", "dearest tier"].iter().zip(init::proposed_tiers(api)) {
            tiers.push(question.answer(place, None, proposal, TierAnswer::parse)?);
        }
        tiers
    } else {
        let read = |text: &String| {
            TierAnswer::parse(text).map_err(|why| Failure::usage(format!("--tier {text}"), why))
        };
        args.tier.iter().map(read).collect::<Result<Vec<_>>>()?
    };
    let given = |text: String| (!text.trim().is_empty()).then_some(text);
    Ok(Answers {
        route,
        api,
        base_url: given(base_url).filter(|base| base != url),
        api_key_env: given(api_key_env),
        tiers,
    })
}

/// Where answers come from.
struct Questions<'t, R, W> {
    terminal: Option<(&'t mut R, &'t mut W)>,
}

impl<R: BufRead, W: Write> Questions<'_, R, W> {
    fn answer<T>(
        &mut self,
        question: &str,
        flag: Option<&str>,
        default: &str,
        read: impl Fn(&str) -> std::result::Result<T, String>,
    ) -> Result<T> {
        if let Some(flag) = flag {
            return read(flag).map_err(|why| Failure::usage(format!("{question}: `{flag}`"), why));
        }
        match &mut self.terminal {
            Some((input, output)) => ask(*input, *output, question, default, read),
            None => read(default).map_err(|why| Failure::usage(format!("{question}: `{default}`"), why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> Init {
        Init {
            directory: ".".into(),
            route: None,
            api: None,
            base_url: None,
            api_key_env: None,
            tier: Vec::new(),
            yes: false,
        }
    }

    #[test]
    fn answers_come_from_the_terminal_and_shape_the_configuration() {
        let mut typed = "my route\nanthropic\n\n\na=m@1/2\nb.2=n@3/4\n".as_bytes();
        let found = answers(&args(), Some((&mut typed, &mut Vec::new()))).unwrap();
        assert_eq!((found.route.as_str(), found.api), ("my route", Api::Anthropic));
        assert_eq!(found.api_key_env.as_deref(), Some("ANTHROPIC_API_KEY"));
        let config = read_back(&init::files(&found)).unwrap();
        assert_eq!(config.routes[0].name, "my route");
        assert_eq!(config.tiers[1].name, "b.2");
        assert_eq!(config.routes[0].request.top_logprobs, None);
    }

    #[test]
    fn flags_win_and_defaults_are_valid_for_every_api() {
        for api in [InitApi::Openai, InitApi::Anthropic, InitApi::Gemini] {
            let found =
                answers::<std::io::Empty, std::io::Sink>(&Init { api: Some(api), ..args() }, None).unwrap();
            read_back(&init::files(&found)).unwrap();
        }
        let flags = Init {
            base_url: Some("http://127.0.0.1:8080/v1".into()),
            tier: vec!["only=m@0/0".into()],
            ..args()
        };
        let found = answers::<std::io::Empty, std::io::Sink>(&flags, None).unwrap();
        assert_eq!(found.api_key_env, None);
        assert_eq!(read_back(&init::files(&found)).unwrap().routes[0].tiers, ["only"]);
    }
}
