//! The HTTP listener: publish (`POST`) and subscribe (`GET`, server-sent events) on one resource, `/channels/{channel}`.

use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, Uri, request::Parts},
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use hyper::body::Incoming;
use tower::service_fn;

use crate::{
    gateway::Gateway,
    protocols::mqtt::{self, Mqtt},
    shutdown::Drain,
};

mod address;
pub(super) mod body;
mod head;
mod openapi;
mod origin;
mod outcome;
mod problem;
mod publish;
pub(crate) mod query;
mod read;
pub mod server;
mod socket;
mod timer;

use origin::Origin;
pub use problem::Problem;
pub(super) use read::refusal;
use server::Service;

/// What an SSE stream waits in silence before it says that it is still there.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// JSON makes this many bytes of one, at worst: `\u0000`.
const SWOLLEN: usize = 6;

/// What every request works with.
#[derive(Clone, Debug)]
pub struct Http {
    pub(super) gateway: Arc<Gateway>,
    /// Bytes of publishes that may be under way at once: `limits.in_flight`.
    pub(super) in_flight: Arc<body::Budget>,
    /// Bytes of pages that are not written yet: as many more.
    pages: Arc<body::Budget>,
    pub(super) drain: Drain,
    /// What an SSE stream waits in silence before it sends a comment.
    heartbeat: Duration,
    /// Serves MQTT over WebSocket, if there is an MQTT listener.
    mqtt: Option<Arc<Mqtt>>,
}

impl Http {
    /// The listener's state, over `gateway`.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, drain: Drain) -> Self {
        let in_flight = body::Budget::new(gateway.clone(), 1);
        let pages = body::Budget::new(gateway.clone(), SWOLLEN);
        Self { gateway, in_flight, pages, drain, heartbeat: HEARTBEAT, mqtt: None }
    }

    /// The same with MQTT over WebSocket at `/mqtt`.
    #[must_use]
    pub fn with_mqtt(self, mqtt: Option<Mqtt>) -> Self {
        Self { mqtt: mqtt.map(Arc::new), ..self }
    }

    /// Bytes of the largest event.
    pub(super) fn max_body(&self) -> usize {
        self.gateway.now().http.max_body
    }

    /// Within it a request's body has arrived, and a page has been taken.
    fn body_timeout(&self) -> Duration {
        self.gateway.now().limits.body_timeout
    }

    /// The whole resource tree, as what hyper calls for each request of one connection. Of what requests hold references to, each
    /// connection has its own: they are counted without meeting others.
    pub fn service(&self) -> impl Service + use<> {
        let own = |budget: &Arc<body::Budget>| Arc::new(body::Budget::clone(budget));
        let http = Arc::new(Self { in_flight: own(&self.in_flight), pages: own(&self.pages), ..self.clone() });
        service_fn(move |request: Request<Incoming>| {
            let http = http.clone();
            async move { Ok::<_, Infallible>(http.answer(request).await) }
        })
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response {
        let (head, mut body) = request.into_parts();
        let (origin, is_told_apart) = {
            let origins = &self.gateway.now().http.origins;
            (Origin::of(&head, origins), !origins.is_empty())
        };
        let mut answer = match origin {
            Ok(origin) => {
                let mut answer = match origin.preflight(&head) {
                    Some(answer) => answer,
                    None => self.serve(&head, &mut body).await,
                };
                origin.allow(answer.headers_mut());
                answer
            }
            Err(refused) => refused.into_response(),
        };
        if is_told_apart {
            origin::vary(answer.headers_mut());
        }
        body::leave(&head, body, &mut answer);
        if head.method == Method::HEAD { answer.map(|_| Body::empty()) } else { answer }
    }

    /// A handler that panics answers 500, and its connection goes on.
    async fn serve(self: &Arc<Self>, head: &Parts, body: &mut Incoming) -> Response {
        let answer = AssertUnwindSafe(self.dispatch(head, body)).catch_unwind().await;
        answer.unwrap_or_else(|_| Err(panicked())).unwrap_or_else(IntoResponse::into_response)
    }

    /// Paths are matched here, and not by a router's patterns, because the levels of a channel may be empty and are decoded one by one.
    async fn dispatch(self: &Arc<Self>, head: &Parts, body: &mut Incoming) -> Result<Response, Problem> {
        head::check(head)?;
        match (Resource::of(head.uri.path()), &head.method) {
            (Some(Resource::Root), &Method::POST) => {
                let channel = self.gateway.now().http.default_channel.clone().ok_or_else(no_default_channel)?;
                publish::publish(self, &channel, head, body).await
            }
            (Some(Resource::Channels), &Method::POST) => {
                publish::publish(self, &address::channel(&head.uri)?, head, body).await
            }
            (Some(Resource::Channels), &Method::GET | &Method::HEAD) => {
                Box::pin(read::read(self, address::filter(&head.uri)?, head)).await
            }
            (Some(Resource::Description), &Method::GET | &Method::HEAD) => {
                query::none(&head.uri)?;
                Ok(openapi::answer(&self.gateway.now()))
            }
            (Some(Resource::Mqtt), &Method::GET) => match &self.mqtt {
                Some(mqtt) => mqtt::websocket::accept(mqtt, head),
                None => Err(no_mqtt()),
            },
            (Some(resource), method) => Err(method_not_allowed(resource, method)),
            (None, _) => Err(no_such_resource(&head.uri)),
        }
    }
}

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    /// The default channel.
    Root,
    /// Every channel and channel filter.
    Channels,
    /// MQTT over WebSocket.
    Mqtt,
    /// The description of all this.
    Description,
}

impl Resource {
    fn of(path: &str) -> Option<Self> {
        match path.strip_prefix(address::ROOT) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => Some(Self::Channels),
            _ if path == "/" => Some(Self::Root),
            _ if path == "/mqtt" => Some(Self::Mqtt),
            _ => (path == "/openapi.json").then_some(Self::Description),
        }
    }
}

fn no_such_resource(uri: &Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {}: use /channels/{{channel}}", uri.path()))
}

fn method_not_allowed(resource: Resource, method: &Method) -> Problem {
    let (allowed, what) = match resource {
        Resource::Root => ("POST", "POST to publish to the default channel"),
        Resource::Channels => ("GET, HEAD, POST", "POST to publish and GET to subscribe"),
        Resource::Mqtt => ("GET", "GET to open a WebSocket"),
        Resource::Description => ("GET, HEAD", "GET to read it"),
    };
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not served here: use {what}")).allowing(allowed)
}

fn no_mqtt() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no MQTT here: set `listeners.mqtt`")
}

fn no_default_channel() -> Problem {
    let detail = "POST / has no channel: set `listeners.http.default_channel`, or use /channels/{channel}";
    Problem::new(StatusCode::NOT_FOUND, detail)
}

fn panicked() -> Problem {
    tracing::error!("a request handler panicked: a bug; whether its events were stored is unknown");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the gateway failed; whether the events were stored is unknown")
}
