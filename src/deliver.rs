//! Spine 2: channel filter → subscriptions → the events of that filter, each with the cursor after it.
//!
//! A [`Flow`] stands from the moment [`Gateway::open`] returns: every matching event that is stored after that comes out of
//! [`Flow::next`], in the order of its key or channel. It reads each topic once, whichever routes fit it, and yields an event only
//! under its own channel. What a record is (whose event, its JSON text) is worked out once, however many flows read it.

use std::{
    num::NonZeroUsize,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::future::{join_all, select_all};
use meshgate_api::{
    Str,
    connector::{Deliveries, ReadError, Record, Start, SubscribeRequest, Subscription},
    cursor::{Cursor, CursorError},
    event::Event,
    json,
};
use tokio::time::timeout;

use crate::{
    gateway::Gateway,
    router::{ChannelFilter, Owned, Source},
};

/// Records taken out of a subscription at once; [`meshgate_api::connector::READ_BYTES`] bounds their bytes.
const READ_RECORDS: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");

/// Where a flow begins.
#[derive(Clone, Debug)]
pub enum From {
    /// At what is stored after it was opened.
    Latest,
    /// At the oldest that is kept.
    Earliest,
    /// At a time, by the broker's clock.
    Time(SystemTime),
    /// After the events that a cursor's reader has seen.
    Cursor(Str),
}

/// Why a flow cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No route's pattern overlaps the filter.
    #[error("no route's channel pattern overlaps the filter")]
    NoRoute,
    /// The cursor is not one of this filter.
    #[error("the cursor cannot be used: {0}")]
    Cursor(#[from] CursorError),
    /// The cursor that the reader would get is over `limits.cursor`.
    #[error("{TOO_LONG}")]
    CursorTooLong,
    /// The cursor's position is gone.
    #[error("{detail}")]
    Gone {
        /// Where reading can go on.
        cursor: String,
        /// Which position.
        detail: String,
    },
    /// A connector cannot do what was asked.
    #[error("{0}")]
    Unsupported(String),
    /// Not now: a limit is reached, or a broker is away.
    #[error("{0}")]
    NotNow(String),
}

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

/// The events of one channel filter, from one start on.
pub struct Flow {
    gateway: Arc<Gateway>,
    filter: ChannelFilter,
    sources: Vec<OpenSource>,
    /// `None`: the reader asked for no cursors.
    cursor: Option<Cursor>,
    scratch: Vec<u8>,
}

struct OpenSource {
    connector: usize,
    subscription: Box<dyn Subscription>,
}

/// One event for the subscriber.
#[derive(Debug)]
pub struct Delivered {
    record: Arc<Record>,
    /// Where to go on after it; `None` if the reader asked for no cursors.
    pub cursor: Option<String>,
}

/// What is worked out once about a record, for all flows.
struct Note {
    owned: Option<Owned>,
    json: OnceLock<Bytes>,
}

impl Gateway {
    /// Subscribes to everything that `filter` reads.
    pub async fn open(
        self: &Arc<Self>,
        filter: ChannelFilter,
        from: From,
        with_cursors: bool,
    ) -> Result<Flow, OpenError> {
        let plan = self.router.plan(&filter).ok_or(OpenError::NoRoute)?;
        let asked = match &from {
            From::Cursor(text) => Some(Cursor::decode(text, filter.as_str())?),
            _ => None,
        };
        let opening = plan.into_iter().map(|source| self.open_source(source, &from, asked.as_ref()));
        let (mut sources, mut gone) = (Vec::new(), Vec::new());
        for opened in join_all(opening).await {
            match opened {
                Ok(source) => sources.push(source),
                Err((connector, ReadError::Gone { resume, detail })) => gone.push((connector, resume, detail)),
                Err((_, ReadError::Unsupported { detail })) => return Err(OpenError::Unsupported(detail)),
                Err((connector, problem)) => {
                    return Err(OpenError::NotNow(format!("{}: {problem}", self.connectors[connector].name)));
                }
            }
        }
        if !gone.is_empty() {
            self.metrics.skipped.inc();
            let mut cursor = asked.unwrap_or_else(|| Cursor::new(filter.as_str()));
            for (connector, resume, _) in &gone {
                *cursor.positions_mut(&self.connectors[*connector].name) = resume.clone();
            }
            let detail = gone.into_iter().map(|(_, _, detail)| detail).collect::<Vec<_>>().join("; ");
            return Err(OpenError::Gone { cursor: cursor.encode(), detail });
        }
        let cursor = with_cursors.then(|| Cursor::new(filter.as_str()));
        let mut flow = Flow { gateway: self.clone(), filter, sources, cursor, scratch: Vec::new() };
        flow.stand().map_err(|_| OpenError::CursorTooLong)?;
        Ok(flow)
    }

    async fn open_source(
        &self,
        source: Source,
        from: &From,
        cursor: Option<&Cursor>,
    ) -> Result<OpenSource, (usize, ReadError)> {
        let Source { connector, topics } = source;
        let start = match (from, cursor) {
            (From::Earliest, _) => Start::Earliest,
            (From::Time(time), _) => Start::At(*time),
            (From::Cursor(_), Some(cursor)) => {
                Start::After(cursor.positions(&self.connectors[connector].name).cloned().unwrap_or_default())
            }
            (From::Latest | From::Cursor(_), _) => Start::Latest,
        };
        let request = SubscribeRequest { topics, start, group: None };
        let patience = self.limits.publish_timeout;
        match timeout(patience, self.connectors[connector].connector.subscribe(request)).await {
            Ok(Ok(subscription)) => Ok(OpenSource { connector, subscription }),
            Ok(Err(problem)) => Err((connector, problem)),
            Err(_) => Err((connector, ReadError::Down { detail: format!("no answer within {patience:?}") })),
        }
    }
}

impl Flow {
    /// Where reading would go on now, also past events that did not match; `None` if the reader asked for no cursors.
    pub fn stand(&mut self) -> Result<Option<String>, Ended> {
        let Some(cursor) = &mut self.cursor else { return Ok(None) };
        for source in &self.sources {
            let name = &self.gateway.connectors[source.connector].name;
            cursor.positions_mut(name).clone_from(source.subscription.positions());
        }
        self.cursor_text()
    }

    /// Waits for events: none only when it has moved past some that did not match. Cancel-safe.
    pub async fn next(&mut self) -> Result<Vec<Delivered>, Ended> {
        let (at, next) = match &mut self.sources[..] {
            [only] => (0, only.subscription.next(READ_RECORDS).await),
            many => {
                let waits = many.iter_mut().map(|source| source.subscription.next(READ_RECORDS));
                let (next, at, _) = select_all(waits).await;
                (at, next)
            }
        };
        let connector = self.sources[at].connector;
        let Deliveries { deliveries, .. } = next.map_err(|problem| self.ended(connector, problem))?;
        let mut delivered = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let record = delivery.record;
            if let Some(cursor) = &mut self.cursor {
                cursor.positions_mut(&self.gateway.connectors[connector].name).advance(&record.position, record.next);
            }
            let note = note(&self.gateway, connector, &record);
            if note.owned.as_ref().is_some_and(|owned| self.filter.matches(&owned.channel)) {
                delivered.push(Delivered { cursor: self.cursor_text()?, record });
            }
        }
        let turns = self.sources.len(); // the first that is ready is served first: everyone has to be first in turn
        self.sources.rotate_left(usize::from(turns > 1));
        Ok(delivered)
    }

    fn cursor_text(&mut self) -> Result<Option<String>, Ended> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let mut text = String::new();
        cursor.encode_into(&mut text, &mut self.scratch);
        if text.len() > self.gateway.cursor_limit { Err(Ended::CursorTooLong) } else { Ok(Some(text)) }
    }

    /// Counts an event as written to its subscriber.
    pub fn count(&self, event: &Delivered) {
        if let Some(route) = event.route() {
            self.gateway.metrics.delivered(route);
        }
    }

    fn ended(&mut self, connector: usize, problem: ReadError) -> Ended {
        let ReadError::Gone { resume, detail } = problem else { return Ended::Interrupted(problem.to_string()) };
        self.gateway.metrics.skipped.inc();
        let mut cursor = self.cursor.clone().unwrap_or_else(|| Cursor::new(self.filter.as_str()));
        *cursor.positions_mut(&self.gateway.connectors[connector].name) = resume;
        Ended::Gone { cursor: cursor.encode(), detail }
    }
}

impl Delivered {
    /// The channel that the event was published to.
    #[must_use]
    pub fn channel(&self) -> &str {
        self.owned().map_or("", |owned| &owned.channel)
    }

    /// The number of the route that it belongs to.
    #[must_use]
    pub fn route(&self) -> Option<usize> {
        self.owned().map(|owned| owned.route)
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> &Event {
        self.owned().map_or(&self.record.message.event, |owned| &owned.message.event)
    }

    /// The event as structured JSON on one line, encoded once for all who read it.
    #[must_use]
    pub fn json(&self) -> &Bytes {
        self.note().json.get_or_init(|| {
            let mut text = Vec::with_capacity(self.event().size() + 128);
            json::encode_into(self.event(), &[], &mut text);
            text.into()
        })
    }

    fn note(&self) -> &Note {
        written(&self.record)
    }

    fn owned(&self) -> Option<&Owned> {
        self.note().owned.as_ref()
    }
}

fn note<'a>(gateway: &Gateway, connector: usize, record: &'a Record) -> &'a Note {
    record
        .note
        .get_or_init(|| Box::new(Note { owned: gateway.router.owner(connector, record), json: OnceLock::new() }));
    written(record)
}

/// The note of a record that a flow has looked at; only such are delivered.
fn written(record: &Record) -> &Note {
    let note = record.note.get().and_then(|note| note.downcast_ref());
    note.expect("deliver.rs alone writes notes, and writes one before it delivers")
}

/// How long a listener waits before it tells a silent subscriber that it is still there.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
