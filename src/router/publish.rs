//! Where a published message goes.

use std::sync::Arc;

use meshgate_api::{
    Str,
    event::Event,
    message::Message,
    outcome::{Outcome, Rejection},
};
use smallvec::SmallVec;

use super::{Routed, Router, filter::Filter, route::Route, shape::Fit, template::Scene};

/// So many routes are named where all of a channel refuse an event.
const NAMED: usize = 5;

/// What a route answers a message.
pub(super) enum Answer<'a> {
    /// Its pattern does not match the channel.
    OtherChannel,
    /// A filter does not let the event through.
    Refuses(Refusal<'a>),
    /// Its `wrap` cannot be: the message is rejected.
    Fails,
    /// It takes the message, or a copy.
    Takes,
}

/// Which filter refuses which event.
pub(super) struct Refusal<'a> {
    /// The number of the route.
    route: usize,
    /// The number of the filter in it.
    pub(super) number: usize,
    pub(super) filter: &'a Filter,
    /// With the route's `wrap` in it.
    pub(super) event: &'a Event,
    /// An expression could not be evaluated.
    has_erred: bool,
}

/// A route that the message fits.
struct Match<'a> {
    number: usize,
    route: &'a Route,
    fit: Fit,
    /// The message with the route's `wrap`, where that changes it.
    wrapped: Option<Arc<Message>>,
}

/// The taps, then the route that takes it.
type Matches<'a> = SmallVec<[Match<'a>; 1]>;

/// Asks only the routes that come into question. `erred` is told of each whose filter could not be evaluated.
pub(super) fn route(router: &Router, message: &Arc<Message>, mut erred: impl FnMut(usize)) -> Result<Routed, Outcome> {
    let channel = channel(message)?;
    let candidates = router.index.takers(channel, message);
    ask(router, candidates, channel, message, |answer| {
        if let Answer::Refuses(Refusal { route, has_erred: true, .. }) = answer {
            erred(route);
        }
    })
}

/// The channel that a message is published to.
pub(super) fn channel(message: &Message) -> Result<&Str, Outcome> {
    let nowhere = || Outcome::rejected(Rejection::NoRoute, "the event has no channel to be published to");
    message.channel.as_ref().ok_or_else(nowhere)
}

/// Asks candidates for a message, in order, and tells each answer.
pub(super) fn ask(
    router: &Router,
    candidates: impl Iterator<Item = usize>,
    channel: &Str,
    message: &Arc<Message>,
    tell: impl FnMut(Answer<'_>),
) -> Result<Routed, Outcome> {
    let matches = search(&router.routes, candidates, channel, message, tell)?;
    let Some(taken) = matches.last().filter(|last| !last.route.tap()) else {
        return Err(no_route(router, channel));
    };
    let taken = taken.number;
    let mut targets = SmallVec::new();
    for Match { number, route, fit, wrapped } in &matches {
        let message = wrapped.as_ref().unwrap_or(message);
        let scene = Scene { channel, fit, event: &message.event };
        for to in route.destinations() {
            targets.push(route.target(*number, to, message, &scene)?);
        }
    }
    Ok(Routed { route: taken, targets })
}

/// The candidates in order, up to the first that is no tap.
fn search<'a>(
    routes: &'a [Route],
    candidates: impl Iterator<Item = usize>,
    channel: &Str,
    message: &Message,
    mut tell: impl FnMut(Answer<'_>),
) -> Result<Matches<'a>, Outcome> {
    let mut matches = Matches::new();
    for number in candidates {
        let route = &routes[number];
        let Some(fit) = route.pattern.fit(channel) else {
            tell(Answer::OtherChannel);
            continue;
        };
        let wrapped = route.wrapped(message, channel, &fit).inspect_err(|_| tell(Answer::Fails))?.map(Arc::new);
        let event = &wrapped.as_deref().unwrap_or(message).event;
        if let Some((at, has_erred)) = route.refusing(event) {
            let filter = &route.filters[at];
            tell(Answer::Refuses(Refusal { route: number, number: at, filter, event, has_erred }));
            continue;
        }
        tell(Answer::Takes);
        matches.push(Match { number, route, fit, wrapped });
        if !route.tap() {
            break;
        }
    }
    Ok(matches)
}

fn no_route(router: &Router, channel: &str) -> Outcome {
    let routes = router.index.matching(channel).map(|number| &router.routes[number]);
    let mut filtering = routes.filter(|route| !route.tap() && route.pattern.fit(channel).is_some());
    let names: Vec<String> = filtering.by_ref().take(NAMED).map(|route| format!("`{}`", route.name())).collect();
    let others = if filtering.next().is_some() { " and others" } else { "" };
    let detail = if names.is_empty() {
        format!("no route has a channel pattern that matches `{channel}`")
    } else {
        let names = names.join(", ");
        format!("the filters of every route for the channel `{channel}` refuse this event: {names}{others}")
    };
    Outcome::rejected(Rejection::NoRoute, detail)
}
