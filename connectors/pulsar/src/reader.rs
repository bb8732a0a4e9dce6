//! One reader: where it stands, and whether it follows the live buffer or reads for itself.

use std::{
    num::NonZeroUsize,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{FutureExt, future::BoxFuture};
use meshgate_api::{
    connector::{Deliveries, ReadError, Start, SubscribeRequest, Subscription},
    log::{Follower, Records},
    position::{Place, Position, Positions},
    topic::TopicSet,
};
use tokio::{sync::Semaphore, time::sleep};

use crate::{
    client::Client,
    feed::Lane,
    live::{Live, Standing},
    metadata::{ends, firsts, lanes, list},
    replay::Replay,
};

/// Before the broker is asked again for what it could not say.
const REST: Duration = Duration::from_millis(250);
/// How often it is looked whether partitions have been opened for those that stand already.
const GLANCE: Duration = Duration::from_millis(20);

/// What all readers of one connector share.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) client: Arc<Client>,
    pub(crate) live: Arc<Live>,
    /// One for each private reader.
    pub(crate) permits: Arc<Semaphore>,
}

/// One reader.
pub(crate) struct Reader {
    reading: Arc<Reading>,
    topics: TopicSet,
    positions: Positions,
    /// Ends that the partitions had when it was placed.
    ends: Positions,
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
    lanes: Vec<Lane>,
    positions: Positions,
    /// Ends of the partitions that exist.
    ends: Positions,
    /// Of what is old the last record of each key will do.
    compacted: bool,
}

impl Reading {
    /// Begins to read. Waits for the broker for as long as it is away.
    pub(crate) async fn subscribe(self: &Arc<Self>, request: SubscribeRequest) -> Result<Reader, ReadError> {
        let topics = request.topics;
        let spot = Spot { compacted: request.compacted, ..self.spot(&topics, &request.start).await? };
        let standing = self.live.stand(topics.clone());
        let source = self.source(&topics, &spot)?;
        let Spot { positions, ends, .. } = spot;
        Ok(Reader { reading: self.clone(), topics, positions, ends, source, _standing: standing })
    }

    /// Finds out where the reader is to be placed, and has the partitions opened for live reading.
    async fn spot(&self, topics: &TopicSet, start: &Start) -> Result<Spot, ReadError> {
        loop {
            match self.find(topics, start).await {
                Ok(spot) => return spot,
                Err(problem) => {
                    tracing::debug!(connector = %self.client.connector, "a reader waits: {problem}");
                    sleep(REST).await;
                }
            }
        }
    }

    async fn find(&self, topics: &TopicSet, start: &Start) -> Result<Result<Spot, ReadError>, String> {
        let listing = list(&self.client, topics).await?;
        let lanes = lanes(&listing);
        let ends = ends(&self.client, &lanes).await?;
        let positions = match start {
            Start::Latest => ends.clone(),
            Start::Earliest => {
                lanes.iter().map(|lane| Position { place: Place::default(), ..position(lane) }).collect()
            }
            Start::At(time) => firsts(&self.client, &lanes, &ends, millis(*time)).await?,
            Start::After(after) => {
                let named: Vec<_> = lanes.iter().filter(|lane| has_begun(after, lane)).cloned().collect();
                let firsts = firsts(&self.client, &named, &ends, 0).await?;
                match go_on(&lanes, topics, after, &firsts, &ends) {
                    Ok(positions) => positions,
                    Err(gone) => return Ok(Err(gone)),
                }
            }
        };
        self.live.open(&lanes, &ends);
        while !self.live.has_opened(&lanes) {
            self.live.open_what_appeared().await;
            sleep(GLANCE).await;
        }
        Ok(Ok(Spot { lanes, positions, ends, compacted: false }))
    }

    /// The live buffer if it holds all from the spot on, else a private reader.
    fn source(&self, topics: &TopicSet, spot: &Spot) -> Result<Source, ReadError> {
        let existing = spot.positions.iter().filter(|at| spot.ends.get(&at.topic, at.partition).is_some());
        let existing: Positions = existing.cloned().collect();
        if let Some(follower) = self.live.log.follow_on(topics, &existing, &existing) {
            return Ok(Source::Live(follower));
        }
        let busy = |_| ReadError::Busy {
            detail: format!("all private readers of {} are in use (limits.readers)", self.client.connector),
        };
        let permit = self.permits.clone().try_acquire_owned().map_err(busy)?;
        Ok(Source::Replay(Box::new(Replay::start(&self.client, &spot.lanes, existing, spot.compacted, permit))))
    }
}

fn position(lane: &Lane) -> Position {
    Position { topic: lane.topic.clone(), partition: lane.number(), place: Place::default() }
}

/// Whether these positions say more of a partition than that it is to be read from its start.
fn has_begun(positions: &Positions, lane: &Lane) -> bool {
    positions.get(&lane.topic, lane.number()).is_some_and(|place| place != Place::default())
}

/// Checks a reader's positions against what the broker keeps. Where a whole ledger is gone in which the reader stood, nobody can tell
/// whether it had read all of it: that counts as gone.
fn go_on(
    lanes: &[Lane],
    topics: &TopicSet,
    after: &Positions,
    firsts: &Positions,
    ends: &Positions,
) -> Result<Positions, ReadError> {
    let mut positions: Positions = lanes.iter().map(position).collect();
    let mut gone = None;
    for at in after.iter().filter(|at| topics.contains(&at.topic)) {
        let Some(end) = ends.get(&at.topic, at.partition) else {
            positions.set(at.clone()); // it is missing now, and joins when it is back
            continue;
        };
        let first = firsts.get(&at.topic, at.partition).unwrap_or_default();
        let is_kept = at.place == end || (first.generation, first.offset) <= (at.place.generation, at.place.offset);
        if at.place != Place::default() && (!is_kept || at.place > end) {
            let (topic, Place { generation, offset, .. }) = (&at.topic, at.place);
            gone = Some(format!(
                "{topic} {}:{generation}:{offset}: retention has deleted it, or the topic ends before it",
                at.partition
            ));
            positions.set(Position { place: first, ..at.clone() });
        } else {
            positions.set(at.clone());
        }
    }
    match gone {
        None => Ok(positions),
        Some(detail) => Err(ReadError::Gone { resume: positions, detail }),
    }
}

/// Unix milliseconds.
fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Reader {
    /// Begins to find out where the reader goes on.
    fn place(&mut self) -> Source {
        self.source = Source::Nothing; // gives a private reader back first
        let (reading, topics, start) =
            (self.reading.clone(), self.topics.clone(), Start::After(self.positions.clone()));
        Source::Placing(async move { reading.spot(&topics, &start).await }.boxed())
    }

    /// Goes on where it stands.
    fn placed(&mut self, spot: Result<Spot, ReadError>) -> Result<(), ReadError> {
        let spot = spot?;
        self.source = self.reading.source(&self.topics, &spot)?;
        Spot { positions: self.positions, ends: self.ends, .. } = spot;
        Ok(())
    }

    fn deliver(&mut self, records: Records, at_end: bool) -> Deliveries {
        records.iter().for_each(|record| self.positions.advance(&record.position, record.next));
        Deliveries::unsettled(records, at_end)
    }

    /// Goes over from a private reader to the live buffer if that holds all from here on.
    fn join_live(&mut self) {
        let Source::Replay(replay) = &self.source else { return };
        if let Some(follower) = self.reading.live.log.follow_on(&self.topics, &self.positions, replay.partitions()) {
            self.source = Source::Live(follower);
        } else if self.has_reached_ends() {
            self.source = Source::Nothing; // the live buffer begins after the end that was known: ask for it anew
        }
    }

    fn has_reached_ends(&self) -> bool {
        self.positions.have_reached(&self.ends)
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
                        let at_end = at_end && self.has_reached_ends();
                        return Poll::Ready(Ok(self.deliver(records, at_end)));
                    }
                    Err(_) => self.source = Source::Nothing,
                },
                Source::Replay(replay) => {
                    let records = ready!(replay.poll_next(cx, max));
                    let deliveries = self.deliver(records, false);
                    self.join_live();
                    return Poll::Ready(Ok(deliveries));
                }
            }
        }
    }

    fn positions(&self) -> &Positions {
        &self.positions
    }

    /// The live buffer may have begun to read only after the reader was placed: what was stored before must have come, too.
    fn is_at_end(&self) -> bool {
        matches!(&self.source, Source::Live(follower) if follower.is_at_end()) && self.has_reached_ends()
    }
}
