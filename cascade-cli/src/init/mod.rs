//! What `cascade init` writes: a plan of files, made from a few answers.

pub(crate) mod ask;
mod files;

pub(crate) use files::files;

use cascade_sdk_core::config::Api;
use cascade_sdk_core::money::TokenPrice;

/// The answers that `init` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answers {
    pub(crate) route: String,
    pub(crate) api: Api,
    pub(crate) base_url: Option<String>,
    pub(crate) api_key_env: Option<String>,
    /// Cheapest first; at least one.
    pub(crate) tiers: Vec<TierAnswer>,
}

/// One tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TierAnswer {
    pub(crate) name: String,
    pub(crate) model: String,
    /// USD per million tokens.
    pub(crate) input: TokenPrice,
    pub(crate) output: TokenPrice,
}

impl TierAnswer {
    /// Reads `NAME=MODEL@INPUT/OUTPUT`.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let form =
            "write NAME=MODEL@INPUT/OUTPUT, prices in USD per million tokens: small=gpt-4.1-nano@0.10/0.40";
        let (name, rest) = text.split_once('=').ok_or(form)?;
        // Model names hold `@`; prices do not.
        let (model, prices) = rest.rsplit_once('@').ok_or(form)?;
        let (input, output) = prices.split_once('/').ok_or(form)?;
        if name.trim().is_empty() || model.trim().is_empty() {
            return Err(form.into());
        }
        let price = |text: &str| match TokenPrice::parse_per_million(text) {
            Ok(price) if price >= TokenPrice::ZERO => Ok(price),
            Ok(_) => Err(format!("the price {text} is negative")),
            Err(error) => Err(format!("the price {text}: {error}")),
        };
        Ok(Self {
            name: name.trim().into(),
            model: model.trim().into(),
            input: price(input)?,
            output: price(output)?,
        })
    }
}

/// Models and prices that are proposed; prices of the providers' public lists at the time of writing.
pub(crate) fn proposed_tiers(api: Api) -> &'static [&'static str] {
    match api {
        Api::Anthropic => &["small=claude-haiku-4-5@1.00/5.00", "large=claude-sonnet-4-5@3.00/15.00"],
        Api::Gemini => &["small=gemini-2.5-flash-lite@0.10/0.40", "large=gemini-2.5-pro@1.25/10.00"],
        _ => &["small=gpt-4.1-nano@0.10/0.40", "large=gpt-4.1@2.00/8.00"],
    }
}

/// The environment variable in which people keep a provider's key.
pub(crate) const fn usual_key_variable(api: Api) -> &'static str {
    match api {
        Api::Anthropic => "ANTHROPIC_API_KEY",
        Api::Gemini => "GEMINI_API_KEY",
        _ => "OPENAI_API_KEY",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_are_read() {
        let tier = TierAnswer::parse("small=@org/model@v2@0.10/0.40").unwrap();
        assert_eq!((tier.name.as_str(), tier.model.as_str()), ("small", "@org/model@v2"));
        assert_eq!((tier.input.to_string(), tier.output.to_string()), ("0.1".into(), "0.4".into()));
        for bad in [
            "",
            "small",
            "small=m",
            "small=m@1",
            "=m@1/2",
            "small=@1/2",
            "small=m@a/2",
            "small=m@-1/2",
            "a=m@0.1234567/1",
        ] {
            assert!(TierAnswer::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn proposals_are_valid() {
        for api in Api::ALL {
            assert!(proposed_tiers(api).iter().all(|tier| TierAnswer::parse(tier).is_ok()));
        }
    }
}
