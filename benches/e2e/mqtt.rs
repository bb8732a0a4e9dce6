//! A load tool: MQTT clients, on few threads.
//!
//! `mqtt publish HOST:PORT TOPIC [--connections 16] [--unanswered 64] [--seconds 5] [--bytes 256] [--events]` publishes with QoS 1, each
//! connection with a number of publishes unanswered: plain bytes over MQTT 3.1.1, or with `--events` events in binary mode over MQTT 5.
//! Prints one line of JSON: how many were confirmed, and how long that took. Anything but a success ends it with an error.
//!
//! `mqtt idle HOST:PORT TOPIC [--connections 10000] [--keep-alive 0] [--subscribe]` opens connections, prints a line of JSON when all
//! stand, and holds them until its input ends; with a keep-alive each pings twice in that time. Then it prints how many pings were answered.
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
                     [--keep-alive SECONDS] [--subscribe]";
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
                _ => return Err(USAGE.into()),
            }
        }
        if kind == "idle" || kind == "publish" { Ok(load) } else { Err(USAGE.into()) }
    }

    /// A connection that was let in.
    async fn connect(&self, number: usize) -> Result<TcpStream> {
        let source = Ipv4Addr::from(FIRST_SOURCE + (number / OF_A_SOURCE) as u32);
        let socket = TcpSocket::new_v4()?;
        socket.set_zero_linger()?; // else its port could not be used again for a minute
        socket.bind((source, 0).into())?;
        let mut stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        let client_id = text(&format!("load-{}-{number}", std::process::id()));
        let keep_alive = self.keep_alive.to_be_bytes();
        let (version, properties): (u8, &[u8]) = if self.has_events { (5, &[0]) } else { (4, &[]) };
        // Clean start.
        let connect = packet(CONNECT, &[&text("MQTT"), &[version, 2], &keep_alive, properties, &client_id]);
        stream.write_all(&connect).await?;
        let answer = answer(&mut stream, CONNACK).await?;
        if answer.get(1) == Some(&0) { Ok(stream) } else { Err(format!("CONNACK {answer:?}").into()) }
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
    for stream in connections {
        publishing.spawn(publish_over(load.clone(), stream, begun));
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
async fn publish_over(load: Arc<Load>, mut stream: TcpStream, begun: Instant) -> Result<Seen> {
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
            stream.write_all(&out).await?;
        } else if free.len() == usize::from(load.unanswered) {
            return Ok(seen);
        }
        if timeout(PATIENCE, stream.read_buf(&mut unread)).await?? == 0 {
            return Err("the server closed the connection".into());
        }
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
            let stream = open(&load, number).await;
            drop(place);
            stream
        });
    }
    let pongs = Arc::new(AtomicUsize::new(0));
    let mut holding = JoinSet::new();
    let mut held = Vec::new();
    while let Some(opened) = opening.join_next().await {
        held.push(opened??);
    }
    let begun = Instant::now();
    for (number, stream) in held.into_iter().enumerate() {
        holding.spawn(hold(load.clone(), stream, begun, number, pongs.clone()));
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

async fn open(load: &Load, number: usize) -> Result<TcpStream> {
    let mut stream = load.connect(number).await?;
    if load.subscribes {
        let properties: &[u8] = if load.has_events { &[0] } else { &[] };
        let filter = text(&format!("{}/{number}", load.topic));
        stream.write_all(&packet(SUBSCRIBE, &[&[0, 1], properties, &filter, &[1]])).await?;
        let answer = answer(&mut stream, SUBACK).await?;
        if answer.last() != Some(&1) {
            return Err(format!("SUBACK {answer:?}").into());
        }
    }
    Ok(stream)
}

/// Until the server ends it, which it should not: only pings are expected. They are spread evenly over the connections.
async fn hold(
    load: Arc<Load>,
    mut stream: TcpStream,
    begun: Instant,
    number: usize,
    pongs: Arc<AtomicUsize>,
) -> Result<()> {
    let mut byte = [0; 2];
    if load.keep_alive == 0 {
        stream.read_exact(&mut byte).await?;
        return Err(format!("unexpected: {byte:?}").into());
    }
    let every = Duration::from_secs(load.keep_alive.into()) / 2;
    let mut next = begun + every.mul_f64((number + 1) as f64 / load.connections as f64);
    loop {
        sleep_until(next.into()).await;
        next += every;
        stream.write_all(&PINGREQ).await?;
        stream.read_exact(&mut byte).await?;
        if byte[0] != PINGRESP {
            return Err(format!("no PINGRESP: {byte:?}").into());
        }
        pongs.fetch_add(1, Relaxed);
    }
}

/// The body of the one packet that is expected.
async fn answer(stream: &mut TcpStream, expected: u8) -> Result<Vec<u8>> {
    let mut unread = Vec::new();
    loop {
        if timeout(PATIENCE, stream.read_buf(&mut unread)).await?? == 0 {
            return Err("the server closed the connection".into());
        }
        if let Some((kind, body, _)) = first(&unread) {
            let body = body.to_vec();
            return if kind == expected { Ok(body) } else { Err(format!("unexpected: {kind:#x} {body:?}").into()) };
        }
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
