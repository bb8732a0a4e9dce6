//! Which client has which session: one connection at a time owns it, at one replica, and while there is none it waits in `state`.
//!
//! Who takes a session writes a record with a higher epoch and reads the state as far as that. If then its own is the highest, the session
//! is its own: the owner before, wherever it is, has seen it too, gives up, and writes where it stood.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use futures::task::AtomicWaker;
use meshgate_api::{Str, message::Message};
use parking_lot::Mutex;
use tokio::{sync::watch, time::timeout};
use uuid::Uuid;

use super::{
    record::{self, Envelope, LeftWill, millis},
    retained::Retained,
};
use crate::{
    gateway::Gateway,
    state::{State, Unstored},
    telemetry::SessionFigures,
};

mod claim;
mod expiry;
mod known;
pub(super) use claim::{Claim, Left, Unclaimed};
use known::Known;

/// How long an owner may take to give its session up.
const PATIENCE: Duration = Duration::from_secs(1);

/// The sessions of all clients, as far as the state says of them.
pub(super) struct Sessions {
    gateway: Arc<Gateway>,
    retained: Arc<Retained>,
    state: Arc<dyn State>,
    /// What this process is called in records.
    replica: Str,
    known: Mutex<Known>,
}

/// A connection's hold on a session, or that of somebody who ends it.
#[derive(Debug)]
struct Ownership {
    /// Somebody else wants it, and who is to be woken then.
    is_wanted: AtomicBool,
    waker: AtomicWaker,
    given_up: watch::Sender<bool>,
    /// The owner before, at another replica, has written where it stood.
    handed_over: watch::Sender<bool>,
    /// What the state has of it is of somebody who had it before.
    is_overwritten: AtomicBool,
}

impl Sessions {
    /// Must be called within a runtime.
    pub(super) fn start(gateway: Arc<Gateway>, retained: Arc<Retained>, state: Arc<dyn State>) -> Arc<Self> {
        let replica = Str::from(Uuid::now_v7().simple().to_string());
        let sessions = Arc::new(Self { gateway, retained, state, replica, known: Mutex::default() });
        tokio::spawn(expiry::run(Arc::downgrade(&sessions)));
        sessions
    }

    /// Takes note of a record of a client.
    pub(super) fn apply(&self, client_id: &str, record: Option<&Message>) {
        let envelope = record.and_then(|record| record.event.data.as_ref()).map(|data| Envelope::read(data));
        match envelope {
            None => self.known.lock().remove(client_id),
            Some(Ok(envelope)) => self.known.lock().apply(&self.replica, client_id, envelope),
            Some(Err(problem)) => {
                tracing::error!(client = client_id, "the record of a session cannot be read: {problem}");
            }
        }
    }

    /// Takes note that a replica is there, or has gone.
    pub(super) fn hear(&self, replica: &str, is_there: bool) {
        self.known.lock().hear(replica, is_there);
    }

    /// How many clients are connected, and how many sessions wait for theirs.
    pub(super) fn figures(&self) -> SessionFigures {
        let (connected, parked) = self.known.lock().figures();
        SessionFigures { connected, parked }
    }

    /// Nothing more is done for sessions at this replica: others need not wait for it.
    pub(super) async fn leave(&self) {
        if self.state.is_shared() {
            let left = self.state.put(replica_key(&self.replica), record::record(Vec::new()));
            if !matches!(timeout(PATIENCE, left).await, Ok(Ok(()))) {
                tracing::warn!("other replicas do not know yet that this one has gone");
            }
        }
    }

    async fn put(&self, client_id: &str, envelope: &Envelope) -> Result<(), Unstored> {
        self.state.put(session_key(client_id), envelope.message()?).await
    }

    async fn remove(&self, client_id: &str) -> Result<(), Unstored> {
        self.state.put(session_key(client_id), record::record(Vec::new())).await
    }
}

/// The key of a session's record.
fn session_key(client_id: &str) -> Str {
    format!("session/{client_id}").into()
}

/// The key of a replica's record.
fn replica_key(replica: &str) -> Str {
    format!("replica/{replica}").into()
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("replica", &self.replica).field("state", &self.state).finish_non_exhaustive()
    }
}
