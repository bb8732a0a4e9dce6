//! Messages that clients have asked to be retained: the last of each topic.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use meshgate_api::{Str, message::Message};
use parking_lot::RwLock;

use crate::{
    codec::mqtt::{Version, Withheld, encode_event},
    router::ChannelFilter,
};

/// What is published with RETAIN and has no payload removes what was retained.
pub(crate) fn is_removal(message: &Message) -> bool {
    message.event.data.as_ref().is_none_or(|data| data.is_empty())
}

/// All of them, by topic.
#[derive(Debug, Default)]
pub(super) struct Retained {
    by_topic: RwLock<BTreeMap<Str, Arc<Message>>>,
}

impl Retained {
    /// Keeps a message in the place of an earlier one. One without a payload removes that.
    pub(super) fn set(&self, topic: &Str, message: &Arc<Message>) {
        if is_removal(message) {
            self.by_topic.write().remove(topic);
        } else {
            self.by_topic.write().insert(topic.clone(), message.clone());
        }
    }

    /// Those of the filter's topics that have not expired.
    pub(super) fn matching(&self, filter: &ChannelFilter) -> Vec<Arc<Message>> {
        let now = SystemTime::now();
        let is_of_use = |message: &&Arc<Message>| encode_event(Version::V5, message, now) != Err(Withheld::Expired);
        let by_topic = self.by_topic.read();
        let matching = by_topic.iter().filter(|(topic, _)| filter.matches(topic));
        matching.map(|(_, message)| message).filter(is_of_use).cloned().collect()
    }
}
