//! Every way in to every way out: attributes and data bytes arrive unchanged, whichever broker is between, in both content modes.

mod devices;
mod event;
mod ways;

use std::collections::{BTreeMap, BTreeSet};

use event::{Case, cases};
use serde_json::Value;
use ways::{BROKERS, Broker, FORMS, MOSQUITTO, Source};

use crate::harness::{
    gateway::Gateway, kafka::fresh_name, mosquitto::Mosquitto, page::Page, sse::Stream, websocket::Socket,
};

/// Content modes.
const MODES: [&str; 2] = ["binary", "structured"];

/// A broker in one mode: its channel, and its topic.
struct Line {
    broker: &'static Broker,
    mode: &'static str,
    channel: String,
    topic: String,
}

fn lines() -> Vec<Line> {
    let of = |broker: &'static Broker| {
        MODES.map(|mode| {
            let topic = fresh_name(&format!("matrix-{mode}"));
            (broker.create)(&topic);
            Line { broker, mode, channel: format!("{}/{mode}", broker.name), topic }
        })
    };
    BROKERS.iter().flat_map(of).collect()
}

fn start(lines: &[Line]) -> Gateway {
    let connectors: String =
        BROKERS.iter().map(|broker| format!("  {}: {}\n", broker.name, (broker.connector)())).collect();
    let route = |line: &Line| {
        let Line { broker, mode, channel, topic } = line;
        format!("  - {{ channel: {channel}, to: [{{ connector: {}, topic: {topic}, mode: {mode} }}] }}\n", broker.name)
    };
    let routes: String = lines.iter().map(route).collect();
    Gateway::start(&format!(
        r#"
listeners:
  http: {{ address: "127.0.0.1:0", max_body: 2MiB }}
  admin: {{ address: "127.0.0.1:0" }}
  mqtt: {{ address: "127.0.0.1:0", max_packet: 2MiB }}
# Readers stand and are read only when all is published: what an MQTT broker sends must stay that long.
limits: {{ ring: 128MiB }}
connectors:
{connectors}routes:
{routes}"#
    ))
}

/// Who reads a line live, since before anything was published.
struct Readers {
    stream: Stream,
    socket: Socket,
}

/// What came out of one line, by the way and then by id.
type Seen = BTreeMap<&'static str, BTreeMap<String, Vec<Value>>>;

#[tokio::test]
async fn what_goes_in_comes_out_unchanged() {
    let mosquitto = Mosquitto::up().await;
    MOSQUITTO.set(mosquitto.address.clone()).expect("once");
    let (lines, cases) = (lines(), cases());
    let gateway = start(&lines);
    crate::harness::eventually("ready", async || (gateway.ask_admin("/readyz").await.status() == 200).then_some(()))
        .await;
    let count = FORMS.iter().map(|form| form.count(&cases)).sum();
    let channels: Vec<_> = lines.iter().map(|line| &*line.channel).collect();
    let listening = devices::Readers::start(&gateway, &channels, count);
    let mut readers = Vec::new();
    for line in &lines {
        let stream = Stream::open(&gateway, &line.channel).await;
        readers.push(Readers {
            stream,
            socket: Socket::open(&gateway, &format!("{}?role=subscribe", line.channel)).await,
        });
    }
    for line in &lines {
        for form in FORMS.iter().filter(|form| !form.is_of_devices()) {
            form.publish(&gateway, &line.channel, &cases).await;
        }
    }
    devices::publish(&gateway, &channels, &FORMS, &cases).await;
    let mut heard = listening.end(&cases);
    let mut unchanged = BTreeMap::<_, BTreeSet<_>>::new();
    for (line, readers) in lines.iter().zip(readers) {
        let mut seen = read(&gateway, line, readers, count).await;
        for way in ["MQTT 5", "MQTT 3.1.1"] {
            seen.insert(way, by_id(heard.remove(&(line.channel.clone(), way)).expect("messages")));
        }
        for (way, seen) in seen {
            for form in &FORMS {
                let faults = form.faults(&cases, way, &seen);
                assert!(faults.is_empty(), "{} → {} ({}) → {way}: {faults:#?}", form.name, line.broker.name, line.mode);
                unchanged.entry((form.name, line.broker.name)).or_default().insert(way);
            }
        }
    }
    let table = table(&unchanged);
    println!("{table}");
    let readme = std::fs::read_to_string("README.md").expect("the README");
    assert!(readme.contains(&table), "README.md does not show this table");
}

/// For each way in and each broker the ways out.
fn table(unchanged: &BTreeMap<(&str, &str), BTreeSet<&str>>) -> String {
    let names: Vec<_> = BROKERS.iter().map(|broker| broker.name).collect();
    let mut lines = vec![format!("| | {} |", names.join(" | ")), format!("| --- |{}", " --- |".repeat(names.len()))];
    for form in &FORMS {
        let ways =
            names.iter().map(|broker| Vec::from_iter(unchanged[&(form.name, *broker)].iter().copied()).join(", "));
        lines.push(format!("| {} | {} |", form.name, ways.collect::<Vec<_>>().join(" | ")));
    }
    lines.join("\n")
}

async fn read(gateway: &Gateway, line: &Line, mut readers: Readers, count: usize) -> Seen {
    let mut seen = Seen::new();
    seen.insert("SSE", by_id(readers.stream.events(count).await));
    let mut frames = Vec::new();
    for _ in 0..count {
        frames.push(readers.socket.event().await);
    }
    seen.insert("WebSocket", by_id(frames));
    if line.broker.replays {
        let first = Page::read(gateway, &format!("{}?from=earliest", line.channel)).await;
        let pages = first.until_the_end(gateway).await;
        seen.insert("page", by_id(pages.into_iter().flat_map(|page| page.events).collect()));
    }
    if let Some(native) = line.broker.native {
        let event = |source: &Source| source.event(line.broker.prefix);
        seen.insert("its own client", by_id(native(&line.topic, count).iter().map(event).collect()));
    }
    seen
}

fn by_id(events: Vec<Value>) -> BTreeMap<String, Vec<Value>> {
    let id = |event: &Value| match &event["id"] {
        Value::String(id) if Case::is_own(id) => id.clone(),
        _ => event::plain_id(event),
    };
    let mut by_id = BTreeMap::<_, Vec<_>>::new();
    events.into_iter().for_each(|event| by_id.entry(id(&event)).or_default().push(event));
    by_id
}
