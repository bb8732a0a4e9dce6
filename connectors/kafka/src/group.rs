//! Groups: the broker's consumer groups, with one consumer for each group and process on its own thread, whose records are dealt to the
//! members here.
//!
//! The thread joins the group at the broker and reads the partitions that it is given; what the members settle it commits, for each
//! partition up to the lowest record that is not settled. It stays for a while after the last member has left: who comes back disturbs
//! nobody.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use meshgate_api::{
    Str,
    connector::{GroupFigures, ReadError, Start, SubscribeRequest},
    group::{
        Bounds, Keeper, Member,
        served::{self, Phase},
    },
};
use tokio::{runtime::Handle, time::Instant};

use crate::{client::Clients, feed::Bell, metadata::Metadata};

mod begin;
mod commit;
mod thread;
use thread::Surroundings;

/// How long a group without members is kept.
const LINGER: Duration = Duration::from_secs(5);
/// Groups that one connector serves.
const GROUPS: usize = 1_000;

type Served = served::Served<Door>;
type Local = served::Local<Door>;

/// The groups of one connector.
#[derive(Debug)]
pub(crate) struct Groups {
    clients: Clients,
    metadata: Arc<Metadata>,
    bounds: Bounds,
    runtime: Handle,
    served: Arc<Served>,
    skipped: Skipped,
}

/// Records that retention deleted before a group read them.
#[derive(Clone, Debug)]
struct Skipped {
    here: Arc<AtomicU64>,
    /// The same over all connectors.
    total: Arc<AtomicU64>,
}

impl Skipped {
    fn count(&self, records: u64) {
        self.here.fetch_add(records, Relaxed);
        self.total.fetch_add(records, Relaxed);
    }
}

/// Where members tell that something has changed, and what the thread tells of itself.
#[derive(Debug, Default)]
struct Door {
    bell: Arc<Bell>,
    /// Somebody has, since the thread looked.
    attended: AtomicBool,
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
        let (runtime, served) = (Handle::current(), Arc::new(Served::new(GROUPS)));
        let skipped = Skipped { here: Arc::default(), total: skipped_total };
        Self { clients, metadata, bounds, runtime, served, skipped }
    }

    /// A new member of the group `name`, once the group's positions stand at the broker. Waits for the broker for as long as it is away.
    pub(crate) async fn join(&self, name: Str, request: SubscribeRequest) -> Result<Member, ReadError> {
        let SubscribeRequest { topics, start, .. } = request;
        if name.is_empty() || name.contains('\0') || matches!(start, Start::After(_)) {
            let detail = "a group has a name without null characters, and positions of its own";
            return Err(ReadError::Unsupported { detail: detail.into() });
        }
        let serve = |local: &Arc<Local>| {
            let around = Surroundings {
                clients: self.clients.clone(),
                metadata: self.metadata.clone(),
                runtime: self.runtime.clone(),
                served: self.served.clone(),
                skipped: self.skipped.clone(),
                fetch: self.bounds.bytes,
            };
            thread::start(around, local.clone(), start).map_err(|detail| ReadError::Down { detail })
        };
        self.served.join(name, topics, self.bounds, Door::default, serve).await
    }

    /// Ends all groups: what is settled is committed before `deadline`.
    pub(crate) async fn close(&self, deadline: Instant) {
        self.served.close(&self.clients.connector, deadline).await;
    }

    /// Those that are served here.
    pub(crate) fn each(&self) -> Vec<GroupFigures> {
        self.served.each(|local| (local.keeper.lag.load(Relaxed), local.keeper.skipped.load(Relaxed)))
    }

    /// What [`served::Served::figures`] tells, the partitions read for the groups, records that are not confirmed at the broker, and those
    /// that retention deleted unread.
    pub(crate) fn figures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let own = [
            ("group_partitions", self.served.sum(|local| local.keeper.partitions.load(Relaxed))),
            ("group_lag", self.served.sum(|local| local.keeper.lag.load(Relaxed))),
            ("group_skipped", self.skipped.here.load(Relaxed)),
        ];
        self.served.figures().into_iter().chain(own)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.served.close_all();
    }
}
