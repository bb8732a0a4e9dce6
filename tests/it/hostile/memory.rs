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
use crate::harness::gateway::Gateway;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

const HALF_OPEN: usize = 1000;
const SLOW: usize = 300;
const READERS: usize = 50;
/// Bytes of an event, and how many flow.
const EVENT: usize = 16 * KIB;
const EVENTS: usize = 4000;

/// `limits.connections`, `limits.in_flight` and the memory connector's `capacity`.
const CONNECTIONS: usize = 1500;
const IN_FLIGHT: usize = 8 * MIB;
const CAPACITY: usize = 16 * MIB;

/// What a connection of HTTP/1.1 may hold: what it has read and not used, what it has written and not sent, and itself.
const CONNECTION: usize = 64 * KIB + 64 * KIB + 32 * KIB;
/// What a reader may hold besides: the events of one read, and the one that is being written.
const READER: usize = 256 * KIB + 2 * EVENT;
/// What the program takes beside all that: threads, allocators, tables.
const PROGRAM: usize = 48 * MIB;

fn start() -> Gateway {
    Gateway::start(&format!(
        r##"
connectors: {{ memory: {{ kind: memory, capacity: {CAPACITY} }} }}
routes: [{{ name: all, channel: "#", to: [{{ connector: memory, topic: "{{channel}}" }}] }}]
limits: {{ connections: {CONNECTIONS}, in_flight: {IN_FLIGHT}, header_timeout: 60s, body_timeout: 60s }}
"##
    ))
}

fn resident(gateway: &Gateway) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid())).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * KIB
}

/// So many clients that have sent this.
async fn crowd(gateway: &Gateway, size: usize, opening: &str) -> Vec<TcpStream> {
    join_all((0..size).map(|_| client(gateway, opening))).await
}

#[tokio::test]
#[cfg(target_os = "linux")] // only there a process shows its memory
async fn stays_under_the_bound_that_follows_from_the_limits() {
    let gateway = start();
    let half_open = crowd(&gateway, HALF_OPEN, "POST /channels/a HTTP/1.1\r\nhost: a\r\nx: 1").await;
    let slow = "POST /channels/a HTTP/1.1\r\nhost: a\r\ncontent-length: 65536\r\n\r\n";
    let mut trickling = JoinSet::new();
    for mut stream in crowd(&gateway, SLOW, slow).await {
        trickling.spawn(async move {
            while stream.write_all(b"x").await.is_ok() {
                sleep(Duration::from_millis(100)).await;
            }
        });
    }
    let mut unread = crowd(&gateway, READERS, "GET /channels/a HTTP/1.1\r\nhost: a\r\n\r\n").await;
    for stream in &mut unread {
        stream.read_exact(&mut [0; 12]).await.expect("its stream stands");
    }
    let mut slowest = Duration::ZERO;
    for n in 0..EVENTS {
        let begun = Instant::now();
        let answer = gateway.event("a", &n.to_string()).body(vec![b'x'; EVENT]).send().await.expect("an answer");
        assert_eq!(answer.status(), 202, "others are served");
        slowest = slowest.max(begun.elapsed());
    }
    assert_eq!(gateway.ask_admin("/readyz").await.status(), 200);
    let seen = resident(&gateway);
    let bound = PROGRAM + CAPACITY + IN_FLIGHT + CONNECTIONS * CONNECTION + READERS * READER;
    println!(
        "{HALF_OPEN} half-open, {SLOW} slow, {READERS} readers that do not read: {} MiB resident at most, bound {} MiB; slowest publish \
         of others {slowest:?}",
        seen / MIB,
        bound / MIB
    );
    assert!(seen <= bound, "{seen} bytes are more than {bound}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    drop((half_open, unread));
}
