//! The listeners of clients: bound before anything else is begun, and served together.

use std::{sync::Arc, time::Duration};

use futures::future::OptionFuture;
use meshgate_api::{
    connector::Compaction,
    settings::{Mark, Problem},
};
use tokio::{task::JoinHandle, time::timeout};

use super::{StartError, unbound};
use crate::{
    config::{self, Config, MqttListener},
    gateway::{Gateway, Listener, NamedConnector},
    protocols::{
        accept::{Acceptor, Places},
        http::{Http, server::Server},
        mqtt::Mqtt,
    },
    shutdown::Drain,
    state::{OfProcess, OfTopic, State, not_compacted},
    workers::Workers,
};

/// How long a broker may take to say of a topic, at the start, what it keeps.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bound, and not accepting yet.
pub(super) struct Listeners {
    http: Acceptor,
    mqtt: Option<(MqttListener, Acceptor)>,
    /// `state`, and where the configuration says so.
    state: Option<(config::State, Mark)>,
}

impl Listeners {
    pub(super) async fn bind(config: &Config) -> Result<Self, StartError> {
        let http = bind("listeners.http.address", &config.http.address).await?;
        let mqtt = match &config.mqtt {
            Some(settings) => Some((settings.clone(), bind("listeners.mqtt.address", &settings.address).await?)),
            None => None,
        };
        let state = config.state.clone().map(|state| (state, config.written.locate("state.topic")));
        Ok(Self { http, mqtt, state })
    }

    /// Their names, and where they listen.
    pub(super) fn addresses(&self) -> Vec<(&'static str, String)> {
        let mqtt = self.mqtt.as_ref().map(|(_, acceptor)| ("mqtt", acceptor.address().to_string()));
        [("http", self.http.address().to_string())].into_iter().chain(mqtt).collect()
    }

    /// Where what outlives connections is kept; `None`: no listener has such. An error: the topic is one that forgets.
    pub(super) async fn state(&self, gateway: &Arc<Gateway>) -> Result<Option<Arc<dyn State>>, StartError> {
        if self.mqtt.is_none() {
            return Ok(None);
        }
        let snapshot = Arc::clone(&gateway.now());
        let of_process = || Ok(Some(Arc::new(OfProcess::new(snapshot.limits.connectors.ring)) as Arc<dyn State>));
        let Some((config::State { connector, topic, .. }, mark)) = &self.state else {
            tracing::warn!("there is no `state`: MQTT sessions, wills and retained messages end with this process");
            return of_process();
        };
        let is_durable = |named: &&NamedConnector| named.connector.capabilities().durable;
        let named = snapshot.connectors.iter().find(|named| named.name == *connector);
        let Some(named) = named.filter(is_durable) else { return of_process() };
        if let Ok(Ok(Compaction::Not(how))) = timeout(PATIENCE, named.connector.compaction(topic)).await {
            let message = not_compacted(topic, &how);
            return Err(StartError::Config(Problem { path: "state.topic".into(), mark: *mark, message }));
        }
        Ok(Some(Arc::new(OfTopic::new(gateway.clone(), connector.clone(), topic.clone()))))
    }

    /// Serves until the drain begins; over when every connection has ended.
    pub(super) fn serve(
        self,
        gateway: Arc<Gateway>,
        workers: Arc<Workers>,
        state: Option<Arc<dyn State>>,
        stopping: Drain,
    ) -> JoinHandle<()> {
        let http = Http::new(gateway.clone(), stopping.clone());
        let mqtt = self.mqtt.zip(state);
        let mqtt = mqtt.map(|((settings, acceptor), state)| (Mqtt::new(&http, settings, &state), acceptor));
        let listener = mqtt.as_ref().map(|(mqtt, _)| mqtt.clone());
        let http = http.with_mqtt(listener.clone());
        let limits = gateway.clone();
        let places = Places::new(move || limits.now().limits.connections);
        tokio::spawn(async move {
            let (workers, places) = (&*workers, &places);
            let count = |listener: Listener| gateway.metrics.connections[listener as usize].clone();
            let serve_mqtt = mqtt.map(|(mqtt, acceptor)| {
                let (drain, count) = (stopping.clone(), count(Listener::Mqtt));
                async move { acceptor.accept(workers, places, drain, count, |accepted| mqtt.connection(accepted)).await }
            });
            let (server, drain) = (Server::default(), stopping.clone());
            let serve = |accepted| {
                let header_timeout = gateway.now().limits.header_timeout;
                server.connection(accepted, header_timeout, http.service(), drain.clone())
            };
            let serve_http = self.http.accept(workers, places, stopping, count(Listener::Http), serve);
            tokio::join!(serve_http, OptionFuture::from(serve_mqtt));
            if let Some(mqtt) = listener {
                mqtt.leave().await;
            }
        })
    }
}

async fn bind(key: &'static str, address: &str) -> Result<Acceptor, StartError> {
    Acceptor::bind(address).await.map_err(|problem| unbound(key, format!("{address}: {problem}")))
}
