//! What becomes of sessions that nobody has: their wills are published, and they end. Each replica does it for those that it had last, and
//! for those of replicas that are gone.

use std::{
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use futures::{StreamExt, stream};
use meshgate_api::Str;
use tokio::time::{Instant, sleep};

use super::{Envelope, LeftWill, Sessions, claim::Hold, known::Kept, millis, record, replica_key};
use crate::protocols::mqtt::will;

/// Between two looks what is due.
const PACE: Duration = Duration::from_millis(500);
/// Between two signs of life to other replicas.
const PULSE: Duration = Duration::from_secs(3);
/// For a replica that is gone the first of the others acts at once, each next one so much later.
const RANK: Duration = Duration::from_secs(2);
/// Sessions that are settled at once.
const AT_ONCE: usize = 64;

/// As long as there are sessions.
pub(super) async fn run(sessions: Weak<Sessions>) {
    let mut pulse: Option<Instant> = None;
    while let Some(sessions) = sessions.upgrade() {
        if sessions.state.is_shared() && pulse.is_none_or(|pulse| pulse.elapsed() >= PULSE) {
            pulse = Some(Instant::now());
            let alive = sessions.state.put(replica_key(&sessions.replica), record::record(b"true".to_vec()));
            tokio::spawn(async move {
                if let Err(problem) = alive.await {
                    tracing::debug!("other replicas do not hear of this one: {problem}");
                }
            });
        }
        if sessions.state.standing().is_read {
            sessions.clone().settle_all().await;
        }
        drop(sessions);
        sleep(PACE).await;
    }
}

impl Sessions {
    async fn settle_all(self: Arc<Self>) {
        let (gone, due) = {
            let mut known = self.known.lock();
            let (heard, now) = (Instant::now(), SystemTime::now());
            let patience = RANK * known.rank(&self.replica, heard);
            let heard = heard.checked_sub(patience).unwrap_or(heard);
            let mut due = known.due(&self.replica, millis(now), millis(now - patience), heard);
            due.extend(known.abandoned(&self.replica, heard));
            let gone = known.gone(heard);
            (gone, due)
        };
        let settle = |client_id: Str| {
            let sessions = self.clone();
            async move { sessions.settle_due(&client_id).await }
        };
        stream::iter(due).for_each_concurrent(AT_ONCE, settle).await;
        for replica in gone {
            if let Err(problem) = self.state.put(replica_key(&replica), record::record(Vec::new())).await {
                tracing::debug!("the record of a replica that is gone stays: {problem}");
            }
        }
    }

    /// Does what is due about a session, unless a connection here has it.
    pub(super) async fn settle_due(self: &Arc<Self>, client_id: &Str) {
        let Ok(hold) = self.try_own(client_id) else { return };
        let Some(kept) = self.kept(client_id) else { return };
        if *kept.owner != *self.replica && self.known.lock().is_alive(&kept.owner, Instant::now()) {
            return; // that one does it
        }
        let now = millis(SystemTime::now());
        let is_due = |at: Option<u64>| at.is_some_and(|at| at <= now);
        if !kept.is_connected && !is_due(kept.expires) && !is_due(kept.will.as_ref().and_then(|will| will.at)) {
            return;
        }
        let Some(mut kept) = self.inherit(client_id, kept).await else { return };
        let has_expired = is_due(kept.expires);
        if let Some(will) = kept.will.take_if(|will| has_expired || is_due(will.at))
            && !self.clone().publish_will(client_id.clone(), will.clone()).await
        {
            return; // it is tried again
        }
        self.finish(&hold, kept, has_expired).await;
    }

    /// Makes a session that another replica had one of this one's. `None`: it is somebody else's.
    async fn inherit(&self, client_id: &str, mut kept: Kept) -> Option<Kept> {
        if *kept.owner == *self.replica {
            return (!kept.is_connected).then_some(kept);
        }
        if kept.is_connected {
            let now = SystemTime::now(); // its connection is lost with its replica
            let lasts = Duration::from_secs(kept.expiry.into());
            kept.expires = (kept.expiry != u32::MAX).then(|| millis(now + lasts));
            kept.will = kept.will.map(|will| will.left(now, Duration::ZERO));
        }
        (kept.epoch, kept.owner, kept.is_connected) = (kept.epoch + 1, self.replica.clone(), false);
        let claim = Envelope { is_claim: true, ..envelope(&kept) };
        self.put(client_id, &claim).await.ok()?;
        self.kept(client_id).filter(|now| now.epoch == kept.epoch && *now.owner == *self.replica)
    }

    async fn finish(&self, hold: &Hold, kept: Kept, has_expired: bool) {
        let client_id = hold.client_id();
        let is_ours = hold.is_held() && self.kept(client_id).is_some_and(|now| now.epoch == kept.epoch);
        if !is_ours {
            return; // somebody has taken it meanwhile
        }
        let stored =
            if has_expired { self.remove(client_id).await } else { self.put(client_id, &envelope(&kept)).await };
        if let Err(problem) = stored {
            tracing::debug!(client = %client_id, "what became of a session is not stored: {problem}");
        }
    }

    /// Whether it needs not be published again.
    pub(super) async fn publish_will(self: Arc<Self>, client_id: Str, will: LeftWill) -> bool {
        match will.publish() {
            Some(publish) => will::publish(&self.gateway, &self.retained, &client_id, publish).await,
            None => {
                tracing::error!(client = %client_id, "a will that was kept cannot be read");
                true
            }
        }
    }
}

/// The record of a session that nobody has.
fn envelope(kept: &Kept) -> Envelope {
    let new = Envelope::new(kept.epoch, kept.owner.clone(), kept.expiry, Some(kept.session.clone()));
    Envelope { is_connected: false, expires: kept.expires, will: kept.will.clone(), ..new }
}
