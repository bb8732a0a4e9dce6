//! The opening handshake (RFC 6455, section 4.2).

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header, request::Parts};
use base64::{Engine, engine::general_purpose::STANDARD};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::close::End;
use crate::protocols::http::Problem;

/// The subprotocol of the CloudEvents WebSocket binding for the JSON format.
pub(super) const JSON: &str = "cloudevents.json";

/// What a client has opened with.
pub(in crate::protocols) struct Handshake {
    accept: HeaderValue,
    /// The subprotocol that is known here.
    known: &'static str,
    offer: Offer,
}

/// What it offers as subprotocols.
#[derive(PartialEq, Eq)]
enum Offer {
    Nothing,
    Known,
    /// Only such as are not known here.
    Unknown,
}

impl Handshake {
    /// Checks what the client asks for; `known` is the subprotocol that it may offer.
    pub(in crate::protocols) fn read(request: &Parts, known: &'static str) -> Result<Self, Problem> {
        if request.method != Method::GET || request.version != Version::HTTP_11 {
            return Err(Problem::bad_request("a WebSocket begins with a GET of HTTP/1.1"));
        }
        let headers = &request.headers;
        if !has_token(headers, header::CONNECTION, "upgrade") {
            return Err(Problem::bad_request("header `connection` must hold `Upgrade`"));
        }
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            let problem = Problem::new(StatusCode::UPGRADE_REQUIRED, "header `sec-websocket-version` must be 13");
            return Err(problem.with_header(header::SEC_WEBSOCKET_VERSION, "13"));
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
        let key = key.filter(|key| STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16));
        let key = key.ok_or_else(|| Problem::bad_request("header `sec-websocket-key` must be 16 bytes in base64"))?;
        let accept = HeaderValue::try_from(derive_accept_key(key));
        let accept = accept.map_err(|_| Problem::bad_request("header `sec-websocket-key` cannot be answered"))?;
        let offer = match headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
            false => Offer::Nothing,
            true if has_token(headers, header::SEC_WEBSOCKET_PROTOCOL, known) => Offer::Known,
            true => Offer::Unknown,
        };
        Ok(Self { accept, known, offer })
    }

    /// The answer to the client's key.
    pub(super) fn accept(&self) -> HeaderValue {
        self.accept.clone()
    }

    /// The subprotocol that is chosen.
    pub(super) fn protocol(&self) -> Option<&'static str> {
        self.is_agreed().then_some(self.known)
    }

    /// Both sides have agreed on the subprotocol.
    pub(in crate::protocols) fn is_agreed(&self) -> bool {
        self.offer == Offer::Known
    }

    /// Whose subprotocols are all unknown is told so as soon as the connection stands.
    pub(super) fn refusal(&self) -> Option<End> {
        (self.offer == Offer::Unknown)
            .then(|| End::protocol_error(&format!("none of the subprotocols is known: use {}", self.known)))
    }
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case(wanted))
}
