//! `POST /explain?channel=…`: what would become of this publish, as JSON. Nothing is sent.
//!
//! With `mqtt=5` or `mqtt=3.1.1` the body is the payload of a PUBLISH; then there are also `client_id`, `retain=true`, and any number of
//! `user_property=NAME=VALUE`, and the request's `content-type` is the PUBLISH's, where MQTT 5 is asked for.

use std::{borrow::Cow, sync::Arc};

use axum::{
    body::to_bytes,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use meshgate_api::Str;

use super::Admin;
use crate::{
    codec::mqtt::Version,
    explain::{MqttPublish, Setting},
    protocols::http::{Problem, query},
};

pub(super) async fn explain(State(admin): State<Arc<Admin>>, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let asked = Asked::read(&head.uri)?;
    let snapshot = admin.gateway.now();
    let max_body = snapshot.http.max_body;
    let body = to_bytes(body, max_body).await.map_err(|problem| {
        let detail = format!("the body could not be read, or is larger than `max_body`, {max_body} bytes: {problem}");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    })?;
    let connectors = snapshot.connectors.iter().map(|connector| &*connector.name).collect();
    let setting = Setting { router: &snapshot.router, connectors, max_body, mqtt: admin.mqtt.as_ref() };
    let channel = asked.channel.clone();
    let explanation = match asked.publish(&head.headers, &body)? {
        Some(publish) => setting.explain_mqtt(publish, &channel),
        None => setting.explain(&head.headers, body, &channel),
    };
    Ok(([(header::CONTENT_TYPE, "application/json")], format!("{}\n", explanation.json())).into_response())
}

/// The queries.
struct Asked {
    channel: String,
    mqtt: Option<Version>,
    client_id: Option<Str>,
    retain: bool,
    user: Vec<(Str, Str)>,
}

impl Asked {
    fn read(uri: &Uri) -> Result<Self, Problem> {
        const KNOWN: [&str; 5] = ["channel", "mqtt", "client_id", "retain", "user_property"];
        let mut queries = query::known(uri, &KNOWN)?;
        let mut user = Vec::new();
        for (_, property) in queries.extract_if(.., |(key, _)| key == "user_property") {
            user.push(MqttPublish::user_property(&property).map_err(Problem::bad_request)?);
        }
        let mut once = |name: &str| take_once(&mut queries, name);
        let channel = once("channel")?.ok_or_else(|| Problem::bad_request("query `channel` is missing"))?;
        let mqtt = once("mqtt")?.map(|version| MqttPublish::version(&version).map_err(Problem::bad_request));
        let client_id = once("client_id")?.map(|name| Str::from(&*name));
        let retain = match once("retain")?.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => return Err(Problem::bad_request(format!("`retain={other}`: use true or false"))),
        };
        let mqtt = mqtt.transpose()?;
        if mqtt.is_none() && (retain || client_id.is_some() || !user.is_empty()) {
            let detail = "`client_id`, `retain` and `user_property` are of MQTT: add `mqtt=5` or `mqtt=3.1.1`";
            return Err(Problem::bad_request(detail));
        }
        Ok(Self { channel: channel.into_owned(), mqtt, client_id, retain, user })
    }

    /// The PUBLISH that is asked about, if it is one.
    fn publish(self, headers: &HeaderMap, payload: &Bytes) -> Result<Option<MqttPublish>, Problem> {
        let Self { mqtt: Some(version), client_id, retain, user, .. } = self else { return Ok(None) };
        let client_id = client_id.unwrap_or_else(|| Str::from_static("explain"));
        let content_type = headers.get(header::CONTENT_TYPE).filter(|_| version == Version::V5).map(|value| {
            let text = value.to_str().map_err(|_| Problem::bad_request("header content-type is not ASCII"));
            text.map(Str::from)
        });
        let (content_type, payload) = (content_type.transpose()?, payload.clone());
        let publish = MqttPublish { version, client_id, retain, content_type, user, payload };
        publish.check().map_err(Problem::bad_request)?;
        Ok(Some(publish))
    }
}

fn take_once<'a>(queries: &mut Vec<query::Pair<'a>>, name: &str) -> Result<Option<Cow<'a, str>>, Problem> {
    let mut found = queries.extract_if(.., |(key, _)| key == name);
    let first = found.next();
    if found.next().is_some() {
        return Err(Problem::bad_request(format!("query `{name}` is given more than once")));
    }
    Ok(first.map(|(_, value)| value))
}
