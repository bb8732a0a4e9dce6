//! The ways in, and the brokers between, each with a client of its own where it has one.

use std::{collections::BTreeMap, env, process::Command, sync::OnceLock};

use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::event::{Case, plain_id};
use crate::harness::{
    gateway::Gateway,
    kafka::{bootstrap, brokers, run},
    websocket::Socket,
};

pub struct Form {
    pub name: &'static str,
    pub kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Binary,
    Structured,
    Batch,
    Plain,
    WebSocket,
    Mqtt5Binary,
    Mqtt5Structured,
    Mqtt5Plain,
    Mqtt3Structured,
    Mqtt3Plain,
}

pub const FORMS: [Form; 10] = [
    Form { name: "HTTP binary", kind: Kind::Binary },
    Form { name: "HTTP structured", kind: Kind::Structured },
    Form { name: "HTTP batch", kind: Kind::Batch },
    Form { name: "HTTP plain", kind: Kind::Plain },
    Form { name: "WebSocket", kind: Kind::WebSocket },
    Form { name: "MQTT 5 binary", kind: Kind::Mqtt5Binary },
    Form { name: "MQTT 5 structured", kind: Kind::Mqtt5Structured },
    Form { name: "MQTT 5 plain", kind: Kind::Mqtt5Plain },
    Form { name: "MQTT 3.1.1 structured", kind: Kind::Mqtt3Structured },
    Form { name: "MQTT 3.1.1 plain", kind: Kind::Mqtt3Plain },
];

impl Form {
    /// A plain body without a media type is nothing, and so, on its way over an MQTT broker, is one of no bytes that never had one.
    pub fn takes(&self, case: &Case) -> bool {
        match self.kind {
            Kind::Plain | Kind::Mqtt5Plain => case.media_type.is_some(),
            Kind::Mqtt3Plain => case.data.as_ref().is_some_and(|data| !data.is_empty()),
            _ => true,
        }
    }

    /// Devices publish it.
    pub fn is_of_devices(&self) -> bool {
        !matches!(self.kind, Kind::Binary | Kind::Structured | Kind::Batch | Kind::Plain | Kind::WebSocket)
    }

    /// What comes out of a case, and what identifies it there.
    fn expected(&self, case: &Case, way: &str) -> (String, Value) {
        let plain = match self.kind {
            Kind::Plain | Kind::Mqtt5Plain => case.expected_plain(),
            Kind::Mqtt3Plain if way == "MQTT 3.1.1" => case.expected_plain(), // neither side has media types
            Kind::Mqtt3Plain => case.expected_untyped(),
            _ => return (case.id(self.name), case.expected(self.name)),
        };
        (plain_id(&plain), plain)
    }

    pub fn count(&self, cases: &[Case]) -> usize {
        cases.iter().filter(|case| self.takes(case)).count()
    }

    pub async fn publish(&self, gateway: &Gateway, channel: &str, cases: &[Case]) {
        if self.kind == Kind::WebSocket {
            let mut socket = Socket::open(gateway, &format!("{channel}?role=publish")).await;
            for case in cases {
                socket.send_raw(Message::text(case.structured(self.name))).await;
                assert_eq!(socket.answer().await.0, "io.meshgate.receipt", "{}", case.name);
            }
            return;
        }
        for case in cases.iter().filter(|case| self.takes(case)) {
            let request = self.request(gateway.client.post(gateway.channel_url(channel)), case);
            let answer = request.send().await.expect("an answer");
            assert_eq!(
                answer.status(),
                202,
                "{} {}: {}",
                self.name,
                case.name,
                answer.text().await.unwrap_or_default()
            );
        }
    }

    fn request(&self, request: RequestBuilder, case: &Case) -> RequestBuilder {
        let data = case.data.clone().unwrap_or_default();
        let typed = |request: RequestBuilder| match case.media_type {
            Some(media_type) => request.header("content-type", media_type),
            None => request,
        };
        match self.kind {
            Kind::Binary => {
                let attributes = case.attributes(self.name);
                let named = |request: RequestBuilder, (name, value): &(&str, String)| {
                    request.header(format!("ce-{name}"), header_value(value))
                };
                typed(attributes.iter().fold(request, named)).body(data)
            }
            Kind::Plain => typed(request).body(data),
            Kind::Batch => request
                .header("content-type", "application/cloudevents-batch+json")
                .body(format!("[{}]", case.structured(self.name))),
            _ => request.header("content-type", "application/cloudevents+json").body(case.structured(self.name)),
        }
    }

    /// What did not come as it went, as often as it went.
    pub fn faults(&self, cases: &[Case], way: &str, seen: &BTreeMap<String, Vec<Value>>) -> Vec<String> {
        let mut faults = Vec::new();
        for case in cases.iter().filter(|case| self.takes(case)) {
            let (id, expected) = self.expected(case, way);
            let is_plain = !Case::is_own(&id);
            // Plain data has nothing that tells by which form it came.
            let alike = FORMS.iter().filter(|form| form.takes(case) && form.expected(case, way).0 == id);
            let come: Vec<Value> = seen
                .get(&id)
                .into_iter()
                .flatten()
                .map(|event| if is_plain { plain(event) } else { event.clone() })
                .collect();
            if come.len() != alike.count() || come.iter().any(|event| *event != expected) {
                let shown = come.iter().map(|come| come.to_string().chars().take(500).collect::<String>());
                faults.push(format!("{}: {:?}", case.name, shown.collect::<Vec<_>>()));
            }
        }
        faults
    }
}

/// Of an event its data and media type alone.
fn plain(event: &Value) -> Value {
    json!({ "datacontenttype": event["datacontenttype"], "data": event["data"], "data_base64": event["data_base64"] })
}

/// The CloudEvents HTTP binding, section 3.1.3.2.
fn header_value(value: &str) -> String {
    const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');
    utf8_percent_encode(value, ENCODED).to_string()
}

/// What stands between the ways.
pub struct Broker {
    pub name: &'static str,
    pub connector: fn() -> String,
    pub create: fn(&str),
    pub replays: bool,
    /// What stands before the names of attributes there.
    pub prefix: &'static str,
    /// Reads so many messages of a topic, since it was made, with a client that knows nothing of the gateway.
    pub native: Option<fn(&str, usize) -> Vec<Source>>,
}

/// Where the Mosquitto of this test is.
pub static MOSQUITTO: OnceLock<String> = OnceLock::new();

fn mosquitto() -> &'static str {
    MOSQUITTO.get().expect("it is started first")
}

fn python(program: &str) -> Command {
    let mut command = Command::new("scripts/python");
    command.arg(program).env("MQTT_ADDRESS", mosquitto());
    command
}

const PACKETS: &str = "tests/it/matrix/packets.py";

pub const BROKERS: [Broker; 4] = [
    Broker {
        name: "memory",
        connector: || "{ kind: memory, capacity: 256MiB }".into(),
        create: |_| (),
        replays: true,
        prefix: "",
        native: None,
    },
    Broker {
        name: "kafka",
        connector: || format!(r#"{{ kind: kafka, brokers: ["{}"] }}"#, bootstrap()),
        create: |topic| drop(brokers(&["topic", "create", topic, "--config", "max.message.bytes=4194304"])),
        replays: true,
        prefix: "ce_",
        native: Some(|topic, count| native("tests/it/kafka/records.py", topic, count)),
    },
    Broker {
        name: "pulsar",
        connector: || format!(r#"{{ kind: pulsar, url: "{}" }}"#, env::var("PULSAR_URL").expect("PULSAR_URL")),
        create: |_| (),
        replays: true,
        prefix: "ce_",
        native: Some(|topic, count| native("tests/it/matrix/messages.py", topic, count)),
    },
    Broker {
        name: "mqtt",
        connector: || format!(r#"{{ kind: mqtt, url: "mqtt://{}" }}"#, mosquitto()),
        // A broker of MQTT keeps nothing but for sessions that are there.
        create: |topic| drop(run(python(PACKETS).args(["subscribe", topic]))),
        replays: false,
        prefix: "",
        native: Some(|topic, count| native(PACKETS, topic, count)),
    },
];

/// A message as its broker's own client sees it.
pub struct Source {
    pub headers: BTreeMap<String, String>,
    pub value: Option<Vec<u8>>,
}

fn native(program: &str, topic: &str, count: usize) -> Vec<Source> {
    let printed = run(python(program).args(["read", topic, &count.to_string()]));
    printed.lines().map(|line| Source::parse(&serde_json::from_str(line).expect("JSON"))).collect()
}

impl Source {
    fn parse(line: &Value) -> Self {
        let bytes = |value: &Value| STANDARD.decode(value.as_str()?).ok();
        let text = |value: &Value| String::from_utf8(bytes(value).expect("base64")).expect("UTF-8");
        let headers = line["headers"].as_array().expect("a list").iter();
        let headers = headers.map(|header| (header[0].as_str().expect("a name").to_owned(), text(&header[1])));
        Self { headers: headers.collect(), value: bytes(&line["value"]) }
    }

    /// The event, by the rules of the binding: headers whose names are attributes' behind `prefix` and the data, or all of it in the value.
    pub fn event(&self, prefix: &str) -> Value {
        let content_type = self.headers.get("content-type");
        if content_type.is_some_and(|content_type| content_type.starts_with("application/cloudevents+json")) {
            return serde_json::from_slice(self.value.as_deref().expect("a value")).expect("JSON");
        }
        let is_attribute = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let attributes = self
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(prefix).filter(is_attribute)?, value)));
        let mut event: Value =
            attributes.map(|(name, value)| (name.to_owned(), json!(value))).collect::<serde_json::Map<_, _>>().into();
        let Some(media_type) = content_type else {
            if let Some(data) = self.value.as_deref().filter(|data| !data.is_empty()) {
                event["data_base64"] = json!(STANDARD.encode(data));
            }
            return event;
        };
        event["datacontenttype"] = json!(media_type);
        let data = self.value.as_deref().expect("a value");
        match &**media_type {
            "application/json" => event["data"] = serde_json::from_slice(data).expect("JSON"),
            text if text.starts_with("text/") => event["data"] = json!(String::from_utf8_lossy(data)),
            _ => event["data_base64"] = json!(STANDARD.encode(data)),
        }
        event
    }
}
