//! A publish on its way: its lots go to their connectors in order, the outcomes come back, and then they are counted.
//!
//! It is a value, not only a future: whoever stops waiting for it leaves the rest to a task, and nothing that was handed over goes
//! uncounted.

use std::{iter, sync::Arc};

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

use super::{Collected, Lot, Origins, Receipt, Receipts};
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
    /// What no connector was given yet.
    pub(super) lots: smallvec::IntoIter<[Lot; 1]>,
    pub(super) handed: SmallVec<[Handed; 1]>,
    /// What it occupies until it is counted.
    pub(super) held: H,
}

/// A required lot that its connector was given.
pub(super) struct Handed {
    connector: usize,
    of: Origins,
    answer: Answer,
}

enum Answer {
    /// The connector has not taken it yet.
    Untaken,
    Awaited(BoxFuture<'static, Outcomes>),
    Known(Outcomes),
    Late,
}

impl<H: Send + 'static> Underway<H> {
    /// Hands over what is left, in order; then awaits the outcomes. Who drops it may call it again.
    pub(super) async fn run(&mut self, gateway: &Gateway) {
        for Lot { connector, required, batch, of } in &mut self.lots {
            if !required {
                gateway.try_once(&self.snapshot, connector, batch, &of, self.deadline);
                continue;
            }
            self.handed.push(Handed { connector, of, answer: Answer::Untaken });
            let ack = before(self.deadline, self.snapshot.connectors[connector].connector.publish(batch)).await;
            if let Some(handed) = self.handed.last_mut() {
                handed.answer = ack.map_or(Answer::Late, Answer::from);
            }
        }
        match &mut self.handed[..] {
            [one] => one.answered(self.deadline).await,
            // All are asked at once: what a broker refuses for now, some connectors send again only while somebody asks.
            all => drop(join_all(all.iter_mut().map(|each| each.answered(self.deadline))).await),
        }
    }

    /// What nobody waits for any more.
    pub(super) fn go_on(mut self, gateway: Arc<Gateway>) {
        tokio::spawn(async move {
            self.run(&gateway).await;
            self.finish(&gateway);
        });
    }

    /// Counts what became of each event, and lets go of what it has occupied.
    pub(super) fn finish(self, gateway: &Gateway) -> Receipts {
        let Self { listener, begun, spans, snapshot, receipts, handed, held, .. } = self;
        let mut collected = Collected::new(receipts);
        handed.into_iter().for_each(|handed| handed.collect(&mut collected));
        let each = collected.finish();
        spans.close(&snapshot.router, &each);
        snapshot.counters.published(listener, &each);
        gateway.metrics.answered(listener, &each, begun.elapsed());
        drop(held);
        Receipts { snapshot, each }
    }
}

impl Handed {
    async fn answered(&mut self, deadline: Instant) {
        if let Answer::Awaited(outcomes) = &mut self.answer {
            self.answer = before(deadline, outcomes).await.map_or(Answer::Late, Answer::Known);
        }
    }

    fn collect(self, collected: &mut Collected) {
        let unknown = |why| iter::repeat_n(Outcome::unknown(why), self.of.len()).collect();
        let outcomes = match self.answer {
            Answer::Known(outcomes) => outcomes,
            Answer::Untaken => unknown("the client went away before the broker's client had taken the event"),
            Answer::Awaited(_) | Answer::Late => unknown("the broker did not answer within `limits.publish_timeout`"),
        };
        collected.add(self.connector, self.of, outcomes);
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
