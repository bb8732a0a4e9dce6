//! The thread that reads for all.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use meshgate_api::{
    Str,
    connector::Record,
    log::Log,
    position::{Place, Positions},
};
use tokio::sync::oneshot::{self, error::TryRecvError};
use tracing::{info, warn};

use super::{Opening, Openings, Shared};
use crate::{
    client::Clients,
    feed::{Broken, Feed, LaneId, Seen},
    metadata::{Listing, Metadata, partitions_of, spawn},
    places::Wanted,
};

mod comparison;

/// The longest that the thread sleeps.
const NAP: Duration = Duration::from_millis(200);
/// Between two looks at what is read, and at what could be.
const CHORES: Duration = Duration::from_secs(1);
/// How long a topic that nobody reads stays open.
const LINGER: Duration = Duration::from_secs(30);
/// A topic that so many listings in a row do not name was deleted.
const ABSENCES: u32 = 2;
/// Before a consumer that cannot be made is tried again.
const REST: Duration = Duration::from_secs(1);
/// Records that go into the log at once.
const BATCH: usize = 256;
/// Bytes that librdkafka holds for each partition.
const QUEUE: usize = 1 << 20;

/// One open partition.
#[derive(Debug)]
struct Lane {
    /// The next offset to come.
    at: u64,
    /// A record or an end has come since the last comparison.
    stirred: bool,
    /// The end at the last comparison: when nothing stirs, what lies before it is no record (compaction took it, say).
    explained: u64,
    stalls: u32,
}

/// A topic with open partitions.
#[derive(Debug)]
struct Topic {
    lanes: BTreeMap<u32, Lane>,
    /// When the last reader left.
    unread_since: Option<Instant>,
    absences: u32,
}

/// An answer that is awaited, and for what.
type Awaited = oneshot::Receiver<Result<Positions, String>>;

struct Thread {
    clients: Clients,
    metadata: Arc<Metadata>,
    log: Arc<Log>,
    shared: Arc<Shared>,
    ring: usize,
    feed: Option<Feed>,
    topics: HashMap<Str, Topic>,
    /// Where the sound partitions of an interrupted topic go on.
    sound: HashMap<(Str, u32), u64>,
    /// The listing and the edition of wishes that were looked at last.
    seen: (u64, u64),
    /// How many changes of topics' identities were looked at.
    changes: u64,
    starts: Option<Awaited>,
    comparison: Option<comparison::Comparison>,
    chores: Instant,
    compared: Instant,
}

/// Starts the thread.
pub(super) fn start(
    clients: Clients,
    metadata: Arc<Metadata>,
    log: Arc<Log>,
    shared: Arc<Shared>,
    ring: usize,
) -> Result<(), String> {
    let name = format!("{}-live", clients.connector);
    let now = Instant::now();
    let thread = Thread {
        clients,
        metadata,
        log,
        shared,
        ring,
        feed: None,
        topics: HashMap::new(),
        sound: HashMap::new(),
        seen: (0, 0),
        changes: 0,
        starts: None,
        comparison: None,
        chores: now,
        compared: now,
    };
    spawn(name, move || thread.run())
}

impl Thread {
    fn run(mut self) {
        while !self.shared.wishes.lock().closed {
            if let Err(Broken(reason)) = self.round() {
                warn!(connector = %self.clients.connector, "the Kafka consumer is made anew: {reason}");
                self.shared.figures.lock().renewals += 1;
                self.feed = None;
                self.shared.bell.wait(REST);
            }
        }
    }

    /// Waits for something to do, and does it.
    fn round(&mut self) -> Result<(), Broken> {
        let lane = self.shared.bell.wait(NAP);
        self.open_what_is_waited_for()?;
        if let Some(lane) = lane {
            self.read(lane)?;
        }
        self.close_changed()?;
        self.take_starts()?;
        self.compare()?;
        if self.chores.elapsed() >= CHORES {
            self.chores = Instant::now();
            self.do_chores()?;
        }
        Ok(())
    }

    /// Moves what a partition's queue holds into the log.
    fn read(&mut self, id: LaneId) -> Result<(), Broken> {
        let Some(feed) = &self.feed else { return Ok(()) };
        let Some((topic, partition)) = feed.name(id) else { return Ok(()) };
        let (topic, mut records, mut passed, mut lost) = (topic.clone(), Vec::new(), None, false);
        let Some(lane) = self.topics.get_mut(&topic).and_then(|topic| topic.lanes.get_mut(&partition)) else {
            return Ok(());
        };
        while let Some(seen) = feed.take(id)? {
            match seen {
                Seen::Record(record) if record.position.place.offset < lane.at => {} // was read before the consumer was made anew
                Seen::Record(record) => {
                    lane.at = record.next.offset;
                    records.push(record);
                }
                Seen::End => {
                    lane.stirred = true;
                    passed = feed.passed(id);
                    lane.at = passed.map_or(lane.at, |passed| passed.max(lane.at)); // unknown: it stays where it is
                }
                Seen::Lost => lost = true,
                Seen::Fault(code) => {
                    self.shared.figures.lock().faults += 1;
                    tracing::debug!(connector = %self.clients.connector, %topic, partition, "{code}");
                }
            }
            if records.len() == BATCH {
                self.shared.bell.ring_for(id);
                break;
            }
        }
        lane.stirred |= !records.is_empty();
        feed.serve()?;
        self.close_changed()?;
        if !self.is_open(&topic, partition) {
            return Ok(()); // what was read may be the new topic's, and comes again
        }
        self.append(&topic, partition, records, passed);
        if lost {
            self.interrupt(&topic, partition)?;
        }
        Ok(())
    }

    /// Readers pass what is no record only after the records before it.
    fn append(&self, topic: &str, partition: u32, records: Vec<Arc<Record>>, passed: Option<u64>) {
        if records.is_empty() && passed.is_none() {
            return;
        }
        let mut log = self.log.appender();
        records.into_iter().for_each(|record| log.append(record));
        if let Some(passed) = passed {
            log.pass(topic, partition, Place::offset(passed));
        }
    }

    /// Opens partitions for readers that wait for it. One that a standing reader does not know yet is opened elsewhere, at its start.
    fn open_what_is_waited_for(&mut self) -> Result<(), Broken> {
        let shared = self.shared.clone();
        let mut wishes = shared.wishes.lock();
        if wishes.openings.is_empty() {
            return Ok(());
        }
        wishes.openings.retain(|opening| !opening.opened.is_closed());
        let mut openings = Openings::new();
        let mut met = HashSet::new();
        for position in wishes.openings.iter().flat_map(|opening| &opening.ends) {
            let place = (&position.topic, position.partition);
            if !self.is_open(place.0, place.1) && !wishes.standing.contain(place.0) && met.insert(place) {
                openings.push((position.topic.clone(), position.partition, position.place.offset));
            }
        }
        self.open(openings)?;
        let is_done = |opening: &mut Opening| {
            opening.ends.iter().all(|position| self.is_open(&position.topic, position.partition))
        };
        for Opening { opened, .. } in wishes.openings.extract_if(.., is_done) {
            opened.send(()).unwrap_or(()); // who has gone away needs no answer
        }
        Ok(())
    }

    fn is_open(&self, topic: &str, partition: u32) -> bool {
        self.topics.get(topic).is_some_and(|topic| topic.lanes.contains_key(&partition))
    }

    fn open(&mut self, openings: Openings) -> Result<(), Broken> {
        if openings.is_empty() {
            return Ok(());
        }
        self.feed()?.assign(&openings)?;
        let mut log = self.log.appender();
        for (topic, partition, at) in openings {
            log.open(&topic, partition, Place::offset(at));
            self.sound.remove(&(topic.clone(), partition));
            let unread_since = Some(Instant::now());
            let entry = self.topics.entry(topic);
            let topic = entry.or_insert_with(|| Topic { lanes: BTreeMap::new(), unread_since, absences: 0 });
            topic.lanes.insert(partition, Lane { at, stirred: true, explained: at, stalls: 0 });
        }
        Ok(())
    }

    /// A partition has lost its place: it begins again at its start, the others of its topic go on where they are.
    fn interrupt(&mut self, topic: &Str, lost: u32) -> Result<(), Broken> {
        let lanes = self.topics.get(topic).map(|topic| &topic.lanes);
        let others = lanes.into_iter().flatten().filter(|(partition, _)| **partition != lost);
        let sound: Vec<_> = others.map(|(partition, lane)| ((topic.clone(), *partition), lane.at)).collect();
        self.close(topic, "a record that comes next is gone from the broker")?;
        self.sound.extend(sound);
        Ok(())
    }

    /// Closes a topic: its readers look for themselves where they can go on.
    fn close(&mut self, topic: &Str, reason: &str) -> Result<(), Broken> {
        info!(connector = %self.clients.connector, %topic, "live reading is interrupted: {reason}");
        self.topics.remove(topic);
        self.sound.retain(|(name, _), _| name != topic);
        self.log.remove(topic);
        match &mut self.feed {
            Some(feed) => feed.unassign(topic),
            None => Ok(()),
        }
    }

    /// The consumer; a new one goes on where the old one was.
    fn feed(&mut self) -> Result<&mut Feed, Broken> {
        if self.feed.is_none() {
            let config = self.clients.reader(QUEUE, self.ring);
            let mut feed = Feed::open(&self.clients, &config, self.shared.bell.clone())?;
            feed.assign(&self.places())?;
            self.feed = Some(feed);
        }
        self.feed.as_mut().ok_or_else(|| Broken("no consumer".into()))
    }

    /// The open partitions and where reading is in them.
    fn places(&self) -> Openings {
        let mut all = Openings::new();
        for (name, topic) in &self.topics {
            all.extend(topic.lanes.iter().map(|(partition, lane)| (name.clone(), *partition, lane.at)));
        }
        all
    }

    fn do_chores(&mut self) -> Result<(), Broken> {
        if !self.topics.is_empty() {
            let feed = self.feed()?;
            feed.serve()?;
            feed.ring_all();
        }
        let news = self.metadata.news();
        let edition = self.shared.wishes.lock().edition;
        if self.seen.0 != news.round {
            self.look_for_deleted(&news.listing);
            self.close_changed()?;
        }
        if self.seen != (news.round, edition) {
            self.ask_for_starts(&news.listing);
            self.seen = (news.round, edition);
        }
        self.close_unread()?;
        self.shared.figures.lock().partitions = self.topics.values().map(|topic| topic.lanes.len() as u64).sum();
        Ok(())
    }

    fn look_for_deleted(&mut self, listing: &Listing) {
        for (name, topic) in &mut self.topics {
            topic.absences = if listing.contains_key(name) { 0 } else { topic.absences + 1 };
            if topic.absences == ABSENCES {
                self.clients.identities.change(name);
            }
        }
    }

    /// Closes topics that were deleted or made anew.
    fn close_changed(&mut self) -> Result<(), Broken> {
        for topic in self.clients.identities.changed_since(&mut self.changes) {
            self.sound.retain(|(name, _), _| *name != topic);
            (self.starts, self.comparison, self.seen) = (None, None, (0, 0)); // what is on its way may be the old topic's: ask again
            if self.topics.contains_key(&topic) {
                self.close(&topic, "it was deleted or made anew")?;
            }
        }
        Ok(())
    }

    fn close_unread(&mut self) -> Result<(), Broken> {
        let wishes = self.shared.clone();
        let wishes = wishes.wishes.lock();
        let mut unread = Vec::new();
        for (name, topic) in &mut self.topics {
            if wishes.standing.contain(name) {
                topic.unread_since = None;
            } else if topic.unread_since.get_or_insert_with(Instant::now).elapsed() >= LINGER {
                unread.push(name.clone());
            }
        }
        drop(wishes);
        unread.iter().try_for_each(|topic| self.close(topic, "nobody reads it"))
    }

    /// What standing readers want and is not open has appeared since they stand: where does it start?
    fn ask_for_starts(&mut self, listing: &Listing) {
        let wishes = self.shared.wishes.lock();
        let wanted = partitions_of(listing, &wishes.standing.all());
        drop(wishes);
        let new: HashSet<_> =
            wanted.into_iter().filter(|(topic, partition)| !self.is_open(topic, *partition)).collect();
        if !new.is_empty() {
            self.starts = self.metadata.places.begin(new.into_iter().collect(), Wanted::Start);
        }
    }

    fn take_starts(&mut self) -> Result<(), Broken> {
        let Some(starts) = &mut self.starts else { return Ok(()) };
        match starts.try_recv() {
            Err(TryRecvError::Empty) => return Ok(()),
            Ok(Ok(starts)) => {
                let mut new = Openings::new();
                for start in starts.iter().filter(|start| !self.is_open(&start.topic, start.partition)) {
                    let sound = self.sound.get(&(start.topic.clone(), start.partition)).copied();
                    let at = start.place.offset.max(sound.unwrap_or_default());
                    new.push((start.topic.clone(), start.partition, at));
                }
                self.open(new)?;
            }
            Ok(Err(_)) | Err(TryRecvError::Closed) => self.seen = (0, 0), // ask again
        }
        self.starts = None;
        Ok(())
    }
}
