//! What the commands that talk to a gateway share.

use std::error::Error;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use reqwest::Client;

use super::{Exit, say};

/// What a URL's path segment may not hold as it is, and `*`, which would be a wildcard. Slashes part the levels.
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'*')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}');
/// Of a query value.
const VALUE: &AsciiSet = &SEGMENT.add(b'&').add(b'+').add(b'=').add(b'/');

/// Runs a command's future.
pub(super) fn block_on(command: impl Future<Output = Exit>) -> Exit {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command),
        Err(problem) => {
            say(&format!("cannot start: {problem}"));
            Exit::Software
        }
    }
}

/// An HTTP client.
pub(super) fn new() -> Client {
    Client::new()
}

/// The URL of a channel or channel filter: `channel` as written, its levels percent-encoded; MQTT wildcards stay what they are.
pub(super) fn channel_url(base: &str, channel: &str) -> String {
    format!("{}/channels/{}", base.trim_end_matches('/'), utf8_percent_encode(channel, SEGMENT))
}

/// Percent-encodes a query's value.
pub(super) fn query_value(value: &str) -> String {
    utf8_percent_encode(value, VALUE).to_string()
}

/// The error and what caused it.
pub(super) fn explain(problem: &reqwest::Error) -> String {
    let mut text = problem.to_string();
    let mut cause = problem.source();
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text
}

/// The `detail` of a problem document, or the text itself.
pub(super) fn detail(body: &str) -> String {
    let problem: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
    detail.unwrap_or(body.trim()).to_owned()
}
