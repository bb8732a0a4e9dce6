//! What of the broker's entries is settled. An entry holds a batch of messages, and can only be acknowledged as a whole.

use std::collections::{BTreeSet, HashMap};

use meshgate_api::position::Place;
use pulsar::message::proto::MessageIdData;

/// The entries of one partition of which messages have come and that are not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Entries(HashMap<(u64, u64), Entry>);

#[derive(Debug)]
struct Entry {
    id: MessageIdData,
    /// Messages in it.
    size: usize,
    /// Those that have come, by index.
    come: BTreeSet<u32>,
    settled: BTreeSet<u32>,
}

impl Entries {
    /// A message has come, of an entry of so many; false if it had come before.
    pub(super) fn come(&mut self, place: Place, id: &MessageIdData, size: usize) -> bool {
        let entry = self.0.entry((place.generation, place.offset)).or_insert_with(|| Entry {
            id: MessageIdData { batch_index: None, batch_size: None, ..id.clone() },
            size,
            come: BTreeSet::new(),
            settled: BTreeSet::new(),
        });
        entry.come.insert(place.index)
    }

    /// A message is settled; what is to be acknowledged, if that was the last of its entry.
    pub(super) fn settle(&mut self, place: Place) -> Option<MessageIdData> {
        let name = (place.generation, place.offset);
        let entry = self.0.get_mut(&name)?;
        entry.settled.insert(place.index);
        if entry.settled.len() < entry.size {
            return None;
        }
        self.0.remove(&name).map(|entry| entry.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: u64, index: u32) -> Place {
        Place { generation: 7, offset, index }
    }

    #[test]
    fn an_entry_is_acknowledged_when_all_of_it_is_settled() {
        let mut entries = Entries::default();
        let id = MessageIdData { ledger_id: 7, entry_id: 1, batch_index: Some(0), ..MessageIdData::default() };
        for index in [0, 1, 2] {
            assert!(entries.come(place(1, index), &id, 3));
        }
        assert!(!entries.come(place(1, 1), &id, 3), "it has come before");
        assert_eq!(entries.settle(place(1, 2)), None);
        assert_eq!(entries.settle(place(1, 2)), None, "it is settled already");
        assert_eq!(entries.settle(place(1, 0)), None);
        let whole = entries.settle(place(1, 1)).expect("that was the last");
        assert_eq!((whole.entry_id, whole.batch_index), (1, None));
        assert_eq!(entries.settle(place(1, 1)), None, "it is acknowledged");
    }
}
