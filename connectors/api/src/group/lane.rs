//! Records that keep their order among each other.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;

use super::deal::{MemberId, PartitionId};
use crate::{Str, connector::Record};

/// Which records of a partition keep their order: those of one key; without a key, those of one channel; without either, all of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LaneName {
    pub(super) partition: PartitionId,
    order: Order,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Order {
    Key(Bytes),
    Channel(Str),
    Partition,
}

impl LaneName {
    pub(super) fn of(partition: PartitionId, record: &Record) -> Self {
        let order = match (&record.key, &record.message.channel) {
            (Some(key), _) => Order::Key(key.clone()),
            (None, Some(channel)) => Order::Channel(channel.clone()),
            (None, None) => Order::Partition,
        };
        Self { partition, order }
    }
}

/// What is not settled of one order, and who has it.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) name: LaneName,
    /// For a delivery, first or again: ordered by number.
    pub(super) waiting: VecDeque<u64>,
    /// How many a member has, and who that is.
    pub(super) in_flight: usize,
    pub(super) holder: MemberId,
    /// How many are to be delivered again because a member said so: what was never delivered waits for them.
    pub(super) returned: usize,
    pub(super) queue: Queue,
}

/// Where a lane stands in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    /// Nowhere: it has nothing to deliver, or nothing that may be delivered now.
    None,
    /// For the member that holds some of it, under the number of its next record.
    Bound(MemberId, u64),
    /// For anybody, but first for this member.
    Free(MemberId, u64),
    /// For nobody, until some time.
    Parked(Instant),
    /// There is no member.
    Orphaned,
}

impl Lane {
    pub(super) fn new(name: LaneName) -> Self {
        Self { name, waiting: VecDeque::new(), in_flight: 0, holder: 0, returned: 0, queue: Queue::None }
    }

    /// Puts a record in its place among those that wait.
    pub(super) fn wait(&mut self, number: u64) {
        let at = self.waiting.partition_point(|other| *other < number);
        self.waiting.insert(at, number);
    }
}
