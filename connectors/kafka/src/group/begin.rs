//! Where a group stands: a new one gets a position at the broker for every partition before it is joined.

use std::{collections::HashSet, time::Duration};

use meshgate_api::{
    Str,
    connector::Start,
    position::{Position, Positions},
    topic::TopicSet,
};
use rdkafka::{TopicPartitionList, consumer::Consumer, error::RDKafkaErrorCode as Code};
use tokio::try_join;

use super::{
    commit::{Answer, Ledger},
    thread::Surroundings,
};
use crate::{
    coordinator::positions,
    feed::{Broken, Feed},
    metadata::partitions_of,
    places::{Partitions, Wanted, millis},
};

/// How long the broker may take to say what is committed.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where a group begins.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    /// Partitions in which it should have a position, as it has been there before.
    pub(super) old: HashSet<(Str, u32)>,
    /// Where it begins in others, if that could not be written.
    pub(super) unwritten: Positions,
}

/// What is known of partitions before they are read.
pub(super) struct Known {
    pub(super) committed: Positions,
    pub(super) starts: Positions,
    pub(super) ends: Positions,
}

impl Surroundings {
    /// Writes the positions of a group that has none: whoever answered that it stands before has written them as well, and is its member.
    pub(super) fn write_beginning(
        &self,
        feed: &Feed,
        ledger: &mut Ledger,
        topics: &TopicSet,
        start: &Start,
    ) -> Result<Beginning, Broken> {
        let old = |partitions: Partitions| Beginning { old: partitions.into_iter().collect(), ..Beginning::default() };
        let wanted = match start {
            Start::Latest => Wanted::End,
            Start::Earliest => Wanted::Start,
            Start::At(time) => Wanted::At(millis(*time)),
            Start::After(_) => return Err(Broken("a group has positions of its own".into())),
        };
        let listing = self.runtime.block_on(self.metadata.fresh()).map_err(Broken)?;
        let partitions = partitions_of(&listing, topics);
        if partitions.is_empty() || !committed(feed, &partitions)?.is_empty() {
            return Ok(old(partitions));
        }
        let beginning = self.runtime.block_on(self.metadata.places.find(partitions.clone(), wanted)).map_err(Broken)?;
        // Another process may have written them meanwhile: what this one has found is newer, and would leave out what lies between.
        if !committed(feed, &partitions)?.is_empty() {
            return Ok(old(partitions));
        }
        match ledger.commit_now(feed, &beginning)? {
            Answer::Taken => Ok(Beginning::default()),
            // Who is no member may commit for a group without members only: this one has some, for other topics.
            Answer::Refused(problem) if problem.rdkafka_error_code() == Some(Code::UnknownMemberId) => {
                Ok(Beginning { unwritten: beginning, ..Beginning::default() })
            }
            Answer::Refused(problem) => Err(Broken(format!("the group's first positions are refused: {problem}"))),
            Answer::Open => Err(Broken("the broker does not answer the group's first positions".into())),
        }
    }

    /// Those that have no leader now, and the others.
    pub(super) fn leaderless(&self, partitions: &Partitions) -> (Partitions, Partitions) {
        let leaderless = self.metadata.news().leaderless;
        partitions.iter().cloned().partition(|partition| leaderless.contains(partition))
    }

    /// What is committed of these partitions, and what they hold.
    pub(super) fn look_up(&self, feed: &Feed, partitions: &Partitions) -> Result<Known, Broken> {
        let committed = committed(feed, partitions)?;
        let places = &self.metadata.places;
        let find = |wanted| places.find(partitions.clone(), wanted);
        let found = self.runtime.block_on(async { try_join!(find(Wanted::Start), find(Wanted::End)) });
        let (starts, ends) = found.map_err(Broken)?;
        Ok(Known { committed, starts, ends })
    }
}

fn committed(feed: &Feed, partitions: &Partitions) -> Result<Positions, Broken> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition as i32);
    }
    let list = feed.consumer().committed_offsets(list, TIMEOUT)?;
    match list.elements().iter().find_map(|at| at.error().err()) {
        Some(problem) => Err(problem.into()),
        None => Ok(positions(&list).into_iter().collect()),
    }
}

/// Where to read a partition from, and what is to be said about that.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// Where the group left off.
    GoesOn(u64),
    /// At its start, or where the group begins: it has no position there.
    New(u64),
    /// At its start: so many of the records between are gone.
    Skipped(u64, u64),
    /// At its start: the position lies beyond its end.
    Anew(u64),
}

impl Known {
    /// `unwritten`: where a group begins that has no position yet.
    pub(super) fn spot(&self, topic: &str, partition: u32, is_anew: bool, unwritten: &Positions) -> Option<Spot> {
        let place = |of: &Positions| of.get(topic, partition).map(|place| place.offset);
        let (start, end) = (place(&self.starts)?, place(&self.ends)?);
        Some(match place(&self.committed) {
            None => Spot::New(place(unwritten).unwrap_or(start).max(start)),
            Some(_) if is_anew => Spot::Anew(start),
            Some(at) if at < start => Spot::Skipped(start, start - at),
            Some(at) if at > end => Spot::Anew(start),
            Some(at) => Spot::GoesOn(at),
        })
    }
}

impl Spot {
    pub(super) fn offset(&self) -> u64 {
        match self {
            Self::GoesOn(at) | Self::New(at) | Self::Skipped(at, _) | Self::Anew(at) => *at,
        }
    }
}

/// The positions of `all` that are not the same in `known`.
pub(super) fn news<'a>(all: &'a Positions, known: &'a Positions) -> impl Iterator<Item = &'a Position> {
    all.iter().filter(|at| known.get(&at.topic, at.partition) != Some(at.place))
}

#[cfg(test)]
mod tests {
    use meshgate_api::position::Place;

    use super::*;

    #[test]
    fn a_partition_is_read_from_where_the_group_left_off_or_else_from_its_start() {
        let at = |offset| {
            let position = Position { topic: "t".into(), partition: 0, place: Place::offset(offset) };
            [position].into_iter().collect::<Positions>()
        };
        let known = |committed: Option<u64>| Known {
            committed: committed.map(at).unwrap_or_default(),
            starts: at(10),
            ends: at(20),
        };
        let table = [
            (None, false, Spot::New(10)),
            (Some(10), false, Spot::GoesOn(10)),
            (Some(20), false, Spot::GoesOn(20)),
            (Some(7), false, Spot::Skipped(10, 3)),
            (Some(21), false, Spot::Anew(10)),
            (Some(15), true, Spot::Anew(10)),
        ];
        for (committed, is_anew, spot) in table {
            assert_eq!(known(committed).spot("t", 0, is_anew, &Positions::default()), Some(spot));
        }
        assert_eq!(known(None).spot("t", 1, false, &Positions::default()), None);
        assert_eq!(known(None).spot("t", 0, false, &at(15)), Some(Spot::New(15)));
        assert_eq!(known(Some(12)).spot("t", 0, false, &at(15)), Some(Spot::GoesOn(12)));
    }
}
