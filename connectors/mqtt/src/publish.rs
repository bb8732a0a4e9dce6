//! Publishing: from a batch to outcomes.
//!
//! Each of the gateway's workers has a connection of its own, a [`Lane`]: what is published there is sent, and its PUBACK received, on
//! that worker. To go over to another thread and back, event by event, cost a seventh of a publish. The connector's first connection
//! is made at once, those of the workers when something is published there; if one is lost, the broker counts as away until all stand
//! again.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, ThreadId},
    time::{Duration, SystemTime},
};

use meshgate_api::{
    Str,
    binding::mqtt::{Packed, Properties, pack, pack_plain},
    connector::{Batch, Context, Options, Outbound, PublishAck},
    link::Link,
    outcome::{Outcome, Outcomes, Rejection, Unavailability},
    position::{Place, Position},
};
use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    time::{Instant, timeout_at},
};

use crate::{
    client::{Opener, Purpose, Verdict},
    config::Version,
};

mod lane;
mod work;
use lane::Lane;

/// What a route's destination may say to MQTT alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Publishing {
    /// The broker keeps the event for later subscribers.
    pub(crate) retain: bool,
}

/// The publishing half of a connector.
#[derive(Debug)]
pub(crate) struct Publisher {
    common: Arc<Common>,
    /// By the thread of a runtime that has just one; `None` for all others.
    lanes: RwLock<HashMap<Option<ThreadId>, Arc<Lane>>>,
}

/// What all lanes of a connector share.
struct Common {
    connector: Str,
    link: Arc<Link>,
    opener: Opener,
    client_id: String,
    /// The connector's groups have their subscriptions: what is published now they get.
    ready: Box<dyn Fn() -> bool + Send + Sync>,
    /// How long an event may wait for its confirmation.
    patience: Duration,
    /// Bytes that may wait for their turn, and that do.
    room: usize,
    queued: AtomicUsize,
    /// Distinct topics that may be published to, and those that were.
    most_topics: usize,
    topics: Mutex<HashSet<Str>>,
    /// Lanes whose connection has ended, by their numbers.
    lost: Mutex<HashSet<usize>>,
    closing: AtomicBool,
    confirmed: AtomicU64,
    left_out: AtomicU64,
}

impl Publisher {
    /// Makes the first connection. The broker counts as there once `ready` holds, or after a while.
    pub(crate) fn start(
        opener: Opener,
        context: &Context,
        link: Arc<Link>,
        client_id: String,
        ready: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let common = Arc::new(Common::new(opener, context, link, client_id, Box::new(ready)));
        let first = Lane::start(common.clone(), 0);
        Self { common, lanes: RwLock::new(HashMap::from([(runtime(), first)])) }
    }

    /// Takes the events in their order. Waits only for a connection that is made for the first time.
    pub(crate) async fn publish(&self, batch: Batch) -> PublishAck {
        let common = &self.common;
        if !common.link.is_up() {
            let detail = common.link.detail();
            let away = || Outcome::unavailable(Unavailability::Down, format!("the MQTT broker is away: {detail}"));
            return PublishAck::Ready(batch.iter().map(|_| away()).collect());
        }
        let now = SystemTime::now();
        let packed: SmallVec<[_; 1]> = batch.into_iter().map(|outbound| common.pack(outbound, now)).collect();
        let lane = self.lane();
        if !lane.was_tried() {
            let deadline = Instant::now() + common.patience;
            drop(timeout_at(deadline, lane.tried()).await); // too late: it refuses
        }
        let answers = lane.take(packed);
        PublishAck::Pending(Box::pin(async move {
            let mut outcomes = Outcomes::new();
            for answer in answers {
                outcomes.push(match answer {
                    Ok(answer) => answer.await.unwrap_or_else(|_| Outcome::unknown("the connector broke down over it")),
                    Err(outcome) => outcome,
                });
            }
            outcomes
        }))
    }

    /// That of the runtime that this is called in.
    fn lane(&self) -> Arc<Lane> {
        let runtime = runtime();
        if let Some(lane) = self.lanes.read().get(&runtime) {
            return lane.clone();
        }
        let mut lanes = self.lanes.write();
        let number = lanes.len();
        if self.common.closing.load(Relaxed)
            && let Some(any) = lanes.values().next()
        {
            return any.clone(); // it refuses
        }
        lanes.entry(runtime).or_insert_with(|| Lane::start(self.common.clone(), number)).clone()
    }

    /// Sends what waits, and ends the connections, before `deadline`; how many events stayed unanswered.
    pub(crate) async fn close(&self, deadline: Instant) -> usize {
        self.common.closing.store(true, Relaxed);
        let lanes: Vec<_> = self.lanes.write().values().cloned().collect();
        for lane in &lanes {
            lane.settle(deadline).await;
        }
        let left = lanes.iter().map(|lane| lane.leave()).sum();
        for lane in &lanes {
            lane.end(deadline).await;
        }
        left
    }

    /// Events that wait for their turn, and for their confirmation; confirmed ones; transport headers that MQTT could not hold.
    pub(crate) fn figures(&self) -> [(&'static str, u64); 4] {
        let lanes = self.lanes.read();
        let (queued, unconfirmed) =
            lanes.values().map(|lane| lane.load()).fold((0, 0), |sum, load| (sum.0 + load.0, sum.1 + load.1));
        [
            ("publish_queue", queued as u64),
            ("publish_unconfirmed", unconfirmed as u64),
            ("publish_confirmed", self.common.confirmed.load(Relaxed)),
            ("headers_left_out", self.common.left_out.load(Relaxed)),
        ]
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.common.closing.store(true, Relaxed);
        for lane in self.lanes.get_mut().values() {
            lane.leave();
        }
    }
}

/// The runtime that this is called in, if it has just one thread.
fn runtime() -> Option<ThreadId> {
    let is_alone = Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread;
    is_alone.then(|| thread::current().id())
}

/// An event as MQTT has it, and where it goes.
struct Packet {
    topic: Str,
    retain: bool,
    packed: Packed,
}

impl Common {
    fn new(
        opener: Opener,
        context: &Context,
        link: Arc<Link>,
        client_id: String,
        ready: Box<dyn Fn() -> bool + Send + Sync>,
    ) -> Self {
        let limits = &context.limits;
        Self {
            connector: context.name.clone(),
            link,
            opener,
            client_id,
            ready,
            patience: limits.publish_timeout * 3 / 4,
            room: limits.in_flight,
            queued: AtomicUsize::new(0),
            most_topics: limits.topics,
            topics: Mutex::default(),
            lost: Mutex::default(),
            closing: AtomicBool::new(false),
            confirmed: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }

    /// What the connection of this lane is for.
    fn purpose(&self, number: usize) -> Purpose {
        let client_id = if number == 0 { self.client_id.clone() } else { format!("{}-{number}", self.client_id) };
        Purpose { client_id, session: None, anew: true, receive: 1, will: number == 0 }
    }

    /// Everything about an event that needs no lock.
    fn pack(&self, outbound: Outbound, now: SystemTime) -> Result<Packet, Outcome> {
        let Outbound { message, topic, mode, options, .. } = outbound;
        let Publishing { retain } = options.as_ref().and_then(Options::get).copied().unwrap_or_default();
        let packed = match self.opener.config().version {
            Version::V5 => pack(&message, mode, now)
                .map_err(|problem| Outcome::rejected(Rejection::TooLarge, format!("MQTT topic {topic}: {problem}")))?,
            Version::V4 => {
                Packed { properties: Properties::default(), payload: pack_plain(&message, mode), left_out: 0 }
            }
        };
        if packed.left_out > 0 {
            self.left_out.fetch_add(packed.left_out as u64, Relaxed);
        }
        Ok(Packet { topic, retain, packed })
    }

    /// The broker answers on this lane.
    fn answered(&self, lane: usize) {
        let mut lost = self.lost.lock();
        lost.remove(&lane);
        if lost.is_empty() {
            self.link.answered();
        }
    }

    fn lost(&self, lane: usize, why: &str) {
        let mut lost = self.lost.lock();
        lost.insert(lane);
        self.link.lost(why);
    }

    /// Room for another topic.
    fn admit(&self, topic: &Str) -> Result<(), Outcome> {
        let mut topics = self.topics.lock();
        if !topics.contains(topic) {
            if topics.len() >= self.most_topics {
                let detail =
                    format!("the connector has {} topics already, its limit is `limits.topics`", self.most_topics);
                return Err(Outcome::unavailable(Unavailability::GatewayLimit, detail));
            }
            topics.insert(topic.clone());
        }
        Ok(())
    }

    /// Room for so many bytes in the queue; one that is larger than all of it has it alone.
    fn reserve(&self, size: usize) -> Result<(), Outcome> {
        let before = self.queued.fetch_add(size, Relaxed);
        if before > 0 && before + size > self.room {
            self.queued.fetch_sub(size, Relaxed);
            return Err(full());
        }
        Ok(())
    }

    fn outcome(&self, topic: &Str, verdict: Verdict) -> Outcome {
        let refused = |why: &str| format!("the MQTT broker refuses the event on topic {topic}: {why}");
        match verdict {
            Verdict::Taken => {
                let number = self.confirmed.fetch_add(1, Relaxed);
                Outcome::Stored(Position { topic: topic.clone(), partition: 0, place: Place::offset(number) })
            }
            Verdict::NotAuthorized => {
                Outcome::rejected(Rejection::Forbidden, refused("the gateway may not publish there"))
            }
            Verdict::TopicInvalid => Outcome::rejected(Rejection::BadEvent, refused("it takes no such topic")),
            Verdict::PayloadInvalid => Outcome::rejected(Rejection::BadEvent, refused("it takes no such payload")),
            Verdict::QuotaExceeded => Outcome::unavailable(Unavailability::Down, refused("a quota is exceeded")),
            Verdict::Refused => Outcome::unavailable(Unavailability::Down, refused("it gives no reason")),
            Verdict::Confused => Outcome::unknown(refused("it takes its packet identifier for another one's")),
        }
    }
}

/// More waits than may.
fn full() -> Outcome {
    let detail = "more events wait for the MQTT broker than `limits.in_flight` allows";
    Outcome::unavailable(Unavailability::GatewayLimit, detail)
}

impl fmt::Debug for Common {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Common").field("connector", &self.connector).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
