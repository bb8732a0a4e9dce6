//! A connection takes a session, writes where it stands, and leaves it.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use futures::{
    future::{BoxFuture, FutureExt, ready},
    task::AtomicWaker,
};
use meshgate_api::{Str, cursor::Cursor};
use serde_json::value::RawValue;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{Envelope, LeftWill, Ownership, PATIENCE, Sessions, known::Before, known::Kept, millis, record};
use crate::{codec::mqtt::Connect, protocols::mqtt::session::Session, state::Unstored};

/// How often a session is taken again that another replica has taken meanwhile.
const CLAIMS: usize = 16;
/// Wills of clients of this replica while it ends are published after this at the earliest, by another.
const DRAIN: Duration = Duration::from_secs(10);

/// A session that a connection has. Dropping it without [`park`](Self::park) leaves what the state has of it.
#[derive(Debug)]
pub(in super::super) struct Claim {
    sessions: Arc<Sessions>,
    pub(in super::super) client_id: Str,
    ownership: Hold,
    /// 0: the state has no record of it, and needs none.
    epoch: u64,
    expiry: u32,
    will: Option<LeftWill>,
    /// What there was of it before.
    pub(in super::super) earlier: Option<Box<Session>>,
}

/// Somebody here has the session as long as this is there.
#[derive(Debug)]
pub(super) struct Hold {
    sessions: Arc<Sessions>,
    client_id: Str,
    pub(super) ownership: Arc<Ownership>,
}

/// How a connection leaves its session.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Left {
    /// Seconds that the session lasts; `u32::MAX`: for ever.
    pub(in super::super) expiry: u32,
    /// The will is to be published.
    pub(in super::super) has_will: bool,
    /// This replica ends.
    pub(in super::super) is_draining: bool,
}

/// Why a client does not get its session.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum Unclaimed {
    #[error("the session cannot be stored: {0}")]
    Unstored(#[from] Unstored),
    #[error("as many sessions as `limits.sessions` allows wait for their clients")]
    Full,
    #[error("other connections of this client identifier take the session again and again")]
    Contended,
}

impl Sessions {
    /// Makes a connection the owner of a client's session; who was it before, here or at another replica, is told, and waited for.
    pub(in super::super) async fn claim(
        self: &Arc<Self>,
        client_id: Str,
        connect: &Connect,
        is_new: bool,
    ) -> Result<Claim, Unclaimed> {
        let ownership = self.own(&client_id).await;
        let (expiry, will) = (connect.lasting(), connect.will.as_ref().map(LeftWill::new));
        let mut claim = Claim { sessions: self.clone(), client_id, ownership, epoch: 0, expiry, will, earlier: None };
        let (is_known, others) = {
            let known = self.known.lock();
            (known.get(&claim.client_id).is_some(), known.sessions())
        };
        let is_needed = is_known || expiry > 0 || claim.will.is_some() || self.state.is_shared() && !is_new;
        if !is_known && expiry > 0 && others >= self.gateway.now().limits.sessions {
            return Err(Unclaimed::Full);
        }
        if is_needed {
            claim.win(connect.clean_start).await?;
        }
        Ok(claim)
    }

    /// Waits until the session is nobody's here.
    async fn own(self: &Arc<Self>, client_id: &Str) -> Hold {
        loop {
            let owner = match self.try_own(client_id) {
                Ok(hold) => return hold,
                Err(owner) => owner,
            };
            let mut given_up = owner.given_up.subscribe();
            owner.want();
            if timeout(PATIENCE, given_up.wait_for(|given_up| *given_up)).await.is_err() {
                tracing::warn!(client = %client_id, "a connection does not give its session up: it is taken from it");
                self.disown(client_id, &owner);
            }
        }
    }

    /// An error: somebody has it here.
    pub(super) fn try_own(self: &Arc<Self>, client_id: &Str) -> Result<Hold, Arc<Ownership>> {
        let mut known = self.known.lock();
        if let Some(owner) = known.owned.get(client_id) {
            return Err(owner.clone());
        }
        let ownership = Arc::<Ownership>::default();
        known.owned.insert(client_id.clone(), ownership.clone());
        Ok(Hold { sessions: self.clone(), client_id: client_id.clone(), ownership })
    }

    fn disown(&self, client_id: &str, owner: &Arc<Ownership>) {
        let mut known = self.known.lock();
        if known.owned.get(client_id).is_some_and(|present| Arc::ptr_eq(present, owner)) {
            known.owned.remove(client_id);
        }
    }

    pub(super) fn kept(&self, client_id: &str) -> Option<Kept> {
        self.known.lock().get(client_id).cloned()
    }
}

impl Claim {
    /// Writes that the session is here, as often as needed to be the last, and takes over what there is of it.
    async fn win(&mut self, is_clean: bool) -> Result<(), Unclaimed> {
        for _ in 0..CLAIMS {
            let before = self.sessions.kept(&self.client_id);
            let written = before.as_ref().filter(|_| !is_clean).map(|before| before.session.clone());
            self.epoch = before.map_or(0, |before| before.epoch) + 1;
            let claim = Envelope { is_claim: !is_clean, ..self.envelope(written.clone()) };
            self.sessions.put(&self.client_id, &claim).await?;
            let won = self.sessions.kept(&self.client_id);
            if let Some(won) = won.filter(|won| won.epoch == self.epoch && *won.owner == *self.sessions.replica) {
                self.ownership.ownership.is_wanted.store(false, Release); // whoever wanted it before has lost it
                return self.take_over(won, written.as_deref(), is_clean).await;
            }
        }
        Err(Unclaimed::Contended)
    }

    /// `written`: what the claim says of the session.
    async fn take_over(&mut self, won: Kept, written: Option<&RawValue>, is_clean: bool) -> Result<(), Unclaimed> {
        let now = millis(SystemTime::now());
        let Some(before) = won.before else { return Ok(()) };
        let has_expired = !before.is_connected && before.expires.is_some_and(|expires| expires <= now);
        let is_over = is_clean || has_expired;
        self.succeed_will(&before, is_over, now);
        if is_over && !is_clean {
            self.sessions.put(&self.client_id, &self.envelope(None)).await?;
        }
        if is_over {
            return Ok(());
        }
        if before.is_connected && *before.owner != *self.sessions.replica && self.is_alive(&before.owner) {
            let mut handed_over = self.ownership.ownership.handed_over.subscribe();
            if timeout(PATIENCE, handed_over.wait_for(|is| *is)).await.is_err() {
                tracing::debug!(client = %self.client_id, "the replica that had a session does not hand it over");
            }
        }
        let session = self.sessions.kept(&self.client_id).map_or(won.session, |kept| kept.session);
        match record::session(&session) {
            Ok(session) => self.earlier = session,
            Err(problem) => {
                tracing::error!(client = %self.client_id, "what there was of a session cannot be read: {problem}");
            }
        }
        if written.map(RawValue::get) != Some(session.get()) {
            self.sessions.put(&self.client_id, &self.envelope(Some(session))).await?;
        }
        Ok(())
    }

    fn is_alive(&self, replica: &str) -> bool {
        self.sessions.known.lock().is_alive(replica, Instant::now())
    }

    /// The will of an ended session, or one whose time had come, is published now; the session's next connection takes others away
    /// [MQTT-3.1.3-9]. While its client is connected to another replica, that one decides.
    fn succeed_will(&self, before: &Before, is_over: bool, now: u64) {
        let Some(will) = &before.will else { return };
        if !before.is_connected && (is_over || will.at.is_some_and(|at| at <= now)) {
            tokio::spawn(self.sessions.clone().publish_will(self.client_id.clone(), will.clone()));
        }
    }

    fn envelope(&self, session: Option<Box<RawValue>>) -> Envelope {
        let new = Envelope::new(self.epoch, self.sessions.replica.clone(), self.expiry, session);
        Envelope { will: self.will.clone(), ..new }
    }

    /// Ready when somebody else wants the session.
    pub(in super::super) fn poll_wanted(&self, cx: &mut Context<'_>) -> Poll<()> {
        let ownership = &self.ownership.ownership;
        ownership.waker.register(cx.waker());
        if ownership.is_wanted.load(Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether where the session stands is to be written from time to time: others may have to go on with it.
    pub(in super::super) fn is_recorded(&self) -> bool {
        self.epoch > 0 && self.expiry > 0 && self.sessions.state.is_shared()
    }

    /// Whether it lasts longer than its connection.
    pub(in super::super) fn lasts(&self) -> bool {
        self.epoch > 0 && self.expiry > 0
    }

    /// Somebody who had the session before has written later than its owner.
    pub(in super::super) fn is_overwritten(&self) -> bool {
        self.ownership.ownership.is_overwritten.swap(false, AcqRel)
    }

    pub(in super::super) fn tell_unstored(&self, problem: &Unstored) {
        tracing::debug!(client = %self.client_id, "where a session stands is not stored: {problem}");
        self.sessions.gateway.metrics.state_failures.inc();
    }

    /// Writes where the session stands.
    pub(in super::super) fn save(
        &self,
        session: &Session,
        after: Option<&Cursor>,
    ) -> BoxFuture<'static, Result<(), Unstored>> {
        let record = self.content(session, after, false).and_then(|content| self.envelope(Some(content)).message());
        match record {
            Ok(record) => self.sessions.state.put(super::session_key(&self.client_id), record),
            Err(problem) => ready(Err(problem)).boxed(),
        }
    }

    fn content(&self, session: &Session, after: Option<&Cursor>, is_final: bool) -> Result<Box<RawValue>, Unstored> {
        let (content, left_out) = record::content(session, after, is_final, self.sessions.state.most() / 2)?;
        if left_out > 0 {
            tracing::warn!(client = %self.client_id, left_out, "what a session had not confirmed is more than `state` takes");
            self.sessions.gateway.metrics.skip_many(left_out as u64);
        }
        Ok(content)
    }

    /// The connection has ended: the session waits, or is over.
    pub(in super::super) async fn park(self, session: &Session, after: Option<&Cursor>, left: Left) {
        let Self { sessions, client_id, ownership, .. } = &self;
        if !ownership.is_held() {
            return; // it was taken away
        }
        let will = self.will.clone().filter(|_| left.has_will);
        let (now, is_shared) = (SystemTime::now(), sessions.state.is_shared());
        let is_elsewhere = sessions.kept(client_id).is_some_and(|kept| kept.epoch > self.epoch);
        if self.epoch == 0 || is_elsewhere && left.expiry == 0 {
            if let Some(will) = will.filter(|will| is_elsewhere && !will.has_delay()) {
                sessions.clone().publish_will(client_id.clone(), will).await;
            }
            return;
        }
        let stored = if left.expiry == 0 && will.is_none() {
            sessions.remove(client_id).await
        } else {
            let linger = if left.is_draining && is_shared { DRAIN } else { Duration::ZERO };
            let lasts =
                Duration::from_secs(left.expiry.into()).max(if will.is_some() { linger } else { Duration::ZERO });
            let known = || sessions.kept(client_id).map(|kept| kept.session);
            let content = || self.content(session, after, true).ok().or_else(known); // rather what was written last than nothing
            let mut envelope = self.envelope((left.expiry > 0).then(content).flatten());
            envelope.is_connected = false;
            envelope.expiry = left.expiry;
            envelope.expires = (left.expiry != u32::MAX).then(|| millis(now + lasts));
            envelope.will = will.map(|will| will.left(now, linger));
            if is_elsewhere && let Some(will) = envelope.will.take().filter(|will| !will.has_delay()) {
                tokio::spawn(sessions.clone().publish_will(client_id.clone(), will)); // its next owner has a will of its own
            }
            sessions.put(client_id, &envelope).await
        };
        if let Err(problem) = stored {
            tracing::warn!(client = %client_id, "where a session stands is not stored: what its client had confirmed since the last time comes again: {problem}");
        }
        let (sessions, client_id) = (sessions.clone(), client_id.clone());
        drop(self);
        if left.is_draining {
            sessions.settle_due(&client_id).await;
        } else {
            tokio::spawn(async move { sessions.settle_due(&client_id).await });
        }
    }
}

impl Hold {
    pub(super) fn client_id(&self) -> &Str {
        &self.client_id
    }

    /// It was not taken away.
    pub(super) fn is_held(&self) -> bool {
        let known = self.sessions.known.lock();
        known.owned.get(&self.client_id).is_some_and(|present| Arc::ptr_eq(present, &self.ownership))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.sessions.disown(&self.client_id, &self.ownership);
        self.ownership.given_up.send_replace(true);
    }
}

impl Ownership {
    pub(super) fn want(&self) {
        self.is_wanted.store(true, Release);
        self.waker.wake();
    }
}

impl Default for Ownership {
    fn default() -> Self {
        Self {
            is_wanted: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            given_up: watch::Sender::new(false),
            handed_over: watch::Sender::new(false),
            is_overwritten: AtomicBool::new(false),
        }
    }
}
