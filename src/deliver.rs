//! Spine 2: channel filter → subscriptions → the events of that filter, each with the cursor after it.
//!
//! A [`Flow`] stands from the moment [`Gateway::open`] returns: every matching event that is stored after that comes out of
//! [`Flow::take`], in the order of its key or channel. It reads each topic once, whichever routes fit it, and yields an event only
//! under its own channel. What a record is (whose event, its text) is worked out once, however many flows read it.

use std::{
    num::NonZeroUsize,
    sync::Arc,
    task::{Context, Poll, ready},
};

use meshgate_api::{
    Str,
    connector::{Delivery, ReadError, Settlement, Start, Subscription},
    cursor::Cursor,
    topic::TopicSet,
};
use smallvec::SmallVec;

use crate::{
    gateway::{Gateway, Snapshot},
    router::ChannelFilters,
    shutdown::Drain,
};

mod delivered;
mod event_filter;
mod joining;
mod open;
mod succession;
mod text;
mod turning;
pub use delivered::{Confirmation, Delivered};
pub use event_filter::EventFilter;
pub use open::{Begin, GroupName, OpenError, Reading};
use succession::Succession;
pub use text::Layout;
use text::Note;

/// Records taken out of a subscription at once; [`meshgate_api::connector::READ_BYTES`] bounds their bytes.
const READ_RECORDS: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");

/// After so many arrivals without an event that matches, other tasks have their turn.
const LOOKS: usize = 16;

/// Why a flow ends.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// A position is gone: the next one that can be read.
    #[error("{detail}")]
    Gone {
        /// Where reading can go on.
        cursor: String,
        /// Which position.
        detail: String,
    },
    /// Its cursor has outgrown `limits.cursor`.
    #[error("{TOO_LONG}")]
    CursorTooLong,
    /// It can go on later, from its last cursor.
    #[error("{0}")]
    Interrupted(String),
}

const TOO_LONG: &str = "the reader's cursor is longer than `limits.cursor`: narrow the filter, use a group, or read without cursors \
                        (resume=no)";

/// The events of some channel filters, from one start on.
pub struct Flow {
    gateway: Arc<Gateway>,
    snapshot: Arc<Snapshot>,
    /// Begins when the gateway serves another snapshot.
    superseded: Drain,
    filters: ChannelFilters,
    events: Option<EventFilter>,
    /// Its name at the broker.
    group: Option<Str>,
    /// Where topics begin that a reload brings.
    fresh: Start,
    sources: SmallVec<[OpenSource; 1]>,
    /// Where it is with the reloads that there were.
    succession: Succession,
    /// What has come and was not taken yet.
    arrived: Arrived,
    /// After what was taken; `None`: the reader asked for no cursors.
    cursor: Option<Cursor>,
    /// The reader knows the cursor.
    is_reported: bool,
}

struct Arrived {
    of: Of,
    deliveries: smallvec::IntoIter<[Delivery; 1]>,
}

/// Where records come from.
#[derive(Clone, Copy)]
enum Of {
    /// The connector of this number.
    Connector(usize),
    /// What was left, by its number there.
    Left(usize),
}

struct OpenSource {
    connector: usize,
    topics: TopicSet,
    subscription: Box<dyn Subscription>,
}

impl Flow {
    /// The next event, for a reader that has room for `most`: of a group's events no more are fetched, others can have those. Also when
    /// much passes that does not match, other tasks have their turn.
    pub fn poll_event(&mut self, cx: &mut Context<'_>, most: u64) -> Poll<Result<Delivered, Ended>> {
        for _ in 0..LOOKS {
            if let Some(event) = self.take() {
                return Poll::Ready(Ok(event));
            }
            ready!(self.poll_arrival(cx, most))?;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ready when [`take`](Self::take) has something to look at.
    fn poll_arrival(&mut self, cx: &mut Context<'_>, most: u64) -> Poll<Result<(), Ended>> {
        if !self.arrived.deliveries.as_slice().is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut is_behind = self.superseded.has_begun();
        // While it is behind, what was left may have come into use again: what is published there now is later than what is read here.
        if (self.succession.holds_back() || !is_behind) && self.poll_left(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        while is_behind && self.go_over(cx, false) {
            is_behind = self.superseded.has_begun();
        }
        let most = match self.group {
            Some(_) => NonZeroUsize::new(most as usize).unwrap_or(NonZeroUsize::MIN).min(READ_RECORDS),
            None => READ_RECORDS,
        };
        let turns = self.sources.len();
        for at in 0..turns {
            let OpenSource { connector, subscription, .. } = &mut self.sources[at];
            if let Poll::Ready(next) = subscription.poll_next(cx, most) {
                let connector = *connector;
                let arrived = next.map_err(|problem| self.ended(connector, problem))?;
                self.sources.rotate_left((at + 1) % turns); // who was ready is asked last
                let arrived = Arrived { of: Of::Connector(connector), deliveries: arrived.deliveries.into_iter() };
                if is_behind {
                    self.arrived = arrived;
                } else {
                    self.arrive(arrived, cx);
                }
                return Poll::Ready(Ok(()));
            }
        }
        if is_behind && self.go_over(cx, true) || self.superseded.poll_begun(cx).is_ready() && !is_behind {
            cx.waker().wake_by_ref(); // everything is asked again
        }
        Poll::Pending
    }

    /// The next event of those that have arrived. The cursor moves past it, and past those before it that did not match.
    pub fn take(&mut self) -> Option<Delivered> {
        while let Some(Delivery { record, settler }) = self.arrived.deliveries.next() {
            let mut from = None;
            let note = match self.arrived.of {
                Of::Connector(connector) => {
                    from = Some(connector);
                    let named = &self.snapshot.connectors[connector];
                    if let Some(cursor) = self.cursor.as_mut().filter(|_| named.replays()) {
                        let positions = cursor.positions_mut(&named.name);
                        positions.advance(&record.position, record.next);
                        self.is_reported = false;
                    }
                    Note::of(&record, connector, &self.snapshot)
                }
                Of::Left(number) => match self.succession.note(number, &record) {
                    Some(note) => note,
                    None => continue,
                },
            };
            let delivered = Delivered { record, connector: from, note, settler };
            if self.is_wanted(&delivered) {
                return Some(delivered);
            }
            if let Some(settler) = delivered.settler {
                settler.settle(Settlement::Ack); // no event of this group's
            }
        }
        None
    }

    fn is_wanted(&self, delivered: &Delivered) -> bool {
        let Some(owned) = delivered.note().owned.as_ref() else { return false };
        self.filters.matches(&owned.channel)
            && self.events.as_ref().is_none_or(|events| {
                events.wants(owned.event(&delivered.record), || {
                    self.gateway.metrics.filter_errors.inc();
                })
            })
    }

    /// The connector that the event which was taken last can be read from again.
    #[must_use]
    pub fn origin(&self, event: &Delivered) -> Option<&Str> {
        let named = &self.snapshot.connectors[event.connector?];
        named.replays().then_some(&named.name)
    }

    /// Where reading would go on now at each connector; `None` if the reader asked for no cursors.
    pub fn positions(&mut self) -> Option<&Cursor> {
        self.catch_up();
        self.cursor.as_ref()
    }

    /// Whether all has been taken that was stored when it was opened or, later, when it was asked last for more.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.has_taken_all() && self.sources.iter().all(|source| source.subscription.is_at_end())
    }

    /// Where reading would go on now, also past events that did not match; `None` if the reader asked for no cursors.
    pub fn cursor(&mut self) -> Result<Option<String>, Ended> {
        self.catch_up();
        self.is_reported = true;
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let text = cursor.encode();
        if text.len() > self.snapshot.limits.cursor { Err(Ended::CursorTooLong) } else { Ok(Some(text)) }
    }

    /// The same, if it is not what the reader was told last.
    pub fn changed_cursor(&mut self) -> Result<Option<String>, Ended> {
        self.catch_up();
        if self.is_reported { Ok(None) } else { self.cursor() }
    }

    /// Moves the cursor past what needs not be taken.
    fn catch_up(&mut self) {
        if !self.has_taken_all() {
            return;
        }
        let Some(cursor) = &mut self.cursor else { return };
        for source in &self.sources {
            let named = &self.snapshot.connectors[source.connector];
            if !named.replays() {
                continue; // what it has missed it does not get
            }
            let positions = cursor.positions_mut(&named.name);
            if positions != source.subscription.positions() {
                positions.clone_from(source.subscription.positions());
                self.is_reported = false;
            }
        }
    }

    fn has_taken_all(&self) -> bool {
        self.arrived.deliveries.as_slice().is_empty() && !self.succession.holds_back()
    }

    fn ended(&mut self, connector: usize, problem: ReadError) -> Ended {
        let ReadError::Gone { resume, detail } = problem else { return Ended::Interrupted(problem.to_string()) };
        self.gateway.metrics.skip();
        let mut cursor = self.cursor.clone().unwrap_or_else(|| Cursor::new(&self.filters.text()));
        let named = &self.snapshot.connectors[connector];
        if named.replays() {
            *cursor.positions_mut(&named.name) = resume;
        }
        Ended::Gone { cursor: cursor.encode(), detail }
    }
}
