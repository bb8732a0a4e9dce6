//! What a subscriber reads.

use std::collections::HashSet;

use meshgate_api::topic::TopicSet;

use super::{Router, Source, channel::ChannelFilter, topic::Narrowed};

impl Router {
    /// What a subscriber of `filters` reads, merged: one source a connector, by first use. `None`: no route overlaps a filter, or
    /// none that does has a topic for any of its channels.
    ///
    /// That is, of every route but taps and those that an earlier one covers, the topics of its read destination, narrowed to what
    /// a filter's channels come to. The topics may hold other channels, too: ask [`Router::owner`] and [`ChannelFilter::matches`].
    #[must_use]
    pub fn plan<'a>(&self, filters: impl IntoIterator<Item = &'a ChannelFilter>) -> Option<Vec<Source>> {
        let mut sources: Vec<Source> = Vec::new();
        let mut known = HashSet::new();
        for filter in filters {
            self.add_to_plan(filter, &mut sources, &mut known);
        }
        (!sources.is_empty()).then_some(sources)
    }

    fn add_to_plan(&self, filter: &ChannelFilter, sources: &mut Vec<Source>, known: &mut HashSet<(usize, Narrowed)>) {
        let candidates = self.index.meeting(filter.shape()).into_iter().map(|number| &self.routes[number]);
        for route in candidates.filter(|route| !route.covered) {
            let Some(read) = route.read() else { continue };
            let Some(meeting) = route.pattern.meet(filter.shape()) else { continue };
            let Some(narrowed) = read.topic.narrow(&route.pattern, &meeting) else { continue };
            if !known.insert((read.connector, narrowed.clone())) {
                continue;
            }
            let topics = topics_at(sources, read.connector);
            match narrowed {
                Narrowed::Name(name) => topics.names.push(name),
                Narrowed::Pattern(pattern) => topics.patterns.push(pattern),
            }
        }
    }
}

fn topics_at(sources: &mut Vec<Source>, connector: usize) -> &mut TopicSet {
    let at = sources.iter().position(|source| source.connector == connector).unwrap_or_else(|| {
        sources.push(Source { connector, topics: TopicSet::default() });
        sources.len() - 1
    });
    &mut sources[at].topics
}

#[cfg(test)]
mod tests;
