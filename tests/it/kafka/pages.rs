//! Reading Kafka page by page: one cursor over topics and partitions that come and grow.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    create, gateway, gateway_with,
    plain::{bare, write},
    publish,
};
use crate::harness::{
    broker::Broker,
    gateway::{Gateway, problem},
    kafka::{brokers, fresh_name, topic},
    page::{Page, ask},
    sse::Stream,
};

/// Events for one topic, spread over its partitions, with their numbers as `subject` and key.
fn events(name: &str, numbers: std::ops::Range<usize>) -> Vec<Value> {
    let event = |n| json!({ "specversion": "1.0", "id": format!("{name} {n}"), "source": "/s", "type": "t", "subject": format!("{}", n % 7) });
    numbers.map(event).collect()
}

/// What every page holds, by key in its order.
fn by_key(pages: &[Page]) -> BTreeMap<(String, String), Vec<usize>> {
    let mut keys = BTreeMap::<_, Vec<usize>>::new();
    for event in pages.iter().flat_map(|page| &page.events) {
        let (name, number) = event["id"].as_str().and_then(|id| id.split_once(' ')).expect("an id");
        let key = (name.to_owned(), event["subject"].as_str().expect("a key").to_owned());
        keys.entry(key).or_default().push(number.parse().expect("a number"));
    }
    keys
}

/// All events of these topics, so many of each.
fn whole(topics: &[(&str, usize)]) -> BTreeMap<(String, String), Vec<usize>> {
    let mut keys = BTreeMap::<_, Vec<usize>>::new();
    for (name, count) in topics {
        for number in 0..*count {
            keys.entry(((*name).to_owned(), (number % 7).to_string())).or_default().push(number);
        }
    }
    keys
}

#[tokio::test]
async fn one_cursor_covers_all_topics_and_partitions() {
    let prefix = fresh_name("pages");
    for (name, partitions) in [("a", 1), ("b", 4), ("c", 2)] {
        create(&format!("{prefix}.{name}"), partitions, &[]);
    }
    let route = format!(
        r#"channel: "c/{{name}}", to: [{{ connector: kafka, topic: "{prefix}.{{name}}", key: "{{subject}}" }}]"#
    );
    let gateway = gateway(&route).await;
    for name in ["a", "b", "c"] {
        publish(&gateway, &format!("c/{name}"), &events(name, 0..100)).await;
    }
    let pages = Page::read(&gateway, "c/*?limit=37").await.until_the_end(&gateway).await;
    assert!(pages.iter().rev().skip(1).all(|page| page.events.len() == 37), "each but the last is full");
    assert_eq!(by_key(&pages), whole(&[("a", 100), ("b", 100), ("c", 100)]));
    let empty = pages.last().expect("a page").following(&gateway).await;
    assert_eq!((empty.events.len(), empty.is_end), (0, true));
}

#[tokio::test]
async fn the_last_one_is_known_where_a_topic_ends_with_a_transaction() {
    let topic = topic("pages-transactions", 1);
    let gateway = gateway(&format!("channel: in, to: [{{ connector: kafka, topic: {topic} }}]")).await;
    let mut live = Stream::open(&gateway, "in").await; // the pages are read out of the live buffer, too
    write(&topic, &["--transaction", "commit"], &[bare("1"), bare("2")]);
    live.events(2).await;
    let page = Page::read(&gateway, "in?from=earliest").await;
    assert_eq!((page.events.len(), page.is_end), (2, true));
    write(&topic, &["--transaction", "abort"], &[bare("3")]);
    let none = page.following(&gateway).await;
    assert_eq!((none.events.len(), none.is_end), (0, true));
    let again = none.following(&gateway).await;
    assert_eq!((again.events.len(), again.is_end), (0, true));
    write(&topic, &["--transaction", "commit"], &[bare("4")]);
    live.events(1).await;
    let page = again.following(&gateway).await;
    assert_eq!((page.events.len(), page.is_end), (1, true));
}

#[tokio::test]
async fn a_cursor_survives_new_partitions_and_new_topics() {
    let broker = Broker::up().await;
    broker.make_topic("grow.a", 1).await;
    let gateway = Gateway::start(&format!(
        r#"
connectors: {{ kafka: {{ kind: kafka, brokers: ["{}"] }} }}
routes: [{{ name: all, channel: "c/{{name}}", to: [{{ connector: kafka, topic: "grow.{{name}}", key: "{{subject}}" }}] }}]"#,
        broker.address
    ));
    super::ready(&gateway).await;
    publish(&gateway, "c/a", &events("a", 0..50)).await;
    let mut pages = Page::read(&gateway, "c/*?limit=20").await.until_the_end(&gateway).await;
    let early = pages[0].next.clone();
    broker.grow_topic("grow.a", 4).await;
    broker.make_topic("grow.b", 3).await;
    let gateway = gateway.kill_and_restart(); // another replica, which has seen neither the one nor the other
    super::ready(&gateway).await;
    publish(&gateway, "c/b", &events("b", 0..50)).await;
    let more: Vec<_> = events("a", 50..100);
    publish(&gateway, "c/a", &more).await;
    let later = pages.last().expect("a page").following(&gateway).await.until_the_end(&gateway).await;
    pages.extend(later);
    let seen = by_key(&pages);
    let count =
        |name: &str| seen.iter().filter(|((topic, _), _)| topic == name).map(|(_, ids)| ids.len()).sum::<usize>();
    assert_eq!((count("a"), count("b")), (100, 50));
    assert_eq!(seen.get(&("b".into(), "3".into())), whole(&[("b", 50)]).get(&("b".into(), "3".into())));

    let again = ask(&gateway, &format!("{}{}", gateway.url, early.expect("a link"))).await;
    let again = Page::of(again).await.until_the_end(&gateway).await;
    assert_eq!(again.iter().map(|page| page.events.len()).sum::<usize>(), 130, "all but the first 20");
}

#[tokio::test]
async fn what_retention_deleted_is_410() {
    let topic = topic("pages-trimmed", 1);
    let gateway = gateway(&format!("channel: c, to: [{{ connector: kafka, topic: {topic} }}]")).await;
    publish(&gateway, "c", &events("c", 0..10)).await;
    let first = Page::read(&gateway, "c?limit=2").await;
    brokers(&["topic", "trim", &topic, "--before", "6"]);
    let gone = problem(ask(&gateway, &format!("{}{}", gateway.url, first.next.expect("a link"))).await).await;
    assert_eq!(gone["status"], 410, "{gone}");
    assert!(gone["detail"].as_str().is_some_and(|detail| detail.contains(&topic)), "{gone}");
    let cursor = gone["cursor"].as_str().expect("a cursor");
    assert_eq!(Page::read(&gateway, &format!("c?after={cursor}")).await.ids(), ["c 6", "c 7", "c 8", "c 9"]);
}

#[tokio::test]
async fn beyond_the_readers_that_there_may_be_is_429() {
    let topic = topic("pages-busy", 1);
    let route = format!("channel: c, to: [{{ connector: kafka, topic: {topic} }}]");
    let gateway = gateway_with(&route, "limits: { readers: 1, ring: 64KiB, reader_memory: 64KiB }").await;
    for n in 0..200 {
        let answer = gateway.event("c", &n.to_string()).body(vec![b'x'; 100 << 10]).send().await.expect("an answer");
        assert_eq!(answer.status(), 202);
    }
    let page = Page::read(&gateway, "c?limit=1").await;
    let unread = Stream::open(&gateway, "c?from=earliest").await; // holds the only private reader: 20 MB are before it
    let busy = ask(&gateway, &format!("{}{}", gateway.url, page.next.as_deref().expect("a link"))).await;
    let seconds: u64 = busy.headers()["retry-after"].to_str().expect("ASCII").parse().expect("seconds");
    assert!((1..=5).contains(&seconds), "{seconds}");
    assert_eq!(problem(busy).await["status"], 429);
    drop(unread);
    let page = crate::harness::eventually("the reader is given back", async || {
        let answer = ask(&gateway, &format!("{}{}", gateway.url, page.next.as_deref().expect("a link"))).await;
        (answer.status() == 200).then_some(answer)
    });
    assert_eq!(Page::of(page.await).await.ids().first(), Some(&"1"));
}

#[tokio::test]
async fn a_mixed_filter_reads_every_connector() {
    let topic = topic("pages-mixed", 2);
    let gateway = gateway(&format!(
        "channel: c/kafka, to: [{{ connector: kafka, topic: {topic} }}]
         channel: c/memory, to: [{{ connector: memory, topic: m }}]"
    ))
    .await;
    for n in 0..30 {
        gateway.store(if n % 3 == 0 { "c/memory" } else { "c/kafka" }, &n.to_string()).await;
    }
    let pages = Page::read(&gateway, "c/*?limit=7").await.until_the_end(&gateway).await;
    let mut numbers: Vec<usize> = pages.iter().flat_map(Page::ids).map(|id| id.parse().expect("a number")).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..30).collect::<Vec<_>>());
}
