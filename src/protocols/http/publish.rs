//! Publishing: request → events → `publish.rs` → answer.

use std::sync::Arc;

use axum::{
    http::{HeaderMap, request::Parts},
    response::Response,
};
use hyper::body::Incoming;
use meshgate_api::{event::Event, message::Message, outcome::Outcome};
use smallvec::SmallVec;

use super::{Http, body, outcome, problem::Problem, query};
use crate::{
    codec::{
        http::{DecodeError, Decoded, decode},
        travelling,
    },
    gateway::Listener,
    publish::{Refused, Submission},
};

/// Answers `POST /channels/{channel}`.
pub(super) async fn publish(
    http: &Arc<Http>,
    channel: &str,
    head: &Parts,
    body: &mut Incoming,
) -> Result<Response, Problem> {
    query::none(&head.uri)?;
    let gateway = &http.gateway;
    let mut body = body::take(http, head, body).await?;
    let refused = |error| refused(error, channel, &head.headers);
    let (submissions, batch): (SmallVec<[Submission; 1]>, bool) =
        match decode(&head.headers, body.bytes.clone(), channel) {
            Ok(Decoded::One(message)) => (SmallVec::from_iter([Ok(message)]), false),
            Ok(Decoded::Batch(messages)) => {
                (messages.into_iter().map(|message| message.map(Arc::new).map_err(refused)).collect(), true)
            }
            Err(error) => (SmallVec::from_iter([Err(refused(error))]), false),
        };
    body.grow(submissions.len())?;
    let receipts = gateway.publish(Listener::Http, submissions, body).await;
    Ok(outcome::answer(&receipts, batch, prefers_representation(&head.headers)))
}

fn refused(DecodeError { reason, detail, id }: DecodeError, channel: &str, headers: &HeaderMap) -> Refused {
    let event = Event { id: id.unwrap_or_default(), ..Event::default() }.into();
    let known = Message { channel: Some(channel.into()), event, headers: travelling(headers), wrapped: false };
    Refused { known: Arc::new(known), outcome: Outcome::rejected(reason, detail) }
}

/// `Prefer: return=representation` (RFC 7240).
fn prefers_representation(headers: &HeaderMap) -> bool {
    let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    preferences.flat_map(|value| value.split(',')).any(|preference| {
        let preference = preference.split(';').next().unwrap_or_default();
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        name.trim().eq_ignore_ascii_case("return")
            && value.trim().trim_matches('"').eq_ignore_ascii_case("representation")
    })
}
