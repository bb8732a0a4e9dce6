//! Clients that go away before Kafka has answered.

use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::ready;
use crate::harness::{
    broker::Broker,
    eventually,
    gateway::Gateway,
    websocket::{Socket, event},
};

/// The value of a metric, by its name and labels.
async fn metric(gateway: &Gateway, name: &str) -> u64 {
    let metrics = gateway.ask_admin("/metrics").await.text().await.expect("a body");
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("{name} is missing in:\n{metrics}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_they_published_is_counted_and_occupies_memory_until_then() {
    const EACH: u64 = 10;
    const BODY: usize = 100_000;
    let broker = Broker::up().await;
    broker.make_topic("t", 1).await;
    let kafka = format!("connectors: {{ kafka: {{ kind: kafka, brokers: [\"{}\"] }} }}", broker.address);
    let route = "routes: [{ name: all, channel: a, to: [{ connector: kafka, topic: t }] }]";
    let gateway = Gateway::start(&format!("{kafka}\n{route}\n"));
    ready(&gateway).await;
    gateway.store("a", "first").await; // the topic is known, and one connection stays open
    broker.pause().await;

    let post = format!("POST /channels/a HTTP/1.1\r\nhost: a\r\ncontent-length: {BODY}\r\n\r\n{}", "x".repeat(BODY));
    let mut posts = Vec::new();
    for _ in 0..EACH {
        let mut stream = TcpStream::connect(gateway.url.trim_start_matches("http://")).await.expect("a connection");
        stream.write_all(post.as_bytes()).await.expect("it is taken");
        posts.push(stream);
    }
    let mut socket = Socket::open(&gateway, "a?role=publish").await;
    for number in 0..EACH {
        socket.send(&event(&number.to_string())).await;
    }
    let in_kafka = r#"meshgate_connector{connector="kafka",figure="in_flight_events"}"#;
    eventually("handed over", async || (metric(&gateway, in_kafka).await == 2 * EACH).then_some(())).await;
    drop((posts, socket));
    for (listener, left) in [("http", 1), ("websocket", 0)] {
        let open = format!(r#"meshgate_connections{{listener="{listener}"}}"#);
        eventually("closed", async || (metric(&gateway, &open).await == left).then_some(())).await;
    }
    assert!(metric(&gateway, "meshgate_in_flight_bytes").await > EACH * BODY as u64);

    broker.resume().await;
    for (listener, count) in [("http", EACH + 1), ("websocket", EACH)] {
        let stored = format!(r#"meshgate_publish_total{{listener="{listener}",route="all",outcome="stored"}}"#);
        eventually("counted", async || (metric(&gateway, &stored).await == count).then_some(())).await;
    }
    assert_eq!(metric(&gateway, "meshgate_in_flight_bytes").await, 0);
}
