//! Groups: the members of this process share one consumer of each partition, in the durable Key_Shared subscription of the group's name.
//!
//! The broker deals keys out to processes, [`meshgate_api::group`] deals them out to members. What a member wants to have again waits here,
//! unacknowledged, so the broker is never asked to deliver again; when a consumer leaves, the broker gives what it has not acknowledged to
//! others.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use meshgate_api::{
    Str,
    connector::{GroupFigures, ReadError, Record, Start, SubscribeRequest},
    group::{Bounds, Group, Keeper, Member},
    position::Place,
    topic::TopicSet,
};
use parking_lot::Mutex;
use pulsar::consumer::InitialPosition;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::{
    client::Client,
    feed::Lane,
    metadata::{lanes, list},
};

mod consumer;
mod entries;

/// Groups that one process serves for one connector.
const GROUPS: usize = 10_000;
/// How often members are reminded, and it is looked which partitions there are.
const PACE: Duration = Duration::from_secs(1);
/// Before the broker is asked again for what it could not say.
const REST: Duration = Duration::from_millis(250);

/// All groups of one connector in this process, by name.
#[derive(Debug)]
pub(crate) struct Groups {
    client: Arc<Client>,
    served: Arc<Served>,
}

#[derive(Debug, Default)]
struct Served {
    by_name: Mutex<HashMap<Str, Arc<Local>>>,
    /// What groups that are over have set aside.
    rejected: AtomicU64,
}

/// The part of a group that is in this process.
#[derive(Debug)]
struct Local {
    name: Str,
    client: Arc<Client>,
    group: Arc<Group>,
    door: Arc<Door>,
    topics: Mutex<TopicSet>,
    phase: watch::Sender<Phase>,
    is_closing: AtomicBool,
    /// Messages at the broker that the group has not acknowledged, by partition.
    backlogs: Mutex<HashMap<Lane, u64>>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It is not known yet where the group stands.
    Beginning,
    /// Its subscriptions stand at the broker.
    Standing,
    Over,
}

/// Where members tell that something has changed.
#[derive(Debug, Default)]
struct Door {
    changes: watch::Sender<()>,
    /// Where what is settled goes, by topic and partition.
    settled: Mutex<HashMap<(Str, u32), mpsc::Sender<Place>>>,
}

impl Keeper for Door {
    fn attend(&self) {
        self.changes.send_replace(());
    }

    fn settled(&self, record: &Record) {
        let name = (record.topic.clone(), record.position.partition);
        if let Some(lane) = self.settled.lock().get(&name) {
            // A consumer that has ended, or cannot keep up, does not acknowledge it: it comes again.
            lane.try_send(record.position.place).unwrap_or(());
        }
    }
}

impl Groups {
    pub(crate) fn new(client: Arc<Client>) -> Self {
        Self { client, served: Arc::default() }
    }

    /// A new member of the group `name`, once the group's subscriptions stand at the broker. Waits for the broker for as long as it is away.
    pub(crate) async fn join(&self, name: Str, request: SubscribeRequest) -> Result<Member, ReadError> {
        let (local, member) = self.enter(name, request)?;
        let mut phase = local.phase.subscribe();
        match phase.wait_for(|phase| *phase != Phase::Beginning).await.map(|phase| *phase) {
            Ok(Phase::Standing) => Ok(member),
            _ => Err(ReadError::Down { detail: "the connector is closing".into() }),
        }
    }

    fn enter(&self, name: Str, request: SubscribeRequest) -> Result<(Arc<Local>, Member), ReadError> {
        let unsupported = |detail: &str| Err(ReadError::Unsupported { detail: detail.into() });
        let from = match request.start {
            Start::Latest => InitialPosition::Latest,
            Start::Earliest => InitialPosition::Earliest,
            Start::At(_) => {
                return unsupported(
                    "a group of a Pulsar connector begins at the earliest or the latest event, not at a time",
                );
            }
            Start::After(_) => return unsupported("a group has positions of its own"),
        };
        if name.is_empty() || name.contains(char::is_control) {
            return unsupported("a group has a name without control characters");
        }
        let mut by_name = self.served.by_name.lock();
        if let Some(local) = by_name.get(&name) {
            *local.topics.lock() = request.topics;
            local.door.attend();
            return Ok((local.clone(), local.group.join()));
        }
        if by_name.len() >= GROUPS {
            return Err(ReadError::Busy { detail: format!("the connector serves {GROUPS} groups already") });
        }
        let (door, limits) = (Arc::<Door>::default(), &self.client.limits);
        let local = Arc::new(Local {
            name: name.clone(),
            client: self.client.clone(),
            group: Group::new(Bounds { window: limits.settled_window, bytes: limits.ring }, door.clone()),
            door,
            topics: Mutex::new(request.topics),
            phase: watch::Sender::new(Phase::Beginning),
            is_closing: AtomicBool::new(false),
            backlogs: Mutex::default(),
        });
        let member = local.group.join();
        self.client.spawn(serve(local.clone(), self.served.clone(), from));
        by_name.insert(name, local.clone());
        Ok((local, member))
    }

    /// Ends all groups: what is settled is acknowledged before `deadline`.
    pub(crate) async fn close(&self, deadline: Instant) {
        let all: Vec<_> = self.served.by_name.lock().values().cloned().collect();
        all.iter().for_each(|local| local.close());
        for local in all {
            let mut phase = local.phase.subscribe();
            let over = phase.wait_for(|phase| *phase == Phase::Over);
            if timeout_at(deadline, over).await.is_err() {
                let (connector, group) = (&self.client.connector, &local.name);
                tracing::warn!(%connector, %group, "the group was not closed in time: events that were confirmed last may come again");
            }
        }
    }

    /// Those that are served here.
    pub(crate) fn each(&self) -> Vec<GroupFigures> {
        let by_name = self.served.by_name.lock();
        let each = by_name.values().map(|local| GroupFigures {
            name: local.name.clone(),
            members: local.group.members() as u64,
            unsettled: local.group.unsettled() as u64,
            lag: local.lag(),
            skipped: 0,
        });
        each.collect()
    }

    /// Groups, their members here, the partitions read for them, records that are not settled, that are not acknowledged at the broker,
    /// and that were set aside.
    pub(crate) fn figures(&self) -> [(&'static str, u64); 6] {
        let by_name = self.served.by_name.lock();
        let sum = |of: &dyn Fn(&Local) -> u64| by_name.values().map(|local| of(local)).sum::<u64>();
        [
            ("groups", by_name.len() as u64),
            ("group_members", sum(&|local| local.group.members() as u64)),
            ("group_partitions", sum(&|local| local.door.settled.lock().len() as u64)),
            ("group_unsettled", sum(&|local| local.group.unsettled() as u64)),
            ("group_lag", sum(&Local::lag)),
            ("group_rejected", self.served.rejected.load(Relaxed) + sum(&|local| local.group.rejected())),
        ]
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.served.by_name.lock().values().for_each(|local| local.close());
    }
}

impl Served {
    /// Forgets a group that has no members, or is to end. Who joins does so under the lock: it is left for good then.
    fn leave(&self, local: &Local) -> bool {
        let mut by_name = self.by_name.lock();
        let is_left = local.group.members() == 0 || local.is_closing.load(Relaxed);
        if is_left && by_name.get(&local.name).is_some_and(|other| std::ptr::eq(&**other, local)) {
            by_name.remove(&local.name);
            self.rejected.fetch_add(local.group.rejected(), Relaxed);
        }
        is_left
    }
}

impl Local {
    fn close(&self) {
        self.is_closing.store(true, Relaxed);
        self.door.attend();
    }

    fn lag(&self) -> u64 {
        self.backlogs.lock().values().sum()
    }
}

/// Reads for the members until there are none. The first subscriptions begin at `from`; of what appears later all is read.
async fn serve(local: Arc<Local>, served: Arc<Served>, from: InitialPosition) {
    let mut consumers = JoinSet::new();
    let mut changes = local.door.changes.subscribe();
    let (over, _) = watch::channel(());
    let mut open = HashSet::new();
    let mut from = from;
    while !served.leave(&local) {
        // Only when a partition's consumer has ended may it have another one.
        while let Some(ended) = consumers.try_join_next() {
            match ended {
                Ok(lane) => drop(open.remove(&lane)),
                Err(problem) => tracing::error!(group = %local.name, "a consumer of Pulsar broke down: {problem}"),
            }
        }
        let topics = local.topics.lock().clone();
        match look(&local, &topics, &mut open, from.clone(), &mut consumers, &over).await {
            Ok(()) => {
                from = InitialPosition::Earliest;
                local.phase.send_if_modified(|phase| std::mem::replace(phase, Phase::Standing) == Phase::Beginning);
            }
            Err(problem) => {
                tracing::debug!(connector = %local.client.connector, group = %local.name, "the group waits: {problem}");
                sleep(REST).await;
            }
        }
        local.group.remind();
        drop(timeout(PACE, changes.changed()).await);
    }
    drop(over);
    while consumers.join_next().await.is_some() {}
    local.phase.send_replace(Phase::Over);
    local.group.end(ReadError::Down { detail: "the connector is closing".into() });
}

/// Opens the partitions that there are and that are not read yet. Those that are not wanted any more end by themselves.
async fn look(
    local: &Arc<Local>,
    topics: &TopicSet,
    open: &mut HashSet<Lane>,
    from: InitialPosition,
    consumers: &mut JoinSet<Lane>,
    over: &watch::Sender<()>,
) -> Result<(), String> {
    if !local.client.link.is_up() {
        return Err(local.client.link.detail());
    }
    for lane in lanes(&list(&local.client, topics).await?) {
        if open.contains(&lane) {
            continue;
        }
        let reading = consumer::Reading::begin(local.clone(), lane.clone(), from.clone()).await?;
        consumers.spawn_on(reading.run(over.subscribe()), local.client.runtime());
        open.insert(lane);
    }
    Ok(())
}
