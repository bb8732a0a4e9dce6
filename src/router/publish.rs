//! Where a published message goes.

use std::sync::Arc;

use meshgate_api::{
    Str,
    message::Message,
    outcome::{Outcome, Rejection},
};
use smallvec::SmallVec;

use super::{Routed, route::Route, shape::Fit, template::Scene};

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

pub(super) fn route(routes: &[Route], message: &Arc<Message>) -> Result<Routed, Outcome> {
    let Some(channel) = message.channel.clone() else {
        return Err(Outcome::rejected(Rejection::NoRoute, "the event has no channel to be published to"));
    };
    let matches = search(routes, &channel, message)?;
    let Some(taken) = matches.last().filter(|last| !last.route.tap()) else {
        return Err(no_route(routes, &channel));
    };
    let taken = taken.number;
    let mut targets = SmallVec::new();
    for Match { number, route, fit, wrapped } in &matches {
        let message = wrapped.as_ref().unwrap_or(message);
        let scene = Scene { channel: &channel, fit, event: &message.event };
        for to in route.destinations() {
            targets.push(route.target(*number, to, message, &scene)?);
        }
    }
    Ok(Routed { route: taken, targets })
}

/// The routes in order, up to the first that is no tap.
fn search<'a>(routes: &'a [Route], channel: &Str, message: &Message) -> Result<Matches<'a>, Outcome> {
    let mut matches = Matches::new();
    for (number, route) in routes.iter().enumerate() {
        let Some(fit) = route.pattern.fit(channel) else { continue };
        let wrapped = route.wrapped(message, channel, &fit)?.map(Arc::new);
        if route.takes(&wrapped.as_deref().unwrap_or(message).event) {
            matches.push(Match { number, route, fit, wrapped });
            if !route.tap() {
                break;
            }
        }
    }
    Ok(matches)
}

fn no_route(routes: &[Route], channel: &str) -> Outcome {
    let filtering = routes.iter().filter(|route| !route.tap() && route.pattern.fit(channel).is_some());
    let names: Vec<String> = filtering.map(|route| format!("`{}`", route.name())).collect();
    let detail = if names.is_empty() {
        format!("no route has a channel pattern that matches `{channel}`")
    } else {
        format!("the filters of every route for the channel `{channel}` refuse this event: {}", names.join(", "))
    };
    Outcome::rejected(Rejection::NoRoute, detail)
}
