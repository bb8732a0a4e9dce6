//! The one place where a publish's outcome becomes an answer to a frame.

use meshgate_api::outcome::Outcome;
use serde::Serialize;
use uuid::Uuid;

const RECEIPT: &str = "io.meshgate.receipt";
const ERROR: &str = "io.meshgate.error";

/// An answer as an event: `io.meshgate.receipt` if the event is stored, else `io.meshgate.error`.
#[derive(Serialize)]
struct Answer<'a> {
    specversion: &'static str,
    id: String,
    source: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    /// The event's id, where it is known.
    #[serde(skip_serializing_if = "str::is_empty")]
    subject: &'a str,
    datacontenttype: &'static str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    /// The number of the frame that is answered, from 1.
    n: u64,
    outcome: &'static str,
    /// It is not stored, and may be sent again as it is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    retryable: bool,
    detail: &'a str,
}

/// The answer to frame number `n` of a connection, as JSON. `subject` is the event's id, as far as it is known.
pub(super) fn answer(connection: Uuid, n: u64, subject: &str, outcome: &Outcome) -> String {
    let answer = Answer {
        specversion: "1.0",
        id: format!("{connection}-{n}"),
        source: "/meshgate",
        kind: if matches!(outcome, Outcome::Stored(_)) { RECEIPT } else { ERROR },
        subject,
        datacontenttype: "application/json",
        data: Data {
            n,
            outcome: outcome.name(),
            retryable: matches!(outcome, Outcome::Unavailable { .. }),
            detail: outcome.detail(),
        },
    };
    serde_json::to_string(&answer).expect("texts, numbers and truth values always serialize")
}
