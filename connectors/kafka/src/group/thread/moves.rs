//! Partitions come and go as the group's coordinator at the broker says.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use meshgate_api::{
    Str,
    group::Resume,
    position::{Place, Position, Positions},
};
use rdkafka::{TopicPartitionList, consumer::Consumer};
use tracing::{error, info, warn};

use super::Thread;
use crate::{
    feed::{Broken, Feed},
    group::begin::Spot,
    places::Partitions,
};

/// So long after a topic was made anew a position in it may be an old one. Later whoever read it then has written a new one.
const ANEW: Duration = Duration::from_secs(30);

impl Thread {
    /// These are the group's here from now on. What has no leader is read once it has one; it holds up nothing else.
    pub(super) fn take_over(&mut self, feed: &mut Feed, partitions: &Partitions) -> Result<(), Broken> {
        let (leaderless, led) = self.around.leaderless(partitions);
        self.leaderless.extend(leaderless);
        if led.is_empty() {
            feed.consumer().incremental_assign(&TopicPartitionList::new())?;
        } else {
            self.begin(feed, &led)?;
        }
        self.stand();
        Ok(())
    }

    /// Begins to read partitions, each where the group left off.
    fn begin(&mut self, feed: &mut Feed, partitions: &Partitions) -> Result<(), Broken> {
        let known = self.around.look_up(feed, partitions)?;
        let mut openings = Vec::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            let anew = self.anew.get(topic).filter(|anew| anew.since.elapsed() < ANEW);
            let is_anew = anew.is_some_and(|anew| !anew.written.contains(partition));
            let spot = known.spot(topic, *partition, is_anew, &self.beginning.unwritten);
            let spot = spot.ok_or_else(|| Broken(format!("{topic} {partition} is not known")))?;
            self.tell(topic, *partition, &spot);
            if let (Spot::GoesOn(_) | Spot::Skipped(..), Some(place)) = (&spot, known.committed.get(topic, *partition))
            {
                self.ledger.committed.set(Position { topic: topic.clone(), partition: *partition, place });
            }
            let offset = spot.offset();
            let at = Position { topic: topic.clone(), partition: *partition, place: Place::offset(offset) };
            self.local.group.open(Resume::from(at));
            openings.push((topic.clone(), *partition, offset));
        }
        feed.assign(&openings)
    }

    /// Begins to read what has a leader again.
    pub(super) fn begin_late(&mut self, feed: &mut Feed) -> Result<(), Broken> {
        if self.leaderless.is_empty() {
            return Ok(());
        }
        let (leaderless, led) = self.around.leaderless(&self.leaderless);
        self.leaderless = leaderless;
        if led.is_empty() { Ok(()) } else { self.begin(feed, &led) }
    }

    fn tell(&self, topic: &Str, partition: u32, spot: &Spot) {
        let (connector, group) = (&self.around.clients.connector, &self.local.name);
        match spot {
            Spot::GoesOn(_) => {}
            Spot::New(at) if self.beginning.old.contains(&(topic.clone(), partition)) => warn!(
                %connector, %group, %topic, partition, offset = at,
                "the group has no position at the broker (it has expired, or the partition is new): it starts at the oldest record"
            ),
            Spot::New(at) => {
                info!(%connector, %group, %topic, partition, offset = at, "the group joins a new partition");
            }
            Spot::Skipped(at, count) => {
                self.local.keeper.skipped.fetch_add(*count, Relaxed);
                self.around.skipped.count(*count);
                error!(
                    %connector, %group, %topic, partition, offset = at, skipped = count,
                    "the group's position is gone, retention has deleted it: it goes on from the oldest record"
                );
            }
            Spot::Anew(at) => error!(
                %connector, %group, %topic, partition, offset = at,
                "the group's position is gone, the topic was made anew: it goes on from the oldest record"
            ),
        }
    }

    /// Ends reading partitions: what is settled is committed, the rest comes again to their next reader.
    pub(super) fn hand_over(&mut self, feed: &mut Feed, partitions: &Partitions) -> Result<(), Broken> {
        let is_moving =
            |topic: &Str, number: u32| partitions.iter().any(|(name, each)| name == topic && *each == number);
        self.leaderless.retain(|(topic, number)| !is_moving(topic, *number));
        let lows = self.local.group.lows();
        let lows: Positions = lows.iter().filter(|at| is_moving(&at.topic, at.partition)).cloned().collect();
        if !feed.consumer().assignment_lost() {
            self.commit_last(feed, &lows)?;
        }
        for at in &lows {
            self.local.group.close(&at.topic, at.partition);
        }
        let read: Partitions = lows.iter().map(|at| (at.topic.clone(), at.partition)).collect();
        feed.unassign_partitions(&read)
    }
}
