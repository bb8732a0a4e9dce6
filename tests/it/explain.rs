//! `meshgate explain` and the admin listener's `/explain`: what would become of an event, and that nothing becomes of it.

use std::{
    fs,
    io::Write,
    process::{Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::gateway::{Gateway, meshgate, problem};

const ROUTES: &str = r##"
connectors:
  main: { kind: memory }
  scratch: { kind: memory }
routes:
  - { name: copies, channel: "#", continue: true, to: [{ connector: scratch, topic: "copies/{channel}" }] }
  - { name: paid, channel: "orders/{region}", filters: [{ exact: { type: paid } }], to: [{ connector: main, topic: paid }] }
  - { name: dead, channel: "dead/#", to: [{ connector: main, topic: "dead" }] }
  - { name: orders, channel: "orders/+", to: [{ connector: main, topic: "orders.{type}", key: "{subject|}" }] }
  - { name: readings, channel: "sensors/{device}", wrap: { source: "/devices/{device}", subject: "{device}" }, to: [{ connector: main, topic: "{source}" }] }
  - { name: tenants, channel: tenants, to: [{ connector: main, topic: "t-{tenant}" }] }
"##;

const EVENT: &str = r#"{"specversion":"1.0","id":"7","source":"/shop","type":"created","subject":"s7","data":1}"#;

fn configured(routes: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("meshgate.yaml");
    fs::write(&file, routes).expect("a file");
    let file = file.to_str().expect("UTF-8").to_owned();
    (folder, file)
}

/// Explains what stands in `event`, given on stdin.
fn explain(config: &str, channel: &str, event: &str, more: &[&str]) -> Output {
    let mut command = meshgate();
    command.args(["explain", "--config", config, "--channel", channel, "--event", "-"]).args(more);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("the binary starts");
    child.stdin.take().expect("stdin is a pipe").write_all(event.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|problem| panic!("{problem}: {}", text(output)))
}

#[test]
fn tells_people_route_by_route() {
    let (_folder, config) = configured(ROUTES);
    let explained = explain(&config, "orders/eu", EVENT, &[]);
    let expected = r#"event "7" of type "created" from "/shop" to channel "orders/eu"

routes
  copies  #                gets a copy
  paid    orders/{region}  no: filters[0]: type "created" is not "paid"
  orders  orders/+         takes it
  1 more for other channels (--all names it)
  2 more after that, not asked (--all names them)

destinations
  copies  scratch  topic "copies/orders/eu"  no key    not required
  orders  main     topic "orders.created"    key "s7"
"#;
    assert_eq!((text(&explained).as_str(), explained.status.code()), (expected, Some(0)));
    let all = text(&explain(&config, "orders/eu", EVENT, &["--all"]));
    assert!(all.contains("dead      dead/#            no: its pattern does not match the channel"), "{all}");
    let sql = "connectors: { m: { kind: memory } }\nroutes: [{ name: sql, channel: a, filters: [{ sql: \"absent = 1\" }], to: [{ connector: m, topic: t }] }]";
    let (_folder, config) = configured(sql);
    let errs = text(&explain(&config, "a", EVENT, &[]));
    assert!(errs.contains("filters[0]: `absent = 1` errs: "), "{errs}");
    assert!(all.contains("tenants   tenants           not asked") && !all.contains("more"), "{all}");
}

#[test]
fn tells_machines_the_same() {
    let (folder, config) = configured(ROUTES);
    let file = folder.path().join("event.json");
    fs::write(&file, EVENT).expect("a file");
    let mut command = meshgate();
    let command = command.args(["explain", "--config", &config, "--channel", "orders/eu", "--json", "--event"]);
    let explained = json(&command.arg(file).output().expect("the binary starts"));
    let verdicts: Vec<_> =
        explained["routes"].as_array().expect("a list").iter().map(|route| &route["verdict"]).collect();
    assert_eq!(verdicts, ["matches", "filtered", "other channel", "matches", "not asked", "not asked"]);
    assert_eq!((&explained["route"], &explained["event"]["id"]), (&"orders".into(), &"7".into()));
    assert_eq!((&explained["rejected"], &explained["wrapped"]), (&Value::Null, &false.into()));
    let orders = &explained["destinations"][1];
    assert_eq!(
        orders.to_string(),
        r#"{"connector":"main","key":"s7","required":true,"route":"orders","topic":"orders.created"}"#
    );
}

#[test]
fn says_why_an_event_would_be_rejected() {
    let (_folder, config) = configured(ROUTES);
    let cases = [
        ("nowhere", EVENT, "no route", "matches `nowhere`"),
        ("tenants", EVENT, "bad event", "`{tenant}`"),
        ("orders/eu", r#"{"specversion":"1.0","id":"1","source":"/s"}"#, "bad event", "`type`"),
        ("orders/eu", r#"{"specversion":"1.0","id":"1","#, "bad event", "JSON"),
        ("orders/eu", r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#, "bad event", "specversion"),
        ("orders/+", EVENT, "bad event", "channel `orders/+`"),
    ];
    for (channel, event, reason, says) in cases {
        let explained = explain(&config, channel, event, &["--json"]);
        assert_eq!(explained.status.code(), Some(65), "{event} on {channel}");
        let rejected = &json(&explained)["rejected"];
        assert_eq!(rejected["reason"], reason, "{rejected}");
        assert!(rejected["detail"].to_string().contains(says), "{rejected}");
        let told = text(&explain(&config, channel, event, &[]));
        assert!(told.contains(&format!("rejected ({reason}): ")), "{told}");
    }
    let plain = explain(&config, "orders/eu", EVENT, &["--content-type", "application/cloudevents+xml"]);
    assert_eq!(plain.status.code(), Some(65));
}

#[test]
fn wraps_what_is_no_event_and_takes_batches_apart() {
    let (_folder, config) = configured(ROUTES);
    let wrapped = json(&explain(&config, "sensors/42", "21.5", &["--json"]));
    assert_eq!(wrapped["wrapped"], true);
    assert_eq!(wrapped["destinations"][1]["topic"], "/devices/42");
    let batch = format!("[{EVENT}, {{\"specversion\":\"1.0\"}}]");
    let explained = explain(&config, "orders/eu", &batch, &["--json"]);
    assert_eq!(explained.status.code(), Some(65), "one of them would be rejected");
    let fates = &json(&explained)["events"];
    assert_eq!((&fates[0]["route"], &fates[1]["route"]), (&"orders".into(), &Value::Null));
}

#[test]
fn many_routes_take_few_lines() {
    let mut routes = "connectors: { m: { kind: memory } }\nroutes:\n".to_owned();
    for number in 0..10_000 {
        routes += &format!("  - {{ name: r{number}, channel: c/{number}, to: [{{ connector: m, topic: t }}] }}\n");
    }
    let (_folder, config) = configured(&routes);
    let told = text(&explain(&config, "c/9990", EVENT, &[]));
    assert!(told.contains("9990 more for other channels") && told.contains("9 more after that"), "{told}");
    assert!(told.lines().count() < 12, "{told}");
}

#[tokio::test]
async fn the_admin_listener_explains_and_stores_nothing() {
    let gateway = Gateway::start(ROUTES);
    let ask = |query: &str| gateway.client.post(format!("{}/explain{query}", gateway.admin));
    let event = ask("?channel=orders%2Feu").header("content-type", "application/cloudevents+json").body(EVENT);
    let answer = event.send().await.expect("an answer");
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &"application/json".parse().expect("a value"))
    );
    let told: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
    let (_folder, config) = configured(ROUTES);
    assert_eq!(told, json(&explain(&config, "orders/eu", EVENT, &["--json"])), "as the command tells it");

    let binary = [("specversion", "1.0"), ("id", "1"), ("source", "/s"), ("type", "paid")];
    let request = binary
        .into_iter()
        .fold(ask("?channel=orders/eu"), |request, (name, value)| request.header(format!("ce-{name}"), value));
    let told: Value =
        serde_json::from_str(&request.send().await.expect("an answer").text().await.expect("a body")).expect("JSON");
    assert_eq!(told["route"], "paid");

    for (query, says) in [("", "missing"), ("?channel=a&channel=b", "more than once"), ("?channel=a&x=1", "`x`")] {
        let refused = problem(ask(query).send().await.expect("an answer")).await;
        assert_eq!(refused["status"], 400);
        assert!(refused["detail"].to_string().contains(says), "{refused}");
    }
    let large = ask("?channel=a").body(vec![b'x'; (1 << 20) + 1]).send().await.expect("an answer");
    assert_eq!(problem(large).await["status"], 413);

    let status: Value =
        serde_json::from_str(&gateway.ask_admin("/status").await.text().await.expect("a body")).expect("JSON");
    let published: Vec<_> =
        status["routes"].as_array().expect("a list").iter().map(|route| route["published"]["stored"].clone()).collect();
    assert!(published.iter().all(|stored| *stored == 0), "{status}");
}

const DEVICES: &str = r##"
listeners: { mqtt: { address: "127.0.0.1:0", max_packet: 64KiB } }
connectors: { main: { kind: memory } }
routes:
  - { name: dear, channel: "dear/#", filters: [{ exact: { type: dear } }], to: [{ connector: main, topic: dear }] }
  - { name: readings, channel: "sensors/{device}", to: [{ connector: main, topic: "{source}" }] }
"##;

/// The `mqtt` of an explanation: packet and reason code.
fn answer(explained: &Value) -> (&Value, &Value) {
    (&explained["mqtt"]["packet"], &explained["mqtt"]["reason_code"])
}

#[test]
fn tells_what_a_device_would_hear() {
    let (_folder, config) = configured(DEVICES);
    let told = text(&explain(&config, "sensors/7", "21.5", &["--mqtt", "5", "--retain", "--client-id", "edge 7"]));
    assert!(told.contains(r#"of type "io.meshgate.raw" from "/mqtt/edge%207" (no CloudEvent: wrapped)"#), "{told}");
    assert!(told.contains(r#"topic "/mqtt/edge%207""#), "{told}");
    let expected =
        "\n\nanswer by MQTT 5.0\n  PUBACK (with QoS 2, PUBREC) 0x00 Success\n  the message is retained for the topic\n";
    assert!(told.ends_with(expected), "{told}");
    let cases = [
        (&["--mqtt", "5"][..], "sensors/7", "PUBACK (with QoS 2, PUBREC) 0x00 Success\n"),
        (&["--mqtt", "5"], "nowhere", "PUBACK (with QoS 2, PUBREC) 0x90 Topic Name invalid\n"),
        (&["--mqtt", "5"], "$SYS/x", "PUBACK (with QoS 2, PUBREC) 0x90 Topic Name invalid\n"),
        (&["--mqtt", "5"], "sensors/+", "DISCONNECT 0x90 Topic Name invalid\n"),
        (&["--mqtt", "3.1.1"], "sensors/7", "PUBACK (with QoS 2, PUBREC)\n"),
        (
            &["--mqtt", "3.1.1"],
            "nowhere",
            "none: the connection is closed, MQTT 3.1.1 has no word for it (listeners.mqtt.rejected_v3)\n",
        ),
        (&["--mqtt", "3.1.1"], "sensors/#", "none: the connection is closed"),
    ];
    for (arguments, topic, says) in cases {
        let told = text(&explain(&config, topic, "21.5", arguments));
        assert!(told.contains(&format!("\n  {says}")), "{arguments:?} {topic}: {told}");
        assert!(!told.contains("retained"), "{told}");
    }
    let lenient = DEVICES.replace("max_packet: 64KiB", "rejected_v3: ack");
    let (_folder, config) = configured(&lenient);
    let told = text(&explain(&config, "nowhere", "21.5", &["--mqtt", "3.1.1"]));
    assert!(told.contains("  PUBACK (with QoS 2, PUBREC) all the same (listeners.mqtt.rejected_v3)\n"), "{told}");
    let (_folder, config) = configured(ROUTES);
    let told = text(&explain(&config, "sensors/7", "21.5", &["--mqtt", "5"]));
    assert!(told.ends_with("  but nobody listens: `listeners.mqtt` is not set\n"), "{told}");
}

#[test]
fn reads_the_events_of_devices_as_the_listener_does() {
    let (_folder, config) = configured(DEVICES);
    let event = r#"{"specversion":"1.0","id":"7","source":"/shop","type":"dear"}"#;
    let wrapped = json(&explain(&config, "dear/x", event, &["--json", "--mqtt", "5"]));
    assert_eq!((&wrapped["wrapped"], &wrapped["rejected"]["reason"]), (&true.into(), &"no route".into()));
    let of_v3 = json(&explain(&config, "dear/x", event, &["--json", "--mqtt", "3.1.1"]));
    assert_eq!((&of_v3["wrapped"], &of_v3["route"]), (&false.into(), &"dear".into()));
    assert_eq!(answer(&of_v3), (&"PUBACK".into(), &Value::Null));
    let structured = ["--json", "--mqtt", "5", "--content-type", "application/cloudevents+json"];
    let structured = json(&explain(&config, "dear/x", event, &structured));
    assert_eq!((&structured["event"]["id"], &structured["route"]), (&"7".into(), &"dear".into()));
    let attributes = ["id=8", "source=/shop", "type=dear", "specversion=1.0"];
    let mut binary = vec!["--json", "--mqtt", "5"];
    attributes.iter().for_each(|attribute| binary.extend(["--user-property", attribute]));
    let told = json(&explain(&config, "dear/x", "21.5", &binary));
    assert_eq!((&told["event"]["id"], &told["wrapped"]), (&"8".into(), &false.into()));
    assert_eq!(answer(&told), (&"PUBACK".into(), &0.into()));
    binary.extend(["--user-property", "time=noon"]);
    let bad = explain(&config, "dear/x", "21.5", &binary);
    assert_eq!((answer(&json(&bad)), bad.status.code()), ((&"PUBACK".into(), &0x99.into()), Some(65)));
    let large = json(&explain(&config, "sensors/7", &"x".repeat(64 << 10), &["--json", "--mqtt", "5"]));
    assert_eq!(
        (answer(&large), &large["rejected"]["reason"]),
        ((&"DISCONNECT".into(), &0x95.into()), &"too large".into())
    );
    let removed = json(&explain(&config, "sensors/7", "", &["--json", "--mqtt", "5", "--retain"]));
    assert_eq!(removed["mqtt"]["retained"], "removed");
    let of_http = json(&explain(&config, "sensors/7", "21.5", &["--json"]));
    assert_eq!(of_http["mqtt"], Value::Null);
    for wrong in [
        &["--mqtt", "3"][..],
        &["--retain"],
        &["--mqtt", "3.1.1", "--user-property", "a=b"],
        &["--mqtt", "5", "--user-property", "a"],
    ] {
        assert_eq!(explain(&config, "sensors/7", "21.5", wrong).status.code(), Some(64), "{wrong:?}");
    }
}

#[tokio::test]
async fn the_admin_listener_explains_what_devices_publish() {
    let routes = DEVICES.replace(
        "listeners: {",
        "listeners: { http: { address: \"127.0.0.1:0\" }, admin: { address: \"127.0.0.1:0\" },",
    );
    let gateway = Gateway::start(&routes);
    let ask =
        |query: &str| gateway.client.post(format!("{}/explain?channel=sensors/7{query}", gateway.admin)).body("21.5");
    let answer = ask("&mqtt=5&retain=true&client_id=seven&user_property=unit%3DK").send().await.expect("an answer");
    let told: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
    assert_eq!(told["destinations"][0]["topic"], "/mqtt/seven");
    assert_eq!(told["mqtt"]["retained"], "kept");
    let command = ["--json", "--mqtt", "5", "--retain", "--client-id", "seven", "--user-property", "unit=K"];
    let (_folder, config) = configured(DEVICES);
    let mut by_command = json(&explain(&config, "sensors/7", "21.5", &command));
    by_command["event"]["id"] = told["event"]["id"].clone(); // a new one for each
    assert_eq!(told, by_command, "as the command tells it");
    for (query, says) in [
        ("&retain=true", "add `mqtt=5`"),
        ("&mqtt=3", "`3` is no version"),
        ("&mqtt=5&mqtt=5", "more than once"),
        ("&mqtt=5&user_property=x", "NAME=VALUE"),
        ("&mqtt=5&retain=yes", "true or false"),
    ] {
        let refused = problem(ask(query).send().await.expect("an answer")).await;
        assert_eq!(refused["status"], 400);
        assert!(refused["detail"].to_string().contains(says), "{query}: {refused}");
    }
}
