//! Connectors that are not configured any more, until nobody uses them: then they send what is queued, and are closed.

use std::{collections::HashSet, sync::Arc};

use futures::future::join_all;
use parking_lot::Mutex;
use tokio::time::{Duration, Instant, sleep};

use super::in_background;
use crate::gateway::{Gateway, NamedConnector, Snapshot};

/// How often it is asked whether somebody still uses what is gone.
const ASKING: Duration = Duration::from_millis(50);
/// A publish may take as long as `limits.publish_timeout`. Whoever uses a connector so much longer than that has to stop.
const PATIENCE: Duration = Duration::from_secs(20);
/// What closing a connector may take.
const CLOSING: Duration = Duration::from_secs(10);

/// The connectors that are on their way out.
#[derive(Clone, Debug, Default)]
pub struct Leaving(Arc<Mutex<Vec<NamedConnector>>>);

impl Leaving {
    /// Closes what `previous` had and `gateway` now has not, as soon as nobody uses it. Must be called within a tokio runtime.
    pub fn let_go(&self, previous: Arc<Snapshot>, gateway: &Gateway) {
        let now = gateway.now();
        let is_kept = |named: &NamedConnector| now.connectors.iter().any(|each| each.is_same(named));
        for gone in previous.connectors.iter().filter(|named| !is_kept(named)) {
            let keeps = gone.connector.capabilities().durable;
            let loss = if keeps { "" } else { ", and what it kept is gone" };
            tracing::info!(connector = &*gone.name, "closing: it is not configured so any more{loss}");
            self.0.lock().push(gone.clone());
            tokio::spawn(self.clone().close(gone.clone(), previous.limits.connectors.publish_timeout + PATIENCE));
        }
        let names: HashSet<_> = now.router.routes().iter().map(|route| route.name()).collect();
        let gone = previous.router.routes().iter().map(|route| route.name()).filter(|name| !names.contains(name));
        gone.for_each(|name| gateway.metrics.forget_route(name));
        tokio::spawn(drop_when_alone(previous));
    }

    /// Closes at once what is still on its way out.
    pub async fn close_all(&self, deadline: Instant) {
        let all = std::mem::take(&mut *self.0.lock());
        join_all(all.iter().map(|named| named.close(deadline))).await;
    }

    /// `named` and the list of those on their way out are two users that do not count.
    async fn close(self, named: NamedConnector, patience: Duration) {
        let until = Instant::now() + patience;
        while Arc::strong_count(&named.connector) > 2 && Instant::now() < until {
            sleep(ASKING).await;
        }
        let before = self.0.lock().len();
        self.0.lock().retain(|each| !each.is_same(&named));
        if self.0.lock().len() < before {
            named.close(Instant::now() + CLOSING).await;
        }
    }
}

/// Many routes are long to drop: not where somebody waits for an answer.
async fn drop_when_alone(snapshot: Arc<Snapshot>) {
    while Arc::strong_count(&snapshot) > 1 {
        sleep(ASKING).await;
    }
    if in_background(move || drop(snapshot)).await.is_none() {
        tracing::error!("dropping the routes of the last configuration failed");
    }
}

#[cfg(test)]
mod tests;
