//! Spine 1: event → route → connectors → outcome.
//!
//! A positive outcome means that the broker of every required destination has confirmed the event. What can be refused by looking is
//! refused before any destination is tried. Destinations that are not required are tried once and counted, never waited for. The
//! worst outcome wins: one that asks for a resend is worse than one that does not. A client that goes away stops waiting and nothing
//! else: what it has published goes on, is held in `limits.in_flight` and is counted. Only a lot that a connector was just being given
//! is given up with it, and counted as unknown.

use std::{ops::Deref, sync::Arc, time::Duration};

use arc_swap::Guard;
use futures::FutureExt;
use meshgate_api::{Str, connector::Batch, message::Message, outcome::Outcome, position::Position};
use scopeguard::{ScopeGuard, guard};
use smallvec::SmallVec;
use tokio::time::{Instant, timeout_at};

use crate::{
    gateway::{Gateway, Listener, NamedConnector, Snapshot},
    router::{Routed, Target},
};

mod underway;

use underway::{Answer, Underway};

/// An event to publish, or one that its listener could not read.
pub type Submission = Result<Arc<Message>, Refused>;

/// An event that is refused before any route is asked.
#[derive(Clone, Debug)]
pub struct Refused {
    /// What is known of it: where it was published to, the trace that it belongs to, perhaps its id.
    pub known: Arc<Message>,
    /// Why.
    pub outcome: Outcome,
}

/// What became of one event.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The event's id.
    pub id: Str,
    /// The number of the route that took it.
    pub route: Option<usize>,
    /// The worst of its required destinations' outcomes.
    pub outcome: Outcome,
    /// Where it is stored.
    pub stored: SmallVec<[Stored; 1]>,
}

/// One required destination that confirmed.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The connector's number.
    pub connector: usize,
    /// The topic, as the broker calls it.
    pub topic: Str,
    /// Where it stands there.
    pub position: Position,
}

/// Receipts in the order of the messages, with the snapshot that their numbers belong to.
#[derive(Debug)]
pub struct Receipts {
    snapshot: Guard<Arc<Snapshot>>,
    each: SmallVec<[Receipt; 1]>,
}

/// What goes to one connector, and to which receipt each outcome belongs.
struct Lot {
    connector: usize,
    required: bool,
    /// Empty once it was handed over.
    batch: Batch,
    of: Origins,
    answer: Answer,
}

struct Origin {
    receipt: usize,
    route: usize,
    topic: Str,
}

type Origins = SmallVec<[Origin; 1]>;
type Lots = SmallVec<[Lot; 1]>;

impl Receipts {
    /// The name of the route that took the event.
    #[must_use]
    pub fn route(&self, receipt: &Receipt) -> Option<&Str> {
        receipt.route.map(|route| self.snapshot.router.routes()[route].name())
    }

    /// Who stored it.
    #[must_use]
    pub fn connector(&self, stored: &Stored) -> &NamedConnector {
        &self.snapshot.connectors[stored.connector]
    }
}

impl Deref for Receipts {
    type Target = [Receipt];

    fn deref(&self) -> &[Receipt] {
        &self.each
    }
}

impl From<Refused> for Receipt {
    fn from(Refused { known, outcome }: Refused) -> Self {
        Self { id: known.event.id.clone(), route: None, outcome, stored: SmallVec::new() }
    }
}

impl Receipt {
    /// Takes what one destination answers.
    fn add(&mut self, connector: usize, topic: Str, outcome: Outcome, is_first: bool) {
        if let Outcome::Stored(position) = &outcome {
            self.stored.push(Stored { connector, topic, position: position.clone() });
        }
        if is_first || outcome.badness() > self.outcome.badness() {
            self.outcome = outcome;
        }
    }

    /// What is stored in one place and not in another is neither safe to send again nor lost: say so.
    fn sum_up(&mut self) {
        if self.stored.is_empty() {
            return;
        }
        let places = || self.stored.iter().map(|stored| &*stored.topic).collect::<Vec<_>>().join(", ");
        match &mut self.outcome {
            Outcome::Stored(_) | Outcome::Unknown { .. } => {}
            Outcome::Rejected { detail, .. } => *detail = format!("{detail}; it is stored in {}", places()),
            Outcome::Unavailable { detail, .. } => {
                self.outcome = Outcome::unknown(format!("it is stored in {}, elsewhere not: {detail}", places()));
            }
        }
    }
}

impl Gateway {
    /// Publishes messages in their order; each has its own outcome. Answers within `limits.publish_timeout`. What is served when it
    /// begins is what it works with to its end. Who drops it only stops waiting: the outcomes are counted, and `held` is kept until then.
    pub async fn publish(
        self: &Arc<Self>,
        listener: Listener,
        mut submissions: SmallVec<[Submission; 1]>,
        held: impl Send + 'static,
    ) -> Receipts {
        let begun = Instant::now();
        let spans = self.traces.open(listener, &mut submissions);
        let snapshot = self.now();
        let deadline = begun + answer_within(snapshot.limits.connectors.publish_timeout);
        let (receipts, lots) = (SmallVec::new(), SmallVec::new());
        let mut underway = Box::new(Underway { listener, begun, deadline, spans, snapshot, receipts, lots, held });
        submissions.into_iter().for_each(|submission| underway.place(submission));
        let mut underway = guard(underway, |rest| rest.go_on(self.clone()));
        underway.run(self).await;
        ScopeGuard::into_inner(underway).finish(self)
    }

    /// Hands over what is not required, in order where the client takes it at once; its outcomes are only counted.
    fn try_once(&self, snapshot: &Snapshot, connector: usize, batch: Batch, of: &[Origin], deadline: Instant) {
        let routes: SmallVec<[usize; 1]> = of.iter().map(|origin| origin.route).collect();
        let Ok(permit) = self.optional_in_flight.clone().try_acquire_owned() else {
            snapshot.counters.optional(&routes, None);
            return;
        };
        let (client, counters) = (snapshot.connectors[connector].connector.clone(), snapshot.counters.clone());
        let mut sending = async move {
            let outcomes = timeout_at(deadline, async { client.publish(batch).await.outcomes().await }).await;
            counters.optional(&routes, outcomes.as_ref().ok());
            drop(permit);
        }
        .boxed();
        if (&mut sending).now_or_never().is_none() {
            tokio::spawn(sending);
        }
    }
}

/// A little less than the promise, so that the answer itself is not late.
fn answer_within(publish_timeout: Duration) -> Duration {
    publish_timeout - (publish_timeout / 20).min(Duration::from_millis(200))
}

/// Adds a message's copies to the lots of their connectors.
fn place(snapshot: &Snapshot, message: Arc<Message>, receipt: usize, lots: &mut Lots) -> Receipt {
    let id = message.event.id.clone();
    let (route, outcome) = match snapshot.router.route_counting(message, |route| snapshot.counters.filter_erred(route))
    {
        Ok(Routed { route, targets }) => {
            targets.into_iter().for_each(|target| add_to_lot(lots, target, receipt));
            // The configuration gives each route a required destination, whose outcome replaces this one.
            (Some(route), Outcome::unknown(""))
        }
        Err(refused) => (None, refused),
    };
    Receipt { id, route, outcome, stored: SmallVec::new() }
}

fn add_to_lot(lots: &mut Lots, target: Target, receipt: usize) {
    let Target { route, connector, required, outbound } = target;
    let origin = Origin { receipt, route, topic: outbound.topic.clone() };
    match lots.iter_mut().find(|lot| lot.connector == connector && lot.required == required) {
        Some(lot) => {
            lot.batch.push(outbound);
            lot.of.push(origin);
        }
        None => lots.push(Lot {
            connector,
            required,
            batch: SmallVec::from_iter([outbound]),
            of: SmallVec::from_iter([origin]),
            answer: Answer::Untaken,
        }),
    }
}

#[cfg(test)]
mod tests;
