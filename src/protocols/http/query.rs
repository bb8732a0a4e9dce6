//! The queries of a URL: form-decoded, each known and well-formed, or refused.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use axum::http::Uri;
use meshgate_api::{event::parse_timestamp, settings::duration};
use percent_encoding::percent_decode_str;
use smallvec::SmallVec;

use super::{address::check_percent_encoding, problem::Problem, read::Form};
use crate::deliver::From;

/// The queries of a read.
#[derive(Debug)]
pub(super) struct ReadQuery {
    pub(super) from: From,
    /// End after so many events.
    pub(super) limit: u64,
    /// An empty page waits so long for an event.
    pub(super) wait: Duration,
    /// Each event carries the extensions `meshgatecursor` and `meshgatechannel`.
    pub(super) meta: bool,
    /// Cursors are given.
    pub(super) resume: bool,
}

/// Events of a page: unless the query says otherwise, and at most.
const PAGE: u64 = 100;
const LARGEST_PAGE: u64 = 1000;
/// What an empty page may wait for an event.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl ReadQuery {
    fn of(form: Form) -> Self {
        let (from, limit) = match form {
            Form::Stream => (From::Latest, u64::MAX),
            Form::Page => (From::Earliest, PAGE),
        };
        Self { from, limit, wait: Duration::ZERO, meta: false, resume: true }
    }
}

/// Reads the queries of a `GET`; `last_event_id` wins over `after`, and `after` over `from`.
pub(super) fn read(uri: &Uri, last_event_id: Option<&str>, form: Form) -> Result<ReadQuery, Problem> {
    let mut query = ReadQuery::of(form);
    let mut after = None;
    let mut given = SmallVec::<[Cow<'_, str>; 8]>::new();
    for pair in pairs(uri.query().unwrap_or_default()) {
        let (key, value) = pair?;
        match &*key {
            "channel" if uri.path() == "/channels" => {}
            "from" => query.from = from(&value)?,
            "after" => after = Some(value.into_owned()),
            "limit" => query.limit = limit(&value, form)?,
            "wait" => query.wait = wait(&value, form)?,
            "meta" => query.meta = one_of("meta", &value, ["true", "false"])? == "true",
            "resume" => query.resume = one_of("resume", &value, ["no", "yes"])? == "yes",
            "group" => {
                return Err(Problem::bad_request("`group` is for WebSocket, MQTT and webhooks, not for HTTP reads"));
            }
            "filter" => return Err(Problem::bad_request("query `filter` is not built yet")),
            unknown => return Err(unknown_query(unknown)),
        }
        if given.contains(&key) {
            return Err(Problem::bad_request(format!("query `{key}` is given more than once")));
        }
        given.push(key);
    }
    if let Some(cursor) = last_event_id.map(str::to_owned).or(after) {
        query.from = From::Cursor(cursor.into());
    }
    Ok(query)
}

/// Refuses every query of a `POST` but the channel.
pub(super) fn none(uri: &Uri) -> Result<(), Problem> {
    for pair in pairs(uri.query().unwrap_or_default()) {
        match &*pair?.0 {
            "channel" if uri.path() == "/channels" => {}
            unknown => return Err(unknown_query(unknown)),
        }
    }
    Ok(())
}

/// Whether this pair of a query, as it stands in a URL, has the key.
pub(super) fn names(pair: &str, key: &str) -> bool {
    let name = pair.split_once('=').map_or(pair, |(name, _)| name);
    form_decode(name).is_ok_and(|name| name == key)
}

fn unknown_query(name: &str) -> Problem {
    Problem::bad_request(format!("query `{name}` is not known here"))
}

fn pairs(query: &str) -> impl Iterator<Item = Result<(Cow<'_, str>, Cow<'_, str>), Problem>> {
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

fn from(value: &str) -> Result<From, Problem> {
    match value {
        "latest" => return Ok(From::Latest),
        "earliest" => return Ok(From::Earliest),
        _ => {}
    }
    // A `+` of a time zone that was not percent-encoded has become a space.
    let time = parse_timestamp(&value.replace(' ', "+")).ok_or_else(|| {
        Problem::bad_request(format!(
            "`from={value}`: use latest, earliest, or an RFC 3339 time such as 2026-01-31T12:00:00Z"
        ))
    })?;
    Ok(From::Time(SystemTime::from(time)))
}

fn limit(value: &str, form: Form) -> Result<u64, Problem> {
    let (most, range) = match form {
        Form::Stream => (u64::MAX, "at least 1".into()),
        Form::Page => (LARGEST_PAGE, format!("1 to {LARGEST_PAGE}")),
    };
    let limit = value.parse().ok().filter(|limit| (1..=most).contains(limit));
    limit.ok_or_else(|| Problem::bad_request(format!("`limit={value}`: use a whole number of events, {range}")))
}

/// Seconds, as in RFC 7240, or a time with its unit.
fn wait(value: &str, form: Form) -> Result<Duration, Problem> {
    if form == Form::Stream {
        return Err(Problem::bad_request("`wait` is for pages: accept application/cloudevents-batch+json"));
    }
    let wait = value.parse().map(Duration::from_secs).ok().or_else(|| duration(value));
    wait.filter(|wait| *wait <= LONGEST_WAIT)
        .ok_or_else(|| Problem::bad_request(format!("`wait={value}`: use a time such as 500ms or 30s, at most 60s")))
}

fn one_of<'a>(key: &str, value: &'a str, allowed: [&str; 2]) -> Result<&'a str, Problem> {
    if allowed.contains(&value) {
        return Ok(value);
    }
    Err(Problem::bad_request(format!("`{key}={value}`: use {} or {}", allowed[0], allowed[1])))
}
