//! Start, admin listener, configuration, and the end.

use std::{fs, process::Output};

use serde_json::Value;

use crate::harness::{
    eventually,
    gateway::{Gateway, MEMORY, meshgate, problem},
    sse::Stream,
    websocket::Socket,
};

fn run(arguments: &[&str]) -> Output {
    meshgate().args(arguments).output().expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn says_how_it_is() {
    let gateway = Gateway::memory();
    gateway.store("a/b", "1").await;
    assert_eq!(gateway.ask_admin("/livez").await.status(), 200);
    let ready = gateway.ask_admin("/readyz").await;
    assert_eq!(ready.status(), 200);
    let ready: Value = serde_json::from_str(&ready.text().await.expect("a body")).expect("JSON");
    assert_eq!(ready["connectors"][0]["name"], "memory");
    let metrics = gateway.ask_admin("/metrics").await.text().await.expect("a body");
    for expected in [
        r#"meshgate_publish_total{listener="http",route="all",outcome="stored"} 1"#,
        "meshgate_publish_seconds_count",
        r#"meshgate_connector_up{connector="memory"} 1"#,
        r#"meshgate_connections{listener="http"} 1"#,
        "meshgate_deliver_total",
        "meshgate_skipped_total 0",
    ] {
        assert!(metrics.contains(expected), "{expected} is missing in:\n{metrics}");
    }
    let status: Value =
        serde_json::from_str(&gateway.ask_admin("/status").await.text().await.expect("a body")).expect("JSON");
    assert_eq!(status["format"], 1);
    assert_eq!(status["routes"][0]["published"]["stored"], 1);
    assert_eq!(problem(gateway.ask_admin("/nothing").await).await["status"], 404);
    let wrong = gateway.ask_admin("/explain").await;
    assert_eq!((wrong.status().as_u16(), &wrong.headers()["allow"]), (405, &"POST".parse().expect("a value")));
    assert!(problem(wrong).await["detail"].as_str().is_some_and(|detail| detail.contains("POST for /explain")));
}

#[tokio::test]
async fn drains_and_ends_clean() {
    let mut gateway = Gateway::start(&format!("{MEMORY}\nshutdown: {{ delay: 500ms, grace: 10s }}"));
    let mut stream = Stream::open(&gateway, "a").await;
    gateway.signal("TERM");
    eventually("not ready in the drain", async || (gateway.ask_admin("/readyz").await.status() == 503).then_some(()))
        .await;
    gateway.store("a", "in the delay").await;
    assert_eq!(stream.ids(1).await, ["in the delay"]);
    assert_eq!(stream.event().await, None, "the stream ends in order");
    assert_eq!(gateway.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut gateway = Gateway::start(&format!("{MEMORY}\nshutdown: {{ delay: 60s, grace: 120s }}"));
    gateway.signal("INT");
    eventually("not ready in the drain", async || (gateway.ask_admin("/readyz").await.status() == 503).then_some(()))
        .await;
    gateway.signal("INT");
    assert_eq!(gateway.ended().await.code(), Some(0));
}

#[test]
fn check_shows_every_problem() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("bad.yaml");
    let bad = "connectors:\n  m: { kind: memory, capacityy: 1MiB }\nroutes:\n  - { name: r, channel: \"a/#/b\", to: [{ connector: nope, topic: t }] }\n";
    fs::write(&file, bad).expect("a file");
    let file = file.to_str().expect("UTF-8");
    let checked = run(&["check", file]);
    assert_eq!(checked.status.code(), Some(78));
    let out = text(&checked.stdout);
    for place in [":2:22: ", ":4:25: ", ":4:52: "] {
        assert!(out.contains(&format!("{file}{place}")), "{place} is missing in:\n{out}");
    }
    let served = run(&["--config", file]);
    assert_eq!(served.status.code(), Some(78));
    assert!(text(&served.stderr).contains(":2:22: "), "{}", text(&served.stderr));
}

#[test]
fn exit_codes() {
    for (arguments, code) in [
        (&["--version"][..], 0),
        (&["publish", "--help"], 0),
        (&["nonsense"], 64),
        (&["check"], 64),
        (&["check", "no/such/file.yaml"], 78),
        (&["schema"], 0),
        (&["check", "config/meshgate.yaml", "config/reference.yaml", "config/docker.yaml"], 0),
        (&["check", "examples/compose/meshgate.yaml"], 0),
        (&["healthcheck", "--url", "http://127.0.0.1:1"], 69),
        (&["publish", "a", "x", "--url", "http://127.0.0.1:1"], 69),
        (&["publish", "a", "x", "--url", "localhost:8080"], 64),
        (&["subscribe", "a", "--url", "http://127.0.0.1:1"], 69),
        (&["explain", "--channel", "a"], 64),
        (&["cesql", "id"], 64),
        (&["cesql", "--event", "no/such/event.json", "id"], 64),
        (&["cesql", "--event", "Cargo.toml", "id"], 65),
    ] {
        let done = run(arguments);
        assert_eq!(done.status.code(), Some(code), "{arguments:?}: {}{}", text(&done.stdout), text(&done.stderr));
    }
}

#[tokio::test]
async fn an_address_in_use_is_said_so() {
    let gateway = Gateway::memory();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("taken.yaml");
    let address = gateway.url.trim_start_matches("http://");
    fs::write(&file, format!("listeners: {{ http: {{ address: \"{address}\" }} }}\n{MEMORY}")).expect("a file");
    let done = run(&["--config", file.to_str().expect("UTF-8")]);
    assert_eq!(done.status.code(), Some(69));
    let said = format!("`listeners.http.address`: cannot listen on {address}: Address already in use");
    assert!(text(&done.stderr).starts_with(&said), "{}", text(&done.stderr));
}

#[tokio::test]
async fn the_command_line_publishes_and_subscribes() {
    let gateway = Gateway::memory();
    let command = |arguments: &[&str]| {
        let mut command = meshgate();
        command.args(arguments).args(["--url", &gateway.url]);
        command
    };
    for n in 0..3 {
        let attributes = ["--type", "com.example.ünïcode", "--id", &format!("id {n}"), "--subject", "s"];
        let done =
            command(&["publish", "a/b c", &format!("{{\"n\": {n}}}")]).args(attributes).output().expect("it runs");
        assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    }
    let done = command(&["subscribe", "a/+", "--from", "earliest", "--count", "3"]).output().expect("it runs");
    let lines: Vec<Value> = text(&done.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        (&lines[2]["id"], &lines[2]["type"], &lines[2]["data"]["n"]),
        (&"id 2".into(), &"com.example.ünïcode".into(), &2.into())
    );
    let wanted =
        ["subscribe", "a/+", "--from", "earliest", "--count", "1", "--filter", "id LIKE '%1' AND subject = 's'"];
    let done = command(&wanted).output().expect("it runs");
    let event: Value = serde_json::from_str(&text(&done.stdout)).expect("one event");
    assert_eq!(event["id"], "id 1");
    let refused = command(&["publish", "a/#", "x"]).output().expect("it runs");
    assert_eq!(refused.status.code(), Some(65), "{}", text(&refused.stderr));
}

#[test]
fn the_command_line_evaluates_expressions() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("event.json");
    let event = r#"{"specversion": "1.0", "id": "1", "source": "/s", "type": "com.acme.order", "amount": 120, "sign": "\"ü\""}"#;
    fs::write(&file, event).expect("a file");
    let file = file.to_str().expect("UTF-8");
    for (arguments, expected) in [
        (&["type LIKE 'com.acme.%' AND amount > 100"][..], r#"{"value":true,"error":null}"#),
        (&["-amount"], r#"{"value":-120,"error":null}"#),
        (&["--", "-amount"], r#"{"value":-120,"error":null}"#),
        (&["sign"], r#"{"value":"\"ü\"","error":null}"#),
        (&["missing = 1"], r#"{"value":false,"error":"missingAttribute"}"#),
        (&["1 / 0"], r#"{"value":0,"error":"math"}"#),
        (&["INT(id) + INT(type)"], r#"{"value":0,"error":"cast"}"#),
        (&["LEFT(id, -1)"], r#"{"value":"1","error":"functionEvaluation"}"#),
        (&["NOPE()"], r#"{"value":false,"error":"missingFunction"}"#),
        (&["type ="], r#"{"value":false,"error":"parse"}"#),
    ] {
        let done = run(&[&["cesql", "--event", file][..], arguments].concat());
        assert_eq!((text(&done.stdout).trim_end(), done.status.code()), (expected, Some(0)), "{arguments:?}");
        assert_eq!(done.stderr.is_empty(), expected.ends_with("null}"), "{}", text(&done.stderr));
    }
}

#[tokio::test]
async fn the_admin_listener_answers_a_healthcheck() {
    let gateway = Gateway::memory();
    assert_eq!(run(&["healthcheck", "--url", &gateway.admin]).status.code(), Some(0));
}

#[tokio::test]
async fn the_dashboard_shows_metrics_that_there_are() {
    let gateway = Gateway::start(&format!("{MEMORY}subscriptions: [{{ name: s, channel: a, sink: \"channel:b\" }}]\n"));
    let _member = Socket::open(&gateway, "a?group=g").await;
    let metrics = gateway.ask_admin("/metrics").await.text().await.expect("a body");
    let declared: Vec<_> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split_once(' '))
        .map(|(name, kind)| match kind {
            "histogram" => format!("{name}_bucket"),
            _ => name.to_owned(),
        })
        .collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/grafana/meshgate.json");
    let text = fs::read_to_string(path).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let mut shown = 0;
    for target in dashboard["panels"].as_array().expect("panels").iter().filter_map(|panel| panel["targets"].as_array())
    {
        for expression in target.iter().filter_map(|target| target["expr"].as_str()) {
            let words = expression.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
            for metric in words.filter(|word| word.starts_with("meshgate_")) {
                assert!(declared.iter().any(|known| known == metric), "{metric} is none of {declared:?}");
                shown += 1;
            }
        }
    }
    assert!(shown >= 12, "{shown} metrics are shown");
}
