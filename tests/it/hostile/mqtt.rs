//! MQTT clients that are slow, silent, many or greedy.

use std::{
    fs,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{
    harness::{PATIENCE, eventually, gateway::Gateway, tell},
    mqtt_wire::wire::{PUBLISH, SUBSCRIBE, Wire, address, bytes, connect, noted, packet, start},
};

const MIB: usize = 1 << 20;
const LIMITS: &str = "limits: { header_timeout: 1s, body_timeout: 2s, connections: 60, in_flight: 4MiB }";

/// What comes until the gateway closes, and how long that takes. A reset is an end, too.
async fn until_closed(stream: &mut TcpStream) -> (Vec<u8>, Duration) {
    let begun = Instant::now();
    let mut got = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut got)).await.expect("it is closed").ok();
    (got, begun.elapsed())
}

/// A line of the process's memory, in bytes.
fn memory(gateway: &Gateway, line: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid())).expect("it lives");
    let line = status.lines().find_map(|text| text.strip_prefix(line)).expect("a line");
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

fn open_files(gateway: &Gateway) -> usize {
    fs::read_dir(format!("/proc/{}/fd", gateway.pid())).expect("it lives").count()
}

/// Others are served: how long a publish takes.
async fn served(at: &str) -> Duration {
    let begun = Instant::now();
    let mut client = Wire::connect(at, 5, "").await;
    client.publish("others", "x").await;
    client.disconnect().await;
    begun.elapsed()
}

#[tokio::test]
async fn a_connect_that_does_not_come_ends_its_connection() {
    let gateway = start(LIMITS);
    let at = address(&gateway).await;
    let half = connect(5, "half", 2, "");
    for begun in [&b""[..], b"\x10", b"\x10\xff", &half[..half.len() - 1], b"\x10\xff\x7f\x00\x04MQTT\x05"] {
        let mut stream = TcpStream::connect(&at).await.expect("a connection");
        stream.write_all(begun).await.expect("it is sent");
        let (got, took) = until_closed(&mut stream).await;
        assert!(got.is_empty() && took >= Duration::from_millis(900), "{begun:x?}: {got:x?} {took:?}");
    }
    // One byte after the other wins no time.
    let mut stream = TcpStream::connect(&at).await.expect("a connection");
    let begun = Instant::now();
    let long = packet(0x10, [&bytes("<MQTT> 05 02 0000 00 ffff")[..], &[b'x'; 60_000]].concat());
    for byte in long {
        if stream.write_all(&[byte]).await.is_err() {
            break;
        }
        sleep(Duration::from_millis(50)).await;
        assert!(begun.elapsed() < PATIENCE, "it is closed");
    }
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_packet_that_was_begun_comes_whole_or_its_connection_ends() {
    let gateway = start(LIMITS);
    let at = address(&gateway).await;
    for version in [4, 5] {
        let mut client = Wire::connect(&at, version, "slow").await; // without keep alive
        sleep(Duration::from_millis(3000)).await;
        client.ping().await; // silence is no fault
        let begun = Instant::now();
        client.send([0x30, 0x7F, 0, 1, b't']).await;
        while client.stream().write_all(b"x").await.is_ok() && begun.elapsed() < Duration::from_millis(2500) {
            sleep(Duration::from_millis(100)).await;
        }
        client.ended(0x83).await;
        assert!(begun.elapsed() >= Duration::from_millis(1900), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn beyond_the_connections_that_there_may_be_clients_wait() {
    let gateway = start(LIMITS);
    let at = address(&gateway).await;
    let mut held = Vec::new();
    // Each listener takes a place before it accepts: one is with the HTTP listener, which nobody comes to.
    for n in 0..59 {
        held.push(Wire::connect(&at, 5, &n.to_string()).await);
    }
    let mut late = Wire::open(&at).await;
    late.send(connect(4, "late", 2, "")).await;
    let mut byte = [0; 1];
    assert!(timeout(Duration::from_millis(500), late.stream().read(&mut byte)).await.is_err(), "not accepted yet");
    assert_eq!(gateway.ask_admin("/readyz").await.status(), 200, "admin is not counted");
    held.pop();
    late.expect(0x20, "00 00").await;
}

#[tokio::test]
async fn a_flood_of_connects_leaves_nothing_behind() {
    let gateway = start("limits: { connections: 400, header_timeout: 1s }");
    let at = address(&gateway).await;
    served(&at).await;
    let (files, mut resident) = (open_files(&gateway), 0);
    for round in 0..6 {
        let mut all = Vec::new();
        for n in 0..200u32 {
            let mut client = Wire::open(&at).await;
            let id = if n % 2 == 0 { "the same".to_owned() } else { n.to_string() };
            let whole = connect(if n % 3 == 0 { 4 } else { 5 }, &id, 2, "");
            client.send(if n % 5 == 0 { &whole[..whole.len() / 2] } else { &whole }).await;
            all.push(client);
        }
        assert!(served(&at).await < PATIENCE / 2);
        drop(all);
        eventually("every connection is closed", async || (open_files(&gateway) <= files).then_some(())).await;
        if round == 1 {
            resident = memory(&gateway, "VmRSS");
        }
    }
    let grown = memory(&gateway, "VmRSS").saturating_sub(resident);
    assert!(grown < 16 * MIB, "{grown} bytes more than after the second round");
}

#[tokio::test]
async fn large_packets_that_do_not_come_whole_are_bounded_by_in_flight() {
    const IN_FLIGHT: usize = 4 * MIB;
    let gateway = start("limits: { in_flight: 4MiB, connections: 1000, body_timeout: 5m }");
    let at = address(&gateway).await;
    served(&at).await;
    let before = memory(&gateway, "VmRSS");
    let part = [&packet(PUBLISH, vec![b'x'; 60_000])[..50_000]].concat();
    let (mut waiting, mut refused) = (Vec::new(), 0);
    for n in 0..500 {
        let mut client = Wire::connect(&at, 5, &n.to_string()).await;
        client.send(&part).await;
        waiting.push(client);
    }
    // The last ones first: there was no room for them.
    while let Some(mut client) = waiting.pop()
        && let Ok(got) = timeout(Duration::from_secs(2), client.next()).await
    {
        let got = got.expect("a DISCONNECT");
        assert_eq!((got.first, got.body[0]), (0xE0, 0x97), "{got:?}");
        refused += 1;
    }
    assert!(refused >= 500 - IN_FLIGHT / part.len(), "{refused}");
    let grown = memory(&gateway, "VmRSS").saturating_sub(before);
    assert!(grown < IN_FLIGHT + 500 * (48 << 10) + 16 * MIB, "{grown}");
    served(&at).await;
}

#[tokio::test]
async fn who_does_not_read_holds_up_nobody_and_takes_no_memory() {
    const READERS: usize = 50;
    const EVENT: usize = 16 << 10;
    const CAPACITY: usize = 64 * MIB; // of the memory connector, by default
    let gateway = start("limits: { ring: 8MiB, in_flight: 8MiB }");
    let at = address(&gateway).await;
    let mut unread = Vec::new();
    for n in 0..READERS {
        let (version, qos) = (if n % 2 == 0 { 4 } else { 5 }, (n % 3) as u8);
        let mut client = Wire::connect(&at, version, &n.to_string()).await;
        client.subscribe("flood", qos, "").await;
        unread.push(client);
    }
    let mut reader = Wire::connect(&at, 5, "who reads").await;
    reader.subscribe("flood", 0, "").await;
    let mut writer = Wire::connect(&at, 5, "writer").await;
    let publish = packet(PUBLISH | 2, [&bytes("<flood> 0001 00")[..], &vec![b'x'; EVENT]].concat());
    let mut slowest = Duration::ZERO;
    for n in 0..4000 {
        let begun = Instant::now();
        writer.send(&publish).await;
        writer.expect(0x40, "0001").await;
        assert_eq!(reader.delivered().await.payload.len(), EVENT, "{n}");
        slowest = slowest.max(begun.elapsed());
    }
    let most = memory(&gateway, "VmHWM");
    let bound = CAPACITY + 8 * MIB + 8 * MIB + READERS * (64 << 10) * 3 + READERS * 2 * (256 << 10) + 48 * MIB;
    tell(format!(
        "{READERS} MQTT subscribers that do not read: {} MiB resident at most, bound {} MiB; slowest event of another {slowest:?}",
        most / MIB,
        bound / MIB
    ));
    assert!(most < bound, "{most} bytes are more than {bound}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}

#[tokio::test]
async fn a_flood_of_subscribes_takes_no_memory_and_holds_up_nobody() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut writer = Wire::connect(&at, 5, "writer").await;
    for n in 0..500 {
        writer.publish_with(PUBLISH | 3, &format!("kept/{n}"), "", &"x".repeat(100)).await;
    }
    let before = memory(&gateway, "VmRSS");
    // One that confirms nothing, and asks for all that is retained again and again; and one that does not even read.
    let (mut silent, _) = Wire::connect_with(&at, 5, "silent", 2, "21 0001").await;
    let mut deaf = Wire::connect(&at, 4, "deaf").await;
    let again = |body: &str| noted(SUBSCRIBE, body).repeat(2000);
    silent.send(again("0001 00 <#> 01 <kept/#> 01")).await;
    let much = again("0001 <#> 01 <+/+> 02");
    timeout(Duration::from_secs(5), deaf.stream().write_all(&much)).await.ok();
    let mut answers = 0;
    while answers < 2000 {
        answers += usize::from(silent.next().await.expect("a packet").first == 0x90);
        if answers % 500 == 0 {
            assert!(served(&at).await < PATIENCE / 2);
        }
    }
    let grown = memory(&gateway, "VmRSS").saturating_sub(before);
    assert!(grown < 32 * MIB, "{grown} bytes");
    // Many subscriptions, each for itself.
    let mut greedy = Wire::connect(&at, 5, "greedy").await;
    let begun = Instant::now();
    let all: Vec<u8> = (0..300).flat_map(|n| noted(SUBSCRIBE, &format!("0001 00 <many/{n}> 00"))).collect();
    greedy.send(all).await;
    assert!(served(&at).await < PATIENCE / 2);
    for _ in 0..300 {
        assert_eq!(greedy.next().await.expect("a SUBACK").body.last(), Some(&0));
    }
    tell(format!("300 SUBSCRIBEs one after the other: {:?}", begun.elapsed()));
}
