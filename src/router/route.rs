//! One compiled route, and what it makes of a message that it takes.

use std::sync::Arc;

use meshgate_api::{
    Str,
    connector::{ContentMode, Options, Order, Outbound},
    event::{Event, Value},
    message::Message,
    outcome::{Outcome, Rejection},
};

use super::{
    Target,
    filter::Filter,
    mould::Mould,
    pattern::Pattern,
    shape::Fit,
    template::{Missing, Scene, Template},
    topic::{NoTopic, Topic},
};

/// A channel pattern with filters, and the destinations of the events that they let through.
#[derive(Debug)]
pub struct Route {
    pub(super) name: Str,
    pub(super) pattern: Pattern,
    pub(super) filters: Vec<Filter>,
    /// What a wrapped event gets: attribute and value.
    pub(super) wrap: Vec<(Str, Template)>,
    pub(super) destinations: Vec<Destination>,
    pub(super) tap: bool,
    /// Which destination subscribers read; a tap has none.
    pub(super) read: Option<usize>,
    /// An earlier route without filters takes all of its channels.
    pub(super) covered: bool,
}

/// Where a route sends events.
#[derive(Debug)]
pub struct Destination {
    pub(super) connector: usize,
    pub(super) topic: Topic,
    pub(super) key: Option<Key>,
    pub(super) mode: ContentMode,
    pub(super) order: Order,
    pub(super) options: Option<Options>,
    pub(super) required: bool,
}

/// A key's template, to be rendered and to be read backwards.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) template: Template,
    pub(super) mould: Mould,
}

impl Route {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &Str {
        &self.name
    }

    /// The channel pattern as it was written.
    #[must_use]
    pub fn pattern(&self) -> &str {
        self.pattern.text()
    }

    /// Whether it takes copies only: `continue`.
    #[must_use]
    pub fn tap(&self) -> bool {
        self.tap
    }

    /// Where it sends events, in order.
    #[must_use]
    pub fn destinations(&self) -> &[Destination] {
        &self.destinations
    }

    /// The destination that subscribers read; a tap has none.
    pub(super) fn read(&self) -> Option<&Destination> {
        self.read.map(|at| &self.destinations[at])
    }

    /// The message with this route's `wrap`, if it is a wrapped one and there is any.
    pub(super) fn wrapped(&self, message: &Message, channel: &Str, fit: &Fit) -> Result<Option<Message>, Outcome> {
        if !message.wrapped || self.wrap.is_empty() {
            return Ok(None);
        }
        let scene = Scene { channel, fit, event: &message.event };
        let mut copy = message.clone();
        for (name, template) in &self.wrap {
            let value = template.render(&scene).map_err(|missing| self.missing(&format!("`wrap.{name}`"), &missing))?;
            if !value.is_empty() {
                copy.event.set(name, value);
            }
        }
        match copy.event.check() {
            Ok(()) => Ok(Some(copy)),
            Err(error) => Err(self.reject(&format!("with its `wrap`, {error}"))),
        }
    }

    /// Whether it takes every event of its channels.
    pub(super) fn takes_all(&self) -> bool {
        !self.tap && self.filters.is_empty()
    }

    /// The number of the first filter that does not let an event through, and whether an expression in it erred.
    pub(super) fn refusing(&self, event: &Event) -> Option<(usize, bool)> {
        let mut has_erred = false;
        let at = self.filters.iter().position(|filter| !filter.judge(event, &mut |_| has_erred = true))?;
        Some((at, has_erred))
    }

    /// A message for one of its destinations. `number` is the route's.
    pub(super) fn target(
        &self,
        number: usize,
        to: &Destination,
        message: &Arc<Message>,
        scene: &Scene<'_>,
    ) -> Result<Target, Outcome> {
        let topic = to.topic.render(scene).map_err(|error| match error {
            NoTopic::Missing(missing) => self.missing("a topic", &missing),
            NoTopic::Illegal { topic, why } => self.reject(&format!("`{topic}` is no topic: {why}")),
        })?;
        let key = to.key(scene).map_err(|missing| self.missing("a key", &missing))?;
        let outbound = Outbound {
            message: Arc::clone(message),
            topic,
            key,
            order: to.order,
            mode: to.mode,
            options: to.options.clone(),
        };
        Ok(Target { route: number, connector: to.connector, required: to.required, outbound })
    }

    fn missing(&self, place: &str, Missing(attribute): &Missing) -> Outcome {
        self.reject(&format!(
            "{place} needs `{{{attribute}}}`, which this event lacks: set the attribute, or give the template a fallback, `{{{attribute}|…}}`"
        ))
    }

    fn reject(&self, detail: &str) -> Outcome {
        Outcome::rejected(Rejection::BadEvent, format!("route `{}`: {detail}", self.name))
    }
}

impl Destination {
    /// The connector's place in the list that the router was compiled with.
    #[must_use]
    pub fn connector(&self) -> usize {
        self.connector
    }

    /// A publish waits for it.
    #[must_use]
    pub fn required(&self) -> bool {
        self.required
    }

    /// The key's template, else the attribute `partitionkey`; an empty key is none.
    fn key(&self, scene: &Scene<'_>) -> Result<Option<Str>, Missing> {
        let key = match &self.key {
            Some(key) => key.template.render(scene)?,
            None => Str::new(),
        };
        let key = if key.is_empty() { partition_key(scene.event) } else { Some(key) };
        Ok(key.filter(|key| !key.is_empty()))
    }
}

fn partition_key(event: &Event) -> Option<Str> {
    event.extension("partitionkey").map(|value| match value {
        Value::String(text) => text.clone(),
        other => Str::from(&*other.canonical()),
    })
}
