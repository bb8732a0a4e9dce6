//! Which client has which session: one connection at a time owns it, and while there is none it waits here until it expires.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Release},
        },
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::task::AtomicWaker;

use meshgate_api::Str;
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{retained::Retained, session::Session, will};
use crate::{codec::mqtt::Will, gateway::Gateway, telemetry::SessionFigures};

/// How long an owner may take to give its session up.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks which sessions have expired.
const PACE: Duration = Duration::from_millis(500);

/// All sessions of this process, by client identifier.
#[derive(Debug)]
pub(super) struct Sessions {
    gateway: Arc<Gateway>,
    retained: Arc<Retained>,
    by_client: Mutex<HashMap<Str, Entry>>,
}

#[derive(Debug)]
enum Entry {
    /// A connection has it.
    Owned(Arc<Ownership>),
    Parked(Parked),
}

#[derive(Debug)]
struct Parked {
    session: Box<Session>,
    /// `None`: never.
    expires: Option<Instant>,
    /// With the session's will.
    will_at: Option<Instant>,
}

/// A connection's hold on a session.
#[derive(Debug)]
struct Ownership {
    /// Somebody else wants it, and who is to be woken then.
    is_wanted: AtomicBool,
    waker: AtomicWaker,
    given_up: watch::Sender<bool>,
}

/// A session that a connection has. Dropping it ends the session.
#[derive(Debug)]
pub(super) struct Claim {
    sessions: Arc<Sessions>,
    pub(super) client_id: Str,
    ownership: Arc<Ownership>,
    /// What there was of it before.
    pub(super) earlier: Option<Box<Session>>,
}

impl Sessions {
    /// None yet; must be called within a runtime.
    pub(super) fn start(gateway: Arc<Gateway>, retained: Arc<Retained>) -> Arc<Self> {
        let sessions = Arc::new(Self { gateway, retained, by_client: Mutex::default() });
        let weak = Arc::downgrade(&sessions);
        tokio::spawn(async move {
            while let Some(sessions) = weak.upgrade() {
                sessions.expire(Instant::now());
                drop(sessions);
                sleep(PACE).await;
            }
        });
        sessions
    }

    /// Makes a connection the owner of a client's session; who was it before is told, and waited for.
    pub(super) async fn claim(self: &Arc<Self>, client_id: Str, clean_start: bool) -> Claim {
        loop {
            let owner = match self.take(&client_id, clean_start) {
                Ok(claim) => return claim,
                Err(owner) => owner,
            };
            let mut given_up = owner.given_up.subscribe();
            owner.is_wanted.store(true, Release);
            owner.waker.wake();
            if timeout(PATIENCE, given_up.wait_for(|given_up| *given_up)).await.is_err() {
                tracing::warn!(client = %client_id, "a connection does not give its session up: it is taken from it");
                self.remove(&client_id, &owner);
            }
        }
    }

    fn take(self: &Arc<Self>, client_id: &Str, clean_start: bool) -> Result<Claim, Arc<Ownership>> {
        let mut by_client = self.by_client.lock();
        let earlier = match by_client.get(client_id) {
            Some(Entry::Owned(owner)) => return Err(owner.clone()),
            Some(Entry::Parked(_)) => by_client.remove(client_id),
            None => None,
        };
        let ownership = Arc::new(Ownership {
            is_wanted: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            given_up: watch::Sender::new(false),
        });
        by_client.insert(client_id.clone(), Entry::Owned(ownership.clone()));
        drop(by_client);
        let mut session = match earlier {
            Some(Entry::Parked(parked)) => Some(parked.session),
            _ => None,
        };
        if let Some(earlier) = session.take_if(|_| clean_start) {
            self.end(client_id, *earlier); // the session ends, and with it the delay of its will [MQTT-3.1.3-9]
        }
        if let Some(session) = &mut session {
            session.will = None;
        }
        Ok(Claim { sessions: self.clone(), client_id: client_id.clone(), ownership, earlier: session })
    }

    fn remove(&self, client_id: &Str, owner: &Arc<Ownership>) {
        let mut by_client = self.by_client.lock();
        if let Some(Entry::Owned(known)) = by_client.get(client_id)
            && Arc::ptr_eq(known, owner)
        {
            by_client.remove(client_id);
        }
    }

    /// A session is over: what its client has left is published.
    fn end(&self, client_id: &Str, session: Session) {
        if let Some(will) = session.will {
            self.publish_will(client_id, will);
        }
    }

    fn publish_will(&self, client_id: &Str, will: Will) {
        let (gateway, retained) = (self.gateway.clone(), self.retained.clone());
        tokio::spawn(will::publish(gateway, retained, client_id.clone(), will));
    }

    fn expire(&self, now: Instant) {
        let mut by_client = self.by_client.lock();
        let mut wills = Vec::new();
        by_client.retain(|client_id, entry| {
            let Entry::Parked(parked) = entry else { return true };
            let has_expired = parked.expires.is_some_and(|expires| expires <= now);
            if has_expired || parked.will_at.is_some_and(|will_at| will_at <= now) {
                parked.will_at = None;
                wills.extend(parked.session.will.take().map(|will| (client_id.clone(), will)));
            }
            !has_expired
        });
        drop(by_client);
        wills.into_iter().for_each(|(client_id, will)| self.publish_will(&client_id, will));
    }

    /// How many there are.
    pub(super) fn figures(&self) -> SessionFigures {
        let by_client = self.by_client.lock();
        let parked = by_client.values().filter(|entry| matches!(entry, Entry::Parked(_))).count();
        SessionFigures { connected: by_client.len() - parked, parked }
    }
}

impl Claim {
    /// Ready when somebody else wants the session.
    pub(super) fn poll_wanted(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.ownership.waker.register(cx.waker());
        if self.ownership.is_wanted.load(Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The connection has ended; the session lasts for so many seconds, `u32::MAX` for ever.
    pub(super) fn park(self, session: Box<Session>, expiry: u32) {
        let sessions = self.sessions.clone();
        let mut by_client = sessions.by_client.lock();
        let is_owner =
            matches!(by_client.get(&self.client_id), Some(Entry::Owned(known)) if Arc::ptr_eq(known, &self.ownership));
        if !is_owner {
            return; // it was taken away
        }
        if expiry == 0 {
            by_client.remove(&self.client_id);
            drop(by_client);
            return sessions.end(&self.client_id, *session);
        }
        let now = Instant::now();
        let after = |seconds: u32| now + Duration::from_secs(seconds.into());
        let will_at = session.will.as_ref().map(|will| after(will.delay));
        let expires = (expiry != u32::MAX).then(|| after(expiry));
        by_client.insert(self.client_id.clone(), Entry::Parked(Parked { session, expires, will_at }));
        drop(by_client);
        sessions.expire(now); // a will without a delay
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.sessions.remove(&self.client_id, &self.ownership);
        self.ownership.given_up.send_replace(true);
    }
}
