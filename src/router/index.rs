//! Which routes come into question, so that ten thousand cost about what ten do.
//!
//! The index leaves routes out and decides nothing. It gives the numbers of those that may fit, in order; who wanted them asks each
//! route itself. So it may give too many (two texts can share a fingerprint), but never too few.
//!
//! - Patterns stand in a [`Tree`], level by level: a channel passes those that match it and no others.
//! - The routes of one pattern are a [`Group`], sorted by what their filters ask. Of all that ask for `type` and `source`, one lookup
//!   finds those that ask for this event's. A comparison in SQL errs on an event that lacks its attribute, and errors are counted: such
//!   a route is given, too. Where it is something else that errs, a comparison that fails elsewhere in the filters still leaves it out.
//! - Routes that subscribers read are sorted by what the names of their topics have in common ([`Topics`]): in each group, for records
//!   that say their channel, and all of them together, for those that do not.

use std::fmt;

use meshgate_api::message::Message;
use smallvec::SmallVec;

use super::{route::Route, shape::Shape};

mod conditions;
mod cut;
mod group;
mod topics;
mod tree;

pub(super) use cut::Cut;
use group::Group;
use topics::Topics;
use tree::Tree;

/// Routes by number: mostly one.
type Numbers = SmallVec<[usize; 2]>;

pub(super) struct Index {
    patterns: Tree<Group>,
    readers: Topics,
}

/// Numbers of routes from several ascending lists, merged: ascending, each once.
#[derive(Debug, Default)]
pub(super) struct Candidates<'a>(SmallVec<[&'a [usize]; 8]>);

/// Says nothing of its contents, which follow from the routes.
impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}

impl Index {
    pub(super) fn new(routes: &[Route]) -> Self {
        let mut index = Self { patterns: Tree::default(), readers: Topics::default() };
        for (number, route) in routes.iter().enumerate() {
            index.patterns.leaf(route.pattern.shape()).add(number, route);
            if let Some(read) = route.read() {
                index.readers.add(number, read);
            }
        }
        index
    }

    /// The routes that may let a message through, and those that are known to err on it.
    pub(super) fn takers(&self, channel: &str, message: &Message) -> Candidates<'_> {
        let mut candidates = Candidates::default();
        self.patterns.matching(channel).into_iter().for_each(|group| group.takers(message, &mut candidates));
        candidates
    }

    /// The routes whose patterns match a channel.
    pub(super) fn matching(&self, channel: &str) -> Candidates<'_> {
        self.patterns.matching(channel).into_iter().map(Group::routes).collect()
    }

    /// The routes whose patterns have channels in common with a filter. They may be all.
    pub(super) fn meeting(&self, filter: &Shape) -> Vec<usize> {
        let mut routes: Vec<usize> =
            self.patterns.meeting(filter).into_iter().flat_map(Group::routes).copied().collect();
        routes.sort_unstable();
        routes
    }

    /// Routes that take every event of every channel of a pattern: where there are any, the first of them is there.
    pub(super) fn covering(&self, pattern: &Shape) -> Candidates<'_> {
        self.patterns.covering(pattern).into_iter().map(Group::taking_all).collect()
    }

    /// The routes that are read at this topic.
    pub(super) fn readers(&self, connector: usize, topic: &str) -> Candidates<'_> {
        let mut candidates = Candidates::default();
        self.readers.find(connector, topic, &mut candidates);
        candidates
    }

    /// Of those, the ones whose patterns match a channel.
    pub(super) fn readers_of(&self, channel: &str, connector: usize, topic: &str) -> Candidates<'_> {
        let mut candidates = Candidates::default();
        let groups = self.patterns.matching(channel).into_iter();
        groups.for_each(|group| group.readers().find(connector, topic, &mut candidates));
        candidates
    }
}

impl<'a> Candidates<'a> {
    fn add(&mut self, numbers: &'a [usize]) {
        self.0.push(numbers);
    }
}

impl<'a> FromIterator<&'a [usize]> for Candidates<'a> {
    fn from_iter<I: IntoIterator<Item = &'a [usize]>>(lists: I) -> Self {
        Self(lists.into_iter().collect())
    }
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let least = self.0.iter().filter_map(|list| list.first().copied()).min()?;
        for list in &mut self.0 {
            if list.first() == Some(&least) {
                *list = &list[1..];
            }
        }
        Some(least)
    }
}

#[cfg(test)]
mod tests;
