//! One connection, and what goes over it.
//!
//! Events wait in the lane's own queue, and as many are with the connection as the broker lets be unconfirmed; so what waits can still
//! be taken back. *Stored* is the broker's own word on just this event. What was on the wire when the connection ended, or has waited
//! there for too long, is *unknown*; what was not is *unavailable*. Nothing is sent twice, so nothing is overtaken.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use meshgate_api::{
    Str,
    binding::mqtt::Packed,
    outcome::{Outcome, Rejection, Unavailability},
};
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::{
    sync::{Notify, SetOnce, oneshot},
    time::{Instant, timeout_at},
};

use super::{Common, Packet, full, work::Work};
use crate::{
    client::{Client, packet_size},
    session,
};

/// Events that wait for their turn, at most.
const QUEUE: usize = 100_000;

pub(super) type Answers = SmallVec<[Result<oneshot::Receiver<Outcome>, Outcome>; 1]>;

/// A connection at a time.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) common: Arc<Common>,
    /// Which of the connector's it is.
    pub(super) number: usize,
    pub(super) state: Mutex<State>,
    /// Something is to be done about the connection.
    pub(super) bell: Notify,
    /// Nothing is under way any more, or the connection has ended.
    pub(super) idle: Notify,
    /// The first connection stands, or could not be made.
    pub(super) tried: SetOnce<()>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// While a connection stands.
    pub(super) standing: Option<Standing>,
    /// What waits for its turn.
    pub(super) queue: VecDeque<Waiting>,
    topics: HashSet<Str>,
    /// The connection is to be ended in order.
    pub(super) leaving: bool,
    /// Nobody keeps a connection any more.
    pub(super) ended: bool,
}

/// A connection that stands, and what is with it.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) client: Client,
    /// Publishes that may be with it at once.
    pub(super) window: usize,
    pub(super) largest: Option<usize>,
    pub(super) retains: bool,
    /// The client has them, in their order, and they are not on the wire yet.
    pub(super) handed: VecDeque<Ticket>,
    /// On the wire, by packet identifier.
    pub(super) sent: HashMap<u16, Ticket>,
    /// The packet identifiers in the order of sending, confirmed ones too.
    pub(super) order: VecDeque<u16>,
}

/// What is said of one event, and by when.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) topic: Str,
    pub(super) deadline: Instant,
    answer: oneshot::Sender<Outcome>,
}

#[derive(Debug)]
pub(super) struct Waiting {
    packed: Packed,
    retain: bool,
    pub(super) size: usize,
    pub(super) ticket: Ticket,
}

/// Why events are given up.
pub(super) enum Fate {
    /// The connection ended.
    Lost(String),
    /// The connector is closed.
    Unsaid,
}

impl Lane {
    pub(super) fn new(common: Arc<Common>, number: usize) -> Self {
        Self {
            common,
            number,
            state: Mutex::default(),
            bell: Notify::new(),
            idle: Notify::new(),
            tried: SetOnce::new(),
        }
    }

    /// Starts the task that keeps a connection, in the runtime that this is called in.
    pub(super) fn start(common: Arc<Common>, number: usize) -> Arc<Self> {
        let lane = Arc::new(Self::new(common, number));
        let work = Work::new(lane.clone());
        let own = lane.clone();
        tokio::spawn(async move { session::run(work, &own.bell).await });
        lane
    }

    /// Whether there was a connection, or an attempt at one.
    pub(super) fn was_tried(&self) -> bool {
        self.tried.initialized()
    }

    pub(super) async fn tried(&self) {
        self.tried.wait().await;
    }

    /// Takes the events in their order; never waits.
    pub(super) fn take(&self, packets: SmallVec<[Result<Packet, Outcome>; 1]>) -> Answers {
        let mut state = self.state.lock();
        let enqueue = |packet: Result<Packet, Outcome>| packet.and_then(|packet| self.enqueue(&mut state, packet));
        let answers = packets.into_iter().map(enqueue).collect();
        let broken = state.hand_over(&self.common).is_err();
        drop(state);
        if broken {
            self.bell.notify_one();
        }
        answers
    }

    fn enqueue(&self, state: &mut State, packet: Packet) -> Result<oneshot::Receiver<Outcome>, Outcome> {
        let Packet { topic, retain, packed } = packet;
        let common = &self.common;
        let size = packet_size(&topic, &packed);
        let is_closing = common.closing.load(Relaxed);
        let Some(standing) = state.standing.as_ref().filter(|_| !is_closing) else {
            let detail = match () {
                () if is_closing => "the connector is closing".to_owned(),
                () if common.link.is_up() => "the connection to the MQTT broker does not stand yet".to_owned(),
                () => common.link.detail(),
            };
            return Err(Outcome::unavailable(Unavailability::Down, detail));
        };
        if let Some(largest) = standing.largest.filter(|largest| size > *largest) {
            let detail =
                format!("the MQTT broker takes packets of at most {largest} bytes, this one would have {size}");
            return Err(Outcome::rejected(Rejection::TooLarge, detail));
        }
        if retain && !standing.retains {
            return Err(Outcome::rejected(Rejection::BadEvent, "the MQTT broker retains nothing: take `retain` out"));
        }
        if state.queue.len() >= QUEUE {
            return Err(full());
        }
        if !state.topics.contains(&topic) {
            common.admit(&topic)?;
            state.topics.insert(topic.clone());
        }
        common.reserve(size)?;
        let (answer, answered) = oneshot::channel();
        let ticket = Ticket { topic, deadline: Instant::now() + common.patience, answer };
        state.queue.push_back(Waiting { packed, retain, size, ticket });
        Ok(answered)
    }

    /// Until nothing is under way, or `deadline`.
    pub(super) async fn settle(&self, deadline: Instant) {
        self.until(deadline, |state| state.under_way() == 0).await;
    }

    /// Has the connection end; how many events are under way.
    pub(super) fn leave(&self) -> usize {
        let mut state = self.state.lock();
        state.leaving = true;
        let left = state.under_way();
        drop(state);
        self.bell.notify_one();
        left
    }

    /// Until the connection has ended, or `deadline`: then it is not waited for.
    pub(super) async fn end(&self, deadline: Instant) {
        self.until(deadline, |state| state.standing.is_none() || state.ended).await;
        self.state.lock().give_up(&self.common, &Fate::Unsaid, 0);
    }

    async fn until(&self, deadline: Instant, holds: impl Fn(&State) -> bool) {
        loop {
            let idle = self.idle.notified();
            if holds(&self.state.lock()) || timeout_at(deadline, idle).await.is_err() {
                return;
            }
        }
    }

    /// Events that wait for their turn, and for their confirmation.
    pub(super) fn load(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.queue.len(), state.standing.as_ref().map_or(0, Standing::under_way))
    }
}

impl State {
    pub(super) fn under_way(&self) -> usize {
        self.queue.len() + self.standing.as_ref().map_or(0, Standing::under_way)
    }

    /// Gives the connection what it may have.
    pub(super) fn hand_over(&mut self, common: &Common) -> Result<(), String> {
        let Some(standing) = &mut self.standing else { return Ok(()) };
        while standing.under_way() < standing.window
            && let Some(Waiting { packed, retain, size, ticket }) = self.queue.pop_front()
        {
            common.queued.fetch_sub(size, Relaxed);
            let handed = standing.client.publish(&ticket.topic, retain, packed);
            standing.handed.push_back(ticket); // what was refused was not sent: it is the last one then
            if handed.is_err() {
                return Err("the client takes no more publishes".into());
            }
        }
        Ok(())
    }

    /// Refuses what has waited for its turn until its deadline.
    pub(super) fn expire(&mut self, common: &Common, now: Instant) {
        while let Some(waiting) = self.queue.pop_front_if(|waiting| waiting.ticket.deadline <= now) {
            common.queued.fetch_sub(waiting.size, Relaxed);
            waiting.ticket.never_left("its turn did not come in time");
        }
    }

    /// Ends the tickets of all that waits or is with the connection; the last `unsent` of those that the client has never left.
    pub(super) fn give_up(&mut self, common: &Common, fate: &Fate, unsent: usize) {
        let why = match fate {
            Fate::Lost(why) => why.as_str(),
            Fate::Unsaid => "the connector is closed",
        };
        if let Some(Standing { mut handed, sent, .. }) = self.standing.take() {
            let never_left = handed.split_off(handed.len().saturating_sub(unsent));
            for ticket in handed.into_iter().chain(sent.into_values()) {
                let detail = format!("MQTT topic {}: no confirmation came, it may be stored [{why}]", ticket.topic);
                ticket.answer(Outcome::unknown(detail));
            }
            never_left.into_iter().for_each(|ticket| ticket.never_left(why));
        }
        for waiting in std::mem::take(&mut self.queue) {
            common.queued.fetch_sub(waiting.size, Relaxed);
            waiting.ticket.never_left(why);
        }
    }
}

impl Standing {
    pub(super) fn under_way(&self) -> usize {
        self.handed.len() + self.sent.len()
    }

    /// The connection has not kept up with somebody's patience.
    pub(super) fn is_late(&mut self, now: Instant) -> bool {
        while self.order.front().is_some_and(|packet| !self.sent.contains_key(packet)) {
            self.order.pop_front();
        }
        let oldest = self.order.front().and_then(|packet| self.sent.get(packet)).or(self.handed.front());
        oldest.is_some_and(|ticket| ticket.deadline <= now)
    }
}

impl Ticket {
    /// Whoever waited may have gone away meanwhile.
    pub(super) fn answer(self, outcome: Outcome) {
        drop(self.answer.send(outcome));
    }

    fn never_left(self, why: &str) {
        let detail = format!("MQTT topic {}: the event was not sent [{why}]", self.topic);
        self.answer(Outcome::unavailable(Unavailability::Down, detail));
    }
}
