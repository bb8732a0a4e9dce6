//! Publishing what a client has left to be published.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use meshgate_api::{Str, binding::native_source, outcome::Outcome};
use smallvec::SmallVec;
use tokio::time::sleep;

use super::retained::Retained;
use crate::{
    codec::mqtt::{Publish, Sender, Version, decode_event},
    gateway::{Gateway, Listener},
    router::Channel,
};

/// How often a will is tried, and the rest between two tries.
const TRIES: u32 = 10;
const REST: Duration = Duration::from_secs(1);

/// Publishes a will. Whether that is done with: one that is refused for good is told in the log; one whose destination is away is to be
/// tried again.
pub(super) async fn publish(gateway: &Arc<Gateway>, retained: &Retained, client_id: &str, publish: Publish) -> bool {
    let (topic, retain) = (publish.topic.clone(), publish.retain);
    let refused = |detail: &str| {
        tracing::warn!(client = %client_id, %topic, "a will is not published: {detail}");
        true
    };
    let source = source(client_id);
    let sender = Sender { version: Version::V5, source: &source, publisher: None };
    // The version matters only for what is no event and looks like one: as of 5.0 it is wrapped.
    let message = match Channel::check(&topic) {
        Ok(()) => decode_event(&sender, publish, &topic, SystemTime::now()),
        Err(problem) => return refused(&problem.to_string()),
    };
    let message = match message {
        Ok(message) => Arc::new(message),
        Err(problem) => return refused(&problem.to_string()),
    };
    for _ in 0..TRIES {
        let submissions = SmallVec::from_iter([Ok(message.clone())]);
        let receipts = gateway.publish(Listener::Mqtt, submissions, ()).await;
        match receipts.first().map(|receipt| &receipt.outcome) {
            Some(Outcome::Stored(_)) if !retain || retained.keep(&topic, &message).await.is_ok() => return true,
            Some(Outcome::Rejected { detail, .. }) => return refused(detail),
            _ => sleep(REST).await,
        }
    }
    tracing::warn!(client = %client_id, %topic, "a will cannot be published yet: its destination is away");
    false
}

/// The `source` of what a client publishes that is no event.
pub(crate) fn source(client_id: &str) -> Str {
    native_source("mqtt", client_id)
}
