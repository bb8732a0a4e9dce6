//! The one place where a publish's outcome becomes an HTTP answer.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use meshgate_api::outcome::{Outcome, Rejection, Unavailability};
use serde_json::{Value, json};

use super::problem::Problem;
use crate::publish::{Receipt, Receipts};

/// The answer to a publish. A batch whose events fared differently gets the worst one's status, and each one's fate.
pub(super) fn answer(receipts: &Receipts, batch: bool, representation: bool) -> Response {
    let mut worst: Option<&Receipt> = None;
    for receipt in receipts.iter() {
        if worst.is_none_or(|worst| receipt.outcome.badness() > worst.outcome.badness()) {
            worst = Some(receipt);
        }
    }
    match worst.and_then(problem) {
        None if representation => {
            let events: Vec<_> = receipts.iter().map(|receipt| stored(receipts, receipt)).collect();
            let body = json!({ "events": events }).to_string();
            (StatusCode::ACCEPTED, [(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        None => StatusCode::ACCEPTED.into_response(),
        Some(problem) if batch => {
            let events = receipts.iter().map(|receipt| fate(receipts, receipt)).collect();
            problem.with_events(Value::Array(events)).into_response()
        }
        Some(problem) => problem.into_response(),
    }
}

/// `None`: stored.
fn problem(receipt: &Receipt) -> Option<Problem> {
    let problem = Problem::new(status(&receipt.outcome)?, receipt.outcome.detail()).of_event(Some(receipt.id.clone()));
    Some(match &receipt.outcome {
        Outcome::Unavailable { retry_after, .. } => problem.retry_after(retry_after.as_secs()),
        _ => problem,
    })
}

/// `None`: stored.
fn status(outcome: &Outcome) -> Option<StatusCode> {
    Some(match outcome {
        Outcome::Stored(_) => return None,
        Outcome::Rejected { reason, .. } => match reason {
            Rejection::BadEvent => StatusCode::BAD_REQUEST,
            Rejection::UnsupportedType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Rejection::NoRoute => StatusCode::NOT_FOUND,
            Rejection::Forbidden => StatusCode::FORBIDDEN,
            Rejection::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        },
        Outcome::Unavailable { reason: Unavailability::ClientLimit, .. } => StatusCode::TOO_MANY_REQUESTS,
        Outcome::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        Outcome::Unknown { .. } => StatusCode::GATEWAY_TIMEOUT,
    })
}

/// One event of a batch, so that a client can send again just those that are not stored.
fn fate(receipts: &Receipts, receipt: &Receipt) -> Value {
    let status = status(&receipt.outcome).unwrap_or(StatusCode::ACCEPTED).as_u16();
    let mut fate = stored(receipts, receipt);
    fate["status"] = status.into();
    fate["outcome"] = receipt.outcome.name().into();
    if !receipt.outcome.detail().is_empty() {
        fate["detail"] = receipt.outcome.detail().into();
    }
    fate
}

fn stored(receipts: &Receipts, receipt: &Receipt) -> Value {
    let stored: Vec<_> = receipt
        .stored
        .iter()
        .map(|stored| {
            let connector = receipts.connector(stored);
            let position = connector.connector.place_text(&stored.position);
            json!({ "connector": &*connector.name, "topic": &*stored.topic, "position": position })
        })
        .collect();
    let id = Some(&*receipt.id).filter(|id| !id.is_empty()); // null: what was sent has none that can be read
    json!({ "id": id, "route": receipts.route(receipt), "stored": stored })
}
