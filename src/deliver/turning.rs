//! A standing flow turns to other channels: what it read goes on where it stands, what is new begins with what is stored from then on.

use std::sync::Arc;

use meshgate_api::{connector::Start, position::Positions, topic::TopicSet};
use smallvec::SmallVec;
use tokio::time::timeout;

use super::{
    Flow, OpenError, OpenSource,
    joining::{Joining, Opening},
};
use crate::{
    gateway::Snapshot,
    router::{ChannelFilters, Source},
};

impl Flow {
    /// Reads these channels from now on. If that cannot be, it reads on as before, and says why.
    pub async fn turn_to(&mut self, filters: ChannelFilters) -> Result<(), OpenError> {
        let plan = self.snapshot.router.plan(filters.iter()).ok_or(OpenError::NoRoute)?;
        let mut opened = SmallVec::<[Option<OpenSource>; 1]>::new();
        for source in &plan {
            opened.push(match self.opening(source) {
                Some(opening) => Some(self.snapshot.clone().open_other(source, opening).await?),
                None => None,
            });
        }
        let mut old = std::mem::take(&mut self.sources);
        for (source, other) in plan.into_iter().zip(opened) {
            let kept = old.iter().position(|open| open.connector == source.connector).map(|at| old.swap_remove(at));
            self.sources.extend(other.or(kept)); // what was not opened anew is kept
        }
        self.filters = filters;
        self.succession.forget();
        self.catch_up();
        Ok(())
    }

    /// What is to be opened so that these topics are read on from where they are read now; `None`: they are.
    fn opening(&self, source: &Source) -> Option<Opening> {
        let Source { connector, topics } = source;
        let old = self.sources.iter().find(|open| open.connector == *connector);
        if old.is_some_and(|old| old.topics == *topics) {
            return None;
        }
        Some(Opening {
            connector: self.snapshot.connectors[*connector].connector.clone(),
            topics: topics.clone(),
            after: old.map_or_else(Positions::default, |old| old.subscription.positions().clone()),
            read: old.map_or_else(TopicSet::default, |old| old.topics.clone()),
            fresh: Start::Latest,
            since: Start::Latest,
            group: None,
        })
    }
}

impl Snapshot {
    async fn open_other(self: Arc<Self>, source: &Source, opening: Opening) -> Result<OpenSource, OpenError> {
        let Source { connector, topics } = source;
        let patience = self.limits.connectors.publish_timeout;
        let not_now = |detail: String| OpenError::NotNow(format!("{}: {detail}", self.connectors[*connector].name));
        match timeout(patience, Joining::open(opening)).await {
            Ok(Ok(joining)) => {
                let subscription = Box::new(joining);
                Ok(OpenSource { connector: *connector, topics: topics.clone(), subscription })
            }
            Ok(Err(problem)) => Err(not_now(problem.to_string())),
            Err(_) => Err(not_now(format!("no answer within {patience:?}"))),
        }
    }
}
