//! What an order is, and how it is told whether one was read right. A library of its own, so that the program which stands
//! in for the verifier while a log is collected needs no policy to compile.

use async_trait::async_trait;
use cascade_sdk::signal::{Candidate, Verifier, VerifierError};

// What a customer wants. `schemas/order.json` describes the same type; a route fitted on answers of another form refuses to
// work. This is no documentation comment: that would be a part of the schema.
#[expect(missing_docs, reason = "documentation would be a part of the schema")]
#[derive(Clone, Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
pub struct Order {
    pub city: String,
    pub item: String,
    pub quantity: u32,
}

/// Looks an order up in the message that it was read from: the city and the quantity must stand there. The more numbers a
/// message has, the less sure it is that the right one was taken, so the value is one over their count.
#[derive(Debug)]
pub struct StandsInMessage;

#[async_trait]
impl Verifier for StandsInMessage {
    async fn verify(&self, candidate: &Candidate) -> Result<f64, VerifierError> {
        let order: Order = candidate.answer()?;
        let asked = candidate.request().routing_text();
        // The instruction comes first, the customer's words last.
        let message = asked.lines().last().unwrap_or_default().to_lowercase();
        let numbers = numbers(&message);
        let stands = message.contains(&order.city.to_lowercase()) && numbers.contains(&order.quantity);
        Ok(if stands { 1.0 / numbers.len() as f64 } else { 0.0 })
    }
}

/// The numbers in a message, in digits or words.
fn numbers(message: &str) -> Vec<u32> {
    const WORDS: [&str; 13] = [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
        "twelve",
    ];
    let value = |word: &str| {
        let named = || WORDS.iter().position(|known| *known == word);
        word.parse().ok().or_else(|| u32::try_from(named()?).ok())
    };
    let words = message.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let (mut numbers, mut before) = (Vec::new(), None);
    for word in words {
        match (value(word), before) {
            // Two dozen.
            (None, Some(count)) if word == "dozen" => {
                numbers.pop();
                numbers.push(12 * count);
            }
            (None, None) if word == "dozen" => numbers.push(12),
            (Some(number), _) => numbers.push(number),
            (None, _) => {}
        }
        before = value(word);
    }
    numbers
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the values are exact")]
mod tests {
    use super::*;
    use cascade_sdk::Request;
    use serde_json::json;

    async fn value(message: &str, quantity: u32) -> f64 {
        let order = json!({ "city": "Oslo", "item": "tent", "quantity": quantity });
        let request = Request::new(format!("Extract the order.\n\n{message}"));
        let candidate = Candidate::new("extract", "small", request, order.to_string(), order);
        StandsInMessage.verify(&candidate).await.unwrap()
    }

    #[tokio::test]
    async fn what_stands_in_the_message_is_likely_and_several_numbers_are_not() {
        assert_eq!(value("Four tents to Oslo, please.", 4).await, 1.0);
        assert_eq!(value("Two dozen tents to Oslo, please.", 24).await, 1.0);
        assert_eq!(value("A dozen tents to OSLO, please.", 12).await, 1.0);
        assert_eq!(value("I ordered 5 tents for Oslo. Make that 12.", 12).await, 0.5);
        assert_eq!(value("Four tents to Oslo, please.", 5).await, 0.0);
        assert_eq!(value("Four tents to Rome, please.", 4).await, 0.0);
    }

    #[tokio::test]
    async fn an_answer_that_is_no_order_cannot_be_told() {
        let candidate = Candidate::new("extract", "small", Request::new("x"), "{}", json!({}));
        assert!(StandsInMessage.verify(&candidate).await.is_err());
    }
}
