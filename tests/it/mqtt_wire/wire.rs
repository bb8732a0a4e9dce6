//! MQTT by hand: what a client library would put right on the way, these clients send as it stands.
//!
//! Bytes are written in a notation of their own: hexadecimal digits, `<text>` for a text with its two bytes of length, and `'text'` for
//! its bytes alone.

use std::{collections::VecDeque, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::harness::{PATIENCE, gateway::Gateway};

pub const CONNACK: u8 = 0x20;
pub const PUBLISH: u8 = 0x30;
pub const PUBACK: u8 = 0x40;
pub const PUBREC: u8 = 0x50;
pub const PUBREL: u8 = 0x62;
pub const PUBCOMP: u8 = 0x70;
pub const SUBSCRIBE: u8 = 0x82;
pub const SUBACK: u8 = 0x90;
pub const UNSUBSCRIBE: u8 = 0xA2;
pub const UNSUBACK: u8 = 0xB0;
pub const PINGREQ: u8 = 0xC0;
pub const PINGRESP: u8 = 0xD0;
pub const DISCONNECT: u8 = 0xE0;

/// Long enough that what is coming has come.
pub const QUIET: Duration = Duration::from_millis(300);

/// In front of memory, with an MQTT listener on a free port and these lines more.
pub fn start(more: &str) -> Gateway {
    Gateway::start(&format!(
        r##"
listeners:
  {{ http: {{ address: "127.0.0.1:0" }}, admin: {{ address: "127.0.0.1:0" }}, mqtt: {{ address: "127.0.0.1:0", max_packet: 64KiB }} }}
connectors:
  memory: {{ kind: memory }}
routes:
  - {{ name: all, channel: "#", to: [{{ connector: memory, topic: "{{channel}}" }}] }}
{more}
"##
    ))
}

/// `host:port` of its MQTT listener.
pub async fn address(gateway: &Gateway) -> String {
    let status = gateway.ask_admin("/status").await.text().await.expect("a text");
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let listeners = status["listeners"].as_array().expect("a list");
    let mqtt = listeners.iter().find(|listener| listener["name"] == "mqtt").expect("an MQTT listener");
    mqtt["address"].as_str().expect("an address").to_owned()
}

/// What the notation stands for.
pub fn bytes(notation: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = notation.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = |close: char| rest[1..].find(close).expect("it is closed") + 1;
        let used = match first {
            '<' => {
                let text = &rest[1..end('>')];
                bytes.extend((text.len() as u16).to_be_bytes());
                bytes.extend(text.as_bytes());
                text.len() + 2
            }
            '\'' => {
                let text = &rest[1..end('\'')];
                bytes.extend(text.as_bytes());
                text.len() + 2
            }
            _ => {
                bytes.push(u8::from_str_radix(&rest[..2], 16).expect("two hexadecimal digits"));
                2
            }
        };
        rest = rest[used..].trim_start();
    }
    bytes
}

/// A packet with the right remaining length.
pub fn packet(first: u8, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut packet = vec![first];
    packet.extend(variable(body.len()));
    packet.extend(body);
    packet
}

/// A packet in the notation.
pub fn noted(first: u8, body: &str) -> Vec<u8> {
    packet(first, bytes(body))
}

/// A variable byte integer.
pub fn variable(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let more = value > 0x7F;
        bytes.push(value as u8 & 0x7F | u8::from(more) << 7);
        value >>= 7;
        if !more {
            return bytes;
        }
    }
}

/// One packet of the gateway.
#[derive(Clone, PartialEq, Eq)]
pub struct Got {
    pub first: u8,
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Got {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02x} {:02x?} {:?}", self.first, self.body, String::from_utf8_lossy(&self.body))
    }
}

/// A PUBLISH of the gateway.
#[derive(Debug, Default)]
pub struct Delivery {
    pub dup: bool,
    pub qos: u8,
    pub retain: bool,
    pub topic: String,
    pub packet: u16,
    pub properties: Properties,
    pub payload: Vec<u8>,
}

/// Properties in their order: identifier, and the bytes of the value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(pub Vec<(u8, Vec<u8>)>);

impl Properties {
    /// Reads them from the beginning of `bytes`; how many they take.
    pub fn read(bytes: &[u8]) -> (Self, usize) {
        let (length, header) = read_variable(bytes);
        let (mut rest, mut all) = (&bytes[header..header + length], Vec::new());
        while let [identifier, value @ ..] = rest {
            let text = |at: usize| 2 + usize::from(u16::from_be_bytes([value[at], value[at + 1]]));
            let size = match identifier {
                0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => 1,
                0x13 | 0x21 | 0x22 | 0x23 => 2,
                0x02 | 0x11 | 0x18 | 0x27 => 4,
                0x0B => read_variable(value).1,
                0x26 => text(0) + text(text(0)),
                0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => text(0),
                other => panic!("the property {other:#x} in {bytes:x?}"),
            };
            all.push((*identifier, value[..size].to_vec()));
            rest = &value[size..];
        }
        (Self(all), header + length)
    }

    /// The value of one that may be there once.
    pub fn get(&self, wanted: u8) -> Option<&[u8]> {
        let mut found = self.0.iter().filter(|(identifier, _)| *identifier == wanted);
        let first = found.next().map(|(_, value)| &value[..]);
        assert!(wanted == 0x26 || wanted == 0x0B || found.next().is_none(), "{wanted:#x} twice: {self:?}");
        first
    }

    /// A number.
    pub fn number(&self, wanted: u8) -> Option<u32> {
        self.get(wanted).map(|value| value.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    /// A text, without its length.
    pub fn text(&self, wanted: u8) -> Option<&str> {
        self.get(wanted).map(|value| std::str::from_utf8(&value[2..]).expect("UTF-8"))
    }

    /// All subscription identifiers, sorted.
    pub fn subscriptions(&self) -> Vec<usize> {
        let all = self.0.iter().filter(|(identifier, _)| *identifier == 0x0B);
        let mut all: Vec<_> = all.map(|(_, value)| read_variable(value).0).collect();
        all.sort_unstable();
        all
    }
}

fn read_variable(bytes: &[u8]) -> (usize, usize) {
    let size = bytes.iter().position(|byte| byte & 0x80 == 0).expect("it ends") + 1;
    let value = bytes[..size].iter().rev().fold(0, |value, byte| value << 7 | usize::from(byte & 0x7F));
    (value, size)
}

impl Got {
    /// As a PUBLISH of this version.
    pub fn delivery(&self, version: u8) -> Delivery {
        assert_eq!(self.first & 0xF0, PUBLISH, "{self:?}");
        let qos = (self.first >> 1) & 3;
        let mut rest = &self.body[..];
        let mut take = |count: usize| {
            let (taken, left) = rest.split_at(count);
            rest = left;
            taken
        };
        let length = take(2);
        let topic = take(usize::from(u16::from_be_bytes([length[0], length[1]])));
        let topic = String::from_utf8(topic.to_vec()).expect("UTF-8");
        let packet = if qos > 0 { take(2) } else { &[0, 0] };
        let packet = u16::from_be_bytes([packet[0], packet[1]]);
        let mut properties = Properties::default();
        if version == 5 {
            let size;
            (properties, size) = Properties::read(rest);
            rest = &rest[size..];
        }
        let (dup, retain) = (self.first & 8 != 0, self.first & 1 != 0);
        Delivery { dup, qos, retain, topic, packet, properties, payload: rest.to_vec() }
    }
}

/// A client.
pub struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
    /// What came while something else was waited for.
    aside: VecDeque<Got>,
    pub version: u8,
}

impl Wire {
    /// Connected, and silent.
    pub async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket option");
        Self { stream, unread: Vec::new(), aside: VecDeque::new(), version: 5 }
    }

    /// Let in with a CONNECT of a clean session, without properties.
    pub async fn connect(address: &str, version: u8, client_id: &str) -> Self {
        Self::connect_with(address, version, client_id, 0x02, "").await.0
    }

    /// Let in with these connect flags and properties; what CONNACK says. Of MQTT 3.1.1 there are no properties.
    pub async fn connect_with(address: &str, version: u8, id: &str, flags: u8, more: &str) -> (Self, Welcome) {
        Self::let_in(address, version, &connect(version, id, flags, more)).await
    }

    /// Let in with this CONNECT.
    pub async fn let_in(address: &str, version: u8, connect: &[u8]) -> (Self, Welcome) {
        let mut client = Self::open(address).await;
        client.version = version;
        client.send(connect).await;
        let connack = client.next().await.expect("a CONNACK");
        assert_eq!((connack.first, connack.body[1]), (CONNACK, 0), "{connack:?}");
        let (properties, _) = if version == 5 { Properties::read(&connack.body[2..]) } else { Default::default() };
        (client, Welcome { session_present: connack.body[0] == 1, properties })
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("it is sent");
    }

    /// Sends a packet in the notation.
    pub async fn put(&mut self, first: u8, body: &str) {
        self.send(noted(first, body)).await;
    }

    /// The next packet; `None`: the gateway has closed.
    pub async fn next(&mut self) -> Option<Got> {
        timeout(PATIENCE, self.read_packet()).await.expect("a packet, or the end")
    }

    async fn read_packet(&mut self) -> Option<Got> {
        loop {
            if let Some(end) = self.unread.iter().skip(1).position(|byte| byte & 0x80 == 0) {
                let (length, size) = read_variable(&self.unread[1..end + 2]);
                let whole = 1 + size + length;
                if self.unread.len() >= whole {
                    let body = self.unread[1 + size..whole].to_vec();
                    let first = self.unread[0];
                    self.unread.drain(..whole);
                    return Some(Got { first, body });
                }
            }
            if !matches!(self.stream.read_buf(&mut self.unread).await, Ok(1..)) {
                assert!(self.unread.is_empty(), "part of a packet: {:x?}", self.unread);
                return None;
            }
        }
    }

    /// The next packet is this one.
    pub async fn expect(&mut self, first: u8, body: &str) {
        let wanted = Got { first, body: bytes(body) };
        assert_eq!(self.next().await, Some(wanted));
    }

    /// The next packet that is no PUBLISH is this one: a client that reads what it writes gets them in any order.
    pub async fn acknowledged(&mut self, first: u8, body: &str) {
        loop {
            let got = self.next().await.expect("an acknowledgement");
            if got.first & 0xF0 != PUBLISH {
                assert_eq!(got, Got { first, body: bytes(body) });
                return;
            }
            self.aside.push_back(got);
        }
    }

    /// The next PUBLISH.
    pub async fn delivered(&mut self) -> Delivery {
        let got = match self.aside.pop_front() {
            Some(got) => got,
            None => self.next().await.expect("a PUBLISH"),
        };
        got.delivery(self.version)
    }

    /// Nothing comes for a while, and the gateway still answers.
    pub async fn nothing(&mut self) {
        assert_eq!(self.aside, []);
        if let Ok(got) = timeout(QUIET, self.read_packet()).await {
            panic!("{got:?}");
        }
        self.ping().await;
    }

    /// What was sent before has been looked at.
    pub async fn ping(&mut self) {
        self.put(PINGREQ, "").await;
        self.expect(PINGRESP, "").await;
    }

    /// The gateway closes, without another word.
    pub async fn closed(&mut self) {
        assert_eq!(self.next().await, None);
    }

    /// The gateway says why and closes; MQTT 3.1.1 has no words.
    pub async fn ended(&mut self, reason: u8) {
        if self.version == 5 {
            let got = self.next().await.expect("a DISCONNECT");
            assert_eq!((got.first, got.body.first()), (DISCONNECT, Some(&reason)), "{got:?}");
        }
        self.closed().await;
    }

    /// Subscribes to one filter, with these options; properties of MQTT 5 in the notation.
    pub async fn subscribe(&mut self, filter: &str, options: u8, properties: &str) {
        let properties = if self.version == 5 { sized(properties) } else { String::new() };
        self.put(SUBSCRIBE, &format!("00ff {properties} <{filter}> {options:02x}")).await;
        let answer = if self.version == 5 { "00ff 00" } else { "00ff" };
        self.expect(SUBACK, &format!("{answer} {:02x}", options & 3)).await;
    }

    /// Publishes with QoS 1 and waits for the acknowledgement.
    pub async fn publish(&mut self, topic: &str, payload: &str) {
        self.publish_with(PUBLISH | 2, topic, "", payload).await;
    }

    /// Publishes with QoS 1 (in the first byte), and these properties.
    pub async fn publish_with(&mut self, first: u8, topic: &str, properties: &str, payload: &str) {
        let properties = if self.version == 5 { sized(properties) } else { String::new() };
        let payload = if payload.is_empty() { String::new() } else { format!("'{payload}'") };
        self.put(first, &format!("<{topic}> 7fff {properties} {payload}")).await;
        self.acknowledged(PUBACK, "7fff").await;
    }

    /// The connection breaks.
    pub fn vanish(self) {
        drop(self);
    }

    pub async fn disconnect(mut self) {
        self.put(DISCONNECT, "").await;
        self.closed().await;
    }

    /// What is beneath it.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

/// CONNACK.
pub struct Welcome {
    pub session_present: bool,
    pub properties: Properties,
}

/// A CONNECT; `more` are properties with MQTT 5.
pub fn connect(version: u8, client_id: &str, flags: u8, more: &str) -> Vec<u8> {
    let properties = if version == 5 { sized(more) } else { String::new() };
    noted(0x10, &format!("<MQTT> {version:02x} {flags:02x} 0000 {properties} <{client_id}>"))
}

/// Properties with their length.
pub fn sized(properties: &str) -> String {
    let length = variable(bytes(properties).len());
    let length: String = length.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{length} {properties}")
}
