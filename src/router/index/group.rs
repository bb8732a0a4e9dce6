//! The routes of one pattern, by what their filters ask.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::{HashMap, fast::RandomState};
use meshgate_api::{Str, event::Event, message::Message};

use super::{
    Candidates, Numbers,
    conditions::{Asked, alternatives, errors},
    topics::Topics,
};
use crate::router::route::Route;

#[derive(Debug, Default)]
pub(super) struct Group {
    routes: Vec<usize>,
    /// For each question that filters ask, the routes by the fingerprint of the answer that they want, or that they err on.
    by_question: HashMap<Question, HashMap<u64, Numbers>>,
    fingerprint: RandomState,
    /// Those that may change an event before they ask it.
    wrapping: Vec<usize>,
    readers: Topics,
    /// The first that takes every event.
    takes_all: Option<usize>,
}

/// Pieces of attributes, and which are missing. A route without filters asks for none, and wants no answer.
type Question = Vec<(Str, Asked)>;

impl Group {
    pub(super) fn add(&mut self, number: usize, route: &Route) {
        self.routes.push(number);
        for conditions in alternatives(&route.filters).into_iter().chain(errors(&route.filters)) {
            let question = conditions.iter().map(|each| (each.attribute.into(), each.asked)).collect();
            let mut answer = self.fingerprint.build_hasher();
            conditions.iter().for_each(|each| each.text.as_bytes().hash(&mut answer));
            let routes = self.by_question.entry(question).or_default().entry(answer.finish()).or_default();
            if routes.last() != Some(&number) {
                routes.push(number);
            }
        }
        if !route.wrap.is_empty() {
            self.wrapping.push(number);
        }
        if let Some(read) = route.read() {
            self.readers.add(number, read);
        }
        if route.takes_all() {
            self.takes_all = self.takes_all.or(Some(number));
        }
    }

    pub(super) fn routes(&self) -> &[usize] {
        &self.routes
    }

    pub(super) fn readers(&self) -> &Topics {
        &self.readers
    }

    pub(super) fn taking_all(&self) -> &[usize] {
        self.takes_all.as_slice()
    }

    /// Adds the routes whose filters may let a message through, and those that are known to err.
    pub(super) fn takers<'a>(&'a self, message: &Message, candidates: &mut Candidates<'a>) {
        for (question, routes) in &self.by_question {
            if let Some(routes) =
                answer(question, &message.event, self.fingerprint.build_hasher()).and_then(|answer| routes.get(&answer))
            {
                candidates.add(routes);
            }
        }
        if message.wrapped && !self.wrapping.is_empty() {
            candidates.add(&self.wrapping);
        }
    }
}

/// The fingerprint of an event's answer; `None`: it lacks an attribute, or has one that is too short or should be missing.
fn answer(question: &[(Str, Asked)], event: &Event, mut answer: impl Hasher) -> Option<u64> {
    for (attribute, asked) in question {
        let value = event.attribute(attribute);
        let piece = match (asked, &value) {
            (Asked::Piece(cut), Some(value)) => cut.of(value)?,
            (Asked::Absence, None) => b"",
            _ => return None,
        };
        piece.hash(&mut answer);
    }
    Some(answer.finish())
}
