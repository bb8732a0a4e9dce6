//! Where events stand in a topic, and where a reader stands in all of its topics.

use smallvec::SmallVec;

use crate::Str;

/// A place in one partition of one topic. Later places are greater.
///
/// Kafka uses `offset` alone; the memory log numbers by `offset` within the `generation` of its process; Pulsar's ledger, entry and
/// batch index are the three in their order. The numbers are stored in cursors: their meaning never changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// What the offset counts within.
    pub generation: u64,
    /// The number of the record.
    pub offset: u64,
    /// The number within the record.
    pub index: u32,
}

impl Place {
    /// A place that is told by an offset alone.
    #[must_use]
    pub const fn offset(offset: u64) -> Self {
        Self { generation: 0, offset, index: 0 }
    }
}

/// A place, and which partition of which topic it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The broker's name of the topic; empty where one numbering covers all topics of the connector.
    pub topic: Str,
    /// The partition's number; 0 where there are none.
    pub partition: u32,
    /// The place in it.
    pub place: Place,
}

/// Where one reader goes on in each partition of each of its topics at one connector. Ordered by topic, then partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions(SmallVec<[Position; 1]>);

impl Positions {
    /// Where to go on in this partition; `None` if it is not named, which means from its start.
    #[must_use]
    pub fn get(&self, topic: &str, partition: u32) -> Option<Place> {
        self.find(topic, partition).ok().map(|at| self.0[at].place)
    }

    /// Sets where to go on in `position`'s partition.
    pub fn set(&mut self, position: Position) {
        match self.find(&position.topic, position.partition) {
            Ok(at) => self.0[at].place = position.place,
            Err(at) => self.0.insert(at, position),
        }
    }

    /// Sets where to go on in the partition of `position`: at `next`.
    pub fn advance(&mut self, position: &Position, next: Place) {
        match self.find(&position.topic, position.partition) {
            Ok(at) => self.0[at].place = next,
            Err(at) => self.0.insert(at, Position { place: next, ..position.clone() }),
        }
    }

    /// Forgets all partitions of topics that `keep` does not want.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.0.retain(|position| keep(&position.topic));
    }

    /// All of them, by topic, then partition.
    pub fn iter(&self) -> std::slice::Iter<'_, Position> {
        self.0.iter()
    }

    /// Whether it names nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many partitions it names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether they are at or after each of `ends`.
    #[must_use]
    pub fn have_reached(&self, ends: &Self) -> bool {
        ends.iter().all(|end| self.get(&end.topic, end.partition).unwrap_or_default() >= end.place)
    }

    fn find(&self, topic: &str, partition: u32) -> Result<usize, usize> {
        if let [only] = &self.0[..] // most readers read one partition
            && only.partition == partition
            && only.topic == topic
        {
            return Ok(0);
        }
        self.0.binary_search_by(|known| (&*known.topic, known.partition).cmp(&(topic, partition)))
    }
}

impl FromIterator<Position> for Positions {
    fn from_iter<I: IntoIterator<Item = Position>>(positions: I) -> Self {
        let mut all = Self::default();
        for position in positions {
            all.set(position);
        }
        all
    }
}

impl<'a> IntoIterator for &'a Positions {
    type Item = &'a Position;
    type IntoIter = std::slice::Iter<'a, Position>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
