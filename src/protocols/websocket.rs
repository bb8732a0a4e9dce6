//! The WebSocket side of `/channels/{channel}` (RFC 6455, CloudEvents WebSocket binding): publish, subscribe, or both on one connection.
//!
//! Every text frame is one event in the JSON format. What a client publishes is answered frame by frame, in their order
//! ([`inbound`]); what it subscribes to comes as events, in a group to be settled one by one ([`outbound`]). One task serves a
//! connection ([`connection`]): what cannot be written holds back what is read.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use meshgate_api::Str;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::protocol::{Role as Side, WebSocketConfig},
};

use crate::{
    codec,
    deliver::{GroupName, OpenError, Reading},
    protocols::http::{Http, Problem},
    router::ChannelFilter,
};

mod close;
mod connection;
pub(super) mod handshake;
mod inbound;
mod outbound;
mod outcome;
mod query;

use close::End;
use connection::Connection;
use handshake::Handshake;
use inbound::Inbound;
use outbound::Outbound;
use query::Query;

/// Bytes read from a client at once, and written to it at once.
const BUFFER: usize = 16 << 10;

/// Whether the request asks for a WebSocket.
pub(super) fn is_asked_for(request: &Parts) -> bool {
    let upgrade = request.headers.get(header::UPGRADE);
    upgrade.is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Answers a `GET /channels/{filter}` that asks for a WebSocket. Its subscription stands when the answer is 101.
pub(super) async fn accept(http: &Arc<Http>, channels: ChannelFilter, request: &Parts) -> Result<Response, Problem> {
    let handshake = Handshake::read(request, handshake::JSON)?;
    let query = Query::read(request)?;
    let channel = query.role.publishes().then(|| one_channel(&channels)).transpose()?;
    let on_upgrade = upgrade(request)?;
    let mut end = handshake.refusal();
    let mut outbound = None;
    if query.role.subscribes() && end.is_none() {
        match open(http, channels, &query).await? {
            Ok(subscription) => outbound = Some(subscription),
            Err(not_now) => end = Some(not_now),
        }
    }
    let inbound = Inbound::new(http, channel, codec::travelling(&request.headers), handshake.is_agreed());
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(Some(http.max_body()))
        .max_frame_size(Some(http.max_body()));
    let http = http.clone();
    tokio::spawn(async move {
        match on_upgrade.await {
            Ok(upgraded) => {
                let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Side::Server, Some(config)).await;
                Connection::new(socket, inbound, outbound, &http).run(end).await;
            }
            Err(problem) => tracing::debug!(%problem, "a client went away before it had its WebSocket"),
        }
    });
    Ok(switching_protocols(&handshake))
}

/// What the connection becomes after the answer.
pub(super) fn upgrade(request: &Parts) -> Result<OnUpgrade, Problem> {
    let on_upgrade = request.extensions.get::<OnUpgrade>().cloned();
    on_upgrade.ok_or_else(|| Problem::bad_request("this connection cannot become a WebSocket"))
}

/// The channel that frames are published to: wildcards name none.
fn one_channel(channels: &ChannelFilter) -> Result<Str, Problem> {
    let channel = channels.as_str();
    if channel.contains(['+', '#']) {
        let detail = format!("`{channel}` is no single channel: publishing needs one without wildcards");
        return Err(Problem::bad_request(detail));
    }
    Ok(channel.into())
}

/// What is wrong for good is an answer; what is not possible now ends the connection once it stands (1013).
async fn open(http: &Arc<Http>, channels: ChannelFilter, query: &Query) -> Result<Result<Outbound, End>, Problem> {
    let reading = Reading {
        channels: channels.clone().into(),
        from: query.read.from.clone(),
        cursors: query.read.resume && query.read.meta,
        positions: false,
        group: query.group.clone().map(GroupName::OfClient),
        events: query.read.events.clone(),
    };
    match http.gateway.open(reading).await {
        Ok(flow) => Ok(Ok(Outbound::new(flow, query, http.gateway.now().limits.max_in_flight))),
        Err(OpenError::Busy(detail) | OpenError::NotNow(detail)) => Ok(Err(End::try_again_later(&detail))),
        Err(refused) => Err(super::http::refusal(&channels, refused)),
    }
}

pub(super) fn switching_protocols(handshake: &Handshake) -> Response {
    let headers = [
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, handshake.accept()),
    ];
    let mut response = (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response();
    if let Some(protocol) = handshake.protocol() {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    response
}
