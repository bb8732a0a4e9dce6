//! What the commands that talk to a gateway share.

use std::{error::Error, iter::successors};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use reqwest::{Client, Url};

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

/// A gateway's listener, as `--url` names it, without a slash at its end.
pub(super) fn base_url(given: &str) -> Result<String, String> {
    if !given.contains("://") {
        return Err(format!("the URL has no scheme: write http://{given}"));
    }
    let url = Url::parse(given).map_err(|problem| problem.to_string())?;
    if url.scheme() != "http" {
        return Err(format!("`{}` is not spoken here: use http", url.scheme()));
    }
    Ok(given.trim_end_matches('/').to_owned())
}

/// The URL of a channel or channel filter: `channel` as written, its levels percent-encoded; MQTT wildcards stay what they are.
pub(super) fn channel_url(base: &str, channel: &str) -> String {
    format!("{base}/channels/{}", utf8_percent_encode(channel, SEGMENT))
}

/// Percent-encodes a query's value.
pub(super) fn query_value(value: &str) -> String {
    utf8_percent_encode(value, VALUE).to_string()
}

/// Why the gateway at `base` has not answered.
pub(super) fn failure(base: &str, problem: &reqwest::Error) -> String {
    if problem.is_connect() {
        let cause = causes(problem).last().map_or_else(|| problem.to_string(), ToString::to_string);
        return format!("no gateway answers at {base}: is it running there? ({cause})");
    }
    explain(problem)
}

/// The error and what caused it.
pub(super) fn explain(problem: &reqwest::Error) -> String {
    causes(problem).fold(problem.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn causes(problem: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    successors(problem.source(), |&cause| cause.source())
}

/// The `detail` of a problem document, or the text itself.
pub(super) fn detail(body: &str) -> String {
    let problem: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
    detail.unwrap_or(body.trim()).to_owned()
}
