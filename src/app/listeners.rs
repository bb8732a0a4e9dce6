//! The listeners of clients: bound before anything else is begun, and served together.

use std::sync::Arc;

use futures::future::OptionFuture;
use tokio::task::JoinHandle;

use super::{StartError, unbound};
use crate::{
    config::{Config, MqttListener},
    gateway::{Gateway, Listener},
    protocols::{
        accept::{Acceptor, Places},
        http::{Http, server::Server},
        mqtt::Mqtt,
    },
    shutdown::Drain,
    workers::Workers,
};

/// Bound, and not accepting yet.
pub(super) struct Listeners {
    http: Acceptor,
    mqtt: Option<(MqttListener, Acceptor)>,
}

impl Listeners {
    pub(super) async fn bind(config: &Config) -> Result<Self, StartError> {
        let http = bind("listeners.http.address", &config.http.address).await?;
        let mqtt = match &config.mqtt {
            Some(settings) => Some((settings.clone(), bind("listeners.mqtt.address", &settings.address).await?)),
            None => None,
        };
        Ok(Self { http, mqtt })
    }

    /// Their names, and where they listen.
    pub(super) fn addresses(&self) -> Vec<(&'static str, String)> {
        let mqtt = self.mqtt.as_ref().map(|(_, acceptor)| ("mqtt", acceptor.address().to_string()));
        [("http", self.http.address().to_string())].into_iter().chain(mqtt).collect()
    }

    /// Serves until the drain begins; over when every connection has ended.
    pub(super) fn serve(self, gateway: Arc<Gateway>, workers: Arc<Workers>, stopping: Drain) -> JoinHandle<()> {
        let http = Http::new(gateway.clone(), stopping.clone());
        let mqtt = self.mqtt.map(|(settings, acceptor)| (Mqtt::new(&http, settings), acceptor));
        let http = http.with_mqtt(mqtt.as_ref().map(|(mqtt, _)| mqtt.clone()));
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
        })
    }
}

async fn bind(key: &'static str, address: &str) -> Result<Acceptor, StartError> {
    Acceptor::bind(address).await.map_err(|problem| unbound(key, format!("{address}: {problem}")))
}
