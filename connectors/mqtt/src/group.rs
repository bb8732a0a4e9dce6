//! Groups: the broker's shared subscriptions (`$share`, MQTT 5), with one client for each group and process, whose records are dealt to
//! the members here.
//!
//! A packet is confirmed at the broker once a member has settled it, and those before it: MQTT wants confirmations in the order of
//! arrival. Where a group stands is therefore what the broker keeps in the session of its client: what is not confirmed it sends again
//! to whoever comes next under the client's name. That name lasts where the configuration has a `client_id`; otherwise it is this
//! process's, and the session ends soon after it.

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
    connector::{GroupFigures, ReadError, Record, Start, SubscribeRequest},
    group::{Bounds, Group, Keeper, Member},
    topic::TopicSet,
};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};

use crate::{
    client::{Opener, Purpose},
    naming, session,
    subscribe::no_replay,
};

mod held;
mod work;
use work::{Own, Work};

/// How long a group without members is kept.
const LINGER: Duration = Duration::from_secs(30);
/// Groups that one connector serves.
const GROUPS: usize = 1_000;
/// How long the broker keeps a session whose name nobody can come back under.
const SHORT_SESSION: Duration = Duration::from_secs(60);
/// About the bytes of a small event: the broker sends no more of these unconfirmed than fit in the bytes that a group may hold.
const SMALL: usize = 2 << 10;
/// Packets that the broker may send unconfirmed, at least and at most.
const RECEIVE: (usize, usize) = (64, u16::MAX as usize);

/// The groups of one connector.
#[derive(Debug)]
pub(crate) struct Groups {
    opener: Opener,
    connector: Str,
    /// What clients' names begin with.
    base: String,
    /// Somebody may come back under these names.
    lasts: bool,
    bounds: Bounds,
    served: Arc<Served>,
}

/// Those that have a client, and what is left of others.
#[derive(Debug, Default)]
struct Served {
    by_name: Mutex<HashMap<Str, Arc<Local>>>,
    /// Set aside by groups whose clients have ended.
    rejected: AtomicU64,
    /// Given up unconfirmed in those, of all connectors.
    skipped_total: Arc<AtomicU64>,
    skipped: AtomicU64,
    /// Sessions that the broker did not keep.
    gaps: AtomicU64,
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
}

/// How far the client is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// The broker has not confirmed all subscriptions yet.
    Beginning,
    Standing,
    /// The broker refuses it.
    Refused(String),
    Over,
}

/// Where members tell that something has changed.
#[derive(Debug, Default)]
struct Door {
    bell: Notify,
    /// Records that need never be delivered again. As many as are held, at most.
    settled: Mutex<Vec<Settled>>,
}

/// A record that needs never be delivered again.
#[derive(Debug)]
struct Settled {
    number: u64,
    topic: Str,
    bytes: usize,
}

impl Keeper for Door {
    fn attend(&self) {
        self.bell.notify_one();
    }

    fn settled(&self, record: &Record) {
        let (number, topic, bytes) = (record.position.place.offset, record.topic.clone(), record.footprint());
        self.settled.lock().push(Settled { number, topic, bytes });
        self.bell.notify_one();
    }
}

impl Groups {
    /// `own` is the name of this process, where the configuration has none for its replica.
    pub(crate) fn new(opener: Opener, context: &meshgate_api::connector::Context, own: &str) -> Self {
        let limits = &context.limits;
        let name = opener.config().client_id.clone();
        let served = Served { skipped_total: context.skipped.clone(), ..Served::default() };
        Self {
            connector: context.name.clone(),
            base: name.clone().unwrap_or_else(|| own.to_owned()),
            lasts: name.is_some(),
            opener,
            bounds: Bounds { window: limits.settled_window, bytes: limits.ring },
            served: Arc::new(served),
        }
    }

    /// A new member of the group `name`, once its subscriptions stand at the broker. Waits for the broker for as long as it is away.
    pub(crate) async fn join(&self, name: Str, request: SubscribeRequest) -> Result<Member, ReadError> {
        let (local, member) = self.enter(name, request)?;
        let mut phase = local.phase.subscribe();
        let phase = phase.wait_for(|phase| *phase != Phase::Beginning).await.map(|phase| phase.clone());
        match phase {
            Ok(Phase::Standing) => Ok(member),
            Ok(Phase::Refused(detail)) => Err(ReadError::Down { detail }),
            _ => Err(closing()),
        }
    }

    fn enter(&self, name: Str, request: SubscribeRequest) -> Result<(Arc<Local>, Member), ReadError> {
        match request.start {
            // At the broker there is nothing older than what it keeps for a group that it knows.
            Start::Latest | Start::Earliest => {}
            Start::At(_) => return Err(no_replay()),
            Start::After(_) => {
                return Err(ReadError::Unsupported { detail: "a group has positions of its own".into() });
            }
        }
        naming::filters(&request.topics).map_err(|detail| ReadError::Unsupported { detail })?;
        if name.is_empty() || name.len() > naming::LONGEST_GROUP {
            let detail = format!("a group's name has 1 to {} bytes", naming::LONGEST_GROUP);
            return Err(ReadError::Unsupported { detail });
        }
        let mut by_name = self.served.by_name.lock();
        if let Some(local) = by_name.get(&name) {
            local.turn_to(request.topics);
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
        });
        let member = local.group.join();
        by_name.insert(name, local.clone());
        drop(by_name);
        self.serve(local.clone());
        Ok((local, member))
    }

    fn serve(&self, local: Arc<Local>) {
        if !self.lasts {
            tracing::warn!(
                connector = %self.connector, group = %local.name,
                "the connector has no `client_id`: what the group has not confirmed when this process ends is lost with it"
            );
        }
        let receive = (self.bounds.bytes / SMALL).clamp(RECEIVE.0, RECEIVE.1);
        let purpose = Purpose {
            client_id: format!("{}-{}", self.base, naming::share_name(&local.name)),
            session: Some(if self.lasts { self.opener.config().session } else { SHORT_SESSION }),
            anew: false,
            receive: u16::try_from(receive).unwrap_or(u16::MAX),
            will: false,
        };
        let served = self.served.clone();
        let own = Own { connector: self.connector.clone(), lasts: self.lasts, most: self.bounds.bytes * 2 };
        let work = Work::new(self.opener.clone(), purpose, own, local.clone(), served);
        tokio::spawn(async move { session::run(work, &local.door.bell).await });
    }

    /// Ends all groups: what is settled is confirmed before `deadline`, the rest the broker keeps.
    pub(crate) async fn close(&self, deadline: Instant) {
        let all: Vec<_> = self.served.by_name.lock().values().cloned().collect();
        all.iter().for_each(|local| local.close());
        for local in all {
            let mut phase = local.phase.subscribe();
            let over = phase.wait_for(|phase| *phase == Phase::Over);
            if timeout_at(deadline, over).await.is_err() {
                let (connector, group) = (&self.connector, &local.name);
                tracing::warn!(%connector, %group, "the group was not closed in time: events that were confirmed last may come again");
            }
        }
    }

    /// Asks whether all have their subscriptions at the broker, or have been refused them.
    pub(crate) fn stand(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let served = self.served.clone();
        move || served.by_name.lock().values().all(|local| *local.phase.borrow() != Phase::Beginning)
    }

    /// Those that are served here.
    pub(crate) fn each(&self) -> Vec<GroupFigures> {
        let by_name = self.served.by_name.lock();
        let each = by_name.values().map(|local| GroupFigures {
            name: local.name.clone(),
            members: local.group.members() as u64,
            unsettled: local.group.unsettled() as u64,
            lag: local.group.unsettled() as u64, // what waits at the broker it tells nobody
            skipped: 0,
        });
        each.collect()
    }

    /// Groups, their members here, records that are not settled, that were set aside, that were given up, and sessions that were lost.
    pub(crate) fn figures(&self) -> [(&'static str, u64); 6] {
        let by_name = self.served.by_name.lock();
        let sum = |of: &dyn Fn(&Local) -> u64| by_name.values().map(|local| of(local)).sum::<u64>();
        [
            ("groups", by_name.len() as u64),
            ("group_members", sum(&|local| local.group.members() as u64)),
            ("group_unsettled", sum(&|local| local.group.unsettled() as u64)),
            ("group_rejected", self.served.rejected.load(Relaxed) + sum(&|local| local.group.rejected())),
            ("group_skipped", self.served.skipped.load(Relaxed)),
            ("group_gaps", self.served.gaps.load(Relaxed)),
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

    /// The group's client has ended.
    fn end(&self, local: &Local) {
        self.remove(&mut self.by_name.lock(), local);
    }

    fn remove(&self, by_name: &mut HashMap<Str, Arc<Local>>, local: &Local) {
        if by_name.get(&local.name).is_some_and(|other| std::ptr::eq(&**other, local)) {
            by_name.remove(&local.name);
            self.rejected.fetch_add(local.group.rejected(), Relaxed);
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.served.by_name.lock().values().for_each(|local| local.close());
    }
}

impl Local {
    /// The routes may have changed since others joined.
    fn turn_to(&self, topics: TopicSet) {
        let mut own = self.topics.lock();
        if *own != topics {
            *own = topics;
            self.phase.send_if_modified(|phase| {
                let was_settled = matches!(phase, Phase::Standing | Phase::Refused(_));
                if was_settled {
                    *phase = Phase::Beginning;
                }
                was_settled
            });
            drop(own);
            self.door.attend();
        }
    }

    fn close(&self) {
        self.is_closing.store(true, Relaxed);
        self.door.attend();
    }
}

fn closing() -> ReadError {
    ReadError::Down { detail: "the connector is closing".into() }
}
