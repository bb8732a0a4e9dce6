//! A publish on its way: its lots go to their connectors in order, the outcomes come back, and then they are counted.
//!
//! It is a value, not only a future: whoever stops waiting for it leaves the rest to a task, and nothing that was handed over goes
//! uncounted.

use std::{iter, mem, sync::Arc};

use arc_swap::Guard;
use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use meshgate_api::{
    connector::PublishAck,
    outcome::{Outcome, Outcomes},
};
use smallvec::SmallVec;
use tokio::time::{Instant, timeout_at};

use super::{Lot, Lots, Receipt, Receipts, Submission, place};
use crate::{
    gateway::{Gateway, Listener, Snapshot},
    telemetry::Spans,
};

pub(super) struct Underway<H> {
    pub(super) listener: Listener,
    pub(super) begun: Instant,
    pub(super) deadline: Instant,
    pub(super) spans: Spans,
    pub(super) snapshot: Guard<Arc<Snapshot>>,
    pub(super) receipts: SmallVec<[Receipt; 1]>,
    pub(super) lots: Lots,
    /// What it occupies until it is counted.
    pub(super) held: H,
}

/// What a connector has said of a lot.
pub(super) enum Answer {
    /// It was not given the lot yet, or has not taken it.
    Untaken,
    Awaited(BoxFuture<'static, Outcomes>),
    Known(Outcomes),
    Late,
}

impl<H: Send + 'static> Underway<H> {
    /// Adds an event.
    pub(super) fn place(&mut self, submission: Submission) {
        let number = self.receipts.len();
        self.receipts.push(match submission {
            Ok(message) => place(&self.snapshot, message, number, &mut self.lots),
            Err(refused) => refused.into(),
        });
    }

    /// Hands over what is left, in order; then awaits the outcomes. Who drops it may call it again.
    pub(super) async fn run(&mut self, gateway: &Gateway) {
        for lot in self.lots.iter_mut().filter(|lot| !lot.batch.is_empty()) {
            let batch = mem::take(&mut lot.batch);
            if !lot.required {
                gateway.try_once(&self.snapshot, lot.connector, batch, &lot.of, self.deadline);
                continue;
            }
            let ack = before(self.deadline, self.snapshot.connectors[lot.connector].connector.publish(batch)).await;
            lot.answer = ack.map_or(Answer::Late, Answer::from);
        }
        match &mut self.lots[..] {
            [one] => one.answered(self.deadline).await,
            // All are asked at once: what a broker refuses for now, some connectors send again only while somebody asks.
            all => drop(join_all(all.iter_mut().map(|each| each.answered(self.deadline))).await),
        }
    }

    /// What nobody waits for any more.
    pub(super) fn go_on(mut self: Box<Self>, gateway: Arc<Gateway>) {
        tokio::spawn(async move {
            self.run(&gateway).await;
            self.finish(&gateway);
        });
    }

    /// Counts what became of each event, and lets go of what it has occupied.
    #[expect(clippy::boxed_local, reason = "out of its box it would have to be copied")]
    pub(super) fn finish(mut self: Box<Self>, gateway: &Gateway) -> Receipts {
        let mut answered = SmallVec::<[bool; 8]>::from_elem(false, self.receipts.len());
        for lot in self.lots.iter_mut().filter(|lot| lot.required) {
            lot.collect(&mut self.receipts, &mut answered);
        }
        self.receipts.iter_mut().for_each(Receipt::sum_up);
        let Self { listener, begun, spans, snapshot, receipts: each, held, .. } = *self;
        spans.close(&snapshot.router, &each);
        snapshot.counters.published(listener, &each);
        gateway.metrics.answered(listener, &each, begun.elapsed());
        drop(held);
        Receipts { snapshot, each }
    }
}

impl Lot {
    async fn answered(&mut self, deadline: Instant) {
        if let Answer::Awaited(outcomes) = &mut self.answer {
            self.answer = before(deadline, outcomes).await.map_or(Answer::Late, Answer::Known);
        }
    }

    /// Puts its outcomes into their receipts, of which some are answered already.
    fn collect(&mut self, receipts: &mut [Receipt], answered: &mut [bool]) {
        let unknown = |why| iter::repeat_n(Outcome::unknown(why), self.of.len()).collect();
        let outcomes = match mem::replace(&mut self.answer, Answer::Late) {
            Answer::Known(outcomes) => outcomes,
            Answer::Untaken => unknown("the client went away before the broker's client had taken the event"),
            Answer::Awaited(_) | Answer::Late => unknown("the broker did not answer within `limits.publish_timeout`"),
        };
        debug_assert_eq!(self.of.len(), outcomes.len(), "a connector answers each event once");
        for (origin, outcome) in self.of.drain(..).zip(outcomes) {
            let is_first = !mem::replace(&mut answered[origin.receipt], true);
            receipts[origin.receipt].add(self.connector, origin.topic, outcome, is_first);
        }
    }
}

impl From<PublishAck> for Answer {
    fn from(ack: PublishAck) -> Self {
        match ack {
            PublishAck::Ready(outcomes) => Self::Known(outcomes),
            PublishAck::Pending(outcomes) => Self::Awaited(outcomes),
        }
    }
}

/// What comes of it before the deadline. As a rule it is there already, and then no timer is needed.
async fn before<F: Future + Unpin>(deadline: Instant, mut coming: F) -> Option<F::Output> {
    match (&mut coming).now_or_never() {
        Some(output) => Some(output),
        None => timeout_at(deadline, coming).await.ok(),
    }
}
