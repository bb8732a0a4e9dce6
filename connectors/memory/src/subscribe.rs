//! Reading: the log itself is followed, whatever the start.

use std::{
    num::NonZeroUsize,
    sync::Arc,
    task::{Context, Poll, ready},
};

use meshgate_api::{
    Str,
    connector::{Deliveries, ReadError, Start, SubscribeRequest, Subscription},
    log::{Behind, Follower, LaneState, Log, Records},
    position::{Place, Position, Positions},
};

use crate::Memory;

/// One reader of the log.
pub(crate) struct Reader {
    follower: Follower,
    log: Arc<Log>,
    epoch: u64,
    positions: Positions,
}

impl Memory {
    pub(crate) fn read(&self, mut request: SubscribeRequest) -> Result<Box<dyn Subscription>, ReadError> {
        let sequence = self.sequence(&request.start)?;
        let epoch = self.epoch;
        let start = move |lane: LaneState<'_>| sequence.map_or(lane.floor, |sequence| place(epoch, sequence));
        if let Some(group) = request.group.take() {
            if matches!(request.start, Start::After(_)) {
                return Err(ReadError::Unsupported { detail: "a group has positions of its own".into() });
            }
            return Ok(Box::new(self.groups.join(group, request, start)?));
        }
        let follower = self.log.follow(request.topics, start).map_err(|_| gone(&self.log, epoch))?;
        let mut reader = Reader { follower, log: self.log.clone(), epoch, positions: Positions::default() };
        reader.stand_at(sequence.unwrap_or_else(|| oldest(&reader.log)));
        Ok(Box::new(reader))
    }

    /// The sequence number to start at; `None`: each topic's oldest record.
    fn sequence(&self, start: &Start) -> Result<Option<u64>, ReadError> {
        let next = self.log.appender().next_sequence();
        Ok(match start {
            Start::Latest => Some(next),
            Start::Earliest => None,
            Start::At(time) => Some(self.log.sequence_of(|record| record.time >= *time)),
            Start::After(positions) => self.checked(positions, next)?,
        })
    }

    /// The sequence number in a cursor's positions, if it is one of this process.
    fn checked(&self, positions: &Positions, next: u64) -> Result<Option<u64>, ReadError> {
        match positions.get("", 0) {
            None => Ok(None),
            Some(place) if place.generation == self.epoch && place.offset <= next => Ok(Some(place.offset)),
            Some(_) => Err(gone(&self.log, self.epoch)),
        }
    }
}

impl Reader {
    fn stand_at(&mut self, sequence: u64) {
        self.positions.set(Position { topic: Str::new(), partition: 0, place: place(self.epoch, sequence) });
    }
}

impl Subscription for Reader {
    fn poll_next(&mut self, cx: &mut Context<'_>, max: NonZeroUsize) -> Poll<Result<Deliveries, ReadError>> {
        let mut records = Records::new();
        let read = self.follower.poll_read(cx, max, &mut records);
        self.stand_at(self.follower.sequence());
        let at_end = ready!(read).map_err(|_: Behind| gone(&self.log, self.epoch))?;
        Poll::Ready(Ok(Deliveries::unsettled(records, at_end)))
    }

    fn positions(&self) -> &Positions {
        &self.positions
    }

    fn is_at_end(&self) -> bool {
        self.follower.is_at_end()
    }
}

fn place(epoch: u64, sequence: u64) -> Place {
    Place { generation: epoch, offset: sequence, index: 0 }
}

fn oldest(log: &Log) -> u64 {
    log.sequence_of(|_| true)
}

fn gone(log: &Log, epoch: u64) -> ReadError {
    let oldest = Position { topic: Str::new(), partition: 0, place: place(epoch, oldest(log)) };
    let detail = "the memory connector no longer holds it: it made room for newer events, or the gateway was restarted";
    ReadError::Gone { resume: [oldest].into_iter().collect(), detail: detail.into() }
}
