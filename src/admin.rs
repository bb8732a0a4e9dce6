//! The admin listener, on a thread and runtime of its own: it answers while everything else is saturated.

use std::{
    any::Any,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use prometheus_client::metrics::gauge::Gauge;
use serde_json::{Value, json};
use tokio::{runtime, sync::oneshot};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    config::{MqttListener, Subscription},
    gateway::{Gateway, Listener, NamedConnector, Snapshot},
    protocols::{
        accept::{Acceptor, Places},
        http::{Problem, server::Server},
    },
    reload::{LastReload, Outcome},
    router::Channel,
    shutdown::Drain,
    state::{self, Standing},
    subscriptions::{Phase, Subscriptions},
    telemetry::exposition,
    workers::Workers,
};

mod explain;

/// Of the document at `/status`: raised when a member changes its meaning or goes.
const STATUS_FORMAT: u32 = 1;

/// Whatever the limits of the other listeners are.
const CONNECTIONS: usize = 1000;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// What the admin listener shows.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// Not ready any more once it has begun.
    pub drain: Drain,
    /// Listener names and the addresses that they are bound to.
    pub listeners: Vec<(&'static str, String)>,
    /// When the gateway started.
    pub started: std::time::Instant,
    /// What became of the last reload.
    pub reloaded: Outcome,
    /// The subscriptions of the configuration.
    pub subscriptions: Arc<Subscriptions>,
    /// Where sessions are kept, if any are.
    pub state: Option<Arc<dyn state::State>>,
    /// `listeners.mqtt`, if there is one.
    pub mqtt: Option<MqttListener>,
}

/// Serves until the process ends. Fails if the address cannot be bound or no thread can be had; returns the bound address.
pub async fn serve(admin: Admin, address: String) -> Result<std::net::SocketAddr, String> {
    let (bound, answer) = oneshot::channel();
    let run = move || {
        let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(problem) => return drop(bound.send(Err(problem.to_string()))),
        };
        runtime.block_on(async move {
            match Acceptor::bind(&address).await {
                Ok(acceptor) => {
                    let told = bound.send(Ok(acceptor.address()));
                    let (_never, forever) = crate::shutdown::drain();
                    let (router, server, drain) = (router(admin), Server::default(), forever.clone());
                    let serve = |accepted| server.connection(accepted, HEADER_TIMEOUT, router.clone(), drain.clone());
                    if told.is_ok() {
                        let (here, places) = (Workers::here(), Places::new(|| CONNECTIONS));
                        acceptor.accept(&here, &places, forever, Gauge::default(), serve).await;
                    }
                }
                Err(problem) => drop(bound.send(Err(format!("{address}: {problem}")))),
            }
        });
    };
    thread::Builder::new().name("admin".into()).spawn(run).map_err(|problem| problem.to_string())?;
    answer.await.map_err(|_| "the admin thread ended".to_owned())?
}

fn router(admin: Admin) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/explain", post(explain::explain))
        .fallback(async || {
            Problem::new(
                StatusCode::NOT_FOUND,
                "the admin listener has /livez, /readyz, /metrics, /status and /explain",
            )
        })
        .method_not_allowed_fallback(async |method: Method| {
            let detail = format!("{method} is not served here: use POST for /explain and GET for all else");
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
        })
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(Arc::new(admin))
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a handler of the admin listener panicked: a bug");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the admin listener failed on this request").into_response()
}

/// Ready once every connector that a required destination needs was up once; with `?strict=true` only while all are up.
async fn readyz(State(admin): State<Arc<Admin>>, uri: Uri) -> Response {
    let strict = uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "strict=true"));
    let snapshot = admin.gateway.now();
    let connectors = &snapshot.connectors;
    let was_up = connectors.iter().filter(|each| each.required).all(|each| each.connector.health().was_up);
    let all_up = connectors.iter().all(|each| each.connector.health().up);
    let draining = admin.drain.has_begun();
    let standing = admin.state.as_ref().map(|state| state.standing());
    let is_read = standing.as_ref().is_none_or(|standing| standing.is_read && standing.detail.is_none());
    let ready = was_up && is_read && !draining && (all_up || !strict);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let connectors: Vec<_> = connectors.iter().map(health).collect();
    let state = standing.as_ref().map(shown);
    let answer = json!({ "ready": ready, "draining": draining, "connectors": connectors, "state": state });
    json_response(status, &answer)
}

fn shown(standing: &Standing) -> Value {
    json!({ "read": standing.is_read, "detail": standing.detail })
}

fn health(connector: &NamedConnector) -> Value {
    let health = connector.connector.health();
    json!({
        "name": &*connector.name,
        "kind": connector.kind,
        "required": connector.required,
        "up": health.up,
        "was_up": health.was_up,
        "detail": health.detail,
    })
}

async fn metrics(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    match admin.gateway.metrics.text(&admin.gateway) {
        Ok(text) => {
            let (media_type, text) = exposition::negotiate(accept, text);
            ([(header::CONTENT_TYPE, media_type)], text).into_response()
        }
        Err(problem) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, problem.to_string()).into_response(),
    }
}

async fn status(State(admin): State<Arc<Admin>>) -> Response {
    let snapshot = admin.gateway.now();
    let listeners: Vec<_> =
        admin.listeners.iter().map(|(name, address)| json!({ "name": name, "address": address })).collect();
    let connectors: Vec<_> = snapshot
        .connectors
        .iter()
        .map(|connector| {
            let mut status = health(connector);
            status["figures"] =
                connector.connector.gauges().into_iter().map(|(name, value)| (name, json!(value))).collect();
            status
        })
        .collect();
    let routes: Vec<_> = snapshot
        .router
        .routes()
        .iter()
        .enumerate()
        .map(|(number, route)| {
            let published = by_name(snapshot.counters.published_by_route(number));
            let delivered = by_name(snapshot.counters.delivered(number).counts());
            json!({ "name": route.name(), "published": published, "delivered": delivered })
        })
        .collect();
    let subscriptions: Vec<_> =
        snapshot.subscriptions.iter().map(|each| subscription(each, &admin.subscriptions, &snapshot)).collect();
    let groups: Vec<_> = snapshot.connectors.iter().flat_map(groups).collect();
    let status = json!({
        "format": STATUS_FORMAT,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": Duration::as_secs(&admin.started.elapsed()),
        "draining": admin.drain.has_begun(),
        "listeners": listeners,
        "connectors": connectors,
        "routes": routes,
        "subscriptions": subscriptions,
        "groups": groups,
        "state": admin.state.as_ref().map(|state| shown(&state.standing())),
        "mqtt": mqtt(&admin.gateway),
        "in_flight_bytes": admin.gateway.in_flight.load(Relaxed),
        "edition": snapshot.edition,
        "reload": admin.reloaded.lock().as_ref().map(reload),
    });
    json_response(StatusCode::OK, &status)
}

fn subscription(each: &Subscription, all: &Subscriptions, snapshot: &Snapshot) -> Value {
    let figures = all.figures(&each.name); // a moment after a reload a new one has none
    let events = figures.as_ref().map(|figures| by_name(figures.counters.counts()));
    let trouble = figures.as_ref().and_then(|figures| figures.last_trouble());
    let in_flight = figures.as_ref().map_or(0, |figures| figures.in_flight.load(Relaxed));
    let waiting = figures.as_ref().map_or(0, |figures| figures.waiting.load(Relaxed));
    let groups = snapshot.connectors.iter().flat_map(|connector| connector.connector.groups());
    let lag: u64 = groups.filter(|group| group.name == each.name).map(|group| group.lag).sum();
    json!({
        "name": &*each.name,
        "channel": each.channel.as_str(),
        "sink": format!("channel:{}", each.sink.as_str()),
        "dead_letter": each.dead_letter.as_ref().map(Channel::as_str),
        "state": figures.as_ref().map_or(Phase::Opening, |figures| figures.phase()).name(),
        "lag": lag,
        "in_flight": in_flight,
        "waiting": waiting,
        "events": events,
        "last_error": trouble.map(|trouble| json!({ "time": trouble.time.as_deref(), "detail": trouble.detail })),
    })
}

/// The MQTT listener; null where there is none.
fn mqtt(gateway: &Gateway) -> Value {
    let counters = &gateway.metrics.mqtt;
    let Some(sessions) = counters.sessions() else { return Value::Null };
    let figures = counters.figures();
    json!({
        "connections": gateway.metrics.connections[Listener::Mqtt as usize].get(),
        "sessions": { "connected": sessions.connected, "parked": sessions.parked },
        "in_flight": { "unanswered_publishes": figures.unanswered, "unconfirmed_deliveries": figures.unconfirmed },
        "undelivered": by_name(figures.undelivered()),
        "bytes": { "received": figures.received, "sent": figures.sent },
    })
}

/// The groups with members in this process.
fn groups(connector: &NamedConnector) -> impl Iterator<Item = Value> {
    connector.connector.groups().into_iter().map(|group| {
        json!({
            "connector": &*connector.name,
            "name": &*group.name,
            "members": group.members,
            "unsettled": group.unsettled,
            "lag": group.lag,
            "skipped": group.skipped,
        })
    })
}

fn reload(last: &LastReload) -> Value {
    let outcome = if last.problems.is_empty() { "taken over" } else { "refused" };
    json!({ "time": last.time.as_deref(), "outcome": outcome, "problems": last.problems })
}

fn by_name(counts: impl Iterator<Item = (&'static str, u64)>) -> Value {
    counts.map(|(name, count)| (name.to_owned(), json!(count))).collect::<serde_json::Map<_, _>>().into()
}

fn json_response(status: StatusCode, document: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{document:#}\n")).into_response()
}
