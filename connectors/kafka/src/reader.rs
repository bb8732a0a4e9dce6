//! One reader: where it stands, and whether it follows the live buffer or reads for itself.

use std::{
    num::NonZeroUsize,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use meshgate_api::{
    connector::{Deliveries, ReadError, Record, Start, SubscribeRequest, Subscription},
    log::{Follower, Records},
    position::{Place, Position, Positions},
    topic::TopicSet,
};
use tokio::{sync::Semaphore, time, try_join};

use crate::{
    client::Clients,
    live::{Live, Standing},
    metadata::{Listing, Metadata, partitions_of},
    places::{Wanted, millis},
    replay::Replay,
};

/// Before the broker is asked again for what it could not say.
const REST: Duration = Duration::from_millis(250);

/// Beyond the end of every partition. Who stands there, in a topic that was made anew, cannot go on however long the new one becomes.
const NOWHERE: Place = Place::offset(u64::MAX);

/// What all readers of one connector share.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) clients: Clients,
    pub(crate) metadata: Arc<Metadata>,
    pub(crate) live: Live,
    /// One for each private reader.
    pub(crate) permits: Arc<Semaphore>,
    /// Bytes that one private reader holds.
    pub(crate) reader_memory: usize,
}

/// One reader.
pub(crate) struct Reader {
    reading: Arc<Reading>,
    topics: TopicSet,
    positions: Positions,
    /// Ends that the partitions had when it was placed.
    ends: Positions,
    /// How many changes of topics' identities the positions and the source take into account.
    changes: u64,
    source: Source,
    _standing: Standing,
}

enum Source {
    /// The live buffer, which holds all from the positions on.
    Live(Follower),
    /// A private reader, until the live buffer is reached.
    Replay(Box<Replay>),
    /// To be found out where to go on.
    Placing(BoxFuture<'static, Result<Spot, ReadError>>),
    /// None yet, or no longer.
    Nothing,
}

/// Where a reader is to be placed.
struct Spot {
    positions: Positions,
    /// Ends of the partitions that exist.
    ends: Positions,
    /// How many changes of topics' identities there had been before.
    changes: u64,
}

impl Reading {
    /// Begins to read. Waits for the broker for as long as it is away.
    pub(crate) async fn subscribe(self: &Arc<Self>, request: SubscribeRequest) -> Result<Reader, ReadError> {
        let topics = request.topics;
        let spot = self.spot(&topics, &request.start).await?;
        let standing = self.live.stand(topics.clone());
        let source = self.source(&topics, &spot)?;
        let Spot { positions, ends, changes } = spot;
        let mut reader =
            Reader { reading: self.clone(), topics, positions, ends, changes, source, _standing: standing };
        reader.heed_changes();
        Ok(reader)
    }

    /// Finds out where the reader is to be placed, and has the partitions opened for live reading.
    async fn spot(&self, topics: &TopicSet, start: &Start) -> Result<Spot, ReadError> {
        loop {
            let changes = self.clients.identities.changes();
            let Ok(listing) = self.metadata.fresh().await else {
                time::sleep(REST).await;
                continue;
            };
            let partitions = partitions_of(&listing, topics);
            let places = &self.metadata.places;
            let find = |wanted| places.find(partitions.clone(), wanted);
            let found = match start {
                Start::Latest => find(Wanted::End).await.map(|ends| (ends.clone(), ends)),
                Start::Earliest => try_join!(find(Wanted::Start), find(Wanted::End)),
                Start::At(time) => try_join!(find(Wanted::At(millis(*time))), find(Wanted::End)),
                Start::After(_) => try_join!(find(Wanted::Start), find(Wanted::End)),
            };
            let Ok((mut positions, ends)) = found else {
                time::sleep(REST).await;
                continue;
            };
            if let Start::After(after) = start {
                positions = go_on(topics, after, &listing, &positions, &ends)?;
            }
            if self.live.open(ends.clone()).await {
                return Ok(Spot { positions, ends, changes });
            }
        }
    }

    /// The live buffer if it holds all from the spot on, else a private reader.
    fn source(&self, topics: &TopicSet, spot: &Spot) -> Result<Source, ReadError> {
        // What has appeared since is another matter, even if the positions name it: then it was made anew.
        let existing = spot.positions.iter().filter(|at| spot.ends.get(&at.topic, at.partition).is_some());
        let existing: Positions = existing.cloned().collect();
        match self.live.log.follow_on(topics, &existing, &existing) {
            Some(follower) => Ok(Source::Live(follower)),
            None => {
                let busy = |_| ReadError::Busy {
                    detail: format!("all private readers of {} are in use (limits.readers)", self.clients.connector),
                };
                let permit = self.permits.clone().try_acquire_owned().map_err(busy)?;
                let (memory, ends) = (self.reader_memory, spot.ends.clone());
                let replay = Replay::start(&self.clients, memory, existing, ends, spot.changes, permit);
                Ok(Source::Replay(Box::new(replay.map_err(|detail| ReadError::Down { detail })?)))
            }
        }
    }
}

/// Checks a reader's positions against what the broker keeps; those that it does not name are its starts.
fn go_on(
    topics: &TopicSet,
    after: &Positions,
    listing: &Listing,
    starts: &Positions,
    ends: &Positions,
) -> Result<Positions, ReadError> {
    let mut positions = starts.clone();
    let mut gone = None;
    for at in after.iter().filter(|at| topics.contains(&at.topic)) {
        let (topic, partition) = (&at.topic, at.partition);
        match (starts.get(topic, partition), ends.get(topic, partition)) {
            (Some(start), Some(end)) if start <= at.place && at.place <= end => positions.set(at.clone()),
            (Some(_), Some(_)) if at.place == NOWHERE => gone = Some(format!("{topic} was deleted and made again")),
            (Some(start), Some(end)) => {
                let place = at.place.offset;
                gone = Some(format!("{topic} {partition}:{place}: the topic holds {} to {}", start.offset, end.offset));
            }
            _ if listing.contains_key(topic) => gone = Some(format!("{topic} has no partition {partition}")),
            _ => positions.set(at.clone()), // the topic is missing now, and joins when it is back
        }
    }
    match gone {
        None => Ok(positions),
        Some(detail) => Err(ReadError::Gone { resume: positions, detail }),
    }
}

impl Reader {
    /// Begins to find out where the reader goes on.
    fn place(&mut self) -> Source {
        self.source = Source::Nothing; // gives a private reader back first
        self.heed_changes();
        let (reading, topics, start) =
            (self.reading.clone(), self.topics.clone(), Start::After(self.positions.clone()));
        Source::Placing(async move { reading.spot(&topics, &start).await }.boxed())
    }

    /// Goes on where it stands.
    fn placed(&mut self, spot: Result<Spot, ReadError>) -> Result<(), ReadError> {
        let spot = match spot {
            Err(ReadError::Gone { resume, detail }) => return Err(self.gone(resume, detail)),
            other => other?,
        };
        self.source = self.reading.source(&self.topics, &spot)?;
        Spot { positions: self.positions, ends: self.ends, changes: self.changes } = spot;
        self.heed_changes();
        Ok(())
    }

    /// Gives up the positions in topics that were made anew.
    fn heed_changes(&mut self) {
        for changed in self.reading.clients.identities.changed_since(&mut self.changes) {
            if self.positions.iter().any(|at| at.topic == changed) {
                self.source = Source::Nothing;
            }
            self.forsake(|at| at.topic == changed);
        }
    }

    /// Who stands at a start has read nothing, and can begin with the new topic as well.
    fn forsake(&mut self, is_meant: impl Fn(&Position) -> bool) {
        let has_begun = |at: &&Position| at.place != Place::default();
        let meant: Vec<_> = self.positions.iter().filter(|at| is_meant(at)).filter(has_begun).cloned().collect();
        meant.into_iter().for_each(|at| self.positions.set(Position { place: NOWHERE, ..at }));
    }

    /// What is gone is forsaken, so that it stays gone.
    fn gone(&mut self, resume: Positions, detail: String) -> ReadError {
        self.forsake(|at| resume.get(&at.topic, at.partition) != Some(at.place));
        ReadError::Gone { resume, detail }
    }

    fn deliver(&mut self, records: Records, at_end: bool) -> Deliveries {
        for (at, record) in records.iter().enumerate() {
            let place = record.position.place;
            let is_repeated = records.get(at + 1).is_some_and(|next| {
                next.position.partition == record.position.partition
                    && next.topic == record.topic
                    && next.position.place > place
            });
            if !is_repeated {
                self.positions.advance(&record.position, record.next);
            }
        }
        Deliveries::unsettled(records, at_end)
    }

    /// A topic that was deleted and made again begins anew under a reader that had already read some of it.
    fn check_continuity(&mut self, records: &[Arc<Record>]) -> Result<(), ReadError> {
        let is_before = |record: &&Arc<Record>| {
            let stands = self.positions.get(&record.topic, record.position.partition);
            stands.is_some_and(|stands| record.position.place < stands)
        };
        let Some(record) = records.iter().find(is_before) else { return Ok(()) };
        let mut resume = self.positions.clone();
        resume.retain(|topic| *topic != *record.topic);
        Err(self.gone(resume, format!("{} was deleted and made again", record.topic)))
    }
}

impl Subscription for Reader {
    fn poll_next(&mut self, cx: &mut Context<'_>, max: NonZeroUsize) -> Poll<Result<Deliveries, ReadError>> {
        let mut records = Records::new();
        loop {
            match &mut self.source {
                Source::Nothing => self.source = self.place(),
                Source::Placing(spot) => {
                    let spot = ready!(spot.poll_unpin(cx));
                    self.placed(spot)?;
                }
                Source::Live(follower) => match ready!(follower.poll_read(cx, max, &mut records)) {
                    Ok(at_end) => {
                        let passed = follower.take_passed();
                        self.check_continuity(&records)?;
                        let deliveries = self.deliver(records, at_end);
                        passed.iter().for_each(|at| self.positions.set(at.clone()));
                        return Poll::Ready(Ok(deliveries));
                    }
                    Err(_) => self.source = Source::Nothing,
                },
                Source::Replay(replay) => match ready!(replay.poll_next(cx, max)) {
                    None => self.source = Source::Nothing,
                    Some(portion) => {
                        let is_at_end = portion.is_at_end;
                        let deliveries = self.deliver(portion.records, is_at_end);
                        portion.reached.into_iter().for_each(|at| self.positions.set(at));
                        self.join_live(is_at_end);
                        return Poll::Ready(Ok(deliveries));
                    }
                },
            }
        }
    }

    fn positions(&self) -> &Positions {
        &self.positions
    }

    /// The live buffer may have begun to read only after the reader was placed: what was stored before must have come, too.
    fn is_at_end(&self) -> bool {
        matches!(&self.source, Source::Live(follower) if follower.is_at_end())
            && self.positions.have_reached(&self.ends)
    }
}

impl Reader {
    /// Goes over from a private reader to the live buffer if that holds all from here on.
    fn join_live(&mut self, is_at_end: bool) {
        let Source::Replay(replay) = &self.source else { return };
        if let Some(follower) = self.reading.live.log.follow_on(&self.topics, &self.positions, replay.partitions()) {
            self.source = Source::Live(follower);
            self.heed_changes(); // the live buffer's topic may be the new one
        } else if is_at_end {
            self.source = Source::Nothing; // the live buffer begins after the end that was known: ask for it anew
        }
    }
}
