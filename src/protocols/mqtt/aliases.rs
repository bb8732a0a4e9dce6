//! Topic aliases that a client is sent (MQTT 5.0, section 3.3.2.3.4): the topics it has had last. They belong to one connection
//! [MQTT-3.3.2-7].

use std::num::NonZeroU16;

use bytes::BytesMut;
use meshgate_api::Str;

use crate::codec::mqtt::{Encoder, Publish, TooLarge};

/// Topics of one connection that have an alias, at most.
const MOST: u16 = 16;

/// Bytes that an alias takes.
const SIZE: usize = 3;

/// Which alias stands for which topic.
pub(super) struct Aliases {
    most: u16,
    topics: Vec<Known>,
    /// Counts up with each use.
    now: u64,
}

struct Known {
    topic: Box<str>,
    used: u64,
}

impl Aliases {
    /// For a client that takes aliases up to `maximum`; `None`: it takes none.
    pub(super) fn up_to(maximum: u16) -> Option<Box<Self>> {
        (maximum > 0).then(|| Box::new(Self { most: maximum.min(MOST), topics: Vec::new(), now: 0 }))
    }

    /// Writes a PUBLISH, with an alias where that is shorter or will be.
    pub(super) fn publish(
        &mut self,
        encoder: &Encoder,
        out: &mut BytesMut,
        publish: &mut Publish,
    ) -> Result<(), TooLarge> {
        if publish.topic.len() <= SIZE {
            return encoder.publish(out, publish);
        }
        if let Some(alias) = self.of(&publish.topic) {
            (publish.topic, publish.properties.topic_alias) = (Str::new(), Some(alias));
            return encoder.publish(out, publish);
        }
        publish.properties.topic_alias = self.next();
        if let (Some(alias), Ok(())) = (publish.properties.topic_alias, encoder.publish(out, publish)) {
            self.told(alias, &publish.topic);
            return Ok(());
        }
        publish.properties.topic_alias = None; // it may fit without
        encoder.publish(out, publish)
    }

    /// The alias that the client knows a topic by.
    fn of(&mut self, topic: &str) -> Option<NonZeroU16> {
        let at = self.topics.iter().position(|known| *known.topic == *topic)?;
        self.now += 1;
        self.topics[at].used = self.now;
        alias(at)
    }

    /// The alias that a new topic may get: a free one, or that which was not used for longest.
    fn next(&self) -> Option<NonZeroU16> {
        if self.topics.len() < usize::from(self.most) {
            return alias(self.topics.len());
        }
        let (at, _) = self.topics.iter().enumerate().min_by_key(|(_, known)| known.used)?;
        alias(at)
    }

    /// The client has been told that `alias`, which is the next one, stands for `topic`.
    fn told(&mut self, alias: NonZeroU16, topic: &str) {
        self.now += 1;
        let known = Known { topic: topic.into(), used: self.now };
        match self.topics.get_mut(usize::from(alias.get()) - 1) {
            Some(place) => *place = known,
            None => self.topics.push(known),
        }
    }
}

fn alias(at: usize) -> Option<NonZeroU16> {
    u16::try_from(at + 1).ok().and_then(NonZeroU16::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_that_was_not_used_for_longest_makes_room() {
        assert!(Aliases::up_to(0).is_none());
        let mut aliases = Aliases::up_to(2).expect("some");
        let tell = |aliases: &mut Aliases, topic: &str| {
            assert_eq!(aliases.of(topic), None, "{topic}");
            let next = aliases.next().expect("one");
            aliases.told(next, topic);
            next.get()
        };
        assert_eq!((tell(&mut aliases, "a"), tell(&mut aliases, "b")), (1, 2));
        assert_eq!(aliases.of("a").map(NonZeroU16::get), Some(1));
        assert_eq!(tell(&mut aliases, "c"), 2, "b was used before a");
        assert_eq!(aliases.of("c").map(NonZeroU16::get), Some(2));
        assert_eq!(tell(&mut aliases, "b"), 1);
        let mut many = Aliases::up_to(u16::MAX).expect("some");
        let highest = (0..100).map(|n: u32| tell(&mut many, &n.to_string())).max();
        assert_eq!(highest, Some(MOST));
    }
}
