//! Small records that outlive a connection: MQTT sessions with their wills, and retained messages. Of each key the last record counts.
//!
//! There are two kinds: [`OfProcess`] keeps nothing by itself, so its records end with the process; [`OfTopic`] keeps them in a compacted
//! topic that every replica follows, record by record in the order of their storing. Whoever uses the records keeps what it needs of them
//! in memory: it is the [`Follow`]er that is told of each.

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;
use meshgate_api::{Str, message::Message};

mod of_process;
mod of_topic;
pub use of_process::OfProcess;
pub use of_topic::{OfTopic, not_compacted};

/// Where records are kept.
pub trait State: fmt::Debug + Send + Sync {
    /// Tells `follower` of every record that there is, and of every one that comes. To be called once, within a runtime.
    fn begin(&self, follower: Arc<dyn Follow>);

    /// Stores a record in the place of the one that its key has; one without data removes that. Answered once it is stored and the
    /// follower was told of it and of all that was stored before it. Puts of one key that do not wait for each other have no order.
    fn put(&self, key: Str, record: Message) -> BoxFuture<'static, Result<(), Unstored>>;

    /// Other replicas have the same records.
    fn is_shared(&self) -> bool;

    /// The most bytes that one record may have.
    fn most(&self) -> usize;

    /// Whether all is read that there was at the start, and what is the matter now.
    fn standing(&self) -> Standing;
}

/// Who is told of the records.
pub trait Follow: Send + Sync {
    /// The record that its key has from now on; `None`: it has none any more.
    fn apply(&self, key: &str, record: Option<&Message>);
}

/// How it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// All that there was at the start has been read.
    pub is_read: bool,
    /// What is the matter.
    pub detail: Option<String>,
}

/// A record is not stored, or it is not known whether it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unstored(pub String);

fn is_removal(record: &Message) -> bool {
    record.event.data.as_ref().is_none_or(|data| data.is_empty())
}
