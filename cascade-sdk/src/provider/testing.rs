//! What the tests of the wire formats share.

use super::http::HttpResponse;
use cascade_sdk_core::config::{Circuit, Tier};
use cascade_sdk_core::money::Price;

pub(super) fn tier() -> Tier {
    Tier {
        name: "small".into(),
        provider: "local".into(),
        model: "qwen-0.5b".into(),
        price: Price::default(),
        price_as_of: None,
        retires: None,
        max_input_tokens: None,
        max_output_tokens: Some(48),
        timeout: None,
        log_probabilities: true,
        json_schema: true,
        tools: true,
        images: true,
        takes_temperature: true,
        reasoning_effort: None,
        circuit: Circuit::default(),
    }
}

pub(super) fn answered(status: u16, body: &str) -> HttpResponse {
    HttpResponse { status, body: body.as_bytes().to_vec(), retry_after: None }
}
