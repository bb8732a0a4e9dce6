//! What a standing flow reads after a reload: its subscriptions as the new routes want them.
//!
//! What did not change goes on. Where a connector's topics are others now, a new subscription goes on where the old one stood; topics
//! that the old one did not have are read from where the flow began, which for one that began at the latest is now.

use std::{
    num::NonZeroUsize,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::future::{BoxFuture, FutureExt};
use meshgate_api::{
    Str,
    connector::{Connector, Deliveries, ReadError, Start, SubscribeRequest, Subscription},
    cursor::Cursor,
    position::Positions,
    topic::TopicSet,
};
use smallvec::SmallVec;
use tokio::time::sleep;

use super::{Begin, Flow, OpenSource};
use crate::{gateway::Snapshot, router::Source};

/// Before a broker that is away, or a limit that is reached, is tried again.
const REST: Duration = Duration::from_secs(1);

impl Flow {
    /// Goes over to what the gateway serves now; nothing that has arrived is left.
    pub(super) fn go_over(&mut self) {
        let snapshot = Arc::clone(&self.gateway.now());
        let mut left = std::mem::take(&mut self.sources);
        // Where no route overlaps the filter any more there is nothing to read, until another reload brings one.
        let plan = snapshot.router.plan(&self.filter).unwrap_or_default();
        self.sources = plan.into_iter().map(|source| self.take_over(source, &mut left, &snapshot)).collect();
        self.superseded = snapshot.superseded.clone();
        self.snapshot = snapshot;
        self.cursor = self.cursor.take().map(|_| Cursor::new(self.filter.as_str()));
        self.is_reported = false;
        self.catch_up();
    }

    /// The old subscription if it has the same topics, else one that goes on where that stands.
    fn take_over(&self, source: Source, left: &mut SmallVec<[OpenSource; 1]>, next: &Snapshot) -> OpenSource {
        let Source { connector, topics } = source;
        let named = &next.connectors[connector];
        let old = |open: &OpenSource| &self.snapshot.connectors[open.connector];
        let at = left.iter().position(|open| old(open).name == named.name);
        let mut opening = Opening {
            connector: named.connector.clone(),
            topics: topics.clone(),
            after: Positions::default(),
            fresh: self.fresh.clone(),
            group: self.group.clone(),
        };
        if let Some(open) = at.map(|at| left.swap_remove(at)) {
            let is_same = Arc::ptr_eq(&old(&open).connector, &named.connector);
            if is_same && open.topics == topics {
                return OpenSource { connector, ..open };
            }
            if is_same || named.connector.capabilities().durable {
                opening.after = open.subscription.positions().clone();
            } else {
                opening.fresh = Start::Earliest; // it began empty
                if !open.subscription.is_at_end() {
                    self.gateway.metrics.skip(); // what was not read yet went with the old one
                }
            }
        }
        OpenSource { connector, topics, subscription: Box::new(Joining::new(opening)) }
    }
}

impl Begin {
    /// Where a reader that began here begins in topics that come later.
    pub(super) fn in_fresh_topics(&self) -> Start {
        match self {
            Self::Latest => Start::Latest,
            Self::Earliest | Self::Cursor(_) => Start::Earliest,
            Self::Time(time) => Start::At(*time),
        }
    }
}

/// A subscription that opens by itself, however long that takes.
struct Joining {
    /// Until it is open.
    positions: Positions,
    state: State,
}

enum State {
    Opening(BoxFuture<'static, Result<Box<dyn Subscription>, ReadError>>),
    Open(Box<dyn Subscription>),
}

/// What is to be opened.
struct Opening {
    connector: Arc<dyn Connector>,
    topics: TopicSet,
    /// Where the flow stood in topics that it read before.
    after: Positions,
    /// Where the others begin.
    fresh: Start,
    group: Option<Str>,
}

impl Joining {
    fn new(opening: Opening) -> Self {
        Self { positions: opening.after.clone(), state: State::Opening(opening.until_open().boxed()) }
    }
}

impl Opening {
    async fn until_open(self) -> Result<Box<dyn Subscription>, ReadError> {
        loop {
            match self.open().await {
                Err(ReadError::Down { .. } | ReadError::Busy { .. }) => sleep(REST).await,
                opened => return opened,
            }
        }
    }

    async fn open(&self) -> Result<Box<dyn Subscription>, ReadError> {
        if self.group.is_some() {
            return self.subscribe(Start::Earliest).await; // its position is at the broker: this is for topics that it lacks
        }
        if let Start::Earliest | Start::After(_) = self.fresh {
            return self.subscribe(Start::After(self.after.clone())).await; // topics that are not named are read from their start
        }
        let fresh = self.subscribe(self.fresh.clone()).await?;
        if self.after.is_empty() {
            return Ok(fresh);
        }
        let mut positions = fresh.positions().clone();
        self.after.iter().for_each(|at| positions.set(at.clone()));
        self.subscribe(Start::After(positions)).await
    }

    async fn subscribe(&self, start: Start) -> Result<Box<dyn Subscription>, ReadError> {
        let request = SubscribeRequest { topics: self.topics.clone(), start, group: self.group.clone() };
        self.connector.subscribe(request).await
    }
}

impl Subscription for Joining {
    fn poll_next(&mut self, cx: &mut Context<'_>, max: NonZeroUsize) -> Poll<Result<Deliveries, ReadError>> {
        loop {
            match &mut self.state {
                State::Opening(opening) => self.state = State::Open(ready!(opening.poll_unpin(cx))?),
                State::Open(subscription) => return subscription.poll_next(cx, max),
            }
        }
    }

    fn positions(&self) -> &Positions {
        match &self.state {
            State::Opening(_) => &self.positions,
            State::Open(subscription) => subscription.positions(),
        }
    }

    fn is_at_end(&self) -> bool {
        matches!(&self.state, State::Open(subscription) if subscription.is_at_end())
    }

    fn drain(&mut self) {
        if let State::Open(subscription) = &mut self.state {
            subscription.drain();
        }
    }
}
