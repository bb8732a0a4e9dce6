//! What RFC 9112 asks of a request's head and hyper leaves to its user.

use axum::http::{HeaderMap, Request, StatusCode, Version, header};

use super::problem::Problem;

/// Refuses a request whose target is in doubt, or whose body is in a coding that is not undone here.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), Problem> {
    if request.version() == Version::HTTP_11 {
        check_host(request.headers())?;
    }
    check_codings(request.headers())
}

/// HTTP/1.1 has exactly one `host` (section 3.2), which is a host and perhaps a port.
fn check_host(headers: &HeaderMap) -> Result<(), Problem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => Err(Problem::bad_request("header `host` is missing: HTTP/1.1 asks for it")),
        (Some(_), Some(_)) => Err(Problem::bad_request("header `host` is given more than once")),
        (Some(host), None) if host.as_bytes().iter().all(|byte| is_host_byte(*byte)) => Ok(()),
        (Some(host), None) => {
            Err(Problem::bad_request(format!("header `host` is {host:?}: use a host's name or address")))
        }
    }
}

/// What may stand in a host and a port (RFC 3986, section 3.2).
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]%".contains(&byte)
}

/// Only chunks are undone here: another coding would be taken for data (section 6.1).
fn check_codings(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match codings.find(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        Some(coding) => {
            let detail = format!("transfer-encoding {coding:?} is not understood: use chunked alone");
            Err(Problem::new(StatusCode::NOT_IMPLEMENTED, detail))
        }
        None => Ok(()),
    }
}
