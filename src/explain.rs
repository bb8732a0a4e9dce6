//! What would become of a publish, route by route, without sending anything: for `meshgate explain` and the admin listener.
//!
//! A request is read by the codec and asked of the routes as a publish over HTTP is, or over MQTT. Not seen is what only a broker knows: whether it
//! is there, whether it has the topic, what size it takes.

use std::sync::Arc;

use axum::http::HeaderMap;
use bytes::Bytes;
use meshgate_api::{
    Str,
    message::Message,
    outcome::{Outcome, Rejection},
};
use serde::Serialize;
use serde_json::json;

use crate::{
    codec::http::{DecodeError, Decoded, decode},
    config::MqttListener,
    router::{Channel, Explained, Router, Target, Verdict},
};

mod mqtt;
mod text;

use mqtt::Answered;
pub use mqtt::MqttPublish;

/// The routes that are asked, and what surrounds them.
#[derive(Debug)]
pub struct Setting<'a> {
    /// The routes.
    pub router: &'a Router,
    /// The connectors' names, numbered as the router numbers them.
    pub connectors: Vec<&'a str>,
    /// Bytes of the longest body.
    pub max_body: usize,
    /// `listeners.mqtt`, if there is one.
    pub mqtt: Option<&'a MqttListener>,
}

/// What would become of a request's events. As JSON one event is an object, a batch `{"events": […]}`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Explanation {
    /// One event, or a request that cannot be read.
    One(Box<Fate>),
    /// A batch.
    Batch {
        /// In order.
        events: Vec<Fate>,
    },
}

/// What would become of one event.
#[derive(Debug, Default, Serialize)]
pub struct Fate {
    channel: String,
    /// Nothing where it cannot be read.
    event: Option<About>,
    /// It is no CloudEvent, and the gateway makes one of it.
    wrapped: bool,
    /// The name of the route that takes it.
    route: Option<Str>,
    rejected: Option<Rejected>,
    /// Every route in order.
    routes: Vec<Asked>,
    /// Those of the taps first.
    destinations: Vec<Place>,
    /// Of a publish over MQTT.
    #[serde(skip_serializing_if = "Option::is_none")]
    mqtt: Option<Answered>,
}

/// Which event it is.
#[derive(Debug, Serialize)]
struct About {
    id: Str,
    source: Str,
    #[serde(rename = "type")]
    kind: Str,
}

#[derive(Debug, Serialize)]
struct Rejected {
    reason: &'static str,
    detail: String,
    #[serde(skip)]
    kind: Rejection,
}

/// What one route says.
#[derive(Debug, Serialize)]
struct Asked {
    name: Str,
    channel: String,
    tap: bool,
    verdict: &'static str,
    /// Which filter refuses, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

#[derive(Debug, Serialize)]
struct Place {
    route: Str,
    connector: String,
    topic: Str,
    key: Option<Str>,
    required: bool,
}

const MATCHES: &str = "matches";
const OTHER_CHANNEL: &str = "other channel";
const REFUSES: &str = "filtered";
const FAILS: &str = "wrap fails";
const NOT_ASKED: &str = "not asked";

impl Setting<'_> {
    /// Explains a request to publish to `channel`.
    #[must_use]
    pub fn explain(&self, headers: &HeaderMap, body: Bytes, channel: &str) -> Explanation {
        let refuse = |reason, detail| Fate { rejected: Some(rejected(reason, detail)), ..self.fate(channel) };
        if let Err(problem) = Channel::check(channel) {
            return Explanation::one(refuse(Rejection::BadEvent, format!("channel `{channel}`: {problem}")));
        }
        if body.len() > self.max_body {
            let detail = format!("the body is larger than `max_body`, which is {} bytes", self.max_body);
            return Explanation::one(refuse(Rejection::TooLarge, detail));
        }
        let unread = |DecodeError { reason, detail, .. }| refuse(reason, detail);
        match decode(headers, body, channel) {
            Ok(Decoded::One(message)) => Explanation::one(self.ask(channel, message)),
            Ok(Decoded::Batch(messages)) => {
                let fate = |message: Result<_, _>| {
                    message.map_or_else(unread, |message: Message| self.ask(channel, message.into()))
                };
                Explanation::Batch { events: messages.into_iter().map(fate).collect() }
            }
            Err(error) => Explanation::one(unread(error)),
        }
    }

    /// Asks the routes.
    fn ask(&self, channel: &str, message: Arc<Message>) -> Fate {
        let event = &message.event;
        let about = About { id: event.id.clone(), source: event.source.clone(), kind: event.kind.clone() };
        let fate = Fate { event: Some(about), wrapped: message.wrapped, ..self.fate(channel) };
        let Explained { verdicts, outcome } = self.router.explain(message);
        let mut routes = fate.routes;
        for (route, verdict) in routes.iter_mut().zip(verdicts) {
            (route.verdict, route.detail) = match verdict {
                Verdict::OtherChannel => (OTHER_CHANNEL, None),
                Verdict::Refuses(why) => (REFUSES, Some(why)),
                Verdict::Fails => (FAILS, None),
                Verdict::Takes => (MATCHES, None),
            };
        }
        match outcome {
            Ok(routed) => {
                let route = Some(self.name(routed.route));
                let destinations = routed.targets.into_iter().map(|target| self.place(target)).collect();
                Fate { routes, route, destinations, ..fate }
            }
            Err(outcome) => Fate { routes, rejected: Some(of_outcome(&outcome)), ..fate },
        }
    }

    /// Before any route is asked.
    fn fate(&self, channel: &str) -> Fate {
        let routes = self.router.routes().iter().map(|route| Asked {
            name: route.name().clone(),
            channel: route.pattern().to_owned(),
            tap: route.tap(),
            verdict: NOT_ASKED,
            detail: None,
        });
        Fate { channel: channel.to_owned(), routes: routes.collect(), ..Fate::default() }
    }

    fn place(&self, Target { route, connector, required, outbound }: Target) -> Place {
        let connector = self.connectors[connector].to_owned();
        Place { route: self.name(route), connector, topic: outbound.topic, key: outbound.key, required }
    }

    fn name(&self, route: usize) -> Str {
        self.router.routes()[route].name().clone()
    }
}

impl Explanation {
    fn one(fate: Fate) -> Self {
        Self::One(Box::new(fate))
    }

    /// Each event's, in order.
    #[must_use]
    pub fn fates(&self) -> &[Fate] {
        match self {
            Self::One(fate) => std::slice::from_ref(fate),
            Self::Batch { events } => events,
        }
    }

    /// For machines.
    #[must_use]
    pub fn json(&self) -> String {
        format!("{:#}", json!(self))
    }
}

impl Fate {
    /// Whether it would be rejected.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        self.rejected.is_some()
    }
}

/// What routes answer where they take nothing is always a rejection.
fn of_outcome(outcome: &Outcome) -> Rejected {
    match outcome {
        Outcome::Rejected { reason, detail } => rejected(*reason, detail.clone()),
        other => Rejected { reason: other.name(), detail: other.detail().to_owned(), kind: Rejection::NoRoute },
    }
}

fn rejected(kind: Rejection, detail: String) -> Rejected {
    let reason = match kind {
        Rejection::BadEvent => "bad event",
        Rejection::UnsupportedType => "unsupported type",
        Rejection::NoRoute => "no route",
        Rejection::Forbidden => "forbidden",
        Rejection::TooLarge => "too large",
    };
    Rejected { reason, detail, kind }
}
