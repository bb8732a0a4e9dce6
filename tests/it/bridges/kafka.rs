//! From Kafka on, to Kafka and to memory.

use std::{cell::Cell, collections::HashSet, time::Duration};

use serde_json::{Value, json};
use tokio::{task::spawn_blocking, time::sleep};

use super::{counted, in_order, publish, reading, status, stored};
use crate::{
    harness::{
        eventually,
        gateway::Gateway,
        kafka::{bootstrap, brokers, committed, fresh_name, python, topic},
        tell,
    },
    kafka::{self, Stored},
};

/// The channels `from` and `to` on these topics, `here/#` in memory, and a subscription of this name.
fn configuration(from: &str, to: &str, name: &str, rest: &str) -> String {
    let servers = bootstrap();
    format!(
        r##"
connectors:
  kafka: {{ kind: kafka, brokers: ["{servers}"] }}
  memory: {{ kind: memory }}
routes:
  - {{ name: from, channel: from, to: [{{ connector: kafka, topic: {from} }}] }}
  - {{ name: to, channel: to, to: [{{ connector: kafka, topic: {to} }}] }}
  - {{ name: memory, channel: "here/#", to: [{{ connector: memory, topic: "{{channel}}" }}] }}
subscriptions:
  - {{ name: {name}, channel: from, {rest} }}
"##
    )
}

/// A gateway whose Kafka is connected.
async fn start(configuration: &str) -> Gateway {
    let gateway = Gateway::start(configuration);
    ready(&gateway).await;
    gateway
}

async fn ready(gateway: &Gateway) {
    eventually("ready", async || (gateway.ask_admin("/readyz").await.status() == 200).then_some(())).await;
}

/// The numbers that records have as ids, partition by partition.
fn numbers(records: &[Stored], keys: usize) -> Vec<usize> {
    let events: Vec<_> = records.iter().map(|record| json!({ "id": record.header("ce_id") })).collect();
    in_order(&events, keys)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_goes_on_and_each_key_keeps_its_order() {
    const EVENTS: usize = 3000;
    let (from, to, name) = (topic("bridge-from", 4), topic("bridge-to", 3), fresh_name("bridge"));
    let gateway = start(&configuration(&from, &to, &name, "sink: \"channel:to\"")).await;
    reading(&gateway, &name).await;
    publish(&gateway, "from", 0..EVENTS, 40).await;
    let status = counted(&gateway, &name, "delivered", EVENTS as u64).await;
    assert_eq!(status["events"]["retried"], 0, "{status}");
    let records = spawn_blocking(move || kafka::read(&to, EVENTS)).await.expect("records");
    let mut numbers = numbers(&records, 40);
    numbers.sort_unstable();
    assert_eq!(numbers, (0..EVENTS).collect::<Vec<_>>(), "each once");
    let header = |name: &str| records[0].header(name).map(str::to_owned);
    assert_eq!((header("meshgate-channel"), header("meshgate-hops")), (Some("to".into()), Some("1".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn to_memory_and_from_the_position_that_was_committed() {
    let (from, to, name) = (topic("bridge-from", 2), topic("bridge-to", 1), fresh_name("bridge"));
    let configuration = configuration(&from, &to, &name, "sink: \"channel:here/b\"");
    let gateway = start(&configuration).await;
    publish(&gateway, "from", 0..500, 5).await;
    let now = counted(&gateway, &name, "delivered", 500).await;
    assert_eq!(now["lag"], 0, "{now}");
    assert_eq!(in_order(&stored(&gateway, "here/b").await, 5).len(), 500);
    end(gateway).await;
    assert_eq!(all_settled(&name).await, 500, "under the subscription's own name");
    let gateway = start(&configuration).await;
    publish(&gateway, "from", 500..600, 5).await;
    counted(&gateway, &name, "delivered", 100).await;
    let events = stored(&gateway, "here/b").await;
    let first: HashSet<_> = in_order(&events, 5).into_iter().collect();
    assert_eq!(first, (500..600).collect(), "what was settled does not come again");
}

/// Ends it in order.
async fn end(mut gateway: Gateway) {
    gateway.signal("TERM");
    assert!(gateway.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_and_bytes_stay_as_they_were() {
    let (from, to, name) = (topic("bridge-from", 1), topic("bridge-to", 1), fresh_name("bridge"));
    let gateway = start(&configuration(&from, &to, &name, "sink: \"channel:to\"")).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let event =
        gateway.event("from", "1").header("traceparent", trace).header("ce-subject", "%C3%A4").header("ce-n", "5");
    let sent = event.header("content-type", "application/json").body("{\"a\" :1.0}").send().await;
    assert_eq!(sent.expect("an answer").status(), 202);
    let sent = gateway.event("from", "2").send().await;
    assert_eq!(sent.expect("an answer").status(), 202);
    let foreign = [
        kafka::record(Some(b"k"), Some(b"\x00\xffplain"), &[(b"trace-id", b"7"), (b"trace-id", b"\x008")]),
        kafka::record(Some(b"k"), None, &[]),
    ];
    spawn_blocking({
        let from = from.clone();
        move || kafka::write(&from, &[], &foreign)
    })
    .await
    .expect("written");
    counted(&gateway, &name, "delivered", 4).await;
    let (before, after) = spawn_blocking(move || (kafka::read(&from, 4), kafka::read(&to, 4))).await.expect("records");
    let own = |record: &Stored| {
        let lines = record.header_lines().into_iter();
        lines
            .filter(|line| !line.starts_with("meshgate-channel=") && !line.starts_with("meshgate-hops="))
            .collect::<Vec<_>>()
    };
    for at in 0..2 {
        assert_eq!(own(&before[at]), own(&after[at]));
    }
    assert!(own(&after[0]).contains(&format!("traceparent={trace}")), "{:?}", after[0]);
    for at in 0..4 {
        assert_eq!(before[at].value, after[at].value, "{at}");
        assert_eq!((after[at].header("meshgate-hops"), after[at].header("meshgate-channel")), (Some("1"), Some("to")));
    }
    let lines = own(&after[2]);
    for line in ["meshgate-wrapped=true", "ce_id=0:2", "trace-id=7", "trace-id=\\x008", "ce_type=io.meshgate.raw"] {
        assert!(lines.iter().any(|own| own == line), "{line} in {lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_for_the_sink_is_a_dead_letter() {
    let (from, name) = (topic("bridge-from", 1), fresh_name("bridge"));
    let to = fresh_name("bridge-to");
    brokers(&["topic", "create", &to, "--partitions", "1", "--config", "max.message.bytes=2000"]);
    let rest = "sink: \"channel:to\", dead_letter: here/dead";
    let gateway = start(&configuration(&from, &to, &name, rest)).await;
    for (id, size) in [("1", 10), ("2", 5000), ("3", 10)] {
        let sent = gateway.event("from", id).body("x".repeat(size)).send().await;
        assert_eq!(sent.expect("an answer").status(), 202);
    }
    counted(&gateway, &name, "delivered", 2).await;
    let now = counted(&gateway, &name, "dead_lettered", 1).await;
    assert_eq!((&now["lag"], &now["events"]["retried"]), (&json!(0), &json!(0)), "{now}");
    let letters = stored(&gateway, "here/dead").await;
    assert_eq!((&letters[0]["id"], &letters[0]["deadletterfrom"]), (&json!("2"), &json!("from")));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_settled_while_the_sink_is_away() {
    let (from, to, name) = (topic("bridge-from", 2), topic("bridge-to", 1), fresh_name("bridge"));
    let rest = "sink: \"channel:away\", retry: { initial: 10ms, max: 100ms }";
    let away = configuration(&from, &to, &name, rest)
        .replace("connectors:", "connectors:\n  away: { kind: kafka, brokers: [\"127.0.0.1:1\"] }")
        .replace("routes:", "routes:\n  - { name: away, channel: away, to: [{ connector: away, topic: away }] }");
    let gateway = Gateway::start(&away);
    reading(&gateway, &name).await;
    publish(&gateway, "from", 0..500, 50).await;
    eventually("they are tried again", async || {
        (status(&gateway, &name).await["events"]["retried"].as_u64() > Some(500)).then_some(())
    })
    .await;
    sleep(Duration::from_millis(2500)).await; // longer than it takes to commit
    assert_eq!(all_settled(&name).await, 0);
    gateway.signal("KILL");
    gateway.rewrite(&configuration(&from, &to, &name, "sink: \"channel:to\""));
    let gateway = gateway.kill_and_restart();
    counted(&gateway, &name, "delivered", 500).await;
    let mut numbers = in_order(&all_committed(&to, &name, 500).await, 50);
    numbers.sort_unstable();
    assert_eq!(numbers, (0..500).collect::<Vec<_>>(), "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_is_gone_is_counted_and_it_goes_on() {
    let (from, to, name) = (topic("bridge-from", 1), topic("bridge-to", 1), fresh_name("bridge"));
    let configuration = configuration(&from, &to, &name, "sink: \"channel:here/b\"");
    let gateway = start(&configuration).await;
    publish(&gateway, "from", 0..10, 3).await;
    counted(&gateway, &name, "delivered", 10).await;
    end(gateway).await;
    let gateway = start(configuration.split_once("subscriptions:").expect("the last part").0).await;
    publish(&gateway, "from", 10..30, 3).await;
    let trim = move || python(&["tests/it/harness/kafka_client.py", &bootstrap(), "trim", &from, "20"]);
    spawn_blocking(trim).await.expect("deleted");
    end(gateway).await;
    let gateway = start(&configuration).await;
    counted(&gateway, &name, "delivered", 10).await;
    assert_eq!(in_order(&stored(&gateway, "here/b").await, 3), (20..30).collect::<Vec<_>>());
    let metrics = gateway.ask_admin("/metrics").await.text().await.expect("a body");
    assert!(metrics.contains("meshgate_skipped_total 10"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_the_work() {
    let (from, to, name) = (topic("bridge-from", 4), topic("bridge-to", 2), fresh_name("bridge"));
    let configuration = configuration(&from, &to, &name, "sink: \"channel:to\"");
    let replicas = [start(&configuration).await, start(&configuration).await];
    let sent = Cell::new(0);
    eventually("both have delivered", async || {
        publish(&replicas[0], "from", sent.get()..sent.get() + 100, 50).await;
        sent.set(sent.get() + 100);
        for replica in &replicas {
            status(replica, &name).await["events"]["delivered"].as_u64().filter(|count| *count > 0)?;
        }
        Some(())
    })
    .await;
    let mut numbers = in_order(&all_committed(&to, &name, sent.get() as u64).await, 50);
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (0..sent.get()).collect::<Vec<_>>());
}

/// All that is committed is at the far side, whenever one looks; and at the end everything is.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_loses_nothing() {
    const EVENTS: usize = 10_000;
    const KEYS: usize = 64;
    let (from, to, name) = (topic("bridge-from", 4), topic("bridge-to", 4), fresh_name("bridge"));
    let configuration = configuration(&from, &to, &name, "sink: \"channel:to\", concurrency: 16");
    let publisher = start(configuration.split_once("subscriptions:").expect("the last part").0).await;
    let mut gateway = start(&configuration).await;
    reading(&gateway, &name).await;
    let publishing = tokio::spawn(async move {
        for part in 0..40 {
            publish(&publisher, "from", part * EVENTS / 40..(part + 1) * EVENTS / 40, KEYS).await;
            sleep(Duration::from_millis(100)).await;
        }
    });
    let (mut kills, mut before) = (0, 0);
    while kills < 2 {
        let more = async || Some(all_settled(&name).await).filter(|settled| *settled > before);
        before = eventually("more is settled", more).await;
        gateway.signal("KILL");
        kills += 1;
        let settled = settled_is_stored(&from, &to, &name).await;
        assert!((1..EVENTS).contains(&settled), "it is killed in the middle: {settled} are settled");
        gateway = gateway.kill_and_restart();
    }
    publishing.await.expect("all are published");
    let copies = all_committed(&to, &name, EVENTS as u64).await;
    let numbers = in_order(&copies, KEYS);
    let there: HashSet<_> = numbers.iter().copied().collect();
    let missing: Vec<_> = (0..EVENTS).filter(|number| !there.contains(number)).take(10).collect();
    tell(format!("{EVENTS} events, {kills} kills, {} copies at the far side", numbers.len()));
    assert!(missing.is_empty(), "{missing:?} and perhaps others");
    settled_is_stored(&from, &to, &name).await;
}

/// Every event before a committed position is at the far side.
async fn settled_is_stored(from: &str, to: &str, group: &str) -> usize {
    let [from, to, group] = [from, to, group].map(str::to_owned);
    let check = move || {
        let servers = bootstrap();
        let positions = committed(&servers, &group); // first: what is stored after that does not matter
        let client = "tests/it/harness/kafka_client.py";
        let all = |topic: &str| python(&[client, &servers, "read", topic]);
        let (before, after) = (all(&from), all(&to));
        let field = |line: &str, at: usize| line.split(' ').nth(at).expect("a field").to_owned();
        let far: HashSet<_> = after.lines().map(|line| field(line, 2)).collect();
        let mut settled = 0;
        for line in before.lines() {
            let (partition, offset) = (field(line, 0), field(line, 1).parse::<u64>().expect("an offset"));
            let committed = positions.iter().find(|(_, number, _)| number.to_string() == partition);
            if committed.is_some_and(|(_, _, position)| offset < *position) {
                settled += 1;
                assert!(far.contains(&field(line, 2)), "settled and not at the far side: {line}");
            }
        }
        tell(format!("{settled} are settled, {} at the far side", far.len()));
        settled
    };
    spawn_blocking(check).await.expect("it is so")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_ends_in_order_settles_what_it_had_on_its_way() {
    const EVENTS: usize = 3000;
    let (from, to, name) = (topic("bridge-from", 2), topic("bridge-to", 2), fresh_name("bridge"));
    let configuration = configuration(&from, &to, &name, "sink: \"channel:to\", concurrency: 8");
    let idle = configuration.split_once("subscriptions:").expect("the last part").0.to_owned();
    let gateway = start(&idle).await;
    publish(&gateway, "from", 0..EVENTS, 16).await;
    gateway.rewrite(&configuration);
    eventually("some are delivered", async || {
        (status(&gateway, &name).await["events"]["delivered"].as_u64() > Some(100)).then_some(())
    })
    .await;
    end(gateway).await;
    let gateway = start(&configuration).await;
    let copies = all_committed(&to, &name, EVENTS as u64).await;
    let again = status(&gateway, &name).await["events"]["delivered"].as_u64().unwrap_or_default();
    assert!((1..EVENTS as u64 - 100).contains(&again), "it ended in the middle: {again} were left");
    assert_eq!(copies.len(), EVENTS, "each once");
}

/// How many events a group has settled, of topics whose first offset is 0.
async fn all_settled(group: &str) -> u64 {
    let group = group.to_owned();
    let positions = spawn_blocking(move || committed(&bootstrap(), &group)).await.expect("positions");
    positions.iter().map(|(_, _, offset)| offset).sum()
}

/// Waits until the group has committed so many events; then all that is at the far side.
async fn all_committed(to: &str, group: &str, count: u64) -> Vec<Value> {
    eventually("all are committed", async || (all_settled(group).await == count).then_some(())).await;
    let to = to.to_owned();
    let read = move || python(&["tests/it/harness/kafka_client.py", &bootstrap(), "read", &to]);
    let lines = spawn_blocking(read).await.expect("records");
    lines.lines().map(|line| json!({ "id": line.split(' ').nth(2) })).collect()
}
