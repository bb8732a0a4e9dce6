//! The broker that the tests use, and what they do to it behind the connector's back.

use std::{
    env, process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use meshgate_api::{
    Str,
    connector::{Connector, Context, Limits},
};
use meshgate_pulsar::{PulsarConfig, PulsarConnector};
use reqwest::{Client, Method, StatusCode};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const NAMESPACE: &str = "persistent://public/default/";

pub(crate) struct Broker {
    pub(crate) url: String,
    admin_url: String,
    client: Client,
}

/// A topic name that was never used before.
pub(crate) fn fresh_name(prefix: &str) -> Str {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let since = SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970").as_millis();
    format!("{NAMESPACE}{prefix}.{since}.{}.{}", process::id(), NUMBER.fetch_add(1, Relaxed)).into()
}

impl Broker {
    /// The one that the environment names.
    pub(crate) fn given() -> Self {
        let variable = |name| {
            env::var(name).unwrap_or_else(|_| {
                panic!("needs Pulsar: run scripts/brokers up pulsar, then eval \"$(scripts/brokers env)\"")
            })
        };
        Self { url: variable("PULSAR_URL"), admin_url: variable("PULSAR_ADMIN_URL"), client: Client::new() }
    }

    /// A connector of its own, once it is connected.
    pub(crate) async fn connector(&self, limits: Limits) -> Arc<dyn Connector> {
        let config = PulsarConfig { url: self.url.clone(), token: None, ca: None };
        let connector = Arc::new(PulsarConnector::connect(config, Context::new("pulsar", limits)));
        let deadline = Instant::now() + PATIENCE;
        while !connector.health().up {
            assert!(Instant::now() < deadline, "the connector is up in time: {:?}", connector.health());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        connector
    }

    /// Makes a topic; with more than one partition, a partitioned one.
    pub(crate) async fn create(&self, topic: &str, partitions: u32) {
        match partitions {
            1 => self.admin(Method::PUT, topic, "", "").await,
            many => self.admin(Method::PUT, topic, "/partitions", &many.to_string()).await,
        };
    }

    pub(crate) async fn forget_records(&self, topic: &str) {
        self.unload(topic).await; // only ledgers that are closed are deleted
        self.admin(Method::DELETE, topic, "/truncate", "").await;
    }

    /// Has the broker close the topic with all who use it, and load it again when the first comes back.
    pub(crate) async fn unload(&self, topic: &str) {
        self.admin(Method::PUT, topic, "/unload", "").await;
    }

    /// What the admin API answers about a topic. What the broker cannot do for the moment is asked for again: it serves a while before it
    /// can store anything.
    pub(crate) async fn admin(&self, method: Method, topic: &str, what: &str, body: &str) -> String {
        let url = format!("{}/admin/v2/{}{what}", self.admin_url, topic.replacen("://", "/", 1));
        let deadline = Instant::now() + PATIENCE;
        loop {
            let request = self.client.request(method.clone(), &url).header("content-type", "application/json");
            let answer = request.body(body.to_owned()).send().await.expect("the broker answers");
            let status = answer.status();
            let text = answer.text().await.unwrap_or_default();
            if status.is_success() || status == StatusCode::CONFLICT {
                return text;
            }
            assert!(status.is_server_error() && Instant::now() < deadline, "{url}: {status} {text}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
