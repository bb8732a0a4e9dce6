//! A private reader: a consumer and a thread for one reader who is not, or no longer, where the live buffer is.
//!
//! It holds about `limits.reader_memory`, half of it in librdkafka, and takes no more from the broker than is taken from it.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    num::NonZeroUsize,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use meshgate_api::{
    Str,
    connector::{READ_BYTES, Record},
    log::Records,
    position::{Place, Position, Positions},
};
use rdkafka::error::RDKafkaErrorCode as Code;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::{
    client::Clients,
    feed::{Bell, Broken, Feed, LaneId, Seen},
    identity::Identities,
    metadata::spawn,
};

/// The longest that the thread sleeps before it looks whether anybody still reads.
const NAP: Duration = Duration::from_millis(200);
/// Between two looks at all queues.
const CHORES: Duration = Duration::from_secs(1);
/// Chunks on their way to the reader.
const CHUNKS: usize = 2;

/// A private reader. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Replay {
    chunks: mpsc::Receiver<Chunk>,
    pending: VecDeque<Arc<Record>>,
    /// Partitions that have ended there, to be told once `pending` is read.
    reached: Vec<Position>,
    is_at_end: bool,
    from: Positions,
    _permit: OwnedSemaphorePermit,
}

/// What the thread has read since the last one.
#[derive(Debug, Default)]
struct Chunk {
    records: Vec<Arc<Record>>,
    reached: Vec<Position>,
    /// All partitions have ended.
    is_at_end: bool,
}

/// What a reader gets.
#[derive(Debug, Default)]
pub(crate) struct Portion {
    pub(crate) records: Records,
    /// After the records: in these partitions there is nothing before these places.
    pub(crate) reached: Vec<Position>,
    /// Nothing more was stored.
    pub(crate) is_at_end: bool,
}

impl Replay {
    /// Reads each partition from its place. `ends` are places that were the partitions' ends at some time before this call, when there
    /// had been so many `changes` of topics' identities.
    pub(crate) fn start(
        clients: &Clients,
        memory: usize,
        from: Positions,
        ends: Positions,
        changes: u64,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, String> {
        let (sender, chunks) = mpsc::channel(CHUNKS);
        let share = memory / 2 / from.len().max(1);
        let config = clients.reader(share, memory / 2);
        let clients = clients.clone();
        let name = format!("{}-replay", clients.connector);
        let chunk = memory / (2 * (CHUNKS + 1));
        let places: Vec<_> = from.iter().map(|at| (at.topic.clone(), at.partition, at.place.offset)).collect();
        spawn(name, move || {
            let bell = Arc::new(Bell::default());
            let replay = Feed::open(&clients, &config, bell.clone()).and_then(|mut feed| {
                feed.assign(&places)?;
                let ended = BTreeSet::new();
                let at = places.into_iter().map(|(topic, partition, offset)| ((topic, partition), offset)).collect();
                let identities = clients.identities.clone();
                let chores = Instant::now();
                Thread { feed, bell, sender, chunk_bytes: chunk, ends, at, ended, identities, changes, chores }.run()
            });
            if let Err(Broken(reason)) = replay {
                tracing::info!(connector = %clients.connector, "a private reader stops: {reason}"); // and its reader, told by the channel's end, starts another
            }
        })?;
        Ok(Self { chunks, pending: VecDeque::new(), reached: Vec::new(), is_at_end: false, from, _permit: permit })
    }

    /// What it reads.
    pub(crate) fn partitions(&self) -> &Positions {
        &self.from
    }

    /// The next records, at most `max`, and about [`READ_BYTES`]; `None` when the thread could not go on.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>, max: NonZeroUsize) -> Poll<Option<Portion>> {
        if self.pending.is_empty() {
            let Some(chunk) = ready!(self.chunks.poll_recv(cx)) else { return Poll::Ready(None) };
            self.pending.extend(chunk.records);
            self.reached = chunk.reached;
            self.is_at_end = chunk.is_at_end;
        }
        let mut portion = Portion::default();
        let mut room = READ_BYTES;
        while portion.records.len() < max.get() && room > 0 {
            let Some(record) = self.pending.pop_front() else { break };
            room = room.saturating_sub(record.footprint());
            portion.records.push(record);
        }
        if self.pending.is_empty() {
            portion.reached = std::mem::take(&mut self.reached);
            portion.is_at_end = self.is_at_end;
        }
        Poll::Ready(Some(portion))
    }
}

struct Thread {
    feed: Feed,
    bell: Arc<Bell>,
    sender: mpsc::Sender<Chunk>,
    chunk_bytes: usize,
    ends: Positions,
    /// The next offset to come of each partition.
    at: HashMap<(Str, u32), u64>,
    /// Lanes of which nothing has come since their end.
    ended: BTreeSet<LaneId>,
    identities: Arc<Identities>,
    /// How many changes of topics' identities were looked at.
    changes: u64,
    chores: Instant,
}

impl Thread {
    /// Until the reader has gone.
    fn run(mut self) -> Result<(), Broken> {
        while !self.sender.is_closed() {
            if let Some(lane) = self.bell.wait(NAP) {
                let mut chunk = Chunk::default();
                self.read(lane, &mut chunk)?;
                self.feed.serve()?;
                self.check_identities()?;
                if !(chunk.records.is_empty() && chunk.reached.is_empty()) && self.sender.blocking_send(chunk).is_err()
                {
                    return Ok(());
                }
            }
            if self.chores.elapsed() >= CHORES {
                self.chores = Instant::now();
                self.feed.serve()?;
                self.feed.ring_all();
            }
        }
        Ok(())
    }

    /// What was read of a topic that was made anew may be of the old one or of the new.
    fn check_identities(&mut self) -> Result<(), Broken> {
        let changed = self.identities.changed_since(&mut self.changes);
        match changed.iter().find(|topic| self.at.keys().any(|(name, _)| name == *topic)) {
            Some(topic) => Err(Broken(format!("{topic} was deleted or made anew"))),
            None => Ok(()),
        }
    }

    fn read(&mut self, lane: LaneId, chunk: &mut Chunk) -> Result<(), Broken> {
        let Some((topic, partition)) = self.feed.name(lane) else { return Ok(()) };
        let name = (topic.clone(), partition);
        let mut room = self.chunk_bytes;
        while let Some(seen) = self.feed.take(lane)? {
            match seen {
                Seen::Record(record) => {
                    self.ended.remove(&lane);
                    self.at.insert(name.clone(), record.next.offset);
                    room = room.saturating_sub(record.footprint());
                    chunk.records.push(record);
                }
                Seen::End => {
                    self.ended.insert(lane);
                    chunk.reached.extend(self.end_of(&name));
                }
                Seen::Lost => return Err(Broken(format!("the next record of {} {} is gone", name.0, name.1))),
                Seen::Fault(code @ (Code::UnknownTopicOrPartition | Code::UnknownTopicId | Code::UnknownTopic)) => {
                    return Err(Broken(format!("{}: {code}", name.0)));
                }
                Seen::Fault(_) => {}
            }
            if room == 0 {
                self.bell.ring_for(lane);
                break;
            }
        }
        chunk.is_at_end = self.ended.len() == self.at.len();
        Ok(())
    }

    /// What the end of a partition says: all before the end that was known has come, be there records or not.
    fn end_of(&self, name: &(Str, u32)) -> Option<Position> {
        let at = *self.at.get(name)?;
        let end = self.ends.get(&name.0, name.1).map_or(at, |end| end.offset.max(at));
        Some(Position { topic: name.0.clone(), partition: name.1, place: Place::offset(end) })
    }
}
