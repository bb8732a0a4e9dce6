//! The thread of one group: it reads for all members in this process, and is the group's member at the broker.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use meshgate_api::{
    Str,
    connector::Start,
    position::{Place, Positions},
};
use rdkafka::consumer::Consumer;
use tokio::{
    runtime::Handle,
    sync::oneshot::{self, error::TryRecvError},
};
use tracing::{info, warn};

use super::{
    LINGER, Local, Phase, Served, Skipped,
    begin::Beginning,
    commit::{Answer, Ledger},
};
use crate::{
    client::Clients,
    coordinator::Move,
    feed::{Broken, Feed, LaneId, Seen},
    metadata::{Metadata, partitions_of, spawn},
    places::{Partitions, Wanted},
};

/// The longest that the thread sleeps: the coordinator is heard in a poll.
const NAP: Duration = Duration::from_millis(50);
/// Between two looks at topics, members and lag.
const CHORES: Duration = Duration::from_secs(1);
/// Before what failed is tried again.
const REST: Duration = Duration::from_millis(500);
/// How long it may take to be given partitions before the group stands without.
const JOINING: Duration = Duration::from_secs(5);
/// Records that are dealt at once.
const BATCH: usize = 256;
/// Bytes that librdkafka holds for each partition.
const QUEUE: usize = 512 << 10;

/// What the thread works with.
pub(super) struct Surroundings {
    pub(super) clients: Clients,
    pub(super) metadata: Arc<Metadata>,
    pub(super) runtime: Handle,
    pub(super) served: Arc<Served>,
    pub(super) skipped: Skipped,
    /// Bytes that are asked for at once.
    pub(super) fetch: usize,
}

mod moves;

struct Thread {
    around: Surroundings,
    local: Arc<Local>,
    start: Start,
    ledger: Ledger,
    subscribed: BTreeSet<Str>,
    /// When it was subscribed first.
    joining: Option<Instant>,
    beginning: Beginning,
    anew: HashMap<Str, Anew>,
    /// Partitions to be read here that have no leader.
    leaderless: Partitions,
    /// How many changes of topics' identities were looked at.
    changes: u64,
    /// Lanes that were not read to their end for lack of room.
    halted: BTreeSet<LaneId>,
    chores: Instant,
    last_seen: Instant,
    ends: Option<oneshot::Receiver<Result<Positions, String>>>,
}

/// A topic that was made anew. What was committed in its partitions says nothing, unless it was written since.
struct Anew {
    /// When that was heard.
    since: Instant,
    /// Partitions whose position has been written from here.
    written: HashSet<u32>,
}

/// Starts the thread.
pub(super) fn start(around: Surroundings, local: Arc<Local>, start: Start) -> Result<(), String> {
    let now = Instant::now();
    let thread = Thread {
        changes: around.clients.identities.changes(),
        around,
        local,
        start,
        ledger: Ledger::default(),
        subscribed: BTreeSet::new(),
        joining: None,
        beginning: Beginning::default(),
        anew: HashMap::new(),
        leaderless: Partitions::new(),
        halted: BTreeSet::new(),
        chores: now,
        last_seen: now,
        ends: None,
    };
    spawn(format!("{}-group", thread.around.clients.connector), move || {
        let (local, served) = (thread.local.clone(), thread.around.served.clone());
        thread.run();
        served.end(&local);
    })
}

impl Thread {
    /// Until the group is closed or left; a consumer that cannot go on is made anew.
    fn run(mut self) {
        self.wait_for_broker();
        while !self.is_over() {
            let config = self.around.clients.member(&self.local.name, QUEUE, self.around.fetch);
            let ended = Feed::open(&self.around.clients, &config, self.local.keeper.bell.clone())
                .and_then(|mut feed| self.live(&mut feed).inspect_err(|_| self.forget(&feed)));
            if let Err(Broken(reason)) = ended {
                let (connector, group) = (&self.around.clients.connector, &self.local.name);
                warn!(%connector, %group, "the group's consumer is made anew: {reason}");
                self.local.keeper.bell.wait(REST);
            }
            self.wait_for_broker();
        }
    }

    /// While it is away, as the connector's health tells.
    fn wait_for_broker(&mut self) {
        while !self.is_over() && self.around.runtime.block_on(self.around.metadata.fresh()).is_err() {
            self.local.keeper.bell.wait(REST);
        }
    }

    /// With one consumer.
    fn live(&mut self, feed: &mut Feed) -> Result<(), Broken> {
        if self.local.phase() == Phase::Beginning {
            let topics = self.local.topics();
            self.beginning = self.around.write_beginning(feed, &mut self.ledger, &topics, &self.start)?;
        }
        feed.consumer().context().coordinator().hear(true);
        self.subscribe(feed)?;
        if self.subscribed.is_empty() {
            self.stand();
        }
        while !self.is_over() {
            self.round(feed)?;
        }
        self.commit_last(feed, &self.local.group.lows())
    }

    /// Before partitions are given up.
    fn commit_last(&mut self, feed: &Feed, lows: &Positions) -> Result<(), Broken> {
        let (connector, group) = (&self.around.clients.connector, &self.local.name);
        let why = match self.ledger.commit_now(feed, lows)? {
            Answer::Taken => return Ok(()),
            Answer::Refused(problem) => problem.to_string(),
            Answer::Open => "no answer".to_owned(),
        };
        warn!(%connector, %group, "the broker has not taken the last positions ({why}): events that were confirmed may come again");
        Ok(())
    }

    /// The consumer is given up. What is not settled comes again to whoever reads next.
    fn forget(&mut self, feed: &Feed) {
        let lows = self.local.group.lows();
        if !feed.consumer().assignment_lost()
            && let Err(Broken(problem)) = self.commit_last(feed, &lows)
        {
            tracing::debug!(group = %self.local.name, "{problem}");
        }
        for at in &lows {
            self.local.group.close(&at.topic, at.partition);
        }
        (self.subscribed, self.ledger) = (BTreeSet::new(), Ledger::default());
        self.halted.clear();
        self.leaderless.clear();
        self.ends = None;
    }

    fn is_over(&mut self) -> bool {
        if self.local.group.members() > 0 {
            self.last_seen = Instant::now();
        }
        if self.last_seen.elapsed() >= LINGER && self.around.served.leave(&self.local) {
            self.local.close();
        }
        self.local.is_closing()
    }

    /// Waits for something to do, and does it.
    fn round(&mut self, feed: &mut Feed) -> Result<(), Broken> {
        let lane = self.local.keeper.bell.wait(NAP);
        feed.serve()?;
        while let Some(step) = feed.consumer().context().coordinator().next_move() {
            match step {
                Move::Here(partitions) => self.take_over(feed, &partitions)?,
                Move::Away(partitions) => self.hand_over(feed, &partitions)?,
            }
        }
        let has_room_again = self.local.keeper.attended.swap(false, Relaxed);
        let halted = if has_room_again { std::mem::take(&mut self.halted) } else { BTreeSet::new() };
        for lane in halted.into_iter().chain(lane) {
            self.read(feed, lane)?;
        }
        self.hear();
        if self.ledger.is_due() {
            self.ledger.commit(feed, &self.local.group.lows())?;
        }
        if self.chores.elapsed() >= CHORES {
            self.chores = Instant::now();
            self.do_chores(feed)?;
        }
        Ok(())
    }

    /// Takes in the broker's answer to the last commit.
    fn hear(&mut self) {
        if let Some(Err(problem)) = self.ledger.hear() {
            let (connector, group) = (&self.around.clients.connector, &self.local.name);
            info!(%connector, %group, "a commit is tried again: {problem}");
        }
        for at in std::mem::take(&mut self.ledger.taken) {
            if let Some(anew) = self.anew.get_mut(&at.topic) {
                anew.written.insert(at.partition);
            }
        }
    }

    fn stand(&self) {
        if self.local.phase() == Phase::Beginning {
            self.local.turn(Phase::Standing);
        }
    }

    /// Deals what a partition's queue holds, as far as there is room.
    fn read(&mut self, feed: &Feed, id: LaneId) -> Result<(), Broken> {
        let Some((topic, partition)) = feed.name(id).map(|(topic, partition)| (topic.clone(), partition)) else {
            return Ok(());
        };
        loop {
            let group = &self.local.group;
            let room = if group.has_room() { group.room_in(&topic, partition).min(BATCH) } else { 0 };
            if room == 0 {
                self.halted.insert(id);
                return Ok(());
            }
            let (mut records, mut passed) = (Vec::new(), None);
            while records.len() < room {
                match feed.take(id)? {
                    None => break,
                    Some(Seen::End) => passed = feed.passed(id), // more may have come since
                    Some(Seen::Record(record)) => records.push(record),
                    Some(Seen::Lost) => return Err(Broken(format!("the next record of {topic} {partition} is gone"))),
                    Some(Seen::Fault(code)) => {
                        tracing::debug!(connector = %self.around.clients.connector, %topic, partition, "{code}");
                    }
                }
            }
            feed.serve()?;
            self.heed_changes()?;
            let is_all = records.len() < room;
            self.local.group.push(records);
            if let Some(passed) = passed {
                self.local.group.pass(&topic, partition, Place::offset(passed));
            }
            if is_all {
                return Ok(());
            }
        }
    }

    /// What was read last of a topic that was made anew may be of either: all of it comes again.
    fn heed_changes(&mut self) -> Result<(), Broken> {
        let mut changed = self.around.clients.identities.changed_since(&mut self.changes);
        changed.retain(|topic| self.subscribed.contains(topic));
        for topic in &changed {
            self.anew.insert(topic.clone(), Anew { since: Instant::now(), written: HashSet::new() });
        }
        if changed.is_empty() {
            Ok(())
        } else {
            Err(Broken(format!("{} was deleted or made anew", changed.join(", "))))
        }
    }

    fn do_chores(&mut self, feed: &mut Feed) -> Result<(), Broken> {
        self.heed_changes()?;
        self.subscribe(feed)?;
        self.begin_late(feed)?;
        feed.ring_all();
        self.local.group.remind();
        if self.joining.is_none_or(|since| since.elapsed() >= JOINING) {
            self.stand();
        }
        self.measure();
        Ok(())
    }

    /// Asks the coordinator for a share of all topics that there are now.
    fn subscribe(&mut self, feed: &Feed) -> Result<(), Broken> {
        let listing = self.around.metadata.news().listing;
        let partitions = partitions_of(&listing, &self.local.topics());
        let topics: BTreeSet<_> = partitions.into_iter().map(|(topic, _)| topic).collect();
        if topics == self.subscribed {
            return Ok(());
        }
        if topics.is_empty() {
            feed.consumer().unsubscribe();
        } else {
            feed.consumer().subscribe(&topics.iter().map(|topic| &**topic).collect::<Vec<_>>())?;
            self.joining.get_or_insert_with(Instant::now);
        }
        self.subscribed = topics;
        Ok(())
    }

    /// How far the members are behind.
    fn measure(&mut self) {
        let lows = self.local.group.lows();
        self.local.keeper.partitions.store(lows.len() as u64, Relaxed);
        match self.ends.as_mut().map(oneshot::Receiver::try_recv) {
            Some(Err(TryRecvError::Empty)) => return,
            Some(Ok(Ok(ends))) => {
                let behind = lows.iter().filter_map(|low| {
                    Some(ends.get(&low.topic, low.partition)?.offset.saturating_sub(low.place.offset))
                });
                self.local.keeper.lag.store(behind.sum(), Relaxed);
            }
            Some(Ok(Err(_)) | Err(TryRecvError::Closed)) | None => {}
        }
        let partitions = lows.iter().map(|low| (low.topic.clone(), low.partition)).collect();
        self.ends = self.around.metadata.places.begin(partitions, Wanted::End);
    }
}
