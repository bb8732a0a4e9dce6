//! Reading: each reader follows the connector's one live log, from now on. What was published before is at no MQTT broker.

use std::{
    num::NonZeroUsize,
    sync::Arc,
    task::{Context, Poll, ready},
};

use meshgate_api::{
    connector::{Deliveries, Delivery, ReadError, Start, SubscribeRequest, Subscription},
    log::{Behind, Follower, Records},
    position::{Position, Positions},
    topic::TopicSet,
};

use crate::{
    live::{Interest, Live, Shared},
    naming,
};

/// One reader.
pub(crate) struct Reader {
    follower: Follower,
    /// The lane holds what other readers want, too.
    topics: TopicSet,
    live: Arc<Shared>,
    positions: Positions,
    _interest: Interest,
}

impl Live {
    pub(crate) async fn subscribe(&self, request: SubscribeRequest) -> Result<Reader, ReadError> {
        let from = self.shared.from(&request.start)?;
        let filters = naming::filters(&request.topics).map_err(|detail| ReadError::Unsupported { detail })?;
        let interest = self.want(filters).await?;
        let live = self.shared.clone();
        let next = live.log.appender().next_sequence();
        let start = live.place(from.unwrap_or(next));
        let follower = live.log.follow(TopicSet::one(live.lane.clone()), |_| start);
        let follower = follower.map_err(|_| live.gone())?;
        let mut reader =
            Reader { follower, topics: request.topics, live, positions: Positions::default(), _interest: interest };
        reader.stand_at(from.unwrap_or(next));
        Ok(reader)
    }
}

impl Shared {
    /// The number to start at, if that is not what comes next.
    fn from(&self, start: &Start) -> Result<Option<u64>, ReadError> {
        match start {
            Start::Latest => Ok(None),
            // A standing reader that changes over to other topics: what it has not read of its own may still be here.
            Start::After(positions) => match positions.get(&self.lane, 0) {
                Some(place) if place.generation == self.epoch => Ok(Some(place.offset)),
                _ => Err(no_replay()),
            },
            Start::Earliest | Start::At(_) => Err(no_replay()),
        }
    }

    fn gone(&self) -> ReadError {
        let next = self.log.appender().next_sequence();
        let resume = Position { topic: self.lane.clone(), partition: 0, place: self.place(next) };
        let detail =
            "the reader fell too far behind, or the MQTT broker lost the session: what was missed is at no MQTT broker";
        ReadError::Gone { resume: [resume].into_iter().collect(), detail: detail.into() }
    }
}

/// What an MQTT broker cannot do.
pub(crate) fn no_replay() -> ReadError {
    let detail = "connectors of kind `mqtt` are read from now on only: an MQTT broker keeps nothing to go back to (use `from=latest`)";
    ReadError::Unsupported { detail: detail.into() }
}

impl Reader {
    fn stand_at(&mut self, sequence: u64) {
        let place = self.live.place(sequence);
        self.positions.set(Position { topic: self.live.lane.clone(), partition: 0, place });
    }
}

impl Subscription for Reader {
    fn poll_next(&mut self, cx: &mut Context<'_>, max: NonZeroUsize) -> Poll<Result<Deliveries, ReadError>> {
        let mut records = Records::new();
        let read = self.follower.poll_read(cx, max, &mut records);
        self.stand_at(self.follower.sequence());
        let at_end = ready!(read).map_err(|_: Behind| self.live.gone())?;
        let own = records.into_iter().filter(|record| self.topics.contains(&record.topic));
        let deliveries = own.map(|record| Delivery { record, settler: None }).collect();
        Poll::Ready(Ok(Deliveries { deliveries, at_end }))
    }

    fn positions(&self) -> &Positions {
        &self.positions
    }

    fn is_at_end(&self) -> bool {
        self.follower.is_at_end()
    }
}
