//! A private reader: feeds for one reader who is not, or no longer, where the live buffer is.
//!
//! What waits for the reader holds about `limits.reader_memory`; the crate's own readers hold some messages of each partition beside it.

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    sync::{Arc, atomic::AtomicU64},
    task::{Context, Poll, ready},
};

use meshgate_api::{
    connector::{READ_BYTES, Record},
    log::Records,
    position::Positions,
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::JoinSet,
};

use crate::{
    client::Client,
    feed::{Feed, Lane},
};

/// Records of each feed that wait for the reader.
const WAITING: usize = 16;

/// A private reader. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Replay {
    records: mpsc::Receiver<Arc<Record>>,
    pending: VecDeque<Arc<Record>>,
    from: Positions,
    _feeds: JoinSet<()>,
    _permit: OwnedSemaphorePermit,
}

impl Replay {
    /// Reads each partition from its place; where it is `compacted`, of what is old the last message of each key.
    pub(crate) fn start(
        client: &Arc<Client>,
        lanes: &[Lane],
        from: Positions,
        compacted: bool,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let (sender, records) = mpsc::channel(WAITING);
        let mut feeds = JoinSet::new();
        for lane in lanes {
            let at = from.get(&lane.topic, lane.number()).unwrap_or_default();
            let mut feed = Feed::new(client.clone(), lane, at, Arc::new(AtomicU64::new(0))).compacted(compacted);
            let sender = sender.clone();
            let read = async move { while sender.send(feed.next().await).await.is_ok() {} };
            feeds.spawn_on(read, client.runtime());
        }
        Self { records, pending: VecDeque::new(), from, _feeds: feeds, _permit: permit }
    }

    /// What it reads.
    pub(crate) fn partitions(&self) -> &Positions {
        &self.from
    }

    /// The next records: at most `max`, and about [`READ_BYTES`].
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>, max: NonZeroUsize) -> Poll<Records> {
        if self.pending.is_empty() {
            let mut read = Vec::new();
            ready!(self.records.poll_recv_many(cx, &mut read, WAITING));
            self.pending.extend(read);
        }
        let (mut records, mut room) = (Records::new(), READ_BYTES);
        while records.len() < max.get() && room > 0 {
            let Some(record) = self.pending.pop_front() else { break };
            room = room.saturating_sub(record.footprint());
            records.push(record);
        }
        Poll::Ready(records)
    }
}
