//! Which broker topic a channel lives on: an immutable snapshot of the routes, pure and without I/O (specification, section 4).
//!
//! - [`Router::compile`] turns the configured routes into a snapshot, or says everything that is wrong with them;
//! - [`Router::route`] says where a published message goes;
//! - [`Router::plan`] says what a subscriber reads;
//! - [`Router::owner`] says whose event a record is that was read.
//!
//! # Decisions where the specification leaves room
//!
//! - Capture names are letters, digits, `_` and `-`. Within its route a capture hides the attribute of the same name; `channel` is no
//!   capture's name.
//! - A template's fallback stands in for a value that is missing *or empty*. Only an attribute can be missing: a last `#` that matched
//!   just the parent level is an empty `{#}`.
//! - `{{` and `}}` in a template are braces.
//! - All `wrap` values are rendered from the event as it arrived. One that renders empty leaves its attribute alone. In a `source` all
//!   but letters, digits, `-._~` and `/` is percent-encoded in values, except in `{source}` and `{dataschema}`, which are URIs already.
//! - A topic or `wrap` value that cannot be rendered rejects the event whichever destination it is for: also in a tap, also where
//!   the destination is not required.
//! - Taps are asked only up to the route that takes the event. If none does, nothing is sent to them either.
//! - What a `wrap` cannot render on reading, where nobody can be refused, leaves the record as it is.

use std::{fmt, sync::Arc};

use meshgate_api::{
    Str,
    connector::{Outbound, Record},
    event::Event,
    message::Message,
    outcome::Outcome,
    topic::TopicSet,
};
use smallvec::SmallVec;

mod cast;
mod channel;
mod compile;
mod explain;
mod filter;
mod index;
mod lasting;
mod mould;
mod owner;
mod pattern;
mod plan;
mod publish;
mod route;
mod shape;
pub mod spec;
mod template;
#[cfg(test)]
mod testing;
mod topic;

pub use channel::{Channel, ChannelError, ChannelFilter, ChannelFilters, MAX_LENGTH};
pub use explain::{Explained, Verdict};
pub use filter::Filter;
use index::Index;
pub use route::{Destination, Route};
use spec::{ConnectorSpec, RouteSpec};

/// The routes in their order, compiled.
#[derive(Debug)]
pub struct Router {
    routes: Vec<Route>,
    index: Index,
}

/// What is wrong with the configured routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the document: `routes[2].to[0].topic`.
    pub path: String,
    /// What is wrong there, and what would be right.
    pub message: String,
}

/// Where a message goes.
#[derive(Debug)]
pub struct Routed {
    /// The number of the route that took it; taps aside.
    pub route: usize,
    /// Its destinations; before them those of the taps.
    pub targets: SmallVec<[Target; 1]>,
}

/// One destination of one message.
#[derive(Debug)]
pub struct Target {
    /// The number of the route that it belongs to: a tap's, or the one that took the message.
    pub route: usize,
    /// The connector's place in the list that the router was compiled with.
    pub connector: usize,
    /// The answer waits for it.
    pub required: bool,
    /// What to hand to the connector.
    pub outbound: Outbound,
}

/// What a subscriber reads at one connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The connector's place in the list that the router was compiled with.
    pub connector: usize,
    /// Its topics there.
    pub topics: TopicSet,
}

/// Whose event a record is.
#[derive(Clone, Debug)]
pub struct Owned {
    /// The number of the route.
    pub route: usize,
    /// The event's channel: a valid one that the route's pattern matches.
    pub channel: Str,
    /// A copy of the record's message with the route's `wrap` in it, where that changes it.
    pub wrapped: Option<Box<Message>>,
}

impl Owned {
    /// The event, as its route's subscribers get it.
    #[must_use]
    pub fn event<'a>(&'a self, record: &'a Record) -> &'a Event {
        &self.wrapped.as_deref().unwrap_or(&record.message).event
    }
}

impl Router {
    /// Compiles routes; a connector's number is its place in `connectors`. The error is every problem at once.
    pub fn compile(routes: &[RouteSpec], connectors: &[ConnectorSpec]) -> Result<Self, Vec<Problem>> {
        let mut routes = compile::routes(routes, connectors)?;
        let index = Index::new(&routes);
        compile::cover(&mut routes, &index);
        Ok(Self { routes, index })
    }

    /// The routes in their order.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The routes that may take an event of the channel, in order: taps aside, up to the first that takes all.
    pub fn takers<'a>(&'a self, channel: &'a Channel) -> impl Iterator<Item = &'a Route> {
        let routes = self.index.matching(channel.as_str()).map(|number| &self.routes[number]);
        let mut is_taken = false;
        routes
            .filter(|route| !route.tap() && route.pattern.fit(channel.as_str()).is_some())
            .take_while(move |route| !std::mem::replace(&mut is_taken, route.takes_all()))
    }

    /// Where a message goes; its `channel` is set. The error is the answer: a rejection that names what is wrong.
    ///
    /// What the routes refuse is refused here, before any destination is tried.
    pub fn route(&self, message: impl Into<Arc<Message>>) -> Result<Routed, Outcome> {
        self.route_counting(message, |_| ())
    }

    /// The same; `erred` gets the number of each route whose filter could not be evaluated, and so did not match.
    pub fn route_counting(
        &self,
        message: impl Into<Arc<Message>>,
        erred: impl FnMut(usize),
    ) -> Result<Routed, Outcome> {
        publish::route(self, &message.into(), erred)
    }

    /// Why a message goes where [`Router::route`] says: the answer of each route that the search comes to, one by one.
    pub fn explain(&self, message: impl Into<Arc<Message>>) -> Explained {
        explain::explain(self, &message.into())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

#[cfg(test)]
mod tests;
