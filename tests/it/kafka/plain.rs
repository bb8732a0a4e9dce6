//! A plain Kafka program, `records.py`, which knows nothing of the gateway.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// A record as it stands in Kafka.
#[derive(Debug, PartialEq, Eq)]
pub struct Stored {
    pub partition: u64,
    pub offset: u64,
    /// Unix milliseconds.
    pub timestamp: u64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Stored {
    /// `name=value` of each header, in order; bytes that are no printable ASCII are escaped.
    pub fn header_lines(&self) -> Vec<String> {
        self.headers.iter().map(|(name, value)| format!("{name}={}", value.escape_ascii())).collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(own, _)| own == name)?;
        Some(std::str::from_utf8(value).expect("UTF-8"))
    }

    pub fn value_text(&self) -> &str {
        std::str::from_utf8(self.value.as_deref().expect("a value")).expect("UTF-8")
    }
}

/// The first so many records of a topic, by partition and offset.
pub fn read(topic: &str, count: usize) -> Vec<Stored> {
    lines(&records(&["read", topic, &count.to_string()], "")).iter().map(stored).collect()
}

/// The same, as the CloudEvents SDK for Python understands them.
pub fn read_events(topic: &str, count: usize) -> Vec<Value> {
    lines(&records(&["events", topic, &count.to_string()], ""))
}

/// Writes records that [`record`] made.
pub fn write(topic: &str, options: &[&str], all: &[Value]) {
    records(&[&["write", topic], options].concat(), &text(all));
}

/// Has the CloudEvents SDK for Python write events.
pub fn write_events(topic: &str, options: &[&str], events: &[Value]) {
    records(&[&["write-events", topic], options].concat(), &text(events));
}

/// Where kafka-python puts each key in a topic of so many partitions.
pub fn partitions(count: u32, keys: &[&str]) -> Vec<u64> {
    let keys: Vec<_> = keys.iter().map(|key| base64(key.as_bytes())).collect();
    let found = lines(&records(&["partitions", &count.to_string()], &text(&keys)));
    found.iter().map(|number| number.as_u64().expect("a number")).collect()
}

/// A record for [`write`].
pub fn record(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&[u8], &[u8])]) -> Value {
    let headers: Vec<_> = headers.iter().map(|(name, value)| json!([base64(name), base64(value)])).collect();
    json!({ "key": key.map(base64), "value": value.map(base64), "headers": headers })
}

/// A record of a value alone.
pub fn bare(value: &str) -> Value {
    record(None, Some(value.as_bytes()), &[])
}

fn stored(record: &Value) -> Stored {
    let number = |name: &str| record[name].as_u64().expect("a number");
    let headers = record["headers"].as_array().expect("a list").iter().map(|header| {
        let name = header[0].as_str().expect("a name").to_owned();
        (name, bytes(&header[1]).expect("a value"))
    });
    Stored {
        partition: number("partition"),
        offset: number("offset"),
        timestamp: number("timestamp"),
        key: bytes(&record["key"]),
        value: bytes(&record["value"]),
        headers: headers.collect(),
    }
}

fn base64(bytes: &[u8]) -> Value {
    STANDARD.encode(bytes).into()
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    Some(STANDARD.decode(value.as_str()?).expect("base64"))
}

fn text(all: &[Value]) -> String {
    all.iter().map(|line| format!("{line}\n")).collect()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn records(arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("scripts/python");
    command.current_dir(env!("CARGO_MANIFEST_DIR")).arg("tests/it/kafka/records.py").args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("scripts/python starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads its input");
    let done = child.wait_with_output().expect("it ends");
    assert!(done.status.success(), "records.py {arguments:?}: {}", done.status);
    String::from_utf8(done.stdout).expect("UTF-8")
}
