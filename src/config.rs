//! The configuration file (specification section 11): YAML text → a tree with places → values filled in → plain structs.
//!
//! Every problem of a file is found in one pass and reported as `file:line:column: path: message`. An empty file is a problem, not
//! the default: a file that something has emptied must not turn a gateway into another one. Without any file there is
//! [`embedded_default`].

use std::{fmt, path::Path, time::Duration};

use meshgate_api::{
    Str,
    connector::{self, Configured, Kind, Start},
    settings::{Node, Problem, Problems},
};

use crate::router::{Channel, ChannelFilter, Filter, Router, spec::ConnectorSpec};

mod decode;
mod files;
mod interpolate;
mod issue;
mod yaml;

pub use files::Files;
pub use interpolate::Environment;
pub use issue::Issue;

/// The configuration that serves where there is no file, as a file.
pub const DEFAULT: &str = include_str!("../config/default.yaml");

/// The JSON Schema (2020-12) of the configuration, for editors. It knows shapes and ranges of numbers; what only the whole shows, such as
/// names that lead nowhere, [`load`] finds.
pub const SCHEMA: &str = include_str!("../config/schema.json");

/// A whole configuration without problems.
#[derive(Debug)]
pub struct Config {
    /// `listeners.http`
    pub http: HttpListener,
    /// `listeners.mqtt`; `None`: there is none.
    pub mqtt: Option<MqttListener>,
    /// `listeners.admin`
    pub admin: AdminListener,
    /// `connectors`, in their order.
    pub connectors: Vec<Connector>,
    /// `routes`, compiled with these connectors in this order.
    pub router: Router,
    /// `subscriptions`, in their order.
    pub subscriptions: Vec<Subscription>,
    /// `state`; `None`: in this process's memory.
    pub state: Option<State>,
    /// `limits`
    pub limits: Limits,
    /// `shutdown`
    pub shutdown: Shutdown,
    /// What is no problem and may surprise.
    pub warnings: Vec<Problem>,
    /// All of it as it was written, filled in: what a later one is compared with.
    pub written: Node,
}

/// `listeners.http`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpListener {
    /// Where it listens: host and port.
    pub address: String,
    /// Bytes of the longest request body.
    pub max_body: usize,
    /// The channel of `POST /`.
    pub default_channel: Option<String>,
    /// Origins whose pages may send requests, each as browsers write it: `https://app.example:8443`.
    pub origins: Vec<String>,
}

/// Only this machine is served.
impl Default for HttpListener {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:8080".into(),
            max_body: connector::Limits::default().max_body,
            default_channel: None,
            origins: Vec::new(),
        }
    }
}

/// `listeners.mqtt`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttListener {
    /// Where it listens: host and port.
    pub address: String,
    /// Bytes of the largest packet that clients may send.
    pub max_packet: usize,
    /// An event of an MQTT 3.1.1 client that is rejected is acknowledged all the same: the version has no word for it. Else the
    /// connection is closed.
    pub acknowledge_rejected: bool,
}

/// Only this machine is served.
impl Default for MqttListener {
    fn default() -> Self {
        Self { address: "127.0.0.1:1883".into(), max_packet: 1 << 20, acknowledge_rejected: false }
    }
}

/// `state`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The connector's name.
    pub connector: Str,
    /// The topic, as the connector's broker names it.
    pub topic: Str,
}

/// `listeners.admin`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminListener {
    /// Where it listens: host and port.
    pub address: String,
}

/// `limits`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Those that connectors keep too, with `max_body` from `listeners.http`.
    pub connectors: connector::Limits,
    /// Bytes of the longest cursor.
    pub cursor: usize,
    /// Open connections of all listeners but admin.
    pub connections: usize,
    /// Within it a request's head has arrived.
    pub header_timeout: Duration,
    /// Within it a request's body has arrived.
    pub body_timeout: Duration,
    /// Events that a member of a group may leave unconfirmed.
    pub max_in_flight: usize,
    /// Sessions of MQTT clients that are not connected.
    pub sessions: usize,
    /// Retained messages.
    pub retained: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connectors: connector::Limits::default(),
            cursor: 4 << 10,
            connections: 10_000,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            max_in_flight: 256,
            sessions: 100_000,
            retained: 100_000,
        }
    }
}

/// Only this machine is served.
impl Default for AdminListener {
    fn default() -> Self {
        Self { address: "127.0.0.1:9090".into() }
    }
}

/// `shutdown`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// Between *not ready* and the end of accepting.
    pub delay: Duration,
    /// All of the shutdown, `delay` included.
    pub grace: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { delay: Duration::ZERO, grace: Duration::from_secs(25) }
    }
}

/// One entry of `subscriptions`: a bridge from the channels of a filter to another channel.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Unique among the subscriptions, and the group's name at the broker.
    pub name: Str,
    /// What it reads.
    pub channel: ChannelFilter,
    /// All must hold for an event to go on.
    pub filters: Vec<Filter>,
    /// Where events go on to.
    pub sink: Channel,
    /// Where it begins if its group is new.
    pub from: Start,
    /// `retry`
    pub retry: Retry,
    /// Where events go that are given up.
    pub dead_letter: Option<Channel>,
    /// Events that are being published at once.
    pub concurrency: usize,
}

impl Subscription {
    /// The default of `concurrency`.
    pub const CONCURRENCY: usize = 16;
}

/// `retry` of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// After so many tries an event is given up; `None`: never.
    pub attempts: Option<u32>,
    /// Between the first try and the second.
    pub initial: Duration,
    /// Between later ones at most.
    pub max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: None, initial: Duration::from_millis(200), max: Duration::from_secs(30) }
    }
}

/// One entry of `connectors`.
pub struct Connector {
    /// Its name, and what its kind's connectors can do.
    pub spec: ConnectorSpec,
    /// The kind's name.
    pub kind: &'static str,
    /// Its settings: they may hold secrets.
    pub configured: Box<dyn Configured>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("spec", &self.spec).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Reads the file at `path`. `kinds` are the connector kinds of this program.
pub fn load(path: &Path, kinds: &[&dyn Kind], environment: &Environment<'_>) -> Result<Config, Vec<Issue>> {
    read(path, kinds, environment).1
}

/// The same, and which files were read for it.
pub fn read(path: &Path, kinds: &[&dyn Kind], environment: &Environment<'_>) -> (Files, Result<Config, Vec<Issue>>) {
    let mut files = Files::default();
    let config = match files.text(path) {
        Ok(text) => parse_with(&text, path, kinds, environment, &mut files),
        Err(problem) => Err(vec![Issue::new(path, problem)]),
    };
    (files, config)
}

/// Reads `text`, whose file is called `path` in issues; relative `${file:…}` start in its folder.
pub fn parse(
    text: &str,
    path: &Path,
    kinds: &[&dyn Kind],
    environment: &Environment<'_>,
) -> Result<Config, Vec<Issue>> {
    parse_with(text, path, kinds, environment, &mut Files::default())
}

fn parse_with(
    text: &str,
    path: &Path,
    kinds: &[&dyn Kind],
    environment: &Environment<'_>,
    files: &mut Files,
) -> Result<Config, Vec<Issue>> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let problems = Problems::default();
    let config = yaml::parse(text, &problems).and_then(|mut tree| {
        interpolate::fill(&mut tree, folder, environment, files, &problems);
        decode::config(tree, kinds, &problems)
    });
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems.into_sorted().into_iter().map(|problem| Issue::new(path, problem)).collect()),
    }
}

/// Reads [`DEFAULT`]: HTTP on 127.0.0.1:8080, admin on 127.0.0.1:9090, every channel on one memory connector.
pub fn embedded_default(kinds: &[&dyn Kind]) -> Result<Config, Vec<Issue>> {
    parse(DEFAULT, Path::new("config/default.yaml"), kinds, &|_| None)
}

#[cfg(test)]
mod tests;
