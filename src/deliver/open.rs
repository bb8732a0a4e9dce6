//! Opening a flow: what is asked for, and every connector's subscription to its part of it.

use std::{sync::Arc, time::SystemTime};

use futures::future::join_all;
use meshgate_api::{
    Str,
    connector::{ReadError, Start, SubscribeRequest},
    cursor::{Cursor, CursorError},
};
use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use tokio::time::timeout;

use super::{Arrived, EventFilter, Flow, Of, OpenSource, Succession, TOO_LONG};
use crate::{
    gateway::{Gateway, Snapshot},
    router::{ChannelFilter, Source},
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
    pub channels: ChannelFilter,
    /// Where to begin; in a group that exists already it does not count.
    pub from: Begin,
    /// Give a cursor after each event. A group has none: its position is at the broker.
    pub cursors: bool,
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
        let filter = &reading.channels;
        let snapshot = Arc::clone(&self.now());
        let plan = snapshot.router.plan(filter).ok_or(OpenError::NoRoute)?;
        let asked = match &reading.from {
            Begin::Cursor(_) if reading.group.is_some() => {
                return Err(OpenError::Unsupported(
                    "a group goes on from its own position: leave the cursor out".into(),
                ));
            }
            Begin::Cursor(text) => Some(Cursor::decode(text, filter.as_str())?),
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
            self.metrics.skip();
            let mut cursor = asked.unwrap_or_else(|| Cursor::new(filter.as_str()));
            for (connector, resume, _) in &gone {
                *cursor.positions_mut(&snapshot.connectors[*connector].name) = resume.clone();
            }
            let detail = gone.into_iter().map(|(_, _, detail)| detail).collect::<Vec<_>>().join("; ");
            return Err(OpenError::Gone { cursor: cursor.encode(), detail });
        }
        let has_cursor = reading.cursors && reading.group.is_none() && has_positions;
        let cursor = has_cursor.then(|| Cursor::new(filter.as_str()));
        let mut flow = Flow {
            gateway: self.clone(),
            superseded: snapshot.superseded.clone(),
            snapshot,
            fresh: reading.from.in_fresh_topics(),
            filter: reading.channels,
            events: reading.events,
            group,
            sources,
            succession: Succession::default(),
            arrived: Arrived { of: Of::Connector(0), deliveries: SmallVec::new().into_iter() },
            cursor,
            is_reported: false,
        };
        flow.cursor().map_err(|_| OpenError::CursorTooLong)?;
        Ok(flow)
    }
}

impl Snapshot {
    /// Where reading from a connector begins.
    fn start(&self, connector: usize, from: &Begin, cursor: Option<&Cursor>) -> Start {
        match (from, cursor) {
            (Begin::Cursor(_), Some(cursor)) => {
                Start::After(cursor.positions(&self.connectors[connector].name).cloned().unwrap_or_default())
            }
            (Begin::Earliest, _) => Start::Earliest,
            (Begin::Time(time), _) => Start::At(*time),
            (Begin::Latest | Begin::Cursor(_), _) => Start::Latest,
        }
    }

    async fn open_source(
        &self,
        Source { connector, topics }: Source,
        start: Start,
        group: Option<Str>,
    ) -> Result<OpenSource, (usize, ReadError)> {
        let request = SubscribeRequest { topics: topics.clone(), start, group };
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
    let digest: [u8; 32] = Sha256::digest(format!("{}\n{events}", reading.channels.as_str())).into();
    let [a, b, c, d, ..] = digest;
    format!("{name}.{a:02x}{b:02x}{c:02x}{d:02x}").into()
}
