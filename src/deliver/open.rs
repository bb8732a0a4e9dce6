//! Opening a flow: what is asked for, and every connector's subscription to its part of it.

use std::{sync::Arc, time::SystemTime};

use futures::future::join_all;
use meshgate_api::{
    Str,
    connector::{ReadError, Start, SubscribeRequest},
    cursor::{Cursor, CursorError},
    position::Positions,
};
use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use tokio::time::timeout;

use super::{Arrived, EventFilter, Flow, Of, OpenSource, Succession, TOO_LONG};
use crate::{
    gateway::{Gateway, Snapshot},
    router::{ChannelFilters, Source},
};

const NO_REPLAY: &str = "what this filter reads is on connectors that keep nothing to go back to: it is read from now on only (from=latest, and \
                         no cursor)";

/// Where a flow begins.
#[derive(Clone, Debug)]
pub enum Begin {
    /// At what is stored after it was opened.
    Latest,
    /// At the oldest that is kept.
    Earliest,
    /// At a time, by the broker's clock.
    Time(SystemTime),
    /// After the events that a cursor's reader has seen.
    Cursor(Str),
    /// The same, by somebody who keeps positions as such.
    After(Cursor),
}

/// What a group is called.
#[derive(Clone, Debug)]
pub enum GroupName {
    /// By a client. What reads something else is another group, whatever its name.
    OfClient(Str),
    /// By a subscription of the configuration: just so at the broker, too.
    OfSubscription(Str),
}

/// What is to be read, and how.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The channels.
    pub channels: ChannelFilters,
    /// Where to begin; in a group that exists already it does not count.
    pub from: Begin,
    /// Give a cursor after each event. A group has none: its position is at the broker.
    pub cursors: bool,
    /// Keep positions for [`Flow::positions`], of any length, instead.
    pub positions: bool,
    /// Share the flow with the other members of this group; every event is then to be settled.
    pub group: Option<GroupName>,
    /// Only these events.
    pub events: Option<EventFilter>,
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
    /// Not now: as many readers as there may be are reading.
    #[error("{0}")]
    Busy(String),
    /// Not now: a broker is away.
    #[error("{0}")]
    NotNow(String),
}

impl Gateway {
    /// Subscribes to everything that the channel filter reads.
    pub async fn open(self: &Arc<Self>, reading: Reading) -> Result<Flow, OpenError> {
        let text = reading.channels.text().into_owned();
        let snapshot = Arc::clone(&self.now());
        let plan = snapshot.router.plan(reading.channels.iter()).ok_or(OpenError::NoRoute)?;
        let asked = match &reading.from {
            Begin::Cursor(_) | Begin::After(_) if reading.group.is_some() => {
                return Err(OpenError::Unsupported(
                    "a group goes on from its own position: leave the cursor out".into(),
                ));
            }
            Begin::Cursor(cursor) => Some(Cursor::decode(cursor, &text)?),
            Begin::After(cursor) => Some(cursor.clone()),
            _ => None,
        };
        let group = reading.group.as_ref().map(|name| group_at_broker(name, &reading));
        let has_positions =
            plan.is_empty() || plan.iter().any(|source| snapshot.connectors[source.connector].replays());
        if !has_positions && group.is_none() && !matches!(reading.from, Begin::Latest) {
            return Err(OpenError::Unsupported(NO_REPLAY.into()));
        }
        let opening = plan.into_iter().map(|source| {
            let start = match snapshot.connectors[source.connector].replays() || group.is_some() {
                true => snapshot.start(source.connector, &reading.from, asked.as_ref()),
                false => Start::Latest, // beside others that can do more
            };
            snapshot.open_source(source, start, group.clone())
        });
        let (mut sources, mut gone) = (SmallVec::new(), Vec::new());
        for opened in join_all(opening).await {
            match opened {
                Ok(source) => sources.push(source),
                Err((connector, ReadError::Gone { resume, detail })) => gone.push((connector, resume, detail)),
                Err((_, ReadError::Unsupported { detail })) => return Err(OpenError::Unsupported(detail)),
                Err((connector, problem @ ReadError::Busy { .. })) => {
                    return Err(OpenError::Busy(format!("{}: {problem}", snapshot.connectors[connector].name)));
                }
                Err((connector, problem)) => {
                    return Err(OpenError::NotNow(format!("{}: {problem}", snapshot.connectors[connector].name)));
                }
            }
        }
        if !gone.is_empty() {
            return Err(self.gone(&snapshot, asked.unwrap_or_else(|| Cursor::new(&text)), gone));
        }
        let has_cursor = (reading.cursors || reading.positions) && reading.group.is_none() && has_positions;
        let cursor = has_cursor.then(|| Cursor::new(&text));
        let mut flow = Flow {
            gateway: self.clone(),
            superseded: snapshot.superseded.clone(),
            snapshot,
            fresh: reading.from.in_fresh_topics(),
            filters: reading.channels,
            events: reading.events,
            group,
            sources,
            succession: Succession::default(),
            arrived: Arrived { of: Of::Connector(0), deliveries: SmallVec::new().into_iter() },
            cursor,
            is_reported: false,
        };
        if reading.positions {
            flow.catch_up();
        } else {
            flow.cursor().map_err(|_| OpenError::CursorTooLong)?;
        }
        Ok(flow)
    }
}

impl Gateway {
    /// What is gone at these connectors, and the cursor with which reading can go on.
    fn gone(&self, snapshot: &Snapshot, mut cursor: Cursor, gone: Vec<(usize, Positions, String)>) -> OpenError {
        self.metrics.skip();
        let mut details = Vec::with_capacity(gone.len());
        for (connector, resume, detail) in gone {
            *cursor.positions_mut(&snapshot.connectors[connector].name) = resume;
            details.push(detail);
        }
        OpenError::Gone { cursor: cursor.encode(), detail: details.join("; ") }
    }
}

impl Snapshot {
    /// Where reading from a connector begins.
    fn start(&self, connector: usize, from: &Begin, cursor: Option<&Cursor>) -> Start {
        match (from, cursor) {
            (Begin::Cursor(_) | Begin::After(_), Some(cursor)) => {
                Start::After(cursor.positions(&self.connectors[connector].name).cloned().unwrap_or_default())
            }
            (Begin::Earliest, _) => Start::Earliest,
            (Begin::Time(time), _) => Start::At(*time),
            (Begin::Latest | Begin::Cursor(_) | Begin::After(_), _) => Start::Latest,
        }
    }

    async fn open_source(
        &self,
        Source { connector, topics }: Source,
        start: Start,
        group: Option<Str>,
    ) -> Result<OpenSource, (usize, ReadError)> {
        let request = SubscribeRequest { topics: topics.clone(), start, group, compacted: false };
        let patience = self.limits.connectors.publish_timeout;
        match timeout(patience, self.connectors[connector].connector.subscribe(request)).await {
            Ok(Ok(subscription)) => Ok(OpenSource { connector, topics, subscription }),
            Ok(Err(problem)) => Err((connector, problem)),
            Err(_) => Err((connector, ReadError::Down { detail: format!("no answer within {patience:?}") })),
        }
    }
}

/// A group's name at the broker: that of the subscription; or that of the client, and what tells groups of the same name that read
/// something else apart.
fn group_at_broker(name: &GroupName, reading: &Reading) -> Str {
    let name = match name {
        GroupName::OfSubscription(name) => return name.clone(),
        GroupName::OfClient(name) => name,
    };
    let events = reading.events.as_ref().map_or("", EventFilter::as_str);
    let digest: [u8; 32] = Sha256::digest(format!("{}\n{events}", reading.channels.text())).into();
    let [a, b, c, d, ..] = digest;
    format!("{name}.{a:02x}{b:02x}{c:02x}{d:02x}").into()
}
