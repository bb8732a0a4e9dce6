//! Resident memory under a crowd of clients that take and do not give.

use std::{
    fs,
    time::{Duration, Instant},
};

use futures::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::sleep,
};

use super::client;
use crate::harness::{broker::Broker, gateway::Gateway, tell};

mod paused;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

const HALF_OPEN: usize = 1000;
const SLOW: usize = 300;
const READERS: usize = 50;
/// Bytes of an event, and how many flow.
const EVENT: usize = 16 * KIB;
const EVENTS: usize = 4000;

/// `limits.connections`, `limits.in_flight`, `limits.ring` and the memory connector's `capacity`.
const CONNECTIONS: usize = 1500;
const IN_FLIGHT: usize = 8 * MIB;
const RING: usize = 8 * MIB;
const CAPACITY: usize = 16 * MIB;

/// What a connection of HTTP/1.1 may hold: what it has read and not used, what it has written and not sent, and itself.
const CONNECTION: usize = 64 * KIB + 64 * KIB + 32 * KIB;
/// What a reader may hold besides: the events of one read, and the one that is being written.
const READER: usize = 256 * KIB + 2 * EVENT;
/// What the program takes beside all that: threads, allocators, tables.
const PROGRAM: usize = 48 * MIB;
const BOUND: usize = PROGRAM + CAPACITY + IN_FLIGHT + CONNECTIONS * CONNECTION + READERS * READER;

/// Channels `k/…` on Kafka if there is one, everything else in memory.
fn start(kafka: Option<&Broker>) -> Gateway {
    let (connector, route) = kafka.map_or_else(Default::default, |broker| {
        let address = &broker.address;
        (
            format!(r#"kafka: {{ kind: kafka, brokers: ["{address}"] }}"#),
            r##"{ name: kafka, channel: "k/#", to: [{ connector: kafka, topic: crowd }] },"##,
        )
    });
    Gateway::start(&format!(
        r##"
connectors:
  memory: {{ kind: memory, capacity: {CAPACITY} }}
  {connector}
routes: [{route} {{ name: all, channel: "#", to: [{{ connector: memory, topic: "{{channel}}" }}] }}]
limits:
  {{ connections: {CONNECTIONS}, in_flight: {IN_FLIGHT}, ring: {RING}, header_timeout: 60s, body_timeout: 60s }}
"##
    ))
}

/// The most that was resident so far.
fn resident(gateway: &Gateway) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid())).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * KIB
}

/// So many clients that have sent this.
async fn clients(gateway: &Gateway, count: usize, opening: &str) -> Vec<TcpStream> {
    join_all((0..count).map(|_| client(gateway, opening))).await
}

/// Half-open, slow, and readers that do not read.
struct Crowd {
    _half_open: Vec<TcpStream>,
    _slow: JoinSet<()>,
    _unread: Vec<TcpStream>,
}

impl Crowd {
    async fn gather(gateway: &Gateway, channel: &str) -> Self {
        let half_open = clients(gateway, HALF_OPEN, "POST /channels/a HTTP/1.1\r\nhost: a\r\nx: 1").await;
        let opening = format!("POST /channels/{channel} HTTP/1.1\r\nhost: a\r\ncontent-length: 65536\r\n\r\n");
        let mut slow = JoinSet::new();
        for mut stream in clients(gateway, SLOW, &opening).await {
            slow.spawn(async move {
                while stream.write_all(b"x").await.is_ok() {
                    sleep(Duration::from_millis(100)).await;
                }
            });
        }
        let reading = format!("GET /channels/{channel} HTTP/1.1\r\nhost: a\r\n\r\n");
        let mut unread = clients(gateway, READERS, &reading).await;
        for stream in &mut unread {
            stream.read_exact(&mut [0; 12]).await.expect("its stream stands");
        }
        Self { _half_open: half_open, _slow: slow, _unread: unread }
    }
}

fn check(gateway: &Gateway, bound: usize, slowest: Duration, more: &str) {
    let seen = resident(gateway);
    tell(format!(
        "{HALF_OPEN} half-open, {SLOW} slow, {READERS} readers that do not read{more}: {} MiB resident at most, bound {} MiB; slowest \
         publish of others {slowest:?}",
        seen / MIB,
        bound / MIB
    ));
    assert!(seen <= bound, "{seen} bytes are more than {bound}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}

#[tokio::test]
#[cfg(target_os = "linux")] // only there a process shows its memory
async fn stays_under_the_bound_that_follows_from_the_limits() {
    let gateway = start(None);
    let _crowd = Crowd::gather(&gateway, "a").await;
    let mut slowest = Duration::ZERO;
    for n in 0..EVENTS {
        let begun = Instant::now();
        let answer = gateway.event("a", &n.to_string()).body(vec![b'x'; EVENT]).send().await.expect("an answer");
        assert_eq!(answer.status(), 202, "others are served");
        slowest = slowest.max(begun.elapsed());
    }
    assert_eq!(gateway.ask_admin("/readyz").await.status(), 200);
    check(&gateway, BOUND, slowest, "");
}
