//! The queries of a URL: form-decoded, each known and well-formed, or refused.

use std::{borrow::Cow, time::SystemTime};

use axum::http::{HeaderMap, Uri};
use meshgate_api::{event::parse_timestamp, settings::suggestion};
use percent_encoding::percent_decode_str;
use smallvec::SmallVec;

use super::{address::check_percent_encoding, problem::Problem};
use crate::deliver::{Begin, EventFilter};

/// What every way of reading knows.
const OF_A_READ: [&str; 6] = ["from", "after", "limit", "meta", "resume", "filter"];

/// Queries that only one way of reading knows: their names, and what takes one of them with its value.
type Own<'a> = (&'a [&'static str], &'a mut dyn FnMut(&str, &str) -> Result<(), Problem>);

/// A query and its value.
pub(crate) type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The queries of a read.
#[derive(Debug)]
pub(in crate::protocols) struct ReadQuery {
    pub(in crate::protocols) from: Begin,
    /// End after so many events.
    pub(in crate::protocols) limit: Option<u64>,
    /// Each event carries the extensions `meshgatecursor` and `meshgatechannel`.
    pub(in crate::protocols) meta: bool,
    /// Cursors are given.
    pub(in crate::protocols) resume: bool,
    /// Only these events.
    pub(in crate::protocols) events: Option<EventFilter>,
}

/// Reads the queries of a `GET`; `last_event_id` wins over `after`, and `after` over `from`, which is `default` unless it is given.
pub(in crate::protocols) fn read(
    uri: &Uri,
    last_event_id: Option<&str>,
    default: Begin,
    (names, own): Own<'_>,
) -> Result<ReadQuery, Problem> {
    let mut query = ReadQuery { from: default, limit: None, meta: false, resume: true, events: None };
    let mut after = None;
    let mut given = SmallVec::<[Cow<'_, str>; 8]>::new();
    for pair in pairs(uri.query().unwrap_or_default()) {
        let (key, value) = pair?;
        match &*key {
            "channel" if uri.path() == "/channels" => {}
            "from" => query.from = from(&value)?,
            "after" => after = Some(value.into_owned()),
            "limit" => query.limit = Some(limit(&value)?),
            "meta" => query.meta = one_of("meta", &value, ["true", "false"])? == "true",
            "resume" => query.resume = one_of("resume", &value, ["no", "yes"])? == "yes",
            key if names.contains(&key) => own(key, &value)?,
            "group" => {
                return Err(Problem::bad_request("`group` is for WebSocket, not for streams and pages"));
            }
            "wait" => {
                return Err(Problem::bad_request("`wait` is for pages: accept application/cloudevents-batch+json"));
            }
            "filter" => query.events = Some(filter(&value)?),
            unknown => return Err(unknown_query(unknown, &[&OF_A_READ, names].concat())),
        }
        if given.contains(&key) {
            return Err(Problem::bad_request(format!("query `{key}` is given more than once")));
        }
        given.push(key);
    }
    if let Some(cursor) = last_event_id.map(str::to_owned).or(after) {
        query.from = Begin::Cursor(cursor.into());
    }
    Ok(query)
}

/// The cursor that a reader comes back with.
pub(in crate::protocols) fn last_event_id(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let text = value.to_str().map_err(|_| Problem::bad_request("header last-event-id is not ASCII"))?;
    Ok(Some(text).filter(|id| !id.is_empty()))
}

/// Refuses every query of a `POST` but the channel.
pub(in crate::protocols) fn none(uri: &Uri) -> Result<(), Problem> {
    for pair in pairs(uri.query().unwrap_or_default()) {
        match &*pair?.0 {
            "channel" if uri.path() == "/channels" => {}
            unknown => return Err(unknown_query(unknown, &[])),
        }
    }
    Ok(())
}

/// All queries of a URL that may have these.
pub(crate) fn known<'a>(uri: &'a Uri, names: &[&str]) -> Result<Vec<Pair<'a>>, Problem> {
    let known = pairs(uri.query().unwrap_or_default()).map(|pair| {
        let (key, value) = pair?;
        if names.contains(&&*key) { Ok((key, value)) } else { Err(unknown_query(&key, names)) }
    });
    known.collect()
}

/// Whether this pair of a query, as it stands in a URL, has the key.
pub(super) fn has_key(pair: &str, key: &str) -> bool {
    let name = pair.split_once('=').map_or(pair, |(name, _)| name);
    form_decode(name).is_ok_and(|name| name == key)
}

fn unknown_query(name: &str, known: &[&str]) -> Problem {
    Problem::bad_request(format!("query `{name}` is not known here: {}", suggestion(name, known)))
}

fn pairs(query: &str) -> impl Iterator<Item = Result<Pair<'_>, Problem>> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((form_decode(key)?, form_decode(value)?))
    })
}

fn form_decode(raw: &str) -> Result<Cow<'_, str>, Problem> {
    check_percent_encoding(raw)?;
    let not_utf8 = || Problem::bad_request(format!("query `{raw}` does not decode to UTF-8"));
    if raw.contains('+') {
        let spaced = raw.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8().map_err(|_| not_utf8())?;
        return Ok(decoded.into_owned().into());
    }
    percent_decode_str(raw).decode_utf8().map_err(|_| not_utf8())
}

fn from(value: &str) -> Result<Begin, Problem> {
    match value {
        "latest" => return Ok(Begin::Latest),
        "earliest" => return Ok(Begin::Earliest),
        _ => {}
    }
    // A `+` of a time zone that was not percent-encoded has become a space.
    let time = parse_timestamp(&value.replace(' ', "+")).ok_or_else(|| {
        Problem::bad_request(format!(
            "`from={value}`: use latest, earliest, or an RFC 3339 time such as 2026-01-31T12:00:00Z"
        ))
    })?;
    Ok(Begin::Time(SystemTime::from(time)))
}

fn filter(expression: &str) -> Result<EventFilter, Problem> {
    EventFilter::parse(expression).map_err(|problem| Problem::bad_request(format!("`filter={expression}`: {problem}")))
}

fn limit(value: &str) -> Result<u64, Problem> {
    match value.parse() {
        Ok(limit) if limit > 0 => Ok(limit),
        _ => Err(Problem::bad_request(format!("`limit={value}`: use a whole number of events, at least 1"))),
    }
}

pub(in crate::protocols) fn one_of<'a>(key: &str, value: &'a str, allowed: [&str; 2]) -> Result<&'a str, Problem> {
    if allowed.contains(&value) {
        return Ok(value);
    }
    Err(Problem::bad_request(format!("`{key}={value}`: use {} or {}", allowed[0], allowed[1])))
}
