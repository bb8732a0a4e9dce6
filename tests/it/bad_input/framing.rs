//! Heads and bodies that are too large, cut off, or ambiguous about where a request ends.

use super::{
    Case,
    wire::{EVENT, post, request},
};

/// The largest body that is taken.
const MAX_BODY: usize = 1 << 20;
/// What a smuggler hides after a request.
const HIDDEN: &str = "POST /channels/hidden HTTP/1.1\r\nhost: gateway\r\ncontent-length: 0\r\n\r\n";

/// A publish with these header lines beside an event's, and no other about its length.
fn raw(headers: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Vec<u8> {
    request("POST /channels/bad", [EVENT.as_bytes(), headers.as_ref()].concat(), body)
}

fn chunked(body: &str) -> Vec<u8> {
    raw("transfer-encoding: chunked\r\n", body)
}

pub(super) fn cases() -> Vec<Case> {
    [bodies(), lengths(), codings(), chunks(), heads(), large_heads(), other_protocols()].into_iter().flatten().collect()
}

fn bodies() -> Vec<Case> {
    let too_large = || vec![b'x'; 4 * MAX_BODY];
    let chunk = format!("{:x}\r\n{}", 2 * MAX_BODY, "x".repeat(2 * MAX_BODY));
    let says = "larger than `max_body`, which is 1048576 bytes";
    let expect = "expect: 100-continue\r\ncontent-length: 2000000\r\n";
    vec![
        // Answered before it is sent: nobody waits for it.
        Case::refused("a terabyte announced", raw("content-length: 1099511627776\r\n", "xx"), 413, says),
        Case::refused("one byte too many announced", raw(format!("content-length: {}\r\n", MAX_BODY + 1), ""), 413, says),
        Case::refused("too large a body", post(EVENT, too_large()), 413, says),
        Case::refused("too large a chunk that never ends", chunked(&chunk), 413, says),
        Case::refused("too large a body expected", raw(expect, ""), 413, says),
        // A client that sends all before it reads still gets its answer.
        Case::refused("a large body for no channel", request("POST /channels/..", format!("content-length: {}\r\n", 16 << 20), vec![0; 16 << 20]), 400, "`..`"),
        Case::refused("a large body for no resource", request("POST /x", format!("content-length: {}\r\n", 4 << 20), too_large()), 404, "nothing at /x"),
        Case::refused("a large body with another method", request("PUT /channels/a", format!("content-length: {}\r\n", 4 << 20), too_large()), 405, "takes POST"),
        Case::refused("a body that is cut off", raw("content-length: 10\r\n", "xxx"), 400, "could not be read: end of file").cut(),
        Case::refused("a chunk that is cut off", chunked("5\r\nxx"), 400, "could not be read: end of file").cut(),
        Case::refused("chunks without an end", chunked("2\r\nxx\r\n"), 400, "could not be read").cut(),
        Case::stored("no body and no length", request("POST /channels/bad", "", "")),
    ]
}

fn lengths() -> Vec<Case> {
    let refused = [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 0\r\ncontent-length: 70\r\n",
        "content-length: 5, 5\r\n",
        "content-length: -1\r\n",
        "content-length: +5\r\n",
        "content-length: 0x5\r\n",
        "content-length: 5 5\r\n",
        "content-length: five\r\n",
        "content-length:\r\n",
        "content-length: 99999999999999999999999999\r\n",
    ];
    let named = |headers: &str| headers.trim_end().escape_debug().to_string();
    let mut cases: Vec<_> = refused.map(|headers| Case::unread(named(headers), raw(headers, HIDDEN), 400)).into();
    cases.push(Case::unread("content-length: u64::MAX", raw("content-length: 18446744073709551615\r\n", ""), 431));
    cases.push(Case::stored("the same content-length twice", raw("content-length: 2\r\ncontent-length: 2\r\n", "xx")));
    cases
}

fn codings() -> Vec<Case> {
    let unread = ["xchunked", "chunked, identity", "identity", "chunked;q=1", "", "\u{b}chunked"];
    let refused = ["gzip, chunked", "chunked, chunked", "identity, chunked", "gzip\r\ntransfer-encoding: chunked"];
    let with = |coding: &str| raw(format!("transfer-encoding: {coding}\r\n"), "1\r\nx\r\n0\r\n\r\n");
    let named = |coding: &str| format!("transfer-encoding: {}", coding.escape_debug());
    let mut cases: Vec<_> = unread.map(|coding| Case::unread(named(coding), with(coding), 400)).into();
    cases.extend(refused.map(|coding| Case::refused(named(coding), with(coding), 501, "use chunked alone")));
    // RFC 9112, section 6.1: the chunks count, and the connection is closed, so that what follows is no second request.
    let both = [
        "transfer-encoding: chunked\r\ncontent-length: 6\r\n",
        "content-length: 6\r\ntransfer-encoding: chunked\r\n",
        "content-length: 0\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 99999999\r\n",
    ];
    cases.extend(both.map(|headers| Case::stored(headers.trim_end().escape_debug().to_string(), raw(headers, format!("0\r\n\r\n{HIDDEN}")))));
    let old = String::from_utf8(chunked("0\r\n\r\n")).expect("UTF-8").replace("HTTP/1.1", "HTTP/1.0");
    cases.push(Case::unread("chunks in HTTP/1.0", old.into_bytes(), 400));
    cases
}

fn chunks() -> Vec<Case> {
    let bodies = [
        ("zz\r\nx\r\n0\r\n\r\n", "missing size digit"),
        ("-1\r\nx\r\n0\r\n\r\n", "missing size digit"),
        ("0x1\r\nx\r\n0\r\n\r\n", "Invalid Size"),
        ("\r\nx\r\n0\r\n\r\n", "missing size digit"),
        ("FFFFFFFFFFFFFFFFF\r\nx", "overflow"),
        ("1\r\nxx\r\n0\r\n\r\n", "Invalid chunk body"),
        ("1\nx\n0\n\n", "Invalid Size"),
        ("1;a\nb\r\nx\r\n0\r\n\r\n", "newline"),
    ];
    let named = |body: &str| format!("chunks: {}", body.escape_debug());
    let mut cases: Vec<_> = bodies.map(|(body, says)| Case::refused(named(body), chunked(&format!("{body}{HIDDEN}")), 400, says)).into();
    cases.push(Case::refused("a huge chunk announced", chunked("FFFFFFFFFFFF\r\nx"), 400, "could not be read").cut());
    cases
}

/// Heads that are not what RFC 9112 says.
fn heads() -> Vec<Case> {
    let with = |lines: &[u8]| raw([lines, b"\r\ncontent-length: 0\r\n"].concat(), "");
    let unread: [&[u8]; 10] = [
        b"x: a\r\n folded",
        b"content-length : 5",
        b"x\0y: a",
        b"x: a\0b",
        b"x: a\x01b",
        b"x: a\rb: c",
        b": a",
        b"no colon",
        b"x y: a",
        b"caf\xC3\xA9: a",
    ];
    let mut cases: Vec<_> = unread.map(|lines| Case::unread(lines.escape_ascii().to_string(), with(lines), 400)).into();
    let host = |host: &str| format!("POST /channels/bad HTTP/1.1\r\n{host}{EVENT}content-length: 0\r\n\r\n").into_bytes();
    for (lines, says) in [
        ("", "`host` is missing"),
        ("host: a\r\nhost: a\r\n", "`host` is given more than once"),
        ("host: a b\r\n", "`host` is \"a b\""),
        ("host: a/b\r\n", "`host` is \"a/b\""),
        ("host: user@a\r\n", "`host` is \"user@a\""),
    ] {
        cases.push(Case::refused(format!("host: {}", lines.escape_debug()), host(lines), 400, says));
    }
    let good = String::from_utf8(host("host: a\r\n")).expect("UTF-8");
    for version in ["HTTP/1.2", "HTTP/2.0", "HTTP/9", "http/1.1", "HTTP/1.1 x"] {
        cases.push(Case::unread(version, good.replace("HTTP/1.1", version).into_bytes(), 400));
    }
    cases.push(Case::stored("HTTP/1.0, without a host", String::from_utf8(host("")).expect("UTF-8").replace("HTTP/1.1", "HTTP/1.0").into()));
    // RFC 9112, section 2.2: a recipient may take a bare line feed for a line's end, and skips empty lines before a request.
    cases.push(Case::stored("bare line feeds", good.replace('\r', "").into()));
    cases.push(Case::stored("empty lines before the request", format!("\r\n\r\n{good}").into()));
    cases
}

fn large_heads() -> Vec<Case> {
    let long = |length: usize| "a".repeat(length);
    let many: String = (0..200).map(|n| format!("x{n}: a\r\n")).collect();
    let target = |length| request(format!("POST /channels/{}", long(length)), "content-length: 0\r\n", "");
    vec![
        Case::unread("a long header", raw(format!("x: {}\r\n", long(70 << 10)), ""), 431),
        Case::unread("a very long header", raw(format!("x: {}\r\n", long(4 << 20)), ""), 431),
        Case::unread("a very long header's name", raw(format!("{}: a\r\n", long(4 << 20)), ""), 431),
        Case::unread("many headers", raw(many, ""), 431),
        Case::unread("a long target", target(70 << 10), 431),
        Case::unread("a very long target", target(4 << 20), 431),
        Case::unread("a very long method", long(4 << 20).into_bytes(), 431),
        Case::unread("nothing but line breaks", "\r\n".repeat(1 << 20).into_bytes(), 431),
    ]
}

fn other_protocols() -> Vec<Case> {
    let hello = [&b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03"[..], &[7; 237]].concat();
    vec![
        Case::unread("a ClientHello of TLS", hello, 400),
        Case::unread("HTTP/0.9", b"GET /channels/a\r\n".to_vec(), 400),
        Case::unread("almost the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec(), 400),
        Case::unread("a CONNECT of MQTT", b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00".to_vec(), 400),
        Case::unread("SSH", b"SSH-2.0-client\r\n".to_vec(), 400),
        Case::unread("every byte", (0..=255).collect(), 400),
    ]
}
