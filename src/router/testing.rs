//! What the router's tests share: connectors with the two kinds of naming, and short ways to write routes and events.

use std::{borrow::Cow, sync::OnceLock, time::SystemTime};

use bytes::Bytes;
use meshgate_api::{
    Str,
    connector::{Capabilities, KeptHeaders, Record},
    event::Event,
    message::Message,
    position::{Place, Position},
    topic::TopicNaming,
};

use super::{
    Router,
    spec::{ConnectorSpec, DestinationSpec, FilterSpec, RouteSpec},
};

/// The numbers of the connectors.
pub(super) const MEMORY: usize = 0;
pub(super) const KAFKA: usize = 1;

/// `memory`, `kafka`, and `mqtt`, which has no keys.
pub(super) fn connectors() -> Vec<ConnectorSpec> {
    let all = Capabilities {
        replay: true,
        replay_by_time: true,
        groups: true,
        groups_by_time: true,
        headers: KeptHeaders::All,
        keys: true,
        durable: true,
    };
    let connector = |name: &str, keys, topic_naming: TopicNaming| ConnectorSpec {
        name: name.to_owned(),
        capabilities: Capabilities { keys, ..all },
        topic_naming,
        optional_topic_naming: if name == "mqtt" { plain } else { topic_naming },
        reserved: None,
    };
    vec![connector("memory", true, plain), connector("kafka", true, kafka), connector("mqtt", false, mqtt)]
}

/// Any text is a topic.
pub(super) fn plain(topic: &str) -> Result<Cow<'_, str>, String> {
    Ok(Cow::Borrowed(topic))
}

/// What Kafka cannot hold becomes `.`.
pub(super) fn kafka(topic: &str) -> Result<Cow<'_, str>, String> {
    let allowed = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-');
    let name = if topic.chars().all(allowed) {
        Cow::Borrowed(topic)
    } else {
        Cow::Owned(topic.chars().map(|char| if allowed(char) { char } else { '.' }).collect())
    };
    match name.len() {
        0 => Err("a topic needs a name".to_owned()),
        250.. => Err("a topic's name has at most 249 characters".to_owned()),
        _ if name == "." || name == ".." => Err("`.` and `..` are no topics".to_owned()),
        _ => Ok(name),
    }
}

/// Wildcards are forbidden.
fn mqtt(topic: &str) -> Result<Cow<'_, str>, String> {
    if topic.contains(['+', '#']) {
        Err("a topic holds no `+` and no `#`".to_owned())
    } else {
        Ok(Cow::Borrowed(topic))
    }
}

/// A route named `name`.
pub(super) fn route(name: &str, channel: &str, to: impl IntoIterator<Item = DestinationSpec>) -> RouteSpec {
    RouteSpec { name: name.into(), channel: channel.into(), to: to.into_iter().collect(), ..RouteSpec::default() }
}

/// Makes it a tap.
pub(super) fn tap(spec: RouteSpec) -> RouteSpec {
    RouteSpec { tap: true, ..spec }
}

/// Gives it the filter that `type` is this.
pub(super) fn only(kind: &str, spec: RouteSpec) -> RouteSpec {
    RouteSpec { filters: vec![FilterSpec::Exact(vec![("type".into(), kind.into())])], ..spec }
}

/// Gives it a `wrap`.
pub(super) fn wrap(values: &[(&str, &str)], spec: RouteSpec) -> RouteSpec {
    RouteSpec { wrap: values.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(), ..spec }
}

pub(super) fn to(connector: &str, topic: &str) -> DestinationSpec {
    DestinationSpec { connector: connector.into(), topic: topic.into(), ..DestinationSpec::default() }
}

pub(super) fn keyed(connector: &str, topic: &str, key: &str) -> DestinationSpec {
    DestinationSpec { key: Some(key.into()), ..to(connector, topic) }
}

pub(super) fn optional(spec: DestinationSpec) -> DestinationSpec {
    DestinationSpec { required: Some(false), ..spec }
}

pub(super) fn router(routes: &[RouteSpec]) -> Router {
    Router::compile(routes, &connectors()).expect("valid routes")
}

/// An event of type `t` with these attributes.
pub(super) fn event(attributes: &[(&str, &str)]) -> Event {
    let mut event = Event { id: "1".into(), source: "/s".into(), kind: "t".into(), ..Event::default() };
    for (name, value) in attributes {
        event.set(name, (*value).into());
    }
    event
}

pub(super) fn message(channel: &str, attributes: &[(&str, &str)]) -> Message {
    Message { channel: Some(channel.into()), event: Box::new(event(attributes)), ..Message::default() }
}

/// A record that holds `message`.
pub(super) fn record(topic: &str, key: Option<&'static [u8]>, message: Message) -> Record {
    Record {
        message,
        topic: topic.into(),
        position: Position { topic: topic.into(), partition: 0, place: Place::offset(1) },
        next: Place::offset(2),
        key: key.map(Bytes::from_static),
        time: SystemTime::UNIX_EPOCH,
        note: OnceLock::new(),
    }
}

/// A record that another program wrote: no channel.
pub(super) fn native(topic: &str, key: Option<&'static [u8]>) -> Record {
    record(topic, key, Message { event: Box::new(event(&[])), ..Message::default() })
}

pub(super) fn texts(names: &[Str]) -> Vec<&str> {
    names.iter().map(|name| &**name).collect()
}
