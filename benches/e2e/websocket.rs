//! A load tool: publishes events over WebSockets with a number of frames unanswered, and prints how many were confirmed.
//!
//! `websocket HOST:PORT CHANNEL [--connections 1] [--unanswered 256] [--seconds 5] [--bytes 400]`; one line of JSON. Anything but a
//! receipt ends it with an error. Frames are made once and masked with zeros, answers are only counted: so that what is measured is
//! the gateway.

use std::{
    env,
    error::Error,
    io::{Read, Write, stdout},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const RECEIPT: &[u8] = b"\"type\":\"io.meshgate.receipt\"";

/// What the command line says.
#[derive(Clone)]
struct Load {
    address: String,
    channel: String,
    connections: usize,
    unanswered: usize,
    seconds: u64,
    bytes: usize,
}

fn main() -> Result<()> {
    let load = Load::read(env::args().skip(1))?;
    let begun = Instant::now();
    let threads: Vec<_> = (0..load.connections)
        .map(|_| {
            thread::spawn({
                let load = load.clone();
                move || publish(&load)
            })
        })
        .collect();
    let mut confirmed = 0;
    for thread in threads {
        confirmed += thread.join().map_err(|_| "a connection's thread failed")??;
    }
    let per_second = confirmed as f64 / begun.elapsed().as_secs_f64();
    writeln!(
        stdout(),
        "{{\"events\": {confirmed}, \"per_second\": {per_second:.0}, \"connections\": {}, \"unanswered\": {}}}",
        load.connections,
        load.unanswered
    )?;
    Ok(())
}

impl Load {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut load = Self {
            address: String::new(),
            channel: String::new(),
            connections: 1,
            unanswered: 256,
            seconds: 5,
            bytes: 400,
        };
        while let Some(word) = words.next() {
            let mut number =
                || words.next().ok_or("a number is missing")?.parse::<usize>().map_err(|_| "a number is needed");
            match &*word {
                "--connections" => load.connections = number()?,
                "--unanswered" => load.unanswered = number()?,
                "--seconds" => load.seconds = number()? as u64,
                "--bytes" => load.bytes = number()?,
                "--bench" => {} // what cargo says
                _ if load.address.is_empty() => load.address = word,
                _ => load.channel = word,
            }
        }
        if load.channel.is_empty() {
            Err("usage: websocket HOST:PORT CHANNEL [--connections N] [--unanswered N] [--seconds N] [--bytes N]"
                .into())
        } else {
            Ok(load)
        }
    }
}

/// Keeps its share of the frames unanswered; how many were confirmed.
fn publish(load: &Load) -> Result<usize> {
    let mut stream = open(load)?;
    let frame = frame(&event(load.bytes));
    let window = (load.unanswered / load.connections).max(1);
    stream.write_all(&frame.repeat(window))?;
    let deadline = Instant::now() + Duration::from_secs(load.seconds);
    let (mut unread, mut confirmed, mut open) = (Vec::with_capacity(1 << 20), 0, window);
    let mut chunk = vec![0; 256 << 10];
    while open > 0 {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Err("the gateway closed the connection".into());
        }
        unread.extend_from_slice(&chunk[..read]);
        let (answers, taken) = count_receipts(&unread)?;
        unread.drain(..taken);
        (confirmed, open) = (confirmed + answers, open - answers);
        if Instant::now() < deadline {
            stream.write_all(&frame.repeat(answers))?;
            open += answers;
        }
    }
    Ok(confirmed)
}

fn open(load: &Load) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(&load.address)?;
    stream.set_nodelay(true)?;
    write!(
        stream,
        "GET /channels/{}?role=publish HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        load.channel, load.address
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    if head.starts_with(b"HTTP/1.1 101") { Ok(stream) } else { Err(String::from_utf8_lossy(&head).into()) }
}

fn event(bytes: usize) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"1","source":"/load","type":"com.acme.load","subject":"s","datacontenttype":"text/plain","data":"{}"}}"#,
        "x".repeat(bytes)
    )
}

/// A whole text frame, masked with zeros (RFC 6455, section 5.2).
fn frame(payload: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload.as_bytes());
    frame
}

/// How many whole frames there are, all of them receipts, and their bytes.
fn count_receipts(unread: &[u8]) -> Result<(usize, usize)> {
    let (mut count, mut at) = (0, 0);
    while let Some(head) = unread.get(at..at + 4) {
        let (length, head) = match head[1] {
            126 => (usize::from(u16::from_be_bytes([head[2], head[3]])), 4),
            short => (usize::from(short), 2),
        };
        let Some(payload) = unread.get(at + head..at + head + length) else { break };
        if !payload.windows(RECEIPT.len()).any(|window| window == RECEIPT) {
            return Err(format!("no receipt: {}", String::from_utf8_lossy(payload)).into());
        }
        (count, at) = (count + 1, at + head + length);
    }
    Ok((count, at))
}
