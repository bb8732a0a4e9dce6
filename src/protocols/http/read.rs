//! Reading: a channel filter → a flow → a stream of server-sent events, or one page of events.

use std::{sync::Arc, time::Duration};

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, request::Parts},
    response::Response,
};

use super::{Http, problem::Problem, query};
use crate::{
    deliver::{Ended, OpenError, Reading},
    router::ChannelFilter,
};

mod accept;
mod page;
mod sse;

pub(super) use accept::Form;

/// Answers `GET /channels/{filter}`.
pub(super) async fn read(http: &Arc<Http>, filter: ChannelFilter, request: &Parts) -> Result<Response, Problem> {
    let form = accept::form(&request.headers)?;
    let last_event_id = header_text(&request.headers, "last-event-id")?.filter(|id| !id.is_empty());
    let query = query::read(&request.uri, last_event_id, form)?;
    let reading = Reading { channels: filter.clone(), from: query.from.clone(), cursors: query.resume, group: None };
    let opened = http.gateway.open(reading).await;
    match form {
        Form::Stream => match opened {
            Err(OpenError::Busy(detail) | OpenError::NotNow(detail)) => Ok(sse::come_back(&filter, &query, &detail)),
            opened => sse::stream(http, opened.map_err(|error| refusal(&filter, error))?, &query),
        },
        Form::Page => page::page(http, opened.map_err(|error| refusal(&filter, error))?, &query, &request.uri).await,
    }
}

fn refusal(filter: &ChannelFilter, refused: OpenError) -> Problem {
    match refused {
        OpenError::NoRoute => Problem::new(
            StatusCode::NOT_FOUND,
            format!("no route's channel pattern overlaps the filter `{}`", filter.as_str()),
        ),
        OpenError::Gone { cursor, detail } => gone(cursor, &detail),
        OpenError::Busy(detail) => {
            Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(spread_retry().as_secs())
        }
        OpenError::NotNow(detail) => unavailable(detail),
        OpenError::Cursor(_) | OpenError::CursorTooLong | OpenError::Unsupported(_) => {
            Problem::bad_request(refused.to_string())
        }
    }
}

/// A flow that ended before it gave anything.
fn ended(end: Ended) -> Problem {
    match end {
        Ended::Gone { cursor, detail } => gone(cursor, &detail),
        Ended::CursorTooLong => Problem::bad_request(end.to_string()),
        Ended::Interrupted(detail) => unavailable(detail),
    }
}

fn gone(cursor: String, detail: &str) -> Problem {
    let detail = format!("{detail}; reading can go on from the problem's `cursor`");
    Problem::new(StatusCode::GONE, detail).with_cursor(cursor)
}

fn unavailable(detail: String) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(spread_retry().as_secs())
}

/// 1 to 5 s, so that many readers do not come back at once.
fn spread_retry() -> Duration {
    Duration::from_millis(rand::random_range(1000..=5000))
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let text = |value: &'a HeaderValue| {
        value.to_str().map_err(|_| Problem::bad_request(format!("header {name} is not ASCII")))
    };
    headers.get(name).map(text).transpose()
}
