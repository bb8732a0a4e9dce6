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
    codec::mqtt::{Publish, Sender, Version, Will, decode_event},
    gateway::{Gateway, Listener},
    router::Channel,
};

/// How often a will is tried, and the rest between two tries.
const TRIES: u32 = 10;
const REST: Duration = Duration::from_secs(1);

/// Publishes a will. One that cannot be is told in the log.
pub(super) async fn publish(gateway: Arc<Gateway>, retained: Arc<Retained>, client_id: Str, will: Will) {
    let Will { topic, payload, qos, retain, properties, .. } = will;
    let told = |detail: &str| tracing::warn!(client = %client_id, %topic, "a will is not published: {detail}");
    let publish = Publish { qos, retain, topic: topic.clone(), properties, payload, ..Publish::default() };
    let source = source(&client_id);
    let sender = Sender { version: Version::V5, source: &source, publisher: None };
    // The version matters only for what is no event and looks like one: as of 5.0 it is wrapped.
    let message = match Channel::check(&topic) {
        Ok(()) => decode_event(&sender, publish, &topic, SystemTime::now()),
        Err(problem) => return told(&problem.to_string()),
    };
    let message = match message {
        Ok(message) => Arc::new(message),
        Err(problem) => return told(&problem.to_string()),
    };
    for _ in 0..TRIES {
        let submissions = SmallVec::from_iter([Ok(message.clone())]);
        let receipts = gateway.publish(Listener::Mqtt, submissions, ()).await;
        match receipts.first().map(|receipt| &receipt.outcome) {
            Some(Outcome::Stored(_)) => {
                if retain {
                    retained.set(&topic, &message);
                }
                return;
            }
            Some(Outcome::Rejected { detail, .. }) => return told(detail),
            _ => sleep(REST).await,
        }
    }
    told("its destination is away");
}

/// The `source` of what a client publishes that is no event.
pub(crate) fn source(client_id: &str) -> Str {
    native_source("mqtt", client_id)
}
