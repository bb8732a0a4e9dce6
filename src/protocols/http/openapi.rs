//! `GET /openapi.json`: what the listener serves under the present configuration, as OpenAPI 3.1.
//!
//! What never changes stands in `openapi.json` beside this file; the routes, the default channel and `max_body` are filled in.

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::gateway::Snapshot;

const TEMPLATE: &str = include_str!("openapi.json");

/// As many routes are described one by one.
const DESCRIBED: usize = 100;

/// Answers `GET /openapi.json`.
pub(super) fn answer(snapshot: &Snapshot) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")];
    (headers, document(snapshot).to_string()).into_response()
}

fn document(snapshot: &Snapshot) -> Value {
    let mut document: Value = serde_json::from_str(TEMPLATE).expect("the template is JSON: a test reads it");
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    match &snapshot.http.default_channel {
        Some(channel) => {
            document["paths"]["/"]["post"]["description"] = format!("The default channel is `{channel}`.").into();
        }
        None => {
            document["paths"].as_object_mut().map(|paths| paths.remove("/"));
        }
    }
    let routes = routes(snapshot);
    for name in ["Channel", "ChannelQuery", "Filter", "FilterQuery"] {
        let parameter = &mut document["components"]["parameters"][name];
        let description = parameter["description"].as_str().unwrap_or_default();
        parameter["description"] = format!("{description}{routes}").into();
        parameter["examples"] = examples(snapshot);
    }
    let max_body = snapshot.http.max_body;
    document["components"]["requestBodies"]["Events"]["description"] = format!(
        "One event (`application/cloudevents+json`), a batch (`application/cloudevents-batch+json`), or the data of an event whose \
         attributes are `ce-` headers. Anything else is data without attributes, and the gateway makes an event of it. At most \
         {max_body} bytes."
    )
    .into();
    document
}

/// Which channels there are: each route's pattern, in the order in which they are asked.
fn routes(snapshot: &Snapshot) -> String {
    let routes = snapshot.router.routes();
    let mut text = String::from("Levels are separated by `/`. These patterns are asked in turn:\n");
    for route in routes.iter().take(DESCRIBED) {
        let tap = if route.tap() { ", which gets a copy" } else { "" };
        text.push_str(&format!("\n- `{}` (route {}{tap})", route.pattern(), route.name()));
    }
    if let Some(more @ 1..) = routes.len().checked_sub(DESCRIBED) {
        text.push_str(&format!("\n- and {more} more"));
    }
    text
}

/// A channel for each route: a capture or a wildcard stands for a level of its own name.
fn examples(snapshot: &Snapshot) -> Value {
    let example = |pattern: &str| {
        let levels = pattern.split('/').map(|level| match level {
            "+" => "any",
            "#" => "rest",
            level => level.strip_prefix('{').and_then(|level| level.strip_suffix('}')).unwrap_or(level),
        });
        levels.collect::<Vec<_>>().join("/")
    };
    let routes = snapshot.router.routes().iter().take(DESCRIBED);
    let named = routes.map(|route| {
        let key = route.name().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect::<String>();
        (key, json!({ "summary": route.pattern(), "value": example(route.pattern()) }))
    });
    Value::Object(named.collect())
}
