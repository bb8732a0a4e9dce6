//! The tree → [`Config`]: defaults, ranges, and which keys there are.

use std::{ops::RangeInclusive, time::Duration};

use meshgate_api::{
    connector::{self, Kind},
    settings::{Fields, Node, Problems},
};

use super::{Config, Limits, Shutdown};
use crate::router::{
    Router,
    spec::{ConnectorSpec, RouteSpec},
};

mod connectors;
mod listeners;
use listeners::Listeners;
mod routes;
mod state;
mod subscriptions;

/// What a timeout may be.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;
const TIB: usize = 1 << 40;

/// Reads a whole configuration. With any problem in `problems` the result is not to be used.
pub(super) fn config(tree: Node, kinds: &[&dyn Kind], problems: &Problems) -> Option<Config> {
    let config = Fields::read(&tree, "", problems, |fields| {
        let listeners = fields.section("listeners", listeners::listeners).or(Default::default());
        let connector = |name: &str, fields: &mut Fields<'_>| connectors::draft(name, fields, kinds, problems);
        let drafts = fields.section("connectors", |all| all.all_sections(connector)).required();
        let known = drafts.as_deref().unwrap_or_default();
        let options = |connector: &str, fields: &mut Fields<'_>| connectors::options(connector, fields, known, kinds);
        let routes = fields.list("routes", |fields| routes::route(fields, &options)).required();
        let subscriptions =
            fields.list("subscriptions", |fields| subscriptions::draft(fields, &tree, problems)).or(Vec::new());
        let limits = fields.section("limits", limits).or(Limits::default());
        let shutdown = fields.section("shutdown", shutdown).or(Shutdown::default());
        let state = fields.section("state", state::state).or(None);
        fields.not_built_yet("auth", "authentication");
        fields.not_built_yet("access", "access rules");
        fields.not_built_yet("sinks", "webhooks");

        let drafts = drafts?;
        let mut specs: Vec<_> = drafts.iter().map(|draft| draft.spec.clone()).collect();
        let mut state = state?;
        if let Some(state) = &mut state {
            state::reserve(state, &drafts, &mut specs, &tree, problems);
        }
        let router = router(&routes?, &specs, &tree, problems);
        let subscriptions = subscriptions?;
        let mut warnings = Vec::new();
        if let Some(router) = &router {
            subscriptions::check(&subscriptions, router, &specs, &tree, problems);
            warnings = subscriptions::warnings(&subscriptions, router, &specs, &tree);
        }
        let Listeners { http, mqtt, admin } = listeners?;
        let mut limits = limits?;
        let packet = mqtt.as_ref().map_or(0, |mqtt| mqtt.max_packet);
        limits.connectors.max_body = http.max_body.max(packet);
        Some(Config {
            limits,
            http,
            mqtt,
            admin,
            connectors: drafts.into_iter().map(connectors::Draft::finish).collect::<Option<_>>()?,
            router: router?,
            subscriptions: subscriptions.into_iter().map(|(_, each)| each).collect::<Option<_>>()?,
            state,
            shutdown: shutdown?,
            warnings,
            written: Node::plain(""),
        })
    })?;
    Some(Config { written: tree, ..config })
}

/// Compiles the routes. What is wrong only because something in it was already refused is not said again.
fn router(routes: &[RouteSpec], connectors: &[ConnectorSpec], tree: &Node, problems: &Problems) -> Option<Router> {
    let faults = match Router::compile(routes, connectors) {
        Ok(router) => return Some(router),
        Err(faults) => faults,
    };
    let fresh: Vec<_> = faults.into_iter().filter(|fault| !problems.has_within(&fault.path)).collect();
    for fault in fresh {
        let mark = tree.locate(&fault.path);
        problems.add_another(fault.path, mark, fault.message);
    }
    None
}

fn limits(fields: &mut Fields<'_>) -> Option<Limits> {
    let default = Limits::default();
    let connectors = connector_limits(fields, &default.connectors);
    let cursor = fields.size("cursor", 64..=64 * KIB).or(default.cursor);
    let connections = fields.integer("connections", 1..=1_000_000).or(default.connections);
    let header_timeout = fields.duration("header_timeout", TIMEOUTS).or(default.header_timeout);
    let body_timeout = fields.duration("body_timeout", TIMEOUTS).or(default.body_timeout);
    let max_in_flight = fields.integer("max_in_flight", 1..=65_535).or(default.max_in_flight);
    let sessions = fields.integer("sessions", 1..=10_000_000).or(default.sessions);
    let retained = fields.integer("retained", 1..=10_000_000).or(default.retained);
    Some(Limits {
        connectors: connectors?,
        cursor: cursor?,
        connections: connections?,
        header_timeout: header_timeout?,
        body_timeout: body_timeout?,
        max_in_flight: max_in_flight?,
        sessions: sessions?,
        retained: retained?,
    })
}

fn connector_limits(fields: &mut Fields<'_>, default: &connector::Limits) -> Option<connector::Limits> {
    let publish_timeout = fields.duration("publish_timeout", TIMEOUTS).or(default.publish_timeout);
    let in_flight = fields.size("in_flight", KIB..=TIB).or(default.in_flight);
    let ring = fields.size("ring", KIB..=TIB).or(default.ring);
    let readers = fields.integer("readers", 1..=100_000).or(default.readers);
    let reader_memory = fields.size("reader_memory", KIB..=GIB).or(default.reader_memory);
    let topics = fields.integer("topics", 1..=1_000_000).or(default.topics);
    let settled_window = fields.integer("settled_window", 1..=1_000_000).or(default.settled_window);
    Some(connector::Limits {
        publish_timeout: publish_timeout?,
        in_flight: in_flight?,
        max_body: default.max_body,
        ring: ring?,
        readers: readers?,
        reader_memory: reader_memory?,
        topics: topics?,
        settled_window: settled_window?,
    })
}

fn shutdown(fields: &mut Fields<'_>) -> Option<Shutdown> {
    let (hour, default) = (Duration::from_secs(3600), Shutdown::default());
    let delay = fields.duration("delay", Duration::ZERO..=hour).or(default.delay);
    let grace = fields.duration("grace", Duration::from_millis(100)..=hour).or(default.grace);
    let shutdown = Shutdown { delay: delay?, grace: grace? };
    if shutdown.delay >= shutdown.grace {
        let grace = shutdown.grace;
        fields.refuse_value(
            "delay",
            format!("must be shorter than `shutdown.grace`, which includes it and is {grace:?}"),
        );
    }
    Some(shutdown)
}
