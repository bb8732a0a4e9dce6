//! The gateway in front of a real Mosquitto, with plain MQTT programs on the other side.

mod secured;

use std::{env, process::Command, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::harness::{
    eventually,
    gateway::{Gateway, problem},
    kafka::{fresh_name, run},
    sse::Stream,
};

/// Host and port; without them the test fails and says what to run.
fn address() -> (String, String) {
    let address = env::var("MQTT_ADDRESS").unwrap_or_else(|_| {
        panic!("needs Mosquitto: run `scripts/brokers up mosquitto`, then `eval \"$(scripts/brokers env mosquitto)\"`")
    });
    let (host, port) = address.rsplit_once(':').expect("host:port");
    (host.to_owned(), port.to_owned())
}

/// The connectors `plant` (with these settings more) and `memory`, and these routes, one a line.
fn configuration(more: &str, routes: &str) -> String {
    let (host, port) = address();
    let routes: String = routes.trim().lines().map(|route| format!("  - {{ {} }}\n", route.trim())).collect();
    format!(
        "connectors:\n  plant: {{ kind: mqtt, url: \"mqtt://{host}:{port}\"{more} }}\n  memory: {{ kind: memory }}\nroutes:\n{routes}"
    )
}

async fn gateway(configuration: &str) -> Gateway {
    let gateway = Gateway::start(configuration);
    eventually("ready", async || (gateway.ask_admin("/readyz").await.status() == 200).then_some(())).await;
    gateway
}

fn device(arguments: &[&str]) {
    let (host, port) = address();
    run(Command::new("mosquitto_pub").args(["-h", &host, "-p", &port, "-q", "1"]).args(arguments));
}

/// What a program has printed at its end.
async fn ended(child: std::process::Child) -> String {
    let ended = tokio::task::spawn_blocking(|| child.wait_with_output()).await.expect("no panic").expect("it ends");
    String::from_utf8_lossy(&ended.stdout).trim().to_owned()
}

/// A program that waits for one message and prints it; once it listens.
fn listener(arguments: &[&str]) -> std::process::Child {
    let (host, port) = address();
    let mut command = Command::new("mosquitto_sub");
    command.args(["-h", &host, "-p", &port, "-q", "1", "-C", "1", "-W", "20"]).args(arguments);
    command.stdout(std::process::Stdio::piped()).spawn().expect("mosquitto_sub runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_speak_through_the_gateway_as_if_it_were_not_there() {
    let base = fresh_name("plant");
    let routes = format!("name: plant, channel: \"{base}/#\", to: [{{ connector: plant, topic: \"{{channel}}\" }}]");
    let gateway = gateway(&configuration("", &routes)).await;
    let mut stream = Stream::open(&gateway, &format!("{base}/+")).await;
    device(&["-t", &format!("{base}/one"), "-m", "21.5"]);
    let event = stream.events(1).await.remove(0);
    let kind = (&event["type"], &event["source"], &event["data_base64"]);
    assert_eq!(kind, (&json!("io.meshgate.raw"), &json!(format!("/plant/{base}/one")), &json!("MjEuNQ==")));
    assert_eq!(stream.last_id, None, "there is no position to come back to");

    let heard = listener(&["-t", &format!("{base}/out"), "-F", "%p"]);
    tokio::time::sleep(Duration::from_secs(1)).await; // it has no way to say that it listens
    let answer = gateway.client.post(gateway.channel_url(&format!("{base}/out"))).body("plain").send().await;
    assert_eq!(answer.expect("an answer").status(), 202);
    assert_eq!(ended(heard).await, "plain");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_read_again_and_whoever_asks_for_it_is_told() {
    let base = fresh_name("now");
    let routes = format!(
        "name: plant, channel: \"{base}/#\", to: [{{ connector: plant, topic: \"{{channel}}\" }}]
         name: rest, channel: \"other/#\", to: [{{ connector: memory, topic: \"{{channel}}\" }}]"
    );
    let gateway = gateway(&configuration("", &routes)).await;
    gateway.store("other/a", "kept").await;
    for query in ["?from=earliest", "?from=2026-01-01T00:00:00Z"] {
        let answer = gateway.client.get(gateway.channel_url(&format!("{base}/a{query}"))).send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 400, "{query}");
        let detail = problem(answer).await["detail"].to_string();
        assert!(detail.contains("from=latest"), "{detail}");
    }
    // Beside what can be read again it is read from now on.
    let mut mixed = Stream::open(&gateway, "%23?from=earliest").await;
    gateway.store(&format!("{base}/a"), "live").await;
    let mut ids: Vec<_> = mixed.events(2).await.iter().map(|event| event["id"].clone()).collect();
    ids.sort_by_key(ToString::to_string);
    assert_eq!(ids, [json!("kept"), json!("live")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standing_reader_goes_over_to_other_topics() {
    let base = fresh_name("reload");
    let route = |name: &str| {
        format!("name: {name}, channel: \"{base}/{name}\", to: [{{ connector: plant, topic: \"{base}/at/{name}\" }}]\n")
    };
    let gateway = gateway(&configuration("", &route("one"))).await;
    let mut stream = Stream::open(&gateway, &format!("{base}/%23")).await;
    gateway.store(&format!("{base}/one"), "before").await;
    assert_eq!(stream.events(1).await[0]["id"], "before");
    gateway.rewrite(&configuration("", &(route("one") + &route("two"))));
    gateway.signal("HUP");
    let two = format!("{base}/two");
    eventually("the new route takes events", async || {
        let answer = gateway.event(&two, "probe").body("x").send().await.expect("an answer");
        (answer.status() == 202).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await; // a reader goes over by itself
    gateway.store(&format!("{base}/one"), "old").await;
    gateway.store(&two, "new").await;
    let mut seen = Vec::new();
    while !seen.contains(&json!("new")) || !seen.contains(&json!("old")) {
        seen.push(stream.events(1).await[0]["id"].clone());
    }
    assert_eq!(seen.iter().filter(|id| **id == json!("old")).count(), 1, "{seen:?}");
}

/// Devices here, a log there: what arrives while the gateway is down is read when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_from_devices_misses_nothing() {
    // Also the group's name: the sessions that earlier runs have left at the broker have a share in groups of theirs.
    let base = fresh_name("edge");
    let routes = format!(
        "name: edge, channel: \"{base}/#\", to: [{{ connector: plant, topic: \"{{channel}}\" }}]
         name: log, channel: log, to: [{{ connector: memory, topic: log }}]"
    );
    let text = configuration(&format!(", client_id: \"{base}\""), &routes)
        + &format!("subscriptions:\n  - {{ name: {base}, channel: \"{base}/#\", sink: \"channel:log\" }}\n");
    let gateway = gateway(&text).await;
    let topic = format!("{base}/1");
    eventually("the bridge stands", async || {
        device(&["-t", &topic, "-m", "first"]);
        let metrics = gateway.ask_admin("/metrics").await.text().await.expect("a body");
        let figure = format!(r#"meshgate_subscription_events_total{{subscription="{base}",outcome="delivered"}} "#);
        let (_, count) = metrics.split_once(&figure)?;
        (!count.starts_with('0')).then_some(())
    })
    .await;
    let gateway = {
        let mut gateway = gateway;
        gateway.signal("TERM");
        gateway.ended().await;
        for number in 0..20 {
            device(&["-t", &topic, "-m", &format!("away-{number}")]);
        }
        gateway.kill_and_restart()
    };
    let mut log = Stream::open(&gateway, "log?from=earliest").await;
    let wanted: Vec<_> = (0..20).map(|number| json!(STANDARD.encode(format!("away-{number}")))).collect();
    let mut seen = Vec::new();
    while seen.last() != wanted.last() {
        seen.push(log.events(1).await[0]["data_base64"].clone());
    }
    seen.retain(|data| wanted.contains(data));
    assert_eq!(seen, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_keeps_what_is_to_be_retained_and_sends_the_will() {
    let base = fresh_name("kept");
    let routes = format!(
        "name: kept, channel: \"{base}/kept\", to: [{{ connector: plant, topic: \"{{channel}}\", retain: true }}]
         name: passing, channel: \"{base}/passing\", to: [{{ connector: plant, topic: \"{{channel}}\" }}]"
    );
    let will = format!(", will: {{ topic: \"{base}/will\", payload: gone }}");
    let gateway = gateway(&configuration(&will, &routes)).await;
    gateway.store(&format!("{base}/passing"), "1").await;
    gateway.store(&format!("{base}/kept"), "2").await;
    let late = listener(&["-t", &format!("{base}/#"), "-F", "%r %t %p"]);
    assert_eq!(ended(late).await, format!("1 {base}/kept data"), "only what was to be retained");
    let left = listener(&["-t", &format!("{base}/will"), "-F", "%p"]);
    tokio::time::sleep(Duration::from_secs(1)).await; // it has no way to say that it listens
    gateway.signal("KILL");
    assert_eq!(ended(left).await, "gone");
    device(&["-t", &format!("{base}/kept"), "-r", "-n"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_end_sends_no_will() {
    for version in [5, 4] {
        let base = fresh_name("leaving");
        let routes = format!("channel: \"{base}/a\", to: [{{ connector: plant, topic: \"{{channel}}\" }}]");
        let will = format!(", version: {version}, will: {{ topic: \"{base}/will\", payload: gone }}");
        let mut gateway = gateway(&configuration(&will, &routes)).await;
        let heard = listener(&["-t", &format!("{base}/will"), "-F", "%p"]);
        tokio::time::sleep(Duration::from_secs(1)).await; // it has no way to say that it listens
        gateway.signal("TERM");
        assert!(gateway.ended().await.success());
        device(&["-t", &format!("{base}/will"), "-m", "nothing before this"]);
        assert_eq!(ended(heard).await, "nothing before this", "MQTT {version}");
    }
}
