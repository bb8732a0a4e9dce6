//! Configuration → [`Snapshot`]: connectors are started, or kept from the configuration before if their settings are the same.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use meshgate_api::{
    connector::{self, Connector, Context},
    settings::{Node, Problem},
};
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    config::{self, AdminListener, Config, HttpListener, Limits, MqttListener, State},
    gateway::{NamedConnector, Snapshot},
    router::Router,
    telemetry::Metrics,
};

/// What is served, as far as the next configuration depends on it.
pub struct Assembly {
    metrics: Arc<Metrics>,
    /// One permit for each private reader of the process.
    readers: Arc<Semaphore>,
    /// As they were when the gateway started, where they cannot change while it runs.
    fixed: Fixed,
    running: HashMap<String, Running>,
}

/// What only a restart changes.
struct Fixed {
    http: HttpListener,
    mqtt: Option<MqttListener>,
    admin: AdminListener,
    state: Option<State>,
    limits: connector::Limits,
}

/// A connector and the settings that it was started with.
#[derive(Clone)]
struct Running {
    settings: Node,
    connector: Arc<dyn Connector>,
}

impl Assembly {
    /// Starts what `config` says. Must be called within a tokio runtime.
    pub fn start(config: Config, metrics: Arc<Metrics>) -> Result<(Self, Snapshot), Problem> {
        let readers = Arc::new(Semaphore::new(config.limits.connectors.readers));
        let fixed = Fixed {
            http: config.http.clone(),
            mqtt: config.mqtt.clone(),
            admin: config.admin.clone(),
            state: config.state.clone(),
            limits: config.limits.connectors,
        };
        let mut assembly = Self { metrics, readers, fixed, running: HashMap::new() };
        let snapshot = assembly.take(config)?;
        Ok((assembly, snapshot))
    }

    /// Goes over to `config`, or changes nothing and says everything that is in the way. Must be called within a tokio runtime.
    pub fn go_over(&mut self, config: Config) -> Result<Snapshot, Vec<Problem>> {
        let needs_restart: Vec<_> = self.fixed.differing(&config).map(|path| needs_restart(&config, path)).collect();
        if needs_restart.is_empty() { self.take(config).map_err(|problem| vec![problem]) } else { Err(needs_restart) }
    }

    fn take(&mut self, config: Config) -> Result<Snapshot, Problem> {
        let Config { http, connectors, router, subscriptions, limits, shutdown, written, .. } = config;
        let required = required_connectors(&router);
        let (mut running, mut named) = (HashMap::new(), Vec::with_capacity(connectors.len()));
        for (number, connector) in connectors.into_iter().enumerate() {
            let (name, kind) = (connector.spec.name.clone(), connector.kind);
            let started = match self.keep_or_start(connector, &written, limits) {
                Ok(started) => started,
                Err(problem) => {
                    self.give_up(running);
                    return Err(problem);
                }
            };
            let required = required.contains(&number);
            named.push(NamedConnector { name: (&*name).into(), kind, required, connector: started.connector.clone() });
            running.insert(name, started);
        }
        self.running = running;
        let snapshot = Snapshot::new(router, named, http, limits, shutdown, &self.metrics);
        Ok(snapshot.with_subscriptions(subscriptions))
    }

    fn keep_or_start(
        &self,
        config::Connector { spec, configured, .. }: config::Connector,
        written: &Node,
        limits: Limits,
    ) -> Result<Running, Problem> {
        let settings = written.get("connectors").and_then(|all| all.get(&spec.name)).unwrap_or(written);
        if let Some(running) = self.running.get(&spec.name).filter(|running| running.settings.means(settings)) {
            return Ok(running.clone());
        }
        let context = Context {
            name: spec.name.as_str().into(),
            limits: limits.connectors,
            readers: self.readers.clone(),
            skipped: self.metrics.skipped.clone(),
        };
        let connector = configured.connect(context);
        let problem = |message| Problem { path: format!("connectors.{}", spec.name), mark: settings.mark, message };
        Ok(Running { settings: settings.clone(), connector: connector.map_err(problem)? })
    }

    /// Closes what was started in vain.
    fn give_up(&self, started: HashMap<String, Running>) {
        let is_kept = |connector: &_| self.running.values().any(|kept| Arc::ptr_eq(&kept.connector, connector));
        for Running { connector, .. } in started.into_values().filter(|started| !is_kept(&started.connector)) {
            tokio::spawn(async move { connector.shutdown(Instant::now()).await });
        }
    }
}

impl Fixed {
    /// The paths of the values that are not what they were at the start.
    fn differing(&self, config: &Config) -> impl Iterator<Item = &'static str> {
        let (ours, theirs) = (&self.limits, &config.limits.connectors);
        [
            ("listeners.http.address", self.http.address == config.http.address),
            ("listeners.http.max_body", self.http.max_body == config.http.max_body),
            ("listeners.mqtt", self.mqtt == config.mqtt),
            ("state", self.state == config.state),
            ("listeners.admin.address", self.admin.address == config.admin.address),
            ("limits.publish_timeout", ours.publish_timeout == theirs.publish_timeout),
            ("limits.in_flight", ours.in_flight == theirs.in_flight),
            ("limits.ring", ours.ring == theirs.ring),
            ("limits.readers", ours.readers == theirs.readers),
            ("limits.reader_memory", ours.reader_memory == theirs.reader_memory),
            ("limits.topics", ours.topics == theirs.topics),
            ("limits.settled_window", ours.settled_window == theirs.settled_window),
        ]
        .into_iter()
        .filter_map(|(path, same)| (!same).then_some(path))
    }
}

fn needs_restart(config: &Config, path: &str) -> Problem {
    let message = "needs a restart: so nothing of this file was taken over".into();
    Problem { path: path.into(), mark: config.written.locate(path), message }
}

/// The numbers of the connectors that a required destination needs.
fn required_connectors(router: &Router) -> HashSet<usize> {
    let destinations = router.routes().iter().flat_map(|route| route.destinations());
    destinations.filter(|destination| destination.required()).map(|destination| destination.connector()).collect()
}

impl fmt::Debug for Assembly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assembly").field("connectors", &self.running.keys()).finish_non_exhaustive()
    }
}
