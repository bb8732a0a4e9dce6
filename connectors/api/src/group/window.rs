//! What became of the records of one partition, from the lowest that is not settled on.

use std::collections::{BTreeSet, VecDeque};

use crate::position::Place;

/// The records that were read and are settled out of order. What is below [`low`](Self::low) is settled.
#[derive(Debug)]
pub(super) struct Window {
    slots: VecDeque<Slot>,
    /// Where reading goes on.
    next: Place,
    /// Settled before the partition was opened: these come again, and are not for delivery.
    settled_before: BTreeSet<Place>,
}

#[derive(Debug)]
struct Slot {
    number: u64,
    place: Place,
    is_settled: bool,
}

impl Window {
    pub(super) fn open(at: Place, settled: BTreeSet<Place>) -> Self {
        Self { slots: VecDeque::new(), next: at, settled_before: settled }
    }

    /// Takes in the next record under a number that is greater than all before; whether it is still to be settled.
    pub(super) fn push(&mut self, number: u64, place: Place, next: Place) -> bool {
        let is_settled = self.settled_before.remove(&place);
        self.next = next;
        self.slots.push_back(Slot { number, place, is_settled });
        self.close_up();
        !is_settled
    }

    /// There are no more records before `place`.
    pub(super) fn pass(&mut self, place: Place) {
        self.next = self.next.max(place);
    }

    pub(super) fn settle(&mut self, number: u64) {
        if let Ok(at) = self.slots.binary_search_by_key(&number, |slot| slot.number) {
            self.slots[at].is_settled = true;
            self.close_up();
        }
    }

    fn close_up(&mut self) {
        while self.slots.front().is_some_and(|slot| slot.is_settled) {
            self.slots.pop_front();
        }
    }

    /// Where reading would have to go on if all were forgotten but this.
    pub(super) fn low(&self) -> Place {
        self.slots.front().map_or(self.next, |slot| slot.place)
    }

    /// How many records there are from the lowest that is not settled on.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The numbers of what is not settled.
    pub(super) fn unsettled(&self) -> impl Iterator<Item = u64> {
        self.slots.iter().filter(|slot| !slot.is_settled).map(|slot| slot.number)
    }

    /// What is settled above [`low`](Self::low).
    pub(super) fn settled(&self) -> BTreeSet<Place> {
        let here = self.slots.iter().filter(|slot| slot.is_settled).map(|slot| slot.place);
        here.chain(self.settled_before.iter().copied()).collect()
    }
}
