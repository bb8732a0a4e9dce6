//! How much more may be read: in all partitions, while nobody asks, so many records; in each a window ahead of its lowest unsettled
//! record, and as many bytes as are still free. What is stuck in some partitions thus leaves room to the others: half of it if it is in
//! one, a third if it is in two. One that holds nothing may have a record in any case.

use super::{Deal, Partition, READ_AHEAD};
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
        self.waiting() < read_ahead || !self.hungry.is_empty()
    }

    /// How many records of this partition may be read, as far as it alone goes; of one that is not open, how many it may hold.
    pub(in crate::group) fn room_in(&self, topic: &Str, number: u32) -> usize {
        let id = self.names.get(&(topic.clone(), number));
        let Some(partition) = id.and_then(|id| self.partitions.get(id)) else { return self.bounds.window + 1 };
        let ahead = (self.bounds.window + 1).saturating_sub(partition.window.len());
        ahead.min(self.room_in_bytes(partition))
    }

    /// How many records fit in, if they are as large as those that are held.
    fn room_in_bytes(&self, partition: &Partition) -> usize {
        let free = self.bounds.bytes.saturating_sub(self.bytes);
        let more = free.saturating_sub(partition.bytes) / 2; // what it takes is no longer free
        let (bytes, records) = match partition.records {
            0 => (self.bytes, self.entries.len()),
            records => (partition.bytes, records),
        };
        match bytes.checked_div(records) {
            Some(size) => more.div_ceil(size).max(usize::from(partition.records == 0)),
            None => usize::MAX,
        }
    }
}
