//! What the admin listener says of MQTT clients.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{address, start};
use crate::harness::{eventually, gateway::Gateway};

/// A device that speaks MQTT 5, byte for byte.
struct Device(TcpStream);

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

impl Device {
    /// Its session outlives it for a minute, and it takes packets of 60 bytes.
    async fn connect(gateway: &Gateway, name: &str) -> Self {
        let mut device = Self(TcpStream::connect(address(gateway)).await.expect("it listens"));
        let properties = [10, 0x11, 0, 0, 0, 60, 0x27, 0, 0, 0, 60];
        let body = [&text("MQTT")[..], &[5, 2, 0, 0], &properties, &text(name)].concat();
        device.send(0x10, &body).await;
        assert_eq!(device.packet().await, 0x20, "CONNACK");
        device
    }

    async fn subscribe(&mut self, filter: &str) {
        self.send(0x82, &[&[0, 1, 0][..], &text(filter), &[1]].concat()).await;
        assert_eq!(self.packet().await, 0x90, "SUBACK");
    }

    /// With QoS 1, and these properties.
    async fn publish(&mut self, topic: &str, properties: &[u8], payload: &str) {
        let length = [properties.len() as u8];
        self.send(0x32, &[&text(topic)[..], &[0, 1], &length, properties, payload.as_bytes()].concat()).await;
        assert_eq!(self.packet().await, 0x40, "PUBACK");
    }

    async fn send(&mut self, first: u8, body: &[u8]) {
        assert!(body.len() < 0x80, "a length of one byte");
        self.0.write_all(&[&[first, body.len() as u8], body].concat()).await.expect("it is taken");
    }

    /// The first byte of the next packet.
    async fn packet(&mut self) -> u8 {
        let first = self.0.read_u8().await.expect("a packet");
        let length = self.0.read_u8().await.expect("a length");
        assert!(length < 0x80, "a length of one byte");
        self.0.read_exact(&mut vec![0; length.into()]).await.expect("a body");
        first
    }
}

async fn shows(gateway: &Gateway, part: &str, expected: &Value) {
    let says = async || Some(gateway.status().await["mqtt"][part].clone()).filter(|told| told == expected);
    eventually(&format!("{part} is {expected}"), says).await;
}

#[tokio::test]
async fn sessions_and_what_is_in_flight_are_shown() {
    let gateway = start();
    assert_eq!(gateway.status().await["mqtt"]["sessions"], json!({ "connected": 0, "parked": 0 }));
    let mut reader = Device::connect(&gateway, "reader").await;
    let mut writer = Device::connect(&gateway, "writer").await;
    reader.subscribe("a/#").await;
    for _ in 0..3 {
        writer.publish("a/b", &[], "21.5").await;
        assert_eq!(reader.packet().await, 0x32, "PUBLISH");
    }
    shows(&gateway, "in_flight", &json!({ "unanswered_publishes": 0, "unconfirmed_deliveries": 3 })).await;
    reader.send(0x40, &[0, 2]).await;
    shows(&gateway, "in_flight", &json!({ "unanswered_publishes": 0, "unconfirmed_deliveries": 2 })).await;
    shows(&gateway, "sessions", &json!({ "connected": 2, "parked": 0 })).await;
    let metrics = gateway.ask_admin("/metrics").await.text().await.expect("a text");
    for line in ["meshgate_mqtt_sessions{state=\"connected\"} 2", "meshgate_mqtt_unconfirmed_deliveries 2"] {
        assert!(metrics.lines().any(|shown| shown == line), "{line} is not in:\n{metrics}");
    }
    drop(reader);
    shows(&gateway, "sessions", &json!({ "connected": 1, "parked": 1 })).await;
    shows(&gateway, "in_flight", &json!({ "unanswered_publishes": 0, "unconfirmed_deliveries": 0 })).await;
    shows(&gateway, "connections", &json!(1)).await;
}

#[tokio::test]
async fn what_is_not_delivered_is_counted_by_why() {
    let gateway = start();
    let mut reader = Device::connect(&gateway, "reader").await;
    let mut writer = Device::connect(&gateway, "writer").await;
    reader.subscribe("a/#").await;
    writer.publish("a/b", &[], &"x".repeat(60)).await;
    writer.publish("a/b", &[0x02, 0, 0, 0, 0], "expires at once").await;
    writer.publish("a/b", &[], "last").await;
    assert_eq!(reader.packet().await, 0x32, "PUBLISH");
    writer.send(0x30, &[&text("$forbidden")[..], &[0], b"of QoS 0"].concat()).await;
    shows(&gateway, "undelivered", &json!({ "expired": 1, "publish_failed": 1, "too_large": 1 })).await;
    let metrics = gateway.ask_admin("/metrics").await.text().await.expect("a text");
    for line in ["expired", "publish_failed", "too_large"].map(|why| format!("{{reason=\"{why}\"}} 1")) {
        let line = format!("meshgate_mqtt_undelivered_total{line}");
        assert!(metrics.lines().any(|shown| shown == line), "{line} is not in:\n{metrics}");
    }
}

#[tokio::test]
async fn bytes_are_counted_both_ways() {
    let gateway = start();
    let mut device = Device::connect(&gateway, "seven").await;
    // CONNECT and CONNACK, with the receive maximum, the maximum packet size and the topic alias maximum
    shows(&gateway, "bytes", &json!({ "received": 2 + 6 + 4 + 11 + 7, "sent": 5 + 3 + 5 + 3 })).await;
    device.send(0xC0, &[]).await;
    assert_eq!(device.packet().await, 0xD0, "PINGRESP");
    shows(&gateway, "bytes", &json!({ "received": 32, "sent": 18 })).await;
}

#[tokio::test]
async fn where_there_is_no_listener_nothing_is_said() {
    assert_eq!(Gateway::memory().status().await["mqtt"], Value::Null);
}
