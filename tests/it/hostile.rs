//! Clients that are slow, silent, many or greedy: each has its bound, and others are served meanwhile.
//!
//! What memory a crowd of them may take follows from the limits; [`memory`] prints that bound beside what it saw.

use std::time::{Duration, Instant};

use reqwest::Version;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::harness::{
    PATIENCE, eventually,
    gateway::{Gateway, MEMORY, problem},
    page::Page,
};

mod memory;
mod mqtt;

/// Short enough for a test, and long enough that a busy machine does not take it for the client's fault.
const LIMITS: &str = "limits: { header_timeout: 1s, body_timeout: 2s, connections: 40, in_flight: 1MiB }";

fn start() -> Gateway {
    Gateway::start(&format!("{MEMORY}{LIMITS}"))
}

/// A connection that has sent this.
async fn client(gateway: &Gateway, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.url.trim_start_matches("http://")).await.expect("a connection");
    stream.write_all(bytes.as_bytes()).await.expect("it is sent");
    stream
}

/// What comes until the gateway closes, and how long that takes.
async fn until_closed(mut stream: TcpStream) -> (String, Duration) {
    let begun = Instant::now();
    let mut text = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("it is closed").expect("an orderly end");
    (String::from_utf8(text).expect("UTF-8"), begun.elapsed())
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_its_connection() {
    let gateway = start();
    for begun in ["", "POST", "POST /channels/a HTTP/1.1\r\nhost: a\r\nx: 1"] {
        let (answer, took) = until_closed(client(&gateway, begun).await).await;
        assert_eq!(answer, "", "{begun}");
        assert!(took >= Duration::from_millis(900), "{begun}: {took:?}");
    }
    let mut trickling = client(&gateway, "GET /channels/a HTTP/1.1\r\nhost: a\r\n").await;
    let begun = Instant::now();
    while trickling.write_all(b"x: 1\r\n").await.is_ok() {
        assert!(begun.elapsed() < PATIENCE, "one line after the other wins no time");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_idle_connection_outlives_the_timeout_of_heads_and_a_later_head_does_not() {
    let gateway = start();
    let publish = "POST /channels/a HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx";
    let mut stream = client(&gateway, publish).await;
    let mut answer = [0; 1024];
    for _ in 0..2 {
        let read = stream.read(&mut answer).await.expect("an answer");
        assert!(answer[..read].starts_with(b"HTTP/1.1 202"));
        sleep(Duration::from_millis(2500)).await;
        stream.write_all(publish.as_bytes()).await.expect("still open");
    }
    let read = stream.read(&mut answer).await.expect("an answer");
    assert!(answer[..read].starts_with(b"HTTP/1.1 202"));
    stream.write_all(b"POST /chan").await.expect("still open");
    let (rest, took) = until_closed(stream).await;
    assert!(rest.is_empty() && took >= Duration::from_millis(900), "{rest} {took:?}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408_and_ends_its_connection() {
    let gateway = start();
    for (head, sent) in [
        ("content-length: 10", "xxx"),
        ("content-length: 1000000", "xxx"),
        ("transfer-encoding: chunked", "3\r\nxxx\r\n"),
        ("content-length: 10", ""),
    ] {
        let request = format!("POST /channels/a HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n{sent}");
        let (answer, took) = until_closed(client(&gateway, &request).await).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{head}: {answer}");
        assert!(answer.contains("connection: close\r\n") && answer.contains("limits.body_timeout"), "{answer}");
        assert!(took >= Duration::from_millis(1900), "{head}: {took:?}");
    }
    let mut trickling =
        client(&gateway, "POST /channels/a HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n").await;
    let begun = Instant::now();
    while trickling.write_all(b"x").await.is_ok() {
        assert!(begun.elapsed() < PATIENCE, "one byte after the other wins no time");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_body_that_its_stream_was_reset_in_is_no_event() {
    let gateway = start();
    let stream = client(&gateway, "").await;
    let (requests, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    for reason in [h2::Reason::NO_ERROR, h2::Reason::CANCEL] {
        let mut requests = requests.clone().ready().await.expect("open");
        let request = axum::http::Request::post(gateway.channel_url("a")).body(()).expect("a request");
        let (_answer, mut body) = requests.send_request(request, false).expect("it can be sent");
        body.send_data("abc".into(), false).expect("it can be sent");
        body.send_reset(reason);
    }
    gateway.store("a", "whole").await;
    let ids: Vec<_> = Page::read(&gateway, "a").await.events.iter().map(|event| event["id"].clone()).collect();
    assert_eq!(ids, ["whole"]);
}

#[tokio::test]
async fn beyond_the_connections_that_there_may_be_clients_wait() {
    let gateway = start();
    let mut held = Vec::new();
    for _ in 0..40 {
        let mut stream = client(&gateway, "GET /channels/a HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        held.push(stream);
    }
    let mut late = client(&gateway, "POST /channels/a HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx").await;
    let mut answer = [0; 12];
    assert!(timeout(Duration::from_millis(500), late.read(&mut answer)).await.is_err(), "not accepted yet");
    assert_eq!(gateway.ask_admin("/readyz").await.status(), 200, "admin is not counted");
    held.pop();
    timeout(PATIENCE, late.read_exact(&mut answer)).await.expect("accepted now").expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 202");

    let mut later = client(&gateway, "POST /channels/a HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx").await;
    gateway.rewrite(&format!("{MEMORY}{}", LIMITS.replace("connections: 40", "connections: 41")));
    timeout(PATIENCE, later.read_exact(&mut answer)).await.expect("accepted now").expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 202", "there may be more now");
}

#[tokio::test]
async fn who_announces_much_and_sends_little_takes_nothing_from_others() {
    let gateway = start();
    let mut slow = Vec::new();
    for _ in 0..30 {
        let head = "POST /channels/a HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nx";
        slow.push(client(&gateway, head).await);
    }
    for n in 0..20 {
        gateway.store("a", &n.to_string()).await;
    }
}

#[tokio::test]
async fn as_much_as_may_be_in_flight_is_429_before_it_is_in_memory() {
    let gateway = Gateway::start(&format!("{MEMORY}limits: {{ in_flight: 1MiB }}"));
    let head = format!("POST /channels/a HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", 1 << 20);
    let most = format!("{head}{}", "x".repeat(900 << 10)); // nearly all of a body, and of `in_flight`
    let chunks = || {
        let chunks = (0..64).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 8 << 10]));
        reqwest::Body::wrap_stream(futures::stream::iter(chunks))
    };
    let h2c = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    for (http, version) in [(&gateway.client, Version::HTTP_11), (&h2c, Version::HTTP_2)] {
        let refused = eventually("one of the two comes too late", async || {
            let _holding = client(&gateway, &most).await;
            let answer = http.post(gateway.channel_url("a")).body(chunks()).send().await.expect("an answer");
            if answer.status() == 429 {
                gateway.store("a", "a small one fits").await;
            }
            (answer.status() == 429).then_some(answer)
        });
        let refused = refused.await;
        assert_eq!((refused.version(), &refused.headers()["retry-after"]), (version, &"1".parse().expect("a value")));
        assert!(problem(refused).await["detail"].as_str().is_some_and(|detail| detail.contains("limits.in_flight")));
    }
    eventually("it is given back", async || {
        let request = gateway.client.post(gateway.channel_url("a")).body(chunks());
        (request.send().await.expect("an answer").status() == 202).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_batch_counts_by_its_events() {
    let gateway = start();
    let batch = |events: usize| {
        let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
        let request = gateway.client.post(gateway.channel_url("a"));
        let request = request.header("content-type", "application/cloudevents-batch+json");
        request.body(format!("[{}]", vec![event; events].join(","))).send()
    };
    assert_eq!(batch(100).await.expect("an answer").status(), 202);
    let refused = problem(batch(2000).await.expect("an answer")).await;
    assert_eq!(refused["status"], 413);
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("smaller batches")), "{refused}");
}
