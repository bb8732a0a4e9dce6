//! The HTTP listener: publish (`POST`) and subscribe (`GET`, server-sent events) on one resource, `/channels/{channel}`.

use std::{any::Any, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::Uri,
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::StatusCode;
use meshgate_api::Str;
use tokio::sync::Semaphore;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{gateway::Gateway, shutdown::Drain};

mod address;
mod body;
mod head;
mod outcome;
mod problem;
mod publish;
mod query;
mod read;
pub mod server;
mod socket;

pub use problem::Problem;

/// What every request works with.
#[derive(Clone, Debug)]
pub struct Http {
    gateway: Arc<Gateway>,
    /// Bytes of publishes that may be under way at once: `limits.in_flight`.
    in_flight: Arc<Semaphore>,
    default_channel: Option<Str>,
    drain: Drain,
    /// What an SSE stream waits in silence before it sends a comment.
    heartbeat: Duration,
}

impl Http {
    /// The listener's state, over `gateway`.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, default_channel: Option<Str>, drain: Drain) -> Self {
        let in_flight = Arc::new(Semaphore::new(gateway.limits.in_flight.min(Semaphore::MAX_PERMITS)));
        Self { gateway, in_flight, default_channel, drain, heartbeat: crate::deliver::HEARTBEAT }
    }

    /// The whole resource tree.
    pub fn router(self) -> Router {
        let channel = get(read_channel).post(publish_channel);
        Router::new()
            .route("/channels/{*channel}", channel.clone())
            .route("/channels/", channel.clone()) // whose channel is empty, and refused as such
            .route("/channels", channel)
            .route("/", axum::routing::post(publish_default))
            .fallback(no_such_resource)
            .method_not_allowed_fallback(method_not_allowed)
            .layer(ServiceBuilder::new().layer(CatchPanicLayer::custom(panicked)))
            .with_state(Arc::new(self))
    }
}

async fn publish_channel(State(http): State<Arc<Http>>, request: Request) -> Response {
    let channel = head::check(&request).and_then(|()| address::channel(request.uri()));
    answer(async { publish::publish(&http, channel?, request).await }.await)
}

async fn publish_default(State(http): State<Arc<Http>>, request: Request) -> Response {
    let default_channel = || {
        http.default_channel.clone().ok_or_else(|| {
            Problem::new(
                StatusCode::NOT_FOUND,
                "POST / has no channel: set `listeners.http.default_channel`, or use /channels/{channel}",
            )
        })
    };
    let channel = head::check(&request).and_then(|()| default_channel());
    answer(async { publish::publish(&http, channel?, request).await }.await)
}

async fn read_channel(State(http): State<Arc<Http>>, request: Request) -> Response {
    let filter = head::check(&request).and_then(|()| address::filter(request.uri()));
    answer(async { read::read(&http, filter?, request.into_parts().0).await }.await)
}

fn answer(result: Result<Response, Problem>) -> Response {
    result.unwrap_or_else(IntoResponse::into_response)
}

async fn no_such_resource(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {}: use /channels/{{channel}}", uri.path()))
}

async fn method_not_allowed(uri: Uri) -> Problem {
    let detail = format!("{} takes POST to publish and, below /channels, GET to subscribe", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request handler panicked: a bug; whether its events were stored is unknown");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the gateway failed; whether the events were stored is unknown")
        .into_response()
}
