//! What a standing flow reads after a reload: its subscriptions as the new routes want them.
//!
//! What did not change goes on. Where a connector's topics are others now, a new subscription goes on where the old one stood; topics
//! that the old one did not have are read from where the flow began, which for one that began at the latest is the reload. First the old
//! subscriptions are read to their end, and what was still being published by the old routes is waited for beside the new ones: what
//! was confirmed reaches its readers, by whichever routes it came.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use meshgate_api::{
    connector::{Record, Start},
    cursor::Cursor,
    position::Positions,
    topic::TopicSet,
};
use smallvec::SmallVec;
use tokio::time::{Sleep, sleep};

use super::{
    Arrived, Begin, Flow, Of, OpenSource, READ_RECORDS,
    joining::{Joining, Opening},
    text::Note,
};
use crate::{
    gateway::{NamedConnector, Snapshot},
    router::{Router, Source},
};

/// How long a reader may take to read to its end before it goes over.
const PATIENCE: Duration = Duration::from_secs(30);

type Timer = Pin<Box<Sleep>>;

/// What has to be done about a reload.
#[derive(Default)]
pub(super) struct Succession {
    /// The edition that was looked at, and whether it changes what is read.
    seen: Option<(u64, bool)>,
    /// Until then it is read on as before.
    patience: Option<Timer>,
    /// What is read no longer, while something may come of it.
    left: Vec<Left>,
    /// What has come meanwhile of what is read now: it may have been published later.
    held_back: Option<Arrived>,
    /// Until then.
    lingering: Option<Timer>,
}

/// A subscription of an earlier snapshot.
pub(super) struct Left {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) source: OpenSource,
    /// Of its topics those that another subscription reads on.
    pub(super) elsewhere: Option<TopicSet>,
}

impl Succession {
    /// What is read is another matter now.
    pub(super) fn forget(&mut self) {
        (self.seen, self.patience) = (None, None);
    }

    pub(super) fn holds_back(&self) -> bool {
        self.held_back.is_some()
    }

    /// The note on a record of what was left; `None` if another subscription reads it.
    pub(super) fn note(&self, number: usize, record: &Record) -> Option<Option<Box<Note>>> {
        let Left { snapshot, source, elsewhere } = &self.left[number];
        let is_elsewhere = elsewhere.as_ref().is_some_and(|topics| topics.contains(&record.topic));
        (!is_elsewhere).then(|| Note::of(record, source.connector, snapshot))
    }
}

impl Flow {
    /// Goes over to what the gateway serves now, once all is read of what the flow is about to leave; whether that is so is known where
    /// its subscriptions were `asked` just now. False: not yet.
    pub(super) fn go_over(&mut self, cx: &mut Context<'_>, asked: bool) -> bool {
        let next = Arc::clone(&self.gateway.now());
        if !self.can_leave(&next, cx, asked) {
            return false;
        }
        let before = std::mem::replace(&mut self.snapshot, next);
        let mut old = std::mem::take(&mut self.sources);
        let plan = plan(&self.snapshot.router, self);
        self.sources = plan.into_iter().map(|source| self.take_over(source, &mut old, &before)).collect();
        old.into_iter().for_each(|open| self.leave(open, None, &before));
        self.superseded = self.snapshot.superseded.clone();
        self.cursor = self.cursor.take().map(|_| Cursor::new(&self.filters.text()));
        self.is_reported = false;
        (self.succession.seen, self.succession.patience) = (None, None);
        self.catch_up();
        true
    }

    fn can_leave(&mut self, next: &Snapshot, cx: &mut Context<'_>, asked: bool) -> bool {
        if self.group.is_some() {
            return true; // where it stands is at the broker, and what it has not confirmed stays there
        }
        let is_changed = match self.succession.seen {
            Some((edition, is_changed)) if edition == next.edition => is_changed,
            _ => {
                let is_changed = self.changes(next);
                self.succession.seen = Some((next.edition, is_changed));
                is_changed
            }
        };
        let is_done = |open: &OpenSource| {
            open.subscription.is_at_end() || !self.snapshot.connectors[open.connector].connector.health().up
        };
        if !is_changed || asked && self.sources.iter().all(is_done) {
            return true;
        }
        let patience = self.succession.patience.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        patience.as_mut().poll(cx).is_ready()
    }

    /// Whether some subscription is not one that the next snapshot wants as it is.
    fn changes(&self, next: &Snapshot) -> bool {
        let plan = plan(&next.router, self);
        let is_wanted = |open: &OpenSource| {
            plan.iter().any(|source| {
                let same = self.snapshot.connectors[open.connector].is_same(&next.connectors[source.connector]);
                same && source.topics == open.topics
            })
        };
        !self.sources.iter().all(is_wanted)
    }

    /// The old subscription if it has the same topics, else one that goes on where that stands.
    fn take_over(&mut self, source: Source, old: &mut SmallVec<[OpenSource; 1]>, before: &Arc<Snapshot>) -> OpenSource {
        let Source { connector, topics } = source;
        let named = self.snapshot.connectors[connector].clone();
        let since = match before.superseded_at.get() {
            Some(time) if named.connector.capabilities().replay_by_time => Start::At(*time),
            _ => Start::Latest,
        };
        let mut opening = Opening {
            connector: named.connector.clone(),
            topics: topics.clone(),
            after: Positions::default(),
            read: TopicSet::default(),
            fresh: match self.fresh {
                Start::Latest => since.clone(),
                _ if !named.replays() => since.clone(),
                _ => self.fresh.clone(),
            },
            since,
            group: self.group.clone(),
        };
        let at = old.iter().position(|open| before.connectors[open.connector].name == named.name);
        if let Some(open) = at.map(|at| old.swap_remove(at)) {
            let is_same = before.connectors[open.connector].is_same(&named);
            if is_same && open.topics == topics {
                return OpenSource { connector, ..open };
            }
            let goes_on = is_same || named.connector.capabilities().durable;
            if goes_on {
                (opening.after, opening.read) = (open.subscription.positions().clone(), open.topics.clone());
            } else if named.replays() {
                opening.fresh = Start::Earliest; // it began empty
            }
            self.leave(open, goes_on.then(|| topics.clone()), before);
        }
        if let Some(open) = self.come_back(&named, &topics, &mut opening.after) {
            return OpenSource { connector, ..open };
        }
        OpenSource { connector, topics, subscription: Box::new(Joining::new(opening)) }
    }

    /// The subscription to these topics, if it was left only just now. What another one was left with of them is gone on with from `after`.
    fn come_back(&mut self, named: &NamedConnector, topics: &TopicSet, after: &mut Positions) -> Option<OpenSource> {
        let left = &mut self.succession.left;
        let is_its = |left: &Left| left.snapshot.connectors[left.source.connector].is_same(named);
        if let Some(at) = left.iter().position(|left| is_its(left) && left.source.topics == *topics) {
            return Some(left.swap_remove(at).source);
        }
        for left in left.iter_mut().filter(|left| is_its(left)) {
            for at in left.source.subscription.positions().iter() {
                if after.get(&at.topic, at.partition).is_none() {
                    after.set(at.clone());
                }
            }
            left.elsewhere = Some(topics.clone());
        }
        None
    }

    fn leave(&mut self, source: OpenSource, elsewhere: Option<TopicSet>, snapshot: &Arc<Snapshot>) {
        if self.group.is_some() {
            return;
        }
        if !source.subscription.is_at_end() {
            self.gateway.metrics.skip();
        }
        let snapshot = snapshot.clone();
        self.succession.lingering = Some(Box::pin(sleep(snapshot.limits.connectors.publish_timeout)));
        self.succession.left.push(Left { snapshot, source, elsewhere });
    }

    /// Takes in what has come of what is read now; before it what had come until then of what was left.
    pub(super) fn arrive(&mut self, arrived: Arrived, cx: &mut Context<'_>) {
        if self.succession.left.is_empty() {
            self.arrived = arrived;
            return;
        }
        self.succession.held_back = Some(arrived);
        let _is_ready = self.poll_left(cx).is_ready(); // something is: what is held back
    }

    /// What still comes of subscriptions that were left, and then what was held back for it.
    pub(super) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Succession { left, lingering, held_back, .. } = &mut self.succession;
        if lingering.as_mut().is_some_and(|lingering| lingering.as_mut().poll(cx).is_ready()) {
            (*lingering, *left) = (None, Vec::new());
        }
        let mut number = 0;
        while let Some(each) = left.get_mut(number) {
            match each.source.subscription.poll_next(cx, READ_RECORDS) {
                Poll::Pending => number += 1,
                Poll::Ready(Ok(arrived)) => {
                    self.arrived = Arrived { of: Of::Left(number), deliveries: arrived.deliveries.into_iter() };
                    return Poll::Ready(());
                }
                Poll::Ready(Err(problem)) => {
                    tracing::debug!(%problem, "what a reload has left cannot be read to its end");
                    self.gateway.metrics.skip();
                    left.swap_remove(number);
                }
            }
        }
        match held_back.take() {
            Some(arrived) => {
                self.arrived = arrived;
                Poll::Ready(())
            }
            None => Poll::Pending,
        }
    }
}

fn plan(router: &Router, flow: &Flow) -> Vec<Source> {
    // Where no route overlaps the filter any more there is nothing to read, until another reload brings one.
    router.plan(flow.filters.iter()).unwrap_or_default()
}

impl Begin {
    /// Where a reader that began here begins in topics that come later.
    pub(super) fn in_fresh_topics(&self) -> Start {
        match self {
            Self::Latest => Start::Latest,
            Self::Earliest | Self::Cursor(_) | Self::After(_) => Start::Earliest,
            Self::Time(time) => Start::At(*time),
        }
    }
}
