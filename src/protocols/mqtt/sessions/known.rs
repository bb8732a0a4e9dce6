//! What the state says of sessions and replicas, and who has one here. Pure: records in, consequences out.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, atomic::Ordering::Release},
};

use meshgate_api::Str;
use serde_json::value::RawValue;
use tokio::time::{Duration, Instant};

use super::{Envelope, LeftWill, Ownership};

/// A replica of which nothing is heard for so long is gone.
pub(super) const SILENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Known {
    /// Sessions that somebody has here.
    pub(super) owned: HashMap<Str, Arc<Ownership>>,
    records: HashMap<Str, Kept>,
    /// When something is to be done about a session that waits, in milliseconds since 1970.
    due: BTreeSet<(u64, Str)>,
    /// When each was heard last.
    replicas: HashMap<Str, Instant>,
}

/// What the state says of a session.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) epoch: u64,
    pub(super) owner: Str,
    pub(super) is_connected: bool,
    pub(super) expires: Option<u64>,
    pub(super) expiry: u32,
    pub(super) will: Option<LeftWill>,
    pub(super) session: Box<RawValue>,
    /// How it stood with the owner before.
    pub(super) before: Option<Box<Before>>,
}

/// What was known of a session when it was taken over.
#[derive(Clone, Debug)]
pub(super) struct Before {
    pub(super) owner: Str,
    pub(super) is_connected: bool,
    pub(super) expires: Option<u64>,
    pub(super) will: Option<LeftWill>,
}

impl Kept {
    /// When something is to be done about it.
    fn due(&self) -> Option<u64> {
        if self.is_connected {
            return None;
        }
        let will = self.will.as_ref().and_then(|will| will.at);
        will.into_iter().chain(self.expires).min()
    }
}

impl Known {
    pub(super) fn get(&self, client_id: &str) -> Option<&Kept> {
        self.records.get(client_id)
    }

    pub(super) fn sessions(&self) -> usize {
        self.records.len()
    }

    /// Connected clients, sessions that wait.
    pub(super) fn figures(&self) -> (usize, usize) {
        (self.owned.len(), self.records.values().filter(|kept| !kept.is_connected).count())
    }

    /// A record, read by the replica `here`.
    pub(super) fn apply(&mut self, here: &str, client_id: &str, envelope: Envelope) {
        let Envelope { epoch, owner, is_connected, is_claim, expires, expiry, will, mut session, .. } = envelope;
        self.hear(&owner, true); // whoever writes is there
        let mut before = None;
        if let Some(known) = self.records.get_mut(client_id) {
            if epoch < known.epoch {
                let is_last = !is_connected && known.before.as_ref().is_some_and(|before| before.owner == owner);
                if is_last {
                    known.session = session; // where the owner before stood in the end
                }
                return self.overwritten(client_id, is_last);
            }
            if epoch == known.epoch && owner != known.owner {
                return self.overwritten(client_id, false); // both took it, this one later
            }
            if is_claim {
                session.clone_from(&known.session);
            }
            before = match known.before.take() {
                before if epoch == known.epoch => before,
                _ => Some(Box::new(Before {
                    owner: known.owner.clone(),
                    is_connected: known.is_connected,
                    expires: known.expires,
                    will: known.will.take(),
                })),
            };
        }
        self.forget_due(client_id);
        let is_elsewhere = *owner != *here;
        let kept = Kept { epoch, owner, is_connected, expires, expiry, will, session, before };
        let client_id = Str::from(client_id);
        if let Some(due) = kept.due() {
            self.due.insert((due, client_id.clone()));
        }
        if is_elsewhere && let Some(ownership) = self.owned.get(&client_id) {
            ownership.want();
        }
        self.records.insert(client_id, kept);
    }

    /// A record came later than that of somebody who has taken the session over since: who has it writes its own again.
    fn overwritten(&self, client_id: &str, is_last: bool) {
        let Some(ownership) = self.owned.get(client_id) else { return };
        ownership.is_overwritten.store(true, Release);
        ownership.waker.wake();
        if is_last {
            ownership.handed_over.send_replace(true);
        }
    }

    pub(super) fn remove(&mut self, client_id: &str) {
        self.forget_due(client_id);
        if self.records.remove(client_id).is_some() {
            self.overwritten(client_id, false);
        }
    }

    fn forget_due(&mut self, client_id: &str) {
        if let Some(due) = self.records.get(client_id).and_then(Kept::due) {
            self.due.remove(&(due, Str::from(client_id)));
        }
    }

    pub(super) fn hear(&mut self, replica: &str, is_there: bool) {
        let now = Instant::now();
        match self.replicas.get_mut(replica) {
            _ if !is_there => drop(self.replicas.remove(replica)),
            Some(heard) => *heard = now,
            None => drop(self.replicas.insert(replica.into(), now)),
        }
    }

    pub(super) fn is_alive(&self, replica: &str, now: Instant) -> bool {
        self.replicas.get(replica).is_some_and(|heard| now.saturating_duration_since(*heard) < SILENCE)
    }

    /// How many live replicas come before this one where one has to act for another.
    pub(super) fn rank(&self, replica: &str, now: Instant) -> u32 {
        let before = self.replicas.keys().filter(|other| ***other < *replica && self.is_alive(other, now));
        u32::try_from(before.count()).unwrap_or(u32::MAX)
    }

    /// Replicas that have gone without saying so; they are forgotten.
    pub(super) fn gone(&mut self, now: Instant) -> Vec<Str> {
        let gone: Vec<_> = self.replicas.keys().filter(|replica| !self.is_alive(replica, now)).cloned().collect();
        self.replicas.retain(|replica, _| !gone.contains(replica));
        gone
    }

    /// Sessions of which something is due; of others' replicas only those that were due earlier than `others`.
    pub(super) fn due(&self, replica: &str, now: u64, others: u64, heard: Instant) -> Vec<Str> {
        let due = self.due.iter().take_while(|(due, _)| *due <= now);
        let is_ours = |(due, client_id): &&(u64, Str)| match self.records.get(client_id) {
            Some(kept) => *kept.owner == *replica || *due <= others && !self.is_alive(&kept.owner, heard),
            None => false,
        };
        due.filter(is_ours).map(|(_, client_id)| client_id.clone()).collect()
    }

    /// Sessions whose clients were connected to a replica that is gone.
    pub(super) fn abandoned(&self, replica: &str, heard: Instant) -> Vec<Str> {
        let is_abandoned = |(_, kept): &(&Str, &Kept)| {
            kept.is_connected && *kept.owner != *replica && !self.is_alive(&kept.owner, heard)
        };
        self.records.iter().filter(is_abandoned).map(|(client_id, _)| client_id.clone()).collect()
    }
}

#[cfg(test)]
mod tests;
