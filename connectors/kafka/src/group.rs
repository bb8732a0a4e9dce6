//! Groups: the broker's consumer groups, with one consumer for each group and process on its own thread, whose records are dealt to the
//! members here.
//!
//! The thread joins the group at the broker and reads the partitions that it is given; what the members settle it commits, for each
//! partition up to the lowest record that is not settled. It stays for a while after the last member has left: who comes back disturbs
//! nobody.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use meshgate_api::{
    Str,
    connector::{GroupFigures, ReadError, Start, SubscribeRequest},
    group::{Bounds, Group, Keeper, Member},
    topic::TopicSet,
};
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{self, Instant},
};

use crate::{client::Clients, feed::Bell, metadata::Metadata};

mod begin;
mod commit;
mod thread;
use thread::Surroundings;

/// How long a group without members is kept.
const LINGER: Duration = Duration::from_secs(5);
/// Groups that one connector serves.
const GROUPS: usize = 1_000;

/// The groups of one connector.
#[derive(Debug)]
pub(crate) struct Groups {
    clients: Clients,
    metadata: Arc<Metadata>,
    bounds: Bounds,
    runtime: Handle,
    served: Arc<Served>,
}

/// Those that have a thread, and what is left of others.
#[derive(Debug, Default)]
struct Served {
    by_name: Mutex<HashMap<Str, Arc<Local>>>,
    /// Set aside by groups whose threads have ended.
    rejected: AtomicU64,
    /// Lost to retention in those.
    skipped: AtomicU64,
    /// Lost to retention in all of them, over all connectors.
    skipped_total: Arc<AtomicU64>,
}

/// The part of a group that is in this process.
#[derive(Debug)]
struct Local {
    name: Str,
    group: Arc<Group>,
    door: Arc<Door>,
    topics: Mutex<TopicSet>,
    phase: watch::Sender<Phase>,
    is_closing: AtomicBool,
    figures: Figures,
}

/// How far the thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It is not known yet where the group stands.
    Beginning,
    /// Its positions stand at the broker, and it is joined there.
    Standing,
    Over,
}

/// Where members tell that something has changed.
#[derive(Debug, Default)]
struct Door {
    bell: Arc<Bell>,
    /// Somebody has, since the thread looked.
    attended: AtomicBool,
}

#[derive(Debug, Default)]
struct Figures {
    partitions: AtomicU64,
    /// Records that are stored and not confirmed, of the partitions that are read here.
    lag: AtomicU64,
    /// Records that retention deleted before they were read.
    skipped: AtomicU64,
}

impl Keeper for Door {
    fn attend(&self) {
        self.attended.store(true, Relaxed);
        self.bell.ring();
    }
}

impl Groups {
    /// Must be called within a tokio runtime.
    pub(crate) fn new(
        clients: Clients,
        metadata: Arc<Metadata>,
        bounds: Bounds,
        skipped_total: Arc<AtomicU64>,
    ) -> Self {
        let served = Arc::new(Served { skipped_total, ..Served::default() });
        Self { clients, metadata, bounds, runtime: Handle::current(), served }
    }

    /// A new member of the group `name`, once the group's positions stand at the broker. Waits for the broker for as long as it is away.
    pub(crate) async fn join(&self, name: Str, request: SubscribeRequest) -> Result<Member, ReadError> {
        let (local, member) = self.enter(name, request)?;
        let mut phase = local.phase.subscribe();
        match phase.wait_for(|phase| *phase != Phase::Beginning).await.map(|phase| *phase) {
            Ok(Phase::Standing) => Ok(member),
            _ => Err(closing()),
        }
    }

    fn enter(&self, name: Str, request: SubscribeRequest) -> Result<(Arc<Local>, Member), ReadError> {
        if name.is_empty() || name.contains('\0') || matches!(request.start, Start::After(_)) {
            let detail = "a group has a name without null characters, and positions of its own";
            return Err(ReadError::Unsupported { detail: detail.into() });
        }
        let mut by_name = self.served.by_name.lock();
        if let Some(local) = by_name.get(&name) {
            *local.topics.lock() = request.topics;
            return Ok((local.clone(), local.group.join()));
        }
        if by_name.len() >= GROUPS {
            return Err(ReadError::Busy { detail: format!("the connector serves {GROUPS} groups already") });
        }
        let door = Arc::<Door>::default();
        let local = Arc::new(Local {
            name: name.clone(),
            group: Group::new(self.bounds, door.clone()),
            door,
            topics: Mutex::new(request.topics),
            phase: watch::Sender::new(Phase::Beginning),
            is_closing: AtomicBool::new(false),
            figures: Figures::default(),
        });
        let member = local.group.join();
        let around = Surroundings {
            clients: self.clients.clone(),
            metadata: self.metadata.clone(),
            runtime: self.runtime.clone(),
            served: self.served.clone(),
            fetch: self.bounds.bytes,
        };
        thread::start(around, local.clone(), request.start).map_err(|detail| ReadError::Down { detail })?;
        by_name.insert(name, local.clone());
        Ok((local, member))
    }

    /// Ends all groups: what is settled is committed before `deadline`.
    pub(crate) async fn close(&self, deadline: Instant) {
        let all: Vec<_> = self.served.by_name.lock().values().cloned().collect();
        all.iter().for_each(|local| local.close());
        for local in all {
            let mut phase = local.phase.subscribe();
            let over = phase.wait_for(|phase| *phase == Phase::Over);
            if time::timeout_at(deadline, over).await.is_err() {
                let (connector, group) = (&self.clients.connector, &local.name);
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
            lag: local.figures.lag.load(Relaxed),
            skipped: local.figures.skipped.load(Relaxed),
        });
        each.collect()
    }

    /// Groups, their members here, the partitions read for them, records that are not settled, that are not confirmed at the broker, that
    /// were set aside, and that retention deleted unread.
    pub(crate) fn figures(&self) -> [(&'static str, u64); 7] {
        let by_name = self.served.by_name.lock();
        let sum = |of: &dyn Fn(&Local) -> u64| by_name.values().map(|local| of(local)).sum::<u64>();
        [
            ("groups", by_name.len() as u64),
            ("group_members", sum(&|local| local.group.members() as u64)),
            ("group_partitions", sum(&|local| local.figures.partitions.load(Relaxed))),
            ("group_unsettled", sum(&|local| local.group.unsettled() as u64)),
            ("group_lag", sum(&|local| local.figures.lag.load(Relaxed))),
            ("group_rejected", self.served.rejected.load(Relaxed) + sum(&|local| local.group.rejected())),
            ("group_skipped", self.served.skipped.load(Relaxed) + sum(&|local| local.figures.skipped.load(Relaxed))),
        ]
    }
}

impl Served {
    /// Forgets a group that has no members. Who joins does so under the lock: it is left for good then.
    fn leave(&self, local: &Local) -> bool {
        let mut by_name = self.by_name.lock();
        let is_left = local.group.members() == 0;
        if is_left {
            self.remove(&mut by_name, local);
        }
        is_left
    }

    /// The group's thread has ended.
    fn end(&self, local: &Local) {
        self.remove(&mut self.by_name.lock(), local);
    }

    /// Takes it off the list; what it has counted stays.
    fn remove(&self, by_name: &mut HashMap<Str, Arc<Local>>, local: &Local) {
        if by_name.get(&local.name).is_some_and(|other| std::ptr::eq(&**other, local)) {
            by_name.remove(&local.name);
            self.rejected.fetch_add(local.group.rejected(), Relaxed);
            self.skipped.fetch_add(local.figures.skipped.load(Relaxed), Relaxed);
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.served.by_name.lock().values().for_each(|local| local.close());
    }
}

impl Local {
    fn close(&self) {
        self.is_closing.store(true, Relaxed);
        self.door.attend();
    }
}

fn closing() -> ReadError {
    ReadError::Down { detail: "the connector is closing".into() }
}
