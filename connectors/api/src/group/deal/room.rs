//! How much more may be read: in each partition a window ahead of its lowest unsettled record, in all of them so many bytes and, while
//! nobody asks, so many records.

use super::{Deal, READ_AHEAD};
use crate::Str;

impl Deal {
    /// Whether more records may be read, as far as all partitions together go.
    pub(in crate::group) fn has_room(&self) -> bool {
        self.has_room_above(READ_AHEAD)
    }

    /// Whether it is worth while to wake who stopped reading for lack of room.
    pub(in crate::group) fn has_ample_room(&self) -> bool {
        self.has_room_above(READ_AHEAD / 2)
    }

    fn has_room_above(&self, read_ahead: usize) -> bool {
        self.bytes < self.bounds.bytes && (self.waiting() < read_ahead || !self.hungry.is_empty())
    }

    /// How many records of this partition may be read, as far as it alone goes; of one that is not open, how many it may hold.
    pub(in crate::group) fn room_in(&self, topic: &Str, number: u32) -> usize {
        let id = self.names.get(&(topic.clone(), number));
        let held = id.and_then(|id| self.partitions.get(id)).map_or(0, |partition| partition.window.len());
        (self.bounds.window + 1).saturating_sub(held)
    }
}
