//! Groups: the broker's shared subscriptions (`$share`, MQTT 5), with one client for each group and process, whose records are dealt to
//! the members here.
//!
//! A packet is confirmed at the broker once a member has settled it, and those before it: MQTT wants confirmations in the order of
//! arrival. Where a group stands is therefore what the broker keeps in the session of its client: what is not confirmed it sends again
//! to whoever comes next under the client's name. That name lasts where the configuration has a `client_id`; otherwise it is this
//! process's, and the session ends soon after it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use meshgate_api::{
    Str,
    connector::{GroupFigures, ReadError, Record, Start, SubscribeRequest},
    group::{
        Bounds, Keeper, Member,
        served::{self, Phase},
    },
};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

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

type Served = served::Served<Door>;
type Local = served::Local<Door>;

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
    losses: Arc<Losses>,
}

/// What groups have lost.
#[derive(Debug, Default)]
struct Losses {
    /// Given up unconfirmed when a group ended, and the same of all connectors.
    skipped: AtomicU64,
    skipped_total: Arc<AtomicU64>,
    /// Sessions that the broker did not keep.
    gaps: AtomicU64,
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
        let losses = Losses { skipped_total: context.skipped.clone(), ..Losses::default() };
        Self {
            connector: context.name.clone(),
            base: name.clone().unwrap_or_else(|| own.to_owned()),
            lasts: name.is_some(),
            opener,
            bounds: Bounds { window: limits.settled_window, bytes: limits.ring },
            served: Arc::new(Served::confirmed_by_broker(GROUPS)),
            losses: Arc::new(losses),
        }
    }

    /// A new member of the group `name`, once its subscriptions stand at the broker. Waits for the broker for as long as it is away.
    pub(crate) async fn join(&self, name: Str, request: SubscribeRequest) -> Result<Member, ReadError> {
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
        let serve = |local: &Arc<Local>| {
            self.serve(local.clone());
            Ok(())
        };
        self.served.join(name, request.topics, self.bounds, Door::default, serve).await
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
        let work = Work::new(self.opener.clone(), purpose, own, local.clone(), served, self.losses.clone());
        tokio::spawn(async move { session::run(work, &local.keeper.bell).await });
    }

    /// Ends all groups: what is settled is confirmed before `deadline`, the rest the broker keeps.
    pub(crate) async fn close(&self, deadline: Instant) {
        self.served.close(&self.connector, deadline).await;
    }

    /// Asks whether all have their subscriptions at the broker, or have been refused them.
    pub(crate) fn stand(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let served = self.served.clone();
        move || served.stand()
    }

    /// Those that are served here.
    pub(crate) fn each(&self) -> Vec<GroupFigures> {
        self.served.each(|local| (local.group.unsettled() as u64, 0)) // what waits at the broker it tells nobody
    }

    /// What [`served::Served::figures`] tells, records that were given up, and sessions that were lost.
    pub(crate) fn figures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let own =
            [("group_skipped", self.losses.skipped.load(Relaxed)), ("group_gaps", self.losses.gaps.load(Relaxed))];
        self.served.figures().into_iter().chain(own)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.served.close_all();
    }
}
