//! Which channel, or channel filter, a URL names.
//!
//! Levels are path segments, percent-decoded one by one; `/channels?channel=` is the same for clients that cannot write empty levels.
//! In a filter a level `*` is MQTT's `+` and a last level `**` its `#`; `%2A` is a literal star.

use std::borrow::Cow;

use axum::http::Uri;
use percent_encoding::percent_decode_str;

use super::problem::Problem;
use crate::router::{Channel, ChannelFilter};

/// The path of all channels.
pub(super) const ROOT: &str = "/channels";

/// The channel that a `POST` publishes to.
pub(super) fn channel(uri: &Uri) -> Result<Cow<'_, str>, Problem> {
    let plain =
        uri.path().strip_prefix(ROOT).and_then(|rest| rest.strip_prefix('/')).filter(|path| !path.contains('%'));
    let text = match plain {
        Some(path) => Cow::Borrowed(path),
        None => join(levels(uri)?.into_iter().map(|level| level.decoded)).into(),
    };
    Channel::check(&text).map_err(|problem| Problem::bad_request(format!("channel `{text}`: {problem}")))?;
    Ok(text)
}

/// The channel filter that a `GET` reads.
pub(super) fn filter(uri: &Uri) -> Result<ChannelFilter, Problem> {
    let levels = levels(uri)?;
    let last = levels.len() - 1;
    let text = join(levels.into_iter().enumerate().map(|(at, level)| match &*level.raw {
        "*" => Cow::Borrowed("+"),
        "**" if at == last => Cow::Borrowed("#"),
        _ => level.decoded,
    }));
    ChannelFilter::parse(text.as_str())
        .map_err(|problem| Problem::bad_request(format!("channel filter `{text}`: {problem}")))
}

struct Level<'a> {
    /// As the URL has it: only here a star is a wildcard.
    raw: Cow<'a, str>,
    decoded: Cow<'a, str>,
}

fn levels(uri: &Uri) -> Result<Vec<Level<'_>>, Problem> {
    match uri.path().strip_prefix(ROOT).and_then(|rest| rest.strip_prefix('/')) {
        Some(path) => path.split('/').map(path_level).collect(),
        None => query_levels(uri.query().unwrap_or_default()),
    }
}

fn path_level(raw: &str) -> Result<Level<'_>, Problem> {
    let decoded = decode(raw)?;
    if decoded.contains('/') {
        let detail = format!("channel level `{raw}` decodes to one with `/` in it: write the levels as path segments");
        return Err(Problem::bad_request(detail));
    }
    Ok(Level { raw: raw.into(), decoded })
}

fn query_levels(query: &str) -> Result<Vec<Level<'_>>, Problem> {
    let mut channels = query.split('&').filter_map(|pair| pair.strip_prefix("channel="));
    let Some(channel) = channels.next() else {
        return Err(Problem::bad_request("no channel: use /channels/{channel}, or /channels?channel={channel}"));
    };
    if channels.next().is_some() {
        return Err(Problem::bad_request("the query has `channel` more than once"));
    }
    let with_slashes = channel.replace("%2F", "/").replace("%2f", "/").replace('+', " ");
    with_slashes
        .split('/')
        .map(|raw| Ok(Level { raw: raw.to_owned().into(), decoded: decode(raw)?.into_owned().into() }))
        .collect()
}

fn decode(raw: &str) -> Result<Cow<'_, str>, Problem> {
    check_percent_encoding(raw)?;
    percent_decode_str(raw).decode_utf8().map_err(|_| Problem::bad_request(format!("`{raw}` does not decode to UTF-8")))
}

/// Every `%` is followed by two hexadecimal digits.
pub(super) fn check_percent_encoding(raw: &str) -> Result<(), Problem> {
    let mut rest = raw.as_bytes();
    while let Some(at) = memchr::memchr(b'%', rest) {
        rest = &rest[at + 1..];
        if rest.len() < 2 || !rest[..2].iter().all(u8::is_ascii_hexdigit) {
            return Err(Problem::bad_request(format!(
                "`{raw}` is not percent-encoded: `%` needs two hexadecimal digits (write %25)"
            )));
        }
    }
    Ok(())
}

fn join<'a>(levels: impl Iterator<Item = Cow<'a, str>>) -> String {
    let mut text = String::new();
    for (at, level) in levels.enumerate() {
        if at > 0 {
            text.push('/');
        }
        text.push_str(&level);
    }
    text
}

#[cfg(test)]
mod tests;
