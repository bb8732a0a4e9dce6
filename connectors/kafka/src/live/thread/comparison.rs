//! What a consumer does not say by itself: that its topic was made anew, shorter, or that nothing comes although there is something.

use std::time::{Duration, Instant};

use meshgate_api::position::Positions;
use tokio::sync::oneshot::error::TryRecvError;

use super::{Awaited, Lane, Thread};
use crate::{feed::Broken, live::Openings, places::Wanted};

/// Between two comparisons with the ends at the broker: a topic that was made anew is found out after it.
const COMPARISONS: Duration = Duration::from_secs(3);
/// So many comparisons in a row that find records, and none that comes out: the consumer is stuck.
const STALLS: u32 = 3;

/// The ends at the broker, and where reading was when they were asked for.
pub(super) struct Comparison {
    ends: Awaited,
    at: Openings,
}

impl Thread {
    /// Compares with the ends at the broker: is a topic shorter than what was read of it? Has the consumer stopped without a word?
    pub(super) fn compare(&mut self) -> Result<(), Broken> {
        if self.comparison.is_none() && self.compared.elapsed() >= COMPARISONS && !self.topics.is_empty() {
            self.compared = Instant::now();
            let at = self.places();
            let partitions = at.iter().map(|(topic, partition, _)| (topic.clone(), *partition)).collect();
            let ends = self.metadata.places.begin(partitions, Wanted::End);
            self.comparison = ends.map(|ends| Comparison { ends, at });
        }
        let Some(comparison) = &mut self.comparison else { return Ok(()) };
        let ends = match comparison.ends.try_recv() {
            Err(TryRecvError::Empty) => return Ok(()),
            Ok(Ok(ends)) => ends,
            Ok(Err(_)) | Err(TryRecvError::Closed) => Positions::default(), // the broker is away: compare later
        };
        let at = self.comparison.take().map(|comparison| comparison.at).unwrap_or_default();
        let mut stuck = None;
        for (topic, partition, at) in at {
            let Some(end) = ends.get(&topic, partition) else { continue };
            let open = self.topics.get_mut(&topic).and_then(|topic| topic.lanes.get_mut(&partition));
            let Some(lane) = open else { continue };
            if end.offset < at && at <= lane.at {
                self.clients.identities.change(&topic);
            } else if lane.is_stuck(end.offset) {
                stuck = Some(format!("nothing comes from {topic} {partition}"));
            }
        }
        self.close_changed()?;
        stuck.map_or(Ok(()), |reason| Err(Broken(reason)))
    }
}

impl Lane {
    /// Whether, by repeated comparison with the end, records should have come and did not.
    pub(super) fn is_stuck(&mut self, end: u64) -> bool {
        if self.stirred || end <= self.at || end == self.explained {
            self.stalls = 0;
            if self.stirred {
                self.explained = end;
            }
        } else {
            self.stalls += 1;
        }
        self.stirred = false;
        let stuck = self.stalls >= STALLS;
        if stuck {
            self.stalls = 0;
        }
        stuck
    }
}

#[cfg(test)]
mod tests;
