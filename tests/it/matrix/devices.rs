//! Devices as ways in and ways out: MQTT 5 and 3.1.1.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Lines, Write},
    process::{Child, ChildStdout, Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::{
    event::Case,
    ways::{Form, Kind, Source},
};
use crate::harness::gateway::Gateway;

fn program(gateway: &Gateway, arguments: &[String]) -> Command {
    let mut command = Command::new("scripts/python");
    command.arg("tests/it/matrix/devices.py").args(arguments).stdout(Stdio::piped());
    command.env("MQTT", gateway.mqtt.as_deref().expect("an MQTT listener"));
    command
}

/// Publishes the cases of these forms to all channels.
pub async fn publish(gateway: &Gateway, channels: &[&str], forms: &[Form], cases: &[Case]) {
    let mut lines = String::new();
    for channel in channels {
        for (form, case) in
            forms.iter().filter(|form| form.is_of_devices()).flat_map(|form| cases.iter().map(move |case| (form, case)))
        {
            if form.takes(case) {
                let mut packet = packet(form, case);
                packet["channel"] = json!(channel);
                lines += &format!("{packet}\n");
            }
        }
    }
    let mut command = program(gateway, &["publish".into()]);
    let publishing = spawn_blocking(move || {
        let mut child = command.stdin(Stdio::piped()).spawn().expect("it starts");
        child.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("it reads");
        assert!(child.wait().expect("it ends").success());
    });
    publishing.await.expect("all are stored");
}

fn packet(form: &Form, case: &Case) -> Value {
    let (version, content_type, payload) = match form.kind {
        Kind::Mqtt5Structured => ("5", Some("application/cloudevents+json"), case.structured(form.name).into_bytes()),
        Kind::Mqtt3Structured => ("3.1.1", None, case.structured(form.name).into_bytes()),
        Kind::Mqtt3Plain => ("3.1.1", None, case.data.clone().unwrap_or_default()),
        _ => ("5", case.media_type, case.data.clone().unwrap_or_default()),
    };
    let user = if form.kind == Kind::Mqtt5Binary { case.attributes(form.name) } else { Vec::new() };
    json!({ "version": version, "content_type": content_type, "payload": STANDARD.encode(payload), "user": user })
}

/// Two devices that have subscribed to all channels.
pub struct Readers {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Readers {
    pub fn start(gateway: &Gateway, channels: &[&str], count: usize) -> Self {
        let channels = channels.iter().map(|channel| (*channel).to_owned());
        let arguments: Vec<_> = ["read".to_owned(), count.to_string()].into_iter().chain(channels).collect();
        let mut child = program(gateway, &arguments).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        lines.next().expect("they have subscribed").expect("a line");
        Self { child, lines }
    }

    /// What they got, by channel and version.
    pub fn end(mut self, cases: &[Case]) -> HashMap<(String, &'static str), Vec<Value>> {
        let mut got = HashMap::<_, Vec<_>>::new();
        for line in self.lines.by_ref() {
            let packet: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
            let way = if packet["version"] == "5" { "MQTT 5" } else { "MQTT 3.1.1" };
            let channel = packet["channel"].as_str().expect("a channel").to_owned();
            let payload = STANDARD.decode(packet["payload"].as_str().expect("a payload")).expect("base64");
            let event = if way == "MQTT 5" { of_5(&packet, payload) } else { of_3(&payload, cases) };
            got.entry((channel, way)).or_default().push(event);
        }
        assert!(self.child.wait().expect("it ends").success());
        got
    }
}

/// By the rules of the binding.
fn of_5(packet: &Value, payload: Vec<u8>) -> Value {
    let user: Vec<(String, String)> = serde_json::from_value(packet["user"].clone()).expect("pairs");
    let mut headers: std::collections::BTreeMap<_, _> = user.into_iter().collect();
    let content_type = packet["content_type"].as_str().map(str::to_owned);
    headers.extend(content_type.map(|content_type| ("content-type".to_owned(), content_type)));
    Source { headers, value: Some(payload) }.event("")
}

/// JSON, or what was plain: that has no media type here, so it is taken for the case that has these bytes.
fn of_3(payload: &[u8], cases: &[Case]) -> Value {
    let event = serde_json::from_slice(payload).ok().filter(|event: &Value| event["specversion"] == "1.0");
    event.unwrap_or_else(|| {
        let same = cases.iter().find(|case| case.data.as_deref() == Some(payload) && case.media_type.is_some());
        same.map_or(json!({ "data_base64": STANDARD.encode(payload) }), Case::expected_plain)
    })
}
