//! Groups: the members of this process share one consumer of each partition, in the durable Key_Shared subscription of the group's name.
//!
//! The broker deals keys out to processes, [`meshgate_api::group`] deals them out to members. What a member wants to have again waits here,
//! unacknowledged, so the broker is never asked to deliver again; when a consumer leaves, the broker gives what it has not acknowledged to
//! others.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use meshgate_api::{
    Str,
    connector::{GroupFigures, ReadError, Record, Start, SubscribeRequest},
    group::{
        Bounds, Keeper, Member,
        served::{self, Phase},
    },
    position::Place,
    topic::TopicSet,
};
use parking_lot::Mutex;
use pulsar::consumer::InitialPosition;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout},
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

type Served = served::Served<Door>;
type Local = served::Local<Door>;

/// All groups of one connector in this process, by name.
#[derive(Debug)]
pub(crate) struct Groups {
    client: Arc<Client>,
    served: Arc<Served>,
}

/// Where members tell that something has changed, and what the tasks tell of themselves.
#[derive(Debug)]
struct Door {
    client: Arc<Client>,
    changes: watch::Sender<()>,
    /// Where what is settled goes, by topic and partition.
    settled: Mutex<HashMap<(Str, u32), mpsc::Sender<Place>>>,
    /// Messages at the broker that the group has not acknowledged, by partition.
    backlogs: Mutex<HashMap<Lane, u64>>,
}

impl Door {
    fn new(client: Arc<Client>) -> Self {
        Self { client, changes: watch::Sender::default(), settled: Mutex::default(), backlogs: Mutex::default() }
    }

    fn lag(&self) -> u64 {
        self.backlogs.lock().values().sum()
    }
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
        Self { client, served: Arc::new(Served::new(GROUPS)) }
    }

    /// A new member of the group `name`, once the group's subscriptions stand at the broker. Waits for the broker for as long as it is away.
    pub(crate) async fn join(&self, name: Str, request: SubscribeRequest) -> Result<Member, ReadError> {
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
        let limits = &self.client.limits;
        let bounds = Bounds { window: limits.settled_window, bytes: limits.ring };
        let door = || Door::new(self.client.clone());
        let serve = |local: &Arc<Local>| {
            self.client.spawn(serve(local.clone(), self.served.clone(), from));
            Ok(())
        };
        self.served.join(name, request.topics, bounds, door, serve).await
    }

    /// Ends all groups: what is settled is acknowledged before `deadline`.
    pub(crate) async fn close(&self, deadline: Instant) {
        self.served.close(&self.client.connector, deadline).await;
    }

    /// Those that are served here.
    pub(crate) fn each(&self) -> Vec<GroupFigures> {
        self.served.each(|local| (local.keeper.lag(), 0))
    }

    /// What [`served::Served::figures`] tells, the partitions read for the groups, and records that are not acknowledged at the broker.
    pub(crate) fn figures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let own = [
            ("group_partitions", self.served.sum(|local| local.keeper.settled.lock().len() as u64)),
            ("group_lag", self.served.sum(|local| local.keeper.lag())),
        ];
        self.served.figures().into_iter().chain(own)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.served.close_all();
    }
}

/// Reads for the members until there are none. The first subscriptions begin at `from`; of what appears later all is read.
async fn serve(local: Arc<Local>, served: Arc<Served>, from: InitialPosition) {
    let mut consumers = JoinSet::new();
    let mut changes = local.keeper.changes.subscribe();
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
        let topics = local.topics();
        match look(&local, &topics, &mut open, from.clone(), &mut consumers, &over).await {
            Ok(()) => {
                from = InitialPosition::Earliest;
                local.turn(Phase::Standing);
            }
            Err(problem) => {
                tracing::debug!(connector = %local.keeper.client.connector, group = %local.name, "the group waits: {problem}");
                sleep(REST).await;
            }
        }
        local.group.remind();
        drop(timeout(PACE, changes.changed()).await);
    }
    drop(over);
    while consumers.join_next().await.is_some() {}
    served.end(&local);
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
    if !local.keeper.client.link.is_up() {
        return Err(local.keeper.client.link.detail());
    }
    for lane in lanes(&list(&local.keeper.client, topics).await?) {
        if open.contains(&lane) {
            continue;
        }
        let reading = consumer::Reading::begin(local.clone(), lane.clone(), from.clone()).await?;
        consumers.spawn_on(reading.run(over.subscribe()), local.keeper.client.runtime());
        open.insert(lane);
    }
    Ok(())
}
