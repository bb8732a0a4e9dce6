//! Requests as bytes on a socket, so that nothing puts them right on the way.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
};

use crate::harness::PATIENCE;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
    /// What the server sent after that answer, before it closed: nothing, unless it took one request for two.
    pub rest: Vec<u8>,
}

/// Connects to `host:port`.
pub fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the gateway accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Sends the whole request, then reads the answer, then whatever else comes. With `cut` the client says at once that no more will
/// come.
pub fn exchange(address: &str, request: &[u8], cut: bool) -> io::Result<Answer> {
    let mut stream = connect(address);
    stream.write_all(request)?;
    if cut {
        stream.shutdown(Shutdown::Write)?;
    }
    let head = read_head(&mut stream)?;
    let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_default();
    let mut answer = Answer { status, body: String::new(), rest: Vec::new(), head };
    if status == 200 {
        return Ok(answer); // a stream
    }
    let mut body = vec![0; content_length(&answer.head)];
    stream.read_exact(&mut body)?;
    answer.body = String::from_utf8(body).map_err(io::Error::other)?;
    match stream.shutdown(Shutdown::Write) {
        Err(problem) if problem.kind() != io::ErrorKind::NotConnected => return Err(problem),
        _ => stream.read_to_end(&mut answer.rest)?,
    };
    Ok(answer)
}

/// Everything until the empty line, or the end.
fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn content_length(head: &str) -> usize {
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.map_or(0, |length| length.parse().expect("a length"))
}

/// A request with this line (without its version), these header lines beside `host`, and what follows the head.
pub fn request(line: impl AsRef<[u8]>, headers: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Vec<u8> {
    [line.as_ref(), b" HTTP/1.1\r\nhost: gateway\r\n", headers.as_ref(), b"\r\n", body.as_ref()].concat()
}

/// A whole `POST /channels/bad` with a right `content-length`.
pub fn post(headers: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Vec<u8> {
    let length = format!("content-length: {}\r\n", body.as_ref().len());
    request("POST /channels/bad", [headers.as_ref(), length.as_bytes()].concat(), body)
}

/// The headers of a whole event.
pub const EVENT: &str = "ce-specversion: 1.0\r\nce-id: bad\r\nce-source: /bad\r\nce-type: bad\r\n";
