//! A subscription that opens by itself, after a reload has brought a standing flow other topics.

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
    position::{Place, Position, Positions},
    topic::TopicSet,
};
use tokio::time::sleep;

/// Before a broker that is away, or a limit that is reached, is tried again.
const REST: Duration = Duration::from_secs(1);

/// A subscription that opens by itself, however long that takes.
pub(super) struct Joining {
    /// Until it is open.
    positions: Positions,
    /// What the flow has read already of that which it begins with.
    read: Option<Read>,
    /// What was stored in other topics before the flow turned to them.
    unasked: Option<Read>,
    state: State,
}

/// Everything before this place of a numbering that covers all topics, of these topics or of all others.
struct Read {
    topics: TopicSet,
    until: Place,
}

enum State {
    Opening(BoxFuture<'static, Result<Box<dyn Subscription>, ReadError>>),
    Open(Box<dyn Subscription>),
}

/// What is to be opened.
pub(super) struct Opening {
    pub(super) connector: Arc<dyn Connector>,
    pub(super) topics: TopicSet,
    /// Where the flow stood in topics that it read before, and which those are.
    pub(super) after: Positions,
    pub(super) read: TopicSet,
    /// Where the others begin.
    pub(super) fresh: Start,
    /// When they became topics of the flow.
    pub(super) since: Start,
    pub(super) group: Option<Str>,
}

impl Joining {
    pub(super) fn new(opening: Opening) -> Self {
        let read = opening.after.get("", 0).map(|until| Read { topics: opening.read.clone(), until });
        let positions = opening.after.clone();
        Self { positions, read, unasked: None, state: State::Opening(opening.until_open().boxed()) }
    }

    /// One that is open; of topics that were not read before it has what is stored from now on.
    pub(super) async fn open(opening: Opening) -> Result<Self, ReadError> {
        let now = opening.subscribe(Start::Latest).await?.positions().get("", 0);
        let unasked = now.map(|until| Read { topics: opening.read.clone(), until });
        let subscription = opening.open().await?;
        Ok(Self { positions: Positions::default(), read: None, unasked, state: State::Open(subscription) })
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
        if let Some(until) = self.after.get("", 0) {
            // Other topics may have had records before that place, and after the reload.
            let since = self.subscribe(self.since.clone()).await?.positions().clone();
            let place = since.get("", 0).map_or(until, |since| since.min(until));
            let position = Position { topic: Str::new(), partition: 0, place };
            return self.subscribe(Start::After([position].into_iter().collect())).await;
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
        let group = self.group.clone();
        let request = SubscribeRequest { topics: self.topics.clone(), start, group, compacted: false };
        self.connector.subscribe(request).await
    }
}

impl Subscription for Joining {
    fn poll_next(&mut self, cx: &mut Context<'_>, max: NonZeroUsize) -> Poll<Result<Deliveries, ReadError>> {
        loop {
            match &mut self.state {
                State::Opening(opening) => self.state = State::Open(ready!(opening.poll_unpin(cx))?),
                State::Open(subscription) => {
                    let mut next = ready!(subscription.poll_next(cx, max))?;
                    if let Some(Read { topics, until }) = &self.read {
                        next.deliveries.retain(|next| {
                            next.record.position.place >= *until || !topics.contains(&next.record.topic)
                        });
                        if subscription.positions().get("", 0).is_some_and(|place| place >= *until) {
                            self.read = None;
                        }
                    }
                    if let Some(Read { topics, until }) = &self.unasked {
                        next.deliveries
                            .retain(|next| next.record.position.place >= *until || topics.contains(&next.record.topic));
                        if subscription.positions().get("", 0).is_some_and(|place| place >= *until) {
                            self.unasked = None;
                        }
                    }
                    return Poll::Ready(Ok(next));
                }
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
