//! A load tool: MQTT clients, on few threads.
//!
//! `mqtt publish HOST:PORT TOPIC [--connections 16] [--unanswered 64] [--seconds 5] [--bytes 256] [--events]` publishes with QoS 1, each
//! connection with a number of publishes unanswered: plain bytes over MQTT 3.1.1, or with `--events` events in binary mode over MQTT 5.
//! Prints one line of JSON: how many were confirmed, and how long that took. Anything but a success ends it with an error.
//!
//! `mqtt idle HOST:PORT TOPIC [--connections 10000] [--keep-alive 0] [--subscribe]` opens connections, prints a line of JSON when all
//! stand, and holds them until its input ends; with a keep-alive each pings twice in that time. Then it prints how many pings were answered.
//!
//! Both with `--websocket` to the HTTP listener.
//!
//! Packets are made once, answers are only counted: so that what is measured is the server.

use std::{
    env,
    error::Error,
    io::{Read, Write, stdin, stdout},
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    runtime::Builder,
    sync::{Semaphore, oneshot},
    task::JoinSet,
    time::{sleep_until, timeout},
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "usage: mqtt publish|idle HOST:PORT TOPIC [--connections N] [--unanswered N] [--seconds N] [--bytes N] [--events] \
                     [--keep-alive SECONDS] [--subscribe] [--websocket]";
const THREADS: usize = 2;
/// Connections that are being opened at once.
const AT_ONCE: usize = 64;
/// Of one address there are some 28,000 ports: each of the loopback's addresses from here on has so many connections.
const FIRST_SOURCE: u32 = u32::from_be_bytes([127, 0, 1, 1]);
const OF_A_SOURCE: usize = 10_000;
/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH_QOS_1: u8 = 0x32;
const PUBACK: u8 = 0x40;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;
const PINGREQ: [u8; 2] = [0xC0, 0];
const PINGRESP: u8 = 0xD0;

/// The attributes of an event, as the yardstick's publishes over HTTP have them.
const ATTRIBUTES: [(&str, &str); 5] = [
    ("specversion", "1.0"),
    ("id", "mqtt-load"),
    ("source", "/yardstick"),
    ("type", "com.example.order.created"),
    ("time", "2026-01-01T00:00:00Z"),
];

/// What the command line says.
struct Load {
    is_idle: bool,
    address: SocketAddr,
    topic: String,
    connections: usize,
    unanswered: u16,
    seconds: u64,
    bytes: usize,
    has_events: bool,
    keep_alive: u16,
    subscribes: bool,
    is_websocket: bool,
}

fn main() -> Result<()> {
    let load = Arc::new(Load::read(env::args().skip(1))?);
    let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    runtime.block_on(async { if load.is_idle { idle(&load).await } else { publish(&load).await } })
}

impl Load {
    fn read(words: impl Iterator<Item = String>) -> Result<Self> {
        let mut words = words.filter(|word| word != "--bench"); // which cargo says
        let kind = words.next().ok_or(USAGE)?;
        let mut load = Self {
            is_idle: kind == "idle",
            address: words.next().ok_or(USAGE)?.parse()?,
            topic: words.next().ok_or(USAGE)?,
            connections: if kind == "idle" { 10_000 } else { 16 },
            unanswered: 64,
            seconds: 5,
            bytes: 256,
            has_events: false,
            keep_alive: 0,
            subscribes: false,
            is_websocket: false,
        };
        while let Some(flag) = words.next() {
            let mut number = || words.next().and_then(|word| word.parse::<u32>().ok()).ok_or("a number is needed");
            match &*flag {
                "--connections" => load.connections = number()? as usize,
                "--unanswered" => load.unanswered = u16::try_from(number()?)?.max(1),
                "--seconds" => load.seconds = number()?.into(),
                "--bytes" => load.bytes = number()? as usize,
                "--keep-alive" => load.keep_alive = u16::try_from(number()?)?,
                "--events" => load.has_events = true,
                "--subscribe" => load.subscribes = true,
                "--websocket" => load.is_websocket = true,
                _ => return Err(USAGE.into()),
            }
        }
        if kind == "idle" || kind == "publish" { Ok(load) } else { Err(USAGE.into()) }
    }

    /// A connection that was let in.
    async fn connect(&self, number: usize) -> Result<Client> {
        let source = Ipv4Addr::from(FIRST_SOURCE + (number / OF_A_SOURCE) as u32);
        let socket = TcpSocket::new_v4()?;
        socket.set_zero_linger()?; // else its port could not be used again for a minute
        socket.bind((source, 0).into())?;
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        let mut client = Client { stream, is_websocket: self.is_websocket, frames: Vec::new() };
        if self.is_websocket {
            client.upgrade(self.address).await?;
        }
        let client_id = text(&format!("load-{}-{number}", std::process::id()));
        let keep_alive = self.keep_alive.to_be_bytes();
        let (version, properties): (u8, &[u8]) = if self.has_events { (5, &[0]) } else { (4, &[]) };
        // Clean start.
        let connect = packet(CONNECT, &[&text("MQTT"), &[version, 2], &keep_alive, properties, &client_id]);
        client.send(&connect).await?;
        let answer = client.answer(CONNACK).await?;
        if answer.get(1) == Some(&0) { Ok(client) } else { Err(format!("CONNACK {answer:?}").into()) }
    }

    /// A PUBLISH, and where in it the packet identifier is.
    fn publish(&self) -> (Vec<u8>, usize) {
        let mut properties = Vec::new();
        if self.has_events {
            for (name, value) in ATTRIBUTES {
                properties.extend([&[0x26], &*text(name), &text(value)].concat());
            }
            properties.extend([&[0x03], &*text("text/plain")].concat());
            properties = [variable(properties.len()), properties].concat();
        }
        let data = vec![b'x'; self.bytes];
        let publish = packet(PUBLISH_QOS_1, &[&text(&self.topic), &[0; 2], &properties, &data]);
        let at = publish.len() - data.len() - properties.len() - 2;
        (publish, at)
    }
}

/// A connection, bare or within a WebSocket.
struct Client {
    stream: TcpStream,
    is_websocket: bool,
    /// What has come of WebSocket frames.
    frames: Vec<u8>,
}

impl Client {
    async fn upgrade(&mut self, address: SocketAddr) -> Result<()> {
        let request = format!(
            "GET /mqtt HTTP/1.1\r\nhost: {address}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-protocol: mqtt\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        self.stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await?);
        }
        if head.starts_with(b"HTTP/1.1 101") { Ok(()) } else { Err(String::from_utf8_lossy(&head).into()) }
    }

    async fn send(&mut self, packets: &[u8]) -> Result<()> {
        if self.is_websocket && !packets.is_empty() {
            // A binary frame, masked with zeros (RFC 6455, section 5.2).
            let mut head = vec![0x82];
            match packets.len() {
                length @ 0..126 => head.push(0x80 | length as u8),
                length @ 126..0x1_0000 => head.extend([&[0x80 | 126], &(length as u16).to_be_bytes()[..]].concat()),
                length => head.extend([&[0x80 | 127], &(length as u64).to_be_bytes()[..]].concat()),
            }
            head.extend([0; 4]);
            return Ok(self.stream.write_all(&[&head, packets].concat()).await?);
        }
        Ok(self.stream.write_all(packets).await?)
    }

    /// Waits for more of the server's packets, or a part of one.
    async fn receive(&mut self, unread: &mut Vec<u8>) -> Result<()> {
        let known = unread.len();
        while unread.len() == known {
            let buffer = if self.is_websocket { &mut self.frames } else { &mut *unread };
            if self.stream.read_buf(buffer).await? == 0 {
                return Err("the server closed the connection".into());
            }
            let mut taken = 0;
            while let Some((payload, whole)) = frame(&self.frames[taken..])? {
                unread.extend_from_slice(payload);
                taken += whole;
            }
            self.frames.drain(..taken);
        }
        Ok(())
    }

    /// The body of the one packet that is expected.
    async fn answer(&mut self, expected: u8) -> Result<Vec<u8>> {
        let mut unread = Vec::new();
        loop {
            timeout(PATIENCE, self.receive(&mut unread)).await??;
            if let Some((kind, body, _)) = first(&unread) {
                let body = body.to_vec();
                return if kind == expected { Ok(body) } else { Err(format!("unexpected: {kind:#x} {body:?}").into()) };
            }
        }
    }
}

/// What one connection has seen.
#[derive(Default)]
struct Seen {
    confirmed: usize,
    taken: Vec<Duration>,
}

async fn publish(load: &Arc<Load>) -> Result<()> {
    let mut connections = Vec::new();
    for number in 0..load.connections {
        connections.push(load.connect(number).await?);
    }
    let begun = Instant::now();
    let mut publishing = JoinSet::new();
    for client in connections {
        publishing.spawn(publish_over(load.clone(), client, begun));
    }
    let (mut confirmed, mut taken) = (0, Vec::new());
    while let Some(ended) = publishing.join_next().await {
        let seen = ended??;
        confirmed += seen.confirmed;
        taken.extend(seen.taken);
    }
    let per_second = confirmed as f64 / begun.elapsed().as_secs_f64();
    taken.sort_unstable();
    let at = |share: f64| taken.get((taken.len() as f64 * share) as usize).map_or(0, Duration::as_micros);
    writeln!(
        stdout(),
        "{{\"events\": {confirmed}, \"per_second\": {per_second:.0}, \"p50_us\": {}, \"p99_us\": {}, \"connections\": {}, \"unanswered\": {}}}",
        at(0.5),
        at(0.99),
        load.connections,
        load.unanswered
    )?;
    Ok(())
}

/// Keeps its publishes unanswered until the time is over, and waits for the last answers.
async fn publish_over(load: Arc<Load>, mut client: Client, begun: Instant) -> Result<Seen> {
    let (publish, at) = load.publish();
    let deadline = begun + Duration::from_secs(load.seconds);
    let mut seen = Seen::default();
    let mut sent = vec![begun; usize::from(load.unanswered) + 1];
    let mut free: Vec<u16> = (1..=load.unanswered).collect();
    let (mut unread, mut out) = (Vec::with_capacity(64 << 10), Vec::new());
    loop {
        let now = Instant::now();
        if now < deadline {
            out.clear();
            for packet in free.drain(..) {
                let start = out.len();
                out.extend_from_slice(&publish);
                out[start + at..start + at + 2].copy_from_slice(&packet.to_be_bytes());
                sent[usize::from(packet)] = now;
            }
            client.send(&out).await?;
        } else if free.len() == usize::from(load.unanswered) {
            return Ok(seen);
        }
        timeout(PATIENCE, client.receive(&mut unread)).await??;
        let (now, mut taken) = (Instant::now(), 0);
        while let Some((kind, body, whole)) = first(&unread[taken..]) {
            if kind != PUBACK || body.get(2).is_some_and(|reason| *reason >= 0x80) {
                return Err(format!("no PUBACK of success: {kind:#x} {body:?}").into());
            }
            let packet = u16::from_be_bytes([body[0], body[1]]);
            seen.taken.push(now - *sent.get(usize::from(packet)).ok_or("an unknown packet identifier")?);
            seen.confirmed += 1;
            free.push(packet);
            taken += whole;
        }
        unread.drain(..taken);
    }
}

async fn idle(load: &Arc<Load>) -> Result<()> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut opening = JoinSet::new();
    for number in 0..load.connections {
        let (load, place) = (load.clone(), places.clone().acquire_owned().await?);
        opening.spawn(async move {
            let client = open(&load, number).await;
            drop(place);
            client
        });
    }
    let pongs = Arc::new(AtomicUsize::new(0));
    let mut holding = JoinSet::new();
    let mut held = Vec::new();
    while let Some(opened) = opening.join_next().await {
        held.push(opened??);
    }
    let begun = Instant::now();
    for (number, client) in held.into_iter().enumerate() {
        holding.spawn(hold(load.clone(), client, begun, number, pongs.clone()));
    }
    writeln!(stdout(), "{{\"open\": {}}}", load.connections)?;
    stdout().flush()?;
    let (ended, input_ended) = oneshot::channel::<()>();
    thread::spawn(move || {
        drop(stdin().read_to_end(&mut Vec::new()));
        drop(ended);
    });
    tokio::select! {
        _ = input_ended => {}
        Some(lost) = holding.join_next() => return Err(format!("a connection ended: {lost:?}").into()),
    }
    writeln!(stdout(), "{{\"pings\": {}, \"seconds\": {:.1}}}", pongs.load(Relaxed), begun.elapsed().as_secs_f64())?;
    Ok(())
}

async fn open(load: &Load, number: usize) -> Result<Client> {
    let mut client = load.connect(number).await?;
    if load.subscribes {
        let properties: &[u8] = if load.has_events { &[0] } else { &[] };
        let filter = text(&format!("{}/{number}", load.topic));
        client.send(&packet(SUBSCRIBE, &[&[0, 1], properties, &filter, &[1]])).await?;
        let answer = client.answer(SUBACK).await?;
        if answer.last() != Some(&1) {
            return Err(format!("SUBACK {answer:?}").into());
        }
    }
    Ok(client)
}

/// Until the server ends it, which it should not: only pings are answered. They are spread evenly over the connections.
async fn hold(
    load: Arc<Load>,
    mut client: Client,
    begun: Instant,
    number: usize,
    pongs: Arc<AtomicUsize>,
) -> Result<()> {
    if load.keep_alive == 0 {
        let mut unexpected = Vec::new();
        client.receive(&mut unexpected).await?;
        return Err(format!("unexpected: {unexpected:?}").into());
    }
    let every = Duration::from_secs(load.keep_alive.into()) / 2;
    let mut next = begun + every.mul_f64((number + 1) as f64 / load.connections as f64);
    loop {
        sleep_until(next.into()).await;
        next += every;
        client.send(&PINGREQ).await?;
        client.answer(PINGRESP).await?;
        pongs.fetch_add(1, Relaxed);
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

fn packet(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [vec![kind], variable(body.len()), body].concat()
}

fn variable(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7F {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// The first whole packet: its first byte, its body, its length in all.
fn first(unread: &[u8]) -> Option<(u8, &[u8], usize)> {
    let mut length = 0;
    for at in 0..4 {
        let byte = *unread.get(1 + at)?;
        length |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            let header = 2 + at;
            return Some((unread[0], unread.get(header..header + length)?, header + length));
        }
    }
    None
}

/// The payload of the first whole frame, which must be binary, and its length in all.
fn frame(unread: &[u8]) -> Result<Option<(&[u8], usize)>> {
    let Some(head) = unread.get(..2) else { return Ok(None) };
    if head[0] != 0x82 {
        return Err(format!("not one binary frame: {head:?}").into());
    }
    let length_of =
        |bytes: Option<&[u8]>| bytes.map(|bytes| bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)));
    let (length, header) = match head[1] {
        126 => (length_of(unread.get(2..4)), 4),
        127 => (length_of(unread.get(2..10)), 10),
        short => (Some(usize::from(short)), 2),
    };
    let payload = length.and_then(|length| unread.get(header..header + length));
    Ok(payload.map(|payload| (payload, header + payload.len())))
}
