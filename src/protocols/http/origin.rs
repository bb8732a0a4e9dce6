//! Which web pages may use the gateway: `Origin` (RFC 6454) and CORS (Fetch Standard, section 3.2).
//!
//! A browser says which page a request comes from. Pages of the host itself need nothing; those in `listeners.http.origins` are told
//! that they may read the answer; any other page is refused, also where a browser would send its request without asking (a plain
//! `POST`, a WebSocket). Programs that are no browsers send no `Origin` and are not concerned.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};

use super::problem::Problem;

/// Headers of answers that a page may read besides those that it always may.
const EXPOSED: &str = "meshgate-cursor, link, meshgate-end, retry-after, location";
/// All methods of all resources.
const METHODS: &str = "GET, HEAD, POST";
/// For so many seconds a browser need not ask again.
const MAX_AGE: &str = "600";
/// What the answer to a preflight request depends on.
const PREFLIGHT_VARY: &str = "origin, access-control-request-method, access-control-request-headers";

/// The page that a request comes from, which may use the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// No page: another program.
    None,
    /// A page of the host itself.
    Own,
    /// One that `listeners.http.origins` lists.
    Listed(HeaderValue),
}

impl Origin {
    /// Whence the request comes; a problem if it may not.
    pub(super) fn of(request: &Parts, listed: &[String]) -> Result<Self, Problem> {
        let mut origins = request.headers.get_all(header::ORIGIN).iter();
        let (origin, is_only) = match (origins.next(), origins.next()) {
            (None, _) => return Ok(Self::None),
            (Some(origin), other) => (origin, other.is_none()),
        };
        if is_only && listed.iter().any(|listed| listed.as_bytes() == origin.as_bytes()) {
            return Ok(Self::Listed(origin.clone()));
        }
        if is_only && is_own(origin, request) {
            return Ok(Self::Own);
        }
        let detail =
            format!("pages of origin {origin:?} may not use this gateway: list it in `listeners.http.origins`");
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    }

    /// The answer to a browser that asks what a page may do.
    pub(super) fn preflight(&self, request: &Parts) -> Option<Response> {
        let is_asked = request.method == Method::OPTIONS
            && request.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
            && matches!(self, Self::Listed(_));
        is_asked.then(|| {
            let mut answer = (StatusCode::NO_CONTENT, Body::empty()).into_response();
            let headers = answer.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
            for asked in request.headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                headers.append(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
            }
            headers.insert(header::VARY, HeaderValue::from_static(PREFLIGHT_VARY));
            answer
        })
    }

    /// Tells the browser that the page may read the answer.
    pub(super) fn allow(self, answer: &mut HeaderMap) {
        let Self::Listed(origin) = self else { return };
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}

/// Other origins would be answered otherwise: caches must not mix them.
pub(super) fn vary(answer: &mut HeaderMap) {
    if !answer.contains_key(header::VARY) {
        answer.insert(header::VARY, HeaderValue::from_static("origin"));
    }
}

/// Whether the origin is the host and port that the request is for. The scheme does not count: a proxy may have taken TLS off.
fn is_own(origin: &HeaderValue, request: &Parts) -> bool {
    let host = request.headers.get(header::HOST).map(HeaderValue::as_bytes);
    let target = request.uri.authority().map(|authority| authority.as_str().as_bytes()).or(host);
    let Some((scheme, own)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else { return false };
    let port = match scheme {
        "http" => &b":80"[..],
        "https" => b":443",
        _ => return false,
    };
    !own.is_empty()
        && target.is_some_and(|target| target.strip_suffix(port).unwrap_or(target).eq_ignore_ascii_case(own.as_bytes()))
}

#[cfg(test)]
mod tests;
