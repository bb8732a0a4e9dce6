//! The tree → [`Config`]: defaults, ranges, and which keys there are.

use std::{net::SocketAddr, time::Duration};

use meshgate_api::{
    connector::{Capabilities, Configured, Kind, Limits},
    settings::{Fields, Node, Problems},
};

use super::{AdminListener, Config, Connector, HttpListener, Shutdown, validate};
use crate::router::spec::ConnectorSpec;

mod routes;

const KIB: usize = 1 << 10;
const GIB: usize = 1 << 30;
const TIB: usize = 1 << 40;

const HTTP_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);
const ADMIN_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9090);
const CURSOR: usize = 4 * KIB;
const SHUTDOWN: Shutdown = Shutdown { delay: Duration::ZERO, grace: Duration::from_secs(25) };

/// The kinds that the specification has and this version does not build.
const LATER_KINDS: [&str; 2] = ["pulsar", "mqtt"];

/// Reads a whole configuration. With any problem in `problems` the result is not to be used.
pub(super) fn config(tree: &Node, kinds: &[&dyn Kind], problems: &Problems) -> Option<Config> {
    Fields::read(tree, "", problems, |fields| {
        let listeners = fields.section("listeners", listeners);
        let (http, admin) = listeners.or((default_http(), default_admin())).unzip();
        let connectors = fields.section("connectors", |all| all.all_sections(|name, fields| connector(name, fields, kinds, problems)));
        let connectors = connectors.required();
        let routes = fields.list("routes", routes::route).required();
        let limits = fields.section("limits", limits).or((Limits::default(), CURSOR));
        let shutdown = fields.section("shutdown", shutdown).or(SHUTDOWN);
        fields.not_built_yet("subscriptions", "subscriptions in the file");
        fields.not_built_yet("state", "`state`");
        fields.not_built_yet("auth", "authentication");
        fields.not_built_yet("access", "access rules");
        fields.not_built_yet("sinks", "webhooks");

        let report = |path: &str, message: String| problems.add(path, tree.locate(path), message);
        if let (Some(connectors), Some(routes)) = (&connectors, &routes) {
            let specs: Vec<_> = connectors.iter().map(|(spec, _)| spec.clone()).collect();
            validate::routes(routes, &specs, &report);
        }
        if let (Some(http), Some(admin)) = (&http, &admin) {
            validate::addresses(http, admin, &report);
        }
        let http = http?;
        let (limits, cursor) = limits?;
        Some(Config {
            limits: Limits { max_body: http.max_body, ..limits },
            cursor,
            http,
            admin: admin?,
            connectors: connectors?.into_iter().map(configured).collect::<Option<_>>()?,
            routes: routes?,
            shutdown: shutdown?,
        })
    })
}

fn default_http() -> HttpListener {
    HttpListener { address: HTTP_ADDRESS, max_body: Limits::default().max_body, default_channel: None }
}

fn default_admin() -> AdminListener {
    AdminListener { address: ADMIN_ADDRESS }
}

fn listeners(fields: &mut Fields<'_>) -> Option<(HttpListener, AdminListener)> {
    let http = fields.section("http", http).or(default_http());
    let admin = fields.section("admin", admin).or(default_admin());
    fields.not_built_yet("mqtt", "MQTT listener");
    Some((http?, admin?))
}

fn http(fields: &mut Fields<'_>) -> Option<HttpListener> {
    let default = default_http();
    let address = address(fields, default.address);
    let max_body = fields.size("max_body", 64 * KIB..=GIB).or(default.max_body);
    let default_channel = fields.text("default_channel").optional().map(str::to_owned);
    fields.not_built_yet("origins", "CORS");
    fields.not_built_yet("tls", "TLS");
    Some(HttpListener { address: address?, max_body: max_body?, default_channel })
}

fn admin(fields: &mut Fields<'_>) -> Option<AdminListener> {
    let address = address(fields, default_admin().address);
    fields.not_built_yet("tls", "TLS");
    Some(AdminListener { address: address? })
}

fn address(fields: &mut Fields<'_>, default: SocketAddr) -> Option<SocketAddr> {
    let form = "an IP address and a port such as `127.0.0.1:8080` or `[::]:8080`";
    fields.parsed("address", form, |text| text.parse().ok()).or(default)
}

/// What the routes may name, and the connector itself unless its settings are wrong.
type Draft = (ConnectorSpec, Option<Box<dyn Configured>>);

fn configured((spec, configured): Draft) -> Option<Connector> {
    Some(Connector { spec, configured: configured? })
}

fn connector(name: &str, fields: &mut Fields<'_>, kinds: &[&dyn Kind], problems: &Problems) -> Option<Draft> {
    if !is_connector_name(name) {
        fields.refuse("a connector's name has 1 to 64 letters, digits, `-`, `_` and `.`");
    }
    let wanted = fields.text("kind").required();
    if let Some(kind) = kinds.iter().find(|kind| Some(kind.name()) == wanted) {
        let spec = ConnectorSpec { name: name.into(), capabilities: kind.capabilities(), topic_naming: kind.topic_naming() };
        let configured = kind.configure(fields);
        if configured.is_none() && problems.is_empty() {
            fields.refuse(format!("connectors of kind `{}` do not take these settings", kind.name()));
        }
        return Some((spec, configured));
    }
    if let Some(wanted) = wanted {
        let known = kinds.iter().map(|kind| format!("`{}`", kind.name())).collect::<Vec<_>>().join(", ");
        fields.refuse_value("kind", match LATER_KINDS.contains(&wanted) {
            true => format!("not built yet: this version has no connectors of kind `{wanted}`, but {known}"),
            false => format!("unknown kind `{wanted}`: this program has {known}"),
        });
    }
    fields.accept_unknown();
    // Nothing is held against the routes that name it.
    let capabilities =
        Capabilities { replay: true, replay_by_time: true, groups: true, headers: true, keys: true, durable: true };
    Some((ConnectorSpec { name: name.into(), capabilities, topic_naming: |topic| Ok(topic.into()) }, None))
}

/// Names stand in cursors, metrics and sources.
fn is_connector_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn limits(fields: &mut Fields<'_>) -> Option<(Limits, usize)> {
    let default = Limits::default();
    let timeouts = Duration::from_millis(100)..=Duration::from_secs(600);
    let publish_timeout = fields.duration("publish_timeout", timeouts).or(default.publish_timeout);
    let in_flight = fields.size("in_flight", KIB..=TIB).or(default.in_flight);
    let ring = fields.size("ring", KIB..=TIB).or(default.ring);
    let readers = fields.integer("readers", 1..=100_000).or(default.readers);
    let reader_memory = fields.size("reader_memory", KIB..=GIB).or(default.reader_memory);
    let topics = fields.integer("topics", 1..=1_000_000).or(default.topics);
    let cursor = fields.size("cursor", 64..=64 * KIB).or(CURSOR);
    fields.not_built_yet("connections", "limit on connections");
    fields.not_built_yet("header_timeout", "timeout for request heads");
    fields.not_built_yet("body_timeout", "timeout for request bodies");
    fields.not_built_yet("max_in_flight", "groups");
    fields.not_built_yet("settled_window", "groups");
    let limits = Limits {
        publish_timeout: publish_timeout?,
        in_flight: in_flight?,
        max_body: default.max_body,
        ring: ring?,
        readers: readers?,
        reader_memory: reader_memory?,
        topics: topics?,
    };
    Some((limits, cursor?))
}

fn shutdown(fields: &mut Fields<'_>) -> Option<Shutdown> {
    let hour = Duration::from_secs(3600);
    let delay = fields.duration("delay", Duration::ZERO..=hour).or(SHUTDOWN.delay);
    let grace = fields.duration("grace", Duration::from_millis(100)..=hour).or(SHUTDOWN.grace);
    let shutdown = Shutdown { delay: delay?, grace: grace? };
    if shutdown.delay >= shutdown.grace {
        fields.refuse_value("delay", "must be shorter than `shutdown.grace`, which includes it (25s unless given)");
    }
    Some(shutdown)
}
