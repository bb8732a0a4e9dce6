//! The groups that a connector serves in this process, by name: who joins one that is served already becomes another member of it.
//!
//! The connector's side is a task or a thread for each group. It reads as long as [`Served::leave`] says that somebody is there, tells
//! how far it is at the broker ([`Local::turn`]), and ends with [`Served::end`].

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{Bounds, Group, Keeper, Member};
use crate::{
    Str,
    connector::{GroupFigures, ReadError},
    topic::TopicSet,
};

/// How far a group is at the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It is not known yet where it stands.
    Beginning,
    /// What is published now it gets.
    Standing,
    /// The broker refuses it; why.
    Refused(String),
    /// It is not served any more.
    Over,
}

/// A group that is served here.
#[derive(Debug)]
pub struct Local<K> {
    /// Its name at the broker.
    pub name: Str,
    /// Its members here.
    pub group: Arc<Group>,
    /// The connector's side.
    pub keeper: Arc<K>,
    topics: Mutex<TopicSet>,
    phase: watch::Sender<Phase>,
    is_closing: AtomicBool,
}

impl<K: Keeper + 'static> Local<K> {
    /// A group without members, whose members will read `topics`.
    pub fn new(name: Str, topics: TopicSet, bounds: Bounds, keeper: K) -> Self {
        let keeper = Arc::new(keeper);
        Self {
            name,
            group: Group::new(bounds, keeper.clone()),
            keeper,
            topics: Mutex::new(topics),
            phase: watch::Sender::new(Phase::Beginning),
            is_closing: AtomicBool::new(false),
        }
    }

    /// What its members read.
    pub fn topics(&self) -> TopicSet {
        self.topics.lock().clone()
    }

    /// Whether its members read this topic.
    pub fn reads(&self, topic: &str) -> bool {
        self.topics.lock().contains(topic)
    }

    /// How far it is.
    pub fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    /// It has come so far.
    pub fn turn(&self, phase: Phase) {
        self.phase.send_if_modified(|own| {
            let is_news = *own != phase;
            *own = phase;
            is_news
        });
    }

    /// It is to end.
    pub fn is_closing(&self) -> bool {
        self.is_closing.load(Relaxed)
    }

    /// Has it end.
    pub fn close(&self) {
        self.is_closing.store(true, Relaxed);
        self.keeper.attend();
    }

    /// The routes may have changed since others joined.
    fn turn_to(&self, topics: TopicSet, stands_anew: bool) {
        let mut own = self.topics.lock();
        if *own == topics {
            return;
        }
        *own = topics;
        if stands_anew && *self.phase.borrow() != Phase::Over {
            self.turn(Phase::Beginning);
        }
        drop(own);
        self.keeper.attend();
    }

    async fn stands(&self) -> Result<(), ReadError> {
        let mut phase = self.phase.subscribe();
        let phase = phase.wait_for(|phase| *phase != Phase::Beginning).await.map(|phase| phase.clone());
        match phase {
            Ok(Phase::Standing) => Ok(()),
            Ok(Phase::Refused(detail)) => Err(ReadError::Down { detail }),
            _ => Err(closing()),
        }
    }

    async fn over(&self) {
        let mut phase = self.phase.subscribe();
        drop(phase.wait_for(|phase| *phase == Phase::Over).await); // an error: nobody is there to say it
    }
}

/// Those of one connector.
#[derive(Debug)]
pub struct Served<K> {
    by_name: Mutex<HashMap<Str, Arc<Local<K>>>>,
    /// How many there may be.
    most: usize,
    /// A group whose topics change stands only when the broker has confirmed that.
    stands_anew: bool,
    /// Set aside by groups that are over.
    rejected: AtomicU64,
}

impl<K: Keeper + 'static> Served<K> {
    /// None yet, and never more than `most`.
    pub fn new(most: usize) -> Self {
        Self { by_name: Mutex::default(), most, stands_anew: false, rejected: AtomicU64::new(0) }
    }

    /// The same where a group whose topics change stands only when the broker has confirmed that.
    pub fn confirmed_by_broker(most: usize) -> Self {
        Self { stands_anew: true, ..Self::new(most) }
    }

    /// A new member of the group `name`, once that stands at the broker. Of a group that is not served yet `keeper` makes the
    /// connector's side, and `serve` begins to serve it.
    pub async fn join(
        &self,
        name: Str,
        topics: TopicSet,
        bounds: Bounds,
        keeper: impl FnOnce() -> K,
        serve: impl FnOnce(&Arc<Local<K>>) -> Result<(), ReadError>,
    ) -> Result<Member, ReadError> {
        let (local, member) = self.enter(name, topics, bounds, keeper, serve)?;
        local.stands().await?;
        Ok(member)
    }

    fn enter(
        &self,
        name: Str,
        topics: TopicSet,
        bounds: Bounds,
        keeper: impl FnOnce() -> K,
        serve: impl FnOnce(&Arc<Local<K>>) -> Result<(), ReadError>,
    ) -> Result<(Arc<Local<K>>, Member), ReadError> {
        let mut by_name = self.by_name.lock();
        if let Some(local) = by_name.get(&name) {
            local.turn_to(topics, self.stands_anew);
            return Ok((local.clone(), local.group.join()));
        }
        if by_name.len() >= self.most {
            return Err(ReadError::Busy { detail: format!("the connector serves {} groups already", self.most) });
        }
        let local = Arc::new(Local::new(name.clone(), topics, bounds, keeper()));
        let member = local.group.join();
        serve(&local)?;
        by_name.insert(name, local.clone());
        Ok((local, member))
    }

    /// Forgets a group that has no members, or is to end. Who joins does so under the lock: it is left for good then.
    pub fn leave(&self, local: &Local<K>) -> bool {
        let mut by_name = self.by_name.lock();
        let is_left = local.group.members() == 0 || local.is_closing();
        if is_left {
            self.remove(&mut by_name, local);
        }
        is_left
    }

    /// Nobody serves the group any more.
    pub fn end(&self, local: &Local<K>) {
        local.group.end(closing());
        self.remove(&mut self.by_name.lock(), local);
        local.turn(Phase::Over);
    }

    /// Takes it off the list; what it has counted stays.
    fn remove(&self, by_name: &mut HashMap<Str, Arc<Local<K>>>, local: &Local<K>) {
        if by_name.get(&local.name).is_some_and(|other| std::ptr::eq(&**other, local)) {
            by_name.remove(&local.name);
            self.rejected.fetch_add(local.group.rejected(), Relaxed);
        }
    }

    /// Has all groups end, so that what is settled is confirmed at the broker before `deadline`.
    pub async fn close(&self, connector: &Str, deadline: Instant) {
        let all: Vec<_> = self.by_name.lock().values().cloned().collect();
        self.close_all();
        for local in all {
            if timeout_at(deadline, local.over()).await.is_err() {
                tracing::warn!(
                    %connector, group = %local.name,
                    "the group was not closed in time: events that were confirmed last may come again"
                );
            }
        }
    }

    /// Has all groups end, without waiting for it.
    pub fn close_all(&self) {
        self.by_name.lock().values().for_each(|local| local.close());
    }

    /// Whether each group has come as far as it will for now: it stands, or is refused.
    pub fn stand(&self) -> bool {
        self.by_name.lock().values().all(|local| *local.phase.borrow() != Phase::Beginning)
    }

    /// What is told of each; `lag` and `skipped` the connector knows.
    pub fn each(&self, lag_and_skipped: impl Fn(&Local<K>) -> (u64, u64)) -> Vec<GroupFigures> {
        let by_name = self.by_name.lock();
        let each = by_name.values().map(|local| {
            let (lag, skipped) = lag_and_skipped(local);
            let (members, unsettled) = (local.group.members() as u64, local.group.unsettled() as u64);
            GroupFigures { name: local.name.clone(), members, unsettled, lag, skipped }
        });
        each.collect()
    }

    /// Something of all groups, added up.
    pub fn sum(&self, of: impl Fn(&Local<K>) -> u64) -> u64 {
        self.by_name.lock().values().map(|local| of(local)).sum()
    }

    /// Groups, their members here, records that are not settled, and those that were set aside.
    pub fn figures(&self) -> [(&'static str, u64); 4] {
        let rejected = self.rejected.load(Relaxed);
        [
            ("groups", self.sum(|_| 1)),
            ("group_members", self.sum(|local| local.group.members() as u64)),
            ("group_unsettled", self.sum(|local| local.group.unsettled() as u64)),
            ("group_rejected", rejected + self.sum(|local| local.group.rejected())),
        ]
    }
}

fn closing() -> ReadError {
    ReadError::Down { detail: "the connector is closing".into() }
}

#[cfg(test)]
mod tests;
