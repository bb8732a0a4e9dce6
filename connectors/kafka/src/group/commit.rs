//! Committing: what is settled is told to the broker, and what the broker has is known from its answers alone.
//!
//! rdkafka does not tell what becomes of a commit that nobody waits for, so a thread of its own waits for each; there is one at a time.

use std::time::{Duration, Instant};

use meshgate_api::position::{Position, Positions};
use rdkafka::{
    consumer::{CommitMode, Consumer},
    error::{KafkaError, KafkaResult},
};
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::begin::news;
use crate::{
    coordinator::list,
    feed::{Broken, Feed},
    metadata::spawn,
};

/// Between two commits.
const PACE: Duration = Duration::from_secs(1);
/// How long a partition that moves waits for the answer to its last commit.
const LAST: Duration = Duration::from_secs(3);
/// Between two looks whether there is an answer.
const LOOK: Duration = Duration::from_millis(5);

/// What the broker has.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) committed: Positions,
    /// What it has taken since the thread looked.
    pub(super) taken: Vec<Position>,
    last: Option<Instant>,
    under_way: Option<Commit>,
}

/// A commit and its answer.
type Commit = oneshot::Receiver<KafkaResult<Vec<Position>>>;

/// What became of a commit that somebody waited for.
#[derive(Debug)]
pub(super) enum Answer {
    Taken,
    Refused(KafkaError),
    /// None came in time.
    Open,
}

impl Ledger {
    /// Takes in the broker's answer, if there is one.
    pub(super) fn hear(&mut self) -> Option<KafkaResult<()>> {
        let answer = match self.under_way.as_mut()?.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Ok(answer) => answer,
            Err(TryRecvError::Closed) => Err(KafkaError::Canceled),
        };
        self.under_way = None;
        Some(answer.map(|positions| {
            positions.iter().for_each(|at| self.committed.set(at.clone()));
            self.taken.extend(positions);
        }))
    }

    /// Whether it is time to commit what has changed.
    pub(super) fn is_due(&self) -> bool {
        self.under_way.is_none() && self.last.is_none_or(|last| last.elapsed() >= PACE)
    }

    /// Commits what has changed.
    pub(super) fn commit(&mut self, feed: &Feed, lows: &Positions) -> Result<(), Broken> {
        self.last = Some(Instant::now());
        let changed: Vec<_> = news(lows, &self.committed).cloned().collect();
        if !changed.is_empty() {
            self.under_way = Some(begin(feed, changed)?);
        }
        Ok(())
    }

    /// Commits what has changed, and waits a little for the answer.
    pub(super) fn commit_now(&mut self, feed: &Feed, lows: &Positions) -> Result<Answer, Broken> {
        let until = Instant::now() + LAST;
        self.wait(feed, until)?; // for an older one: it says nothing about this
        let changed: Vec<_> = news(lows, &self.committed).cloned().collect();
        if changed.is_empty() {
            return Ok(Answer::Taken);
        }
        self.under_way = Some(begin(feed, changed)?);
        Ok(match self.wait(feed, until)? {
            Some(Ok(())) => Answer::Taken,
            Some(Err(problem)) => Answer::Refused(problem),
            None => Answer::Open,
        })
    }

    fn wait(&mut self, feed: &Feed, until: Instant) -> Result<Option<KafkaResult<()>>, Broken> {
        while self.under_way.is_some() && Instant::now() < until {
            feed.serve_for(LOOK)?;
            if let Some(answer) = self.hear() {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }
}

fn begin(feed: &Feed, positions: Vec<Position>) -> Result<Commit, Broken> {
    let (answer, answered) = oneshot::channel();
    let consumer = feed.consumer().clone();
    let commit = move || {
        let done = list(&positions).and_then(|list| consumer.commit(&list, CommitMode::Sync));
        drop(answer.send(done.map(|()| positions))); // who asked may have gone away
    };
    spawn("kafka-commit".to_owned(), commit).map_err(Broken)?;
    Ok(answered)
}
