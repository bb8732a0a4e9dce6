//! Committing: what is settled is told to the broker, and what the broker has is known from its answers alone.

use std::time::{Duration, Instant};

use meshgate_api::position::{Position, Positions};
use rdkafka::consumer::{CommitMode, Consumer};

use super::begin::news;
use crate::{
    coordinator::list,
    feed::{Broken, Feed},
};

/// Between two commits.
const PACE: Duration = Duration::from_secs(1);
/// How long an answer is awaited before the next commit.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a partition that moves waits for the answer to its last commit.
const LAST: Duration = Duration::from_secs(3);

/// What the broker has.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) committed: Positions,
    last: Option<Instant>,
    is_answered: bool,
}

impl Ledger {
    /// Takes in the broker's answers; why it did not take the last commit, if so.
    pub(super) fn hear(&mut self, feed: &Feed) -> Option<String> {
        let mut problem = None;
        for answer in feed.consumer().context().coordinator().commits() {
            self.is_answered = true;
            match answer {
                Ok(positions) => positions.into_iter().for_each(|at| self.committed.set(at)),
                Err(fault) => problem = Some(fault.to_string()),
            }
        }
        problem
    }

    /// Commits what has changed, if it is time to.
    pub(super) fn commit(&mut self, feed: &Feed, lows: &Positions) -> Result<(), Broken> {
        let rest = if self.is_answered { PACE } else { PATIENCE };
        if self.last.is_some_and(|last| last.elapsed() < rest) {
            return Ok(());
        }
        let changed = list(news(lows, &self.committed))?;
        if changed.count() > 0 {
            (self.last, self.is_answered) = (Some(Instant::now()), false);
            feed.consumer().commit(&changed, CommitMode::Async)?;
        }
        Ok(())
    }

    /// Commits what has changed, and waits a little for the answer.
    pub(super) fn commit_now(&mut self, feed: &Feed, lows: &Positions) -> Result<(), Broken> {
        let changed: Vec<_> = news(lows, &self.committed).cloned().collect();
        commit_now(feed, &changed)?.into_iter().for_each(|at| self.committed.set(at));
        Ok(())
    }
}

/// Commits and waits a little for the answer; what the broker has taken.
pub(super) fn commit_now<'a>(
    feed: &Feed,
    positions: impl IntoIterator<Item = &'a Position>,
) -> Result<Vec<Position>, Broken> {
    let all = list(positions)?;
    if all.count() == 0 {
        return Ok(Vec::new());
    }
    let began = Instant::now();
    feed.consumer().commit(&all, CommitMode::Async)?;
    let mut taken: Vec<Position> = Vec::new();
    while taken.len() < all.count() && began.elapsed() < LAST {
        feed.serve_for(Duration::from_millis(20))?;
        for answer in feed.consumer().context().coordinator().commits() {
            match answer {
                Ok(positions) => taken.extend(positions),
                Err(fault) => {
                    tracing::info!("the broker does not take a group's positions: {fault}");
                    return Ok(taken);
                }
            }
        }
    }
    Ok(taken)
}
