use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use async_trait::async_trait;
use meshgate_api::connector::{
    Batch, Capabilities, Connector, Health, KeptHeaders, PublishAck, ReadError, SubscribeRequest, Subscription,
};

use super::*;
use crate::{
    config::{HttpListener, Limits, Shutdown},
    router::Router,
    telemetry::Metrics,
};

/// Notes that it was closed.
#[derive(Debug, Default)]
struct Closing(Arc<AtomicBool>);

#[async_trait]
impl Connector for Closing {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            replay: false,
            replay_by_time: false,
            groups: false,
            groups_by_time: true,
            headers: KeptHeaders::All,
            keys: true,
            durable: true,
        }
    }

    async fn publish(&self, _: Batch) -> PublishAck {
        unreachable!("nothing is published")
    }

    async fn subscribe(&self, _: SubscribeRequest) -> Result<Box<dyn Subscription>, ReadError> {
        unreachable!("nothing is read")
    }

    fn health(&self) -> Health {
        Health { up: true, was_up: true, detail: None }
    }

    async fn shutdown(&self, _: Instant) -> usize {
        self.0.store(true, Relaxed);
        0
    }
}

fn connector() -> (Arc<dyn Connector>, Arc<AtomicBool>) {
    let closed = Arc::<AtomicBool>::default();
    (Arc::new(Closing(closed.clone())), closed)
}

fn snapshot(connectors: impl IntoIterator<Item = Arc<dyn Connector>>, metrics: &Metrics) -> Snapshot {
    let router = Router::compile(&[], &[]).expect("no routes");
    let named = |connector| NamedConnector { name: "same".into(), kind: "closing", required: true, connector };
    let named = connectors.into_iter().map(named).collect();
    Snapshot::new(router, named, HttpListener::default(), Limits::default(), Shutdown::default(), metrics)
}

#[tokio::test(start_paused = true)]
async fn a_connector_is_closed_when_the_last_who_used_it_has_let_go() {
    let ((kept, kept_closed), (gone, gone_closed)) = (connector(), connector());
    let metrics = Arc::new(Metrics::default());
    let gateway = Gateway::new(snapshot([kept.clone(), gone], &metrics), metrics.clone());
    let user = Arc::clone(&gateway.now());
    let leaving = Leaving::default();
    leaving.let_go(gateway.replace(snapshot([kept], &metrics)), &gateway);
    sleep(Duration::from_secs(5)).await;
    assert!(!gone_closed.load(Relaxed), "somebody uses it");
    drop(user);
    eventually(&gone_closed).await;
    assert!(!kept_closed.load(Relaxed));
}

#[tokio::test(start_paused = true)]
async fn who_never_lets_go_is_waited_for_so_long_and_no_longer() {
    let (gone, closed) = connector();
    let metrics = Arc::new(Metrics::default());
    let gateway = Gateway::new(snapshot([gone], &metrics), metrics.clone());
    let _user = Arc::clone(&gateway.now());
    Leaving::default().let_go(gateway.replace(snapshot([], &metrics)), &gateway);
    let begun = Instant::now();
    eventually(&closed).await;
    assert!(begun.elapsed() >= PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_for_nobody() {
    let (gone, closed) = connector();
    let metrics = Arc::new(Metrics::default());
    let gateway = Gateway::new(snapshot([gone], &metrics), metrics.clone());
    let _user = Arc::clone(&gateway.now());
    let leaving = Leaving::default();
    leaving.let_go(gateway.replace(snapshot([], &metrics)), &gateway);
    leaving.close_all(Instant::now()).await;
    assert!(closed.load(Relaxed));
}

/// Time is paused and goes on when everybody sleeps.
async fn eventually(closed: &AtomicBool) {
    for _ in 0..10_000 {
        if closed.load(Relaxed) {
            return;
        }
        sleep(ASKING).await;
    }
    panic!("it is never closed");
}
