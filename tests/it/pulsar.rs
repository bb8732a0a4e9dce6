//! Plain Pulsar programs on the other side, which know nothing of the gateway.

use std::{env, fs, io::BufRead, process::Command, time::Duration};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::{
    eventually,
    gateway::Gateway,
    kafka::{fresh_name, python},
    sse::Stream,
    terminal::{Terminal, commands},
};

const FOLDER: &str = "examples/pulsar";

/// Its address; without one the test fails and says what to run.
fn address() -> String {
    env::var("PULSAR_URL").unwrap_or_else(|_| {
        panic!("needs Pulsar: run `scripts/brokers up pulsar`, then `eval \"$(scripts/brokers env)\"`")
    })
}

/// The example's configuration, on free ports, with another topic.
async fn gateway(topic: &str) -> Gateway {
    let text = fs::read_to_string(format!("{FOLDER}/meshgate.yaml")).expect("the example's configuration");
    let changes = [
        ("127.0.0.1:8080", "127.0.0.1:0".to_owned()),
        ("127.0.0.1:9090", "127.0.0.1:0".to_owned()),
        ("${PULSAR_URL:-pulsar://localhost:6650}", address()),
        ("persistent://public/default/orders", topic.to_owned()),
    ];
    let text = changes.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{FOLDER}/meshgate.yaml has {from}");
        text.replace(from, to)
    });
    let gateway = Gateway::start(&text);
    eventually("ready", async || (gateway.ask_admin("/readyz").await.status() == 200).then_some(())).await;
    gateway
}

fn topic() -> String {
    format!("persistent://public/default/{}", fresh_name("orders"))
}

#[tokio::test]
async fn records_of_a_plain_producer_are_events_in_full_and_in_order() {
    let topic = topic();
    let gateway = gateway(&topic).await;
    let mut live = Stream::open(&gateway, "orders").await;
    let said = python(&[&format!("{FOLDER}/produce_orders.py"), "--count", "100", "--topic", &topic]);
    assert_eq!(said.trim(), format!("sent 100 orders to {topic}"));
    let mut earliest = Stream::open(&gateway, "orders?from=earliest").await;
    for (way, stream) in [("live", &mut live), ("from=earliest", &mut earliest)] {
        for (order_id, event) in stream.events(100).await.iter().enumerate() {
            assert_eq!(event["data"], json!({ "order_id": order_id.to_string(), "status": "CREATED" }), "{way}");
            assert_eq!(event["source"], json!(format!("/orders-pulsar/{topic}")));
            let kind = (&event["specversion"], &event["type"], &event["datacontenttype"]);
            assert_eq!(kind, (&json!("1.0"), &json!("com.example.order"), &json!("application/json")));
        }
    }
}

/// A topic that holds events and has no schema gets none any more: so the consumer gives it one before the first event comes.
#[tokio::test]
async fn events_over_http_are_records_for_a_plain_consumer() {
    let topic = topic();
    let gateway = gateway(&topic).await;
    let program = format!("{FOLDER}/consume_orders.py");
    python(&[&program, "--topic", &topic, "--count", "0"]);
    for order_id in 0..30 {
        let order = json!({ "order_id": order_id.to_string(), "status": "CREATED" }).to_string();
        let request = gateway.client.post(gateway.channel_url("orders"));
        let request = match order_id % 2 {
            0 => request.header("content-type", "application/json").body(order),
            _ => gateway.event("orders", "1").header("content-type", "application/json").body(order),
        };
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap_or_default());
    }
    let said = python(&[&program, "--topic", &topic, "--count", "30"]);
    let expected: Vec<_> = (0..30).map(|order_id| format!("{order_id} CREATED")).collect();
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_receipt_names_the_place() {
    let topic = topic();
    let gateway = gateway(&topic).await;
    let request = gateway.event("orders", "1").header("prefer", "return=representation").body("x");
    let answer = request.send().await.expect("an answer").text().await.expect("a body");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    let stored = &answer["events"][0]["stored"][0];
    assert_eq!((&stored["connector"], &stored["topic"]), (&json!("orders-pulsar"), &json!(topic)), "{answer}");
    let place = stored["position"].as_str().expect("a place");
    assert_eq!(place.split(':').count(), 4, "partition, ledger, entry and index: {place}");
}

/// A topic that keeps nothing takes copies: who listens has them. Nothing that must be stored may go there.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_persistent_takes_copies_and_nothing_required() {
    let topic = format!("non-persistent://public/default/{}", fresh_name("copies"));
    let configuration = |required: bool| {
        let admin = "listeners: { http: { address: \"127.0.0.1:0\" }, admin: { address: \"127.0.0.1:0\" } }";
        let pulsar = format!("pulsar: {{ kind: pulsar, url: \"{}\" }}", address());
        let to = format!(
            "{{ connector: memory, topic: orders }}, {{ connector: pulsar, topic: \"{topic}\", required: {required} }}"
        );
        format!(
            "{admin}\nconnectors: {{ memory: {{ kind: memory, capacity: 4MiB }}, {pulsar} }}\nroutes: [{{ name: orders, channel: orders, to: [{to}] }}]\n"
        )
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("meshgate.yaml");
    for (required, code) in [(true, 78), (false, 0)] {
        fs::write(&file, configuration(required)).expect("a file");
        let checked = Command::new(env!("CARGO_BIN_EXE_meshgate")).arg("check").arg(&file).output().expect("it runs");
        let out = String::from_utf8_lossy(&checked.stdout);
        assert_eq!(checked.status.code(), Some(code), "{out}");
        assert_eq!(out.contains("must say `required: false`"), required, "{out}");
    }

    let gateway = Gateway::start(&configuration(false));
    let listener = {
        let topic = topic.clone();
        tokio::task::spawn_blocking(move || {
            let script = "
import pulsar, sys
client = pulsar.Client(sys.argv[1], logger=pulsar.FileLogger(pulsar.LoggerLevel.Warn, '/dev/stderr'))
message = client.subscribe(sys.argv[2], 'plain').receive(20000)
print(message.properties()['ce_id'], message.data().decode())
";
            python(&["-c", script, &address(), &topic])
        })
    };
    let outcome = eventually("a listener has it", async || {
        let answer = gateway.event("orders", "1").body("x").send().await.expect("an answer");
        assert_eq!(answer.status(), 202);
        sleep(Duration::from_millis(100)).await;
        listener.is_finished().then_some(())
    });
    outcome.await;
    assert_eq!(listener.await.expect("no panic").trim(), "1 x");
    let metrics = gateway.ask_admin("/metrics").await.text().await.expect("a text");
    let copies = |outcome: &str| {
        metrics.contains(&format!("optional_publish_total{{route=\"orders\",outcome=\"{outcome}\"}} 0"))
    };
    assert!(copies("stored") && !copies("unknown"), "nobody knows who has them: {metrics}");
}

/// Whoever checks a file needs neither the broker nor the right token.
#[test]
fn check_asks_no_broker() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("meshgate.yaml");
    let pulsar = "{ kind: pulsar, url: \"pulsar+ssl://127.0.0.1:1\", token: wrong }";
    let route = "{ name: r, channel: r, to: [{ connector: pulsar, topic: r }] }";
    fs::write(&file, format!("connectors: {{ pulsar: {pulsar} }}\nroutes: [{route}]\n")).expect("a file");
    let checked = Command::new(env!("CARGO_BIN_EXE_meshgate")).arg("check").arg(&file).output().expect("it runs");
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[tokio::test]
async fn the_readme_can_be_followed() {
    let (mut terminal, mut printed) = (Terminal::new(FOLDER), Vec::new());
    for command in commands(FOLDER) {
        if command.starts_with("eval ") {
            terminal.evaluate(&command);
        } else if command.starts_with("scripts/run serve") {
            terminal.serve(&command).await;
        } else if command.starts_with("curl -N") {
            let (mut curl, out) = terminal.start(&command);
            let events = out.lines().map_while(Result::ok).filter(|line| line.starts_with("data: ")).take(3);
            let events: Vec<Value> = events.map(|line| serde_json::from_str(&line[6..]).expect("JSON")).collect();
            curl.kill().expect("it can be killed");
            curl.wait().expect("it ends");
            let orders: Vec<_> = events.iter().map(|event| event["data"]["order_id"].clone()).collect();
            assert_eq!(orders, [json!("0"), json!("1"), json!("2")]);
        } else {
            printed.push(terminal.run(&command));
        }
    }
    let [_, sent, published, consumed] = &printed[..] else { panic!("{printed:?}") };
    assert_eq!(sent, "sent 3 orders to persistent://public/default/orders\n");
    assert!(published.starts_with("HTTP/1.1 202"), "{published}");
    assert_eq!(consumed, "0 CREATED\n1 CREATED\n2 CREATED\n1000 CREATED\n");
}
