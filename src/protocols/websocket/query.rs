//! The queries of a WebSocket: those of every read, and its own.

use axum::http::request::Parts;
use meshgate_api::Str;

use crate::{
    deliver::Begin,
    protocols::http::{
        Problem,
        query::{self, ReadQuery},
    },
};

/// The longest name of a group, in bytes.
const MAX_GROUP: usize = 200;

/// What the client does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Subscribe,
    Publish,
    Both,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) read: ReadQuery,
    pub(super) role: Role,
    pub(super) group: Option<Str>,
    /// In a group: an event is confirmed when it is written, at most once.
    pub(super) auto_ack: bool,
}

impl Role {
    pub(super) fn publishes(self) -> bool {
        self != Self::Subscribe
    }

    pub(super) fn subscribes(self) -> bool {
        self != Self::Publish
    }
}

impl Query {
    pub(super) fn read(request: &Parts) -> Result<Self, Problem> {
        let (mut role, mut group, mut ack) = (Role::Subscribe, None, None);
        let last_event_id = query::last_event_id(&request.headers)?;
        let mut own = |key: &str, value: &str| {
            match key {
                "role" => role = read_role(value)?,
                "group" => group = Some(read_group(value)?),
                _ => ack = Some(query::one_of("ack", value, ["manual", "auto"])? == "auto"),
            }
            Ok(())
        };
        let own_names = ["role", "group", "ack"];
        let read = query::read(&request.uri, last_event_id, Begin::Latest, (&own_names, &mut own))?;
        let after = matches!(read.from, Begin::Cursor(_));
        if group.is_some() && after {
            return Err(Problem::bad_request(
                "`group` goes on from its own position: leave `after` and `last-event-id` out",
            ));
        }
        if ack.is_some() && group.is_none() {
            return Err(Problem::bad_request("`ack` is about the events of a group: name one with `group=`"));
        }
        if role == Role::Publish && (group.is_some() || after) {
            return Err(Problem::bad_request("`role=publish` reads nothing: leave the queries of a reader out"));
        }
        Ok(Self { read, role, group, auto_ack: ack == Some(true) })
    }
}

fn read_role(value: &str) -> Result<Role, Problem> {
    match value {
        "subscribe" => Ok(Role::Subscribe),
        "publish" => Ok(Role::Publish),
        "both" => Ok(Role::Both),
        _ => Err(Problem::bad_request(format!("`role={value}`: use subscribe, publish or both"))),
    }
}

fn read_group(value: &str) -> Result<Str, Problem> {
    if value.is_empty() || value.len() > MAX_GROUP || value.contains(char::is_control) {
        let detail = format!("`group={value}`: use 1 to {MAX_GROUP} bytes without control characters");
        return Err(Problem::bad_request(detail));
    }
    Ok(value.into())
}
