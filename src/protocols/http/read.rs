//! Reading: a channel filter → a flow → a WebSocket, a stream of server-sent events, or one page of events.

use std::{sync::Arc, time::Duration};

use axum::{
    http::{StatusCode, request::Parts},
    response::Response,
};

use super::{Http, problem::Problem, query::ReadQuery};
use crate::{
    deliver::{Ended, OpenError, Reading},
    protocols::websocket,
    router::ChannelFilter,
};

mod accept;
mod page;
mod sse;

use accept::Form;

/// Answers `GET /channels/{filter}`.
pub(super) async fn read(http: &Arc<Http>, filter: ChannelFilter, request: &Parts) -> Result<Response, Problem> {
    if websocket::is_asked_for(request) {
        return websocket::accept(http, filter, request).await;
    }
    match accept::form(&request.headers)? {
        Form::Stream => sse::stream(http, filter, request).await,
        Form::Page => page::page(http, &filter, request).await,
    }
}

fn reading(filter: &ChannelFilter, query: &ReadQuery) -> Reading {
    Reading {
        channels: filter.clone().into(),
        from: query.from.clone(),
        cursors: query.resume,
        positions: false,
        group: None,
        events: query.events.clone(),
    }
}

/// A flow that could not be opened.
pub(in crate::protocols) fn refusal(filter: &ChannelFilter, refused: OpenError) -> Problem {
    match refused {
        OpenError::NoRoute => Problem::new(
            StatusCode::NOT_FOUND,
            format!("no route's channel pattern overlaps the filter `{}`", filter.as_str()),
        ),
        OpenError::Gone { cursor, detail } => gone(cursor, &detail),
        OpenError::Busy(detail) => not_now(StatusCode::TOO_MANY_REQUESTS, detail),
        OpenError::NotNow(detail) => not_now(StatusCode::SERVICE_UNAVAILABLE, detail),
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
        Ended::Interrupted(detail) => not_now(StatusCode::SERVICE_UNAVAILABLE, detail),
    }
}

fn gone(cursor: String, detail: &str) -> Problem {
    let detail = format!("{detail}; reading can go on from the problem's `cursor`");
    Problem::new(StatusCode::GONE, detail).with_cursor(cursor)
}

fn not_now(status: StatusCode, detail: String) -> Problem {
    Problem::new(status, detail).retry_after(spread_retry().as_secs())
}

/// 1 to 5 s, so that many readers do not come back at once.
fn spread_retry() -> Duration {
    Duration::from_millis(rand::random_range(1000..=5000))
}
