//! Messages that clients have asked to be retained: the last of each topic. `state` keeps them, under the key `retained/{topic}`.

use std::{collections::BTreeMap, ops::Bound, sync::Arc, time::SystemTime};

use futures::future::BoxFuture;
use meshgate_api::{Str, message::Message};
use parking_lot::RwLock;

use crate::{
    codec::mqtt::{Version, Withheld, encode_event},
    router::ChannelFilter,
    state::{State, Unstored},
};

/// What is published with RETAIN and has no payload removes what was retained.
pub(crate) fn is_removal(message: &Message) -> bool {
    message.event.data.as_ref().is_none_or(|data| data.is_empty())
}

/// All of them, by topic.
#[derive(Debug)]
pub(super) struct Retained {
    state: Arc<dyn State>,
    by_topic: RwLock<BTreeMap<Str, Arc<Message>>>,
}

impl Retained {
    pub(super) fn new(state: Arc<dyn State>) -> Self {
        Self { state, by_topic: RwLock::default() }
    }

    /// Takes note of what the state has for a topic.
    pub(super) fn apply(&self, topic: &str, message: Option<&Message>) {
        let mut by_topic = self.by_topic.write();
        match message {
            None => drop(by_topic.remove(topic)),
            Some(message) => {
                let mut message = message.clone();
                message.own_data(); // it may be a slice of something large
                by_topic.insert(topic.into(), Arc::new(message));
            }
        }
    }

    /// Whether another may be kept, where there may be `most`.
    pub(super) fn has_room(&self, topic: &str, most: usize) -> bool {
        let by_topic = self.by_topic.read();
        by_topic.len() < most || by_topic.contains_key(topic)
    }

    /// Keeps a message in the place of an earlier one. One without a payload removes that.
    pub(super) fn keep(&self, topic: &Str, message: &Message) -> BoxFuture<'static, Result<(), Unstored>> {
        self.state.put(format!("retained/{topic}").into(), message.clone())
    }

    /// Those of the filter's topics that have not expired, in the order of the topics: the first `most` after one of them.
    pub(super) fn matching(&self, filter: &ChannelFilter, after: Option<&Str>, most: usize) -> Vec<Arc<Message>> {
        let now = SystemTime::now();
        let is_of_use = |message: &&Arc<Message>| encode_event(Version::V5, message, now) != Err(Withheld::Expired);
        let by_topic = self.by_topic.read();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let matching = by_topic.range::<Str, _>((from, Bound::Unbounded)).filter(|(topic, _)| filter.matches(topic));
        matching.map(|(_, message)| message).filter(is_of_use).take(most).cloned().collect()
    }
}
