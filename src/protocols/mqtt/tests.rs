//! Connections over streams in memory, on the memory connector, the clock set by hand.

use std::{path::Path, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::{sleep, timeout},
};

use super::*;
use crate::{
    assembly::Assembly,
    config, registry,
    shutdown::{DrainSwitch, drain},
    telemetry::Metrics,
};

/// Bytes that a connection holds either way.
const BUFFER: usize = 64;

struct Broker {
    mqtt: Mqtt,
    _switch: DrainSwitch,
}

/// A client of MQTT 5 that sends bytes.
struct Client(DuplexStream);

impl Broker {
    fn start() -> Self {
        let text = "connectors: { m: { kind: memory } }\nroutes: [{ name: all, channel: \"#\", to: [{ connector: m, topic: \"{channel}\" }] }]";
        let config = config::parse(text, Path::new("test.yaml"), &registry::kinds(), &|_| None).expect("sound");
        let metrics = Arc::new(Metrics::default());
        let (_, snapshot) = Assembly::start(config, metrics.clone()).expect("memory starts");
        let (switch, drain) = drain();
        let http = Http::new(Arc::new(Gateway::new(snapshot, metrics)), drain);
        Self {
            mqtt: Mqtt::new(
                &http,
                MqttListener::default(),
                &(Arc::new(crate::state::OfProcess::new(1 << 20)) as Arc<dyn State>),
            ),
            _switch: switch,
        }
    }

    /// A client whose session lasts for 100 seconds, and whether it was there.
    async fn connect(&self, name: &str) -> (Client, bool) {
        let (near, far) = duplex(BUFFER);
        let mqtt = self.mqtt.clone();
        tokio::spawn(async move { mqtt.serve_stream(far).await });
        let mut client = Client(near);
        let head = b"\0\x04MQTT\x05\0\0\0\x05\x11\0\0\0\x64";
        client.send(0x10, &[&head[..], &[0, name.len() as u8], name.as_bytes()].concat()).await;
        let (first, body) = client.packet().await;
        assert_eq!((first, body[1]), (0x20, 0), "CONNACK");
        (client, body[0] == 1)
    }
}

impl Client {
    async fn send(&mut self, first: u8, body: &[u8]) {
        let length = body.len();
        let long = [length as u8 & 0x7F | 0x80, (length >> 7) as u8];
        let length = if length > 0x7F { &long[..] } else { &[length as u8] };
        self.0.write_all(&[&[first], length, body].concat()).await.expect("it is read");
    }

    async fn packet(&mut self) -> (u8, Vec<u8>) {
        timeout(Duration::from_secs(60), self.next()).await.expect("something comes")
    }

    async fn next(&mut self) -> (u8, Vec<u8>) {
        let first = self.0.read_u8().await.expect("a packet");
        let mut length = usize::from(self.0.read_u8().await.expect("a length"));
        if length > 0x7F {
            length = length & 0x7F | usize::from(self.0.read_u8().await.expect("a length")) << 7;
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.expect("a body");
        (first, body)
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_read_nothing_any_more_finds_its_session() {
    let broker = Broker::start();
    let (mut dead, was_there) = broker.connect("reader").await;
    assert!(!was_there);
    dead.send(0x82, b"\0\x01\0\0\x01a\x01").await;
    assert_eq!(dead.packet().await.0, 0x90, "SUBACK");
    let (mut writer, _) = broker.connect("writer").await;
    writer.send(0x32, &[&b"\0\x01a\0\x01\0"[..], &[b'x'; 2 * BUFFER]].concat()).await;
    assert_eq!(writer.packet().await.0, 0x40, "PUBACK");
    sleep(Duration::from_secs(1)).await;
    let (mut reader, was_there) = broker.connect("reader").await;
    assert!(was_there, "the session has gone with a connection whose client does not read");
    let (first, body) = reader.packet().await;
    assert_eq!((first, body.len()), (0x3A, 6 + 2 * BUFFER), "the event, again");
    drop(dead);
}

#[tokio::test(start_paused = true)]
async fn what_is_published_right_before_the_end_is_not_stored_again() {
    let broker = Broker::start();
    let (mut reader, _) = broker.connect("reader").await;
    reader.send(0x82, b"\0\x01\0\0\x01a\x01").await;
    assert_eq!(reader.packet().await.0, 0x90, "SUBACK");
    let (mut writer, _) = broker.connect("writer").await;
    writer.0.write_all(b"\x34\x07\0\x01a\0\x01\0x\xE0\0").await.expect("it is read"); // PUBLISH of QoS 2, DISCONNECT
    sleep(Duration::from_millis(10)).await;
    let (mut writer, was_there) = broker.connect("writer").await;
    assert!(was_there);
    writer.send(0x3C, b"\0\x01a\0\x01\0x").await; // again, with DUP
    assert_eq!(writer.packet().await, (0x50, vec![0, 1]), "PUBREC");
    assert_eq!(reader.packet().await.0, 0x32, "PUBLISH");
    reader.send(0xC0, &[]).await;
    sleep(Duration::from_millis(10)).await;
    assert_eq!(reader.packet().await.0, 0xD0, "PINGRESP, and no second PUBLISH");
}

#[tokio::test(start_paused = true)]
async fn what_is_released_right_behind_its_repetition_is_released() {
    let broker = Broker::start();
    let (mut reader, _) = broker.connect("reader").await;
    reader.send(0x82, b"\0\x01\0\0\x01a\x01").await;
    assert_eq!(reader.packet().await.0, 0x90, "SUBACK");
    let (mut writer, _) = broker.connect("writer").await;
    writer.send(0x34, b"\0\x01a\0\x01\0x").await;
    assert_eq!((writer.packet().await.0, reader.packet().await.0), (0x50, 0x32), "PUBREC, PUBLISH");
    writer.0.write_all(b"\x3C\x07\0\x01a\0\x01\0x\x62\x02\0\x01").await.expect("it is read"); // with DUP; PUBREL
    let mut heard = [writer.packet().await.0, writer.packet().await.0];
    heard.sort_unstable();
    assert_eq!(heard, [0x50, 0x70], "PUBREC and PUBCOMP");
    writer.send(0x34, b"\0\x01a\0\x01\0y").await;
    assert_eq!(writer.packet().await.0, 0x50, "PUBREC");
    let (first, body) = reader.packet().await;
    assert_eq!((first, body.last()), (0x32, Some(&b'y')), "another event under the packet identifier");
}
