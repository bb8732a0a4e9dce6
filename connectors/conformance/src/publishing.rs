//! What is stored is what was published, and in order.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use meshgate_api::{
    Str,
    connector::{KeptHeaders, Record},
    event::{Event, Value},
    message::Message,
    topic::TopicSet,
};

use crate::{Fixture, event, outbound, read_all, stand_before, store, take};

/// Attributes, extensions, data, channel, transport headers and key.
pub async fn keeps_everything_of_an_event(fixture: &impl Fixture) {
    let (connector, topic) = (fixture.connector(), fixture.fresh_name("whole"));
    fixture.create(&topic, 1).await;
    let event = Event {
        id: "ü-1".into(),
        source: "https://example.com/a?b=%20".into(),
        kind: "com.example.\u{4f60}\u{597d}".into(),
        subject: Some("subject with spaces".into()),
        time: Some("2026-01-31T12:00:00.123456789+02:00".into()),
        datacontenttype: Some("application/json; charset=utf-8".into()),
        dataschema: Some("https://example.com/schema".into()),
        extensions: vec![("one".into(), Value::String("1".into())), ("partitionkey".into(), Value::String("k".into()))],
        data: Some(Bytes::from_static(b"{\"b\": 1,  \"a\": [1.0, 1e3]}")),
    };
    let headers = vec![
        ("traceparent".into(), Bytes::from_static(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
        ("twice".into(), Bytes::from_static(b"first")),
        ("twice".into(), Bytes::from_static(&[0, 255, 1])),
    ];
    let message = Message { channel: Some("a/channel".into()), event: Box::new(event), headers, wrapped: false };
    let mut published = outbound(&topic, Some("the key"), Event::default());
    published.message = Arc::new(message.clone());
    let topics = TopicSet::one(topic.clone());
    let before = stand_before(&*connector, topics.clone()).await;
    store(&*connector, vec![published]).await;
    let mut reader = read_all(&*connector, topics, before).await;
    let record = take(&mut *reader, 1).await.remove(0);
    let mut kept = record.message.headers.clone();
    let expected = match connector.capabilities().headers {
        KeptHeaders::All => message.headers.clone(),
        KeptHeaders::Text => {
            let is_text = |(_, value): &&(Str, Bytes)| std::str::from_utf8(value).is_ok();
            message.headers.iter().filter(is_text).cloned().collect()
        }
        KeptHeaders::Last => {
            kept.sort();
            vec![message.headers[0].clone(), message.headers[2].clone()]
        }
        KeptHeaders::No => vec![],
    };
    assert_eq!(kept, expected);
    let channel = message.channel.filter(|_| connector.capabilities().headers != KeptHeaders::No);
    let expected = Message { channel, headers: expected, ..message };
    assert_eq!(Message { headers: kept, ..record.message.clone() }, expected);
    assert_eq!(record.topic, topic);
    if connector.capabilities().keys {
        assert_eq!(record.key.as_deref(), Some(&b"the key"[..]));
    } else {
        assert_eq!(record.key, None, "what it keeps it declares");
    }
    assert!(record.time.elapsed().is_ok_and(|age| age < Duration::from_secs(3600)), "the time is the gateway's clock");
}

/// A null value is not an empty one.
pub async fn tells_no_data_from_empty_data(fixture: &impl Fixture) {
    let (connector, topic) = (fixture.connector(), fixture.fresh_name("empty"));
    fixture.create(&topic, 1).await;
    let none = Event { data: None, ..event("none", "") };
    let before = stand_before(&*connector, TopicSet::one(topic.clone())).await;
    store(&*connector, vec![outbound(&topic, None, none), outbound(&topic, None, event("empty", ""))]).await;
    let mut reader = read_all(&*connector, TopicSet::one(topic), before).await;
    let data: Vec<_> = take(&mut *reader, 2).await.iter().map(|record| record.message.event.data.clone()).collect();
    assert_eq!(data, [None, fixture.tells_no_data_from_empty().then(Bytes::new)]);
}

/// One outcome an event, each with a place of its own.
pub async fn answers_each_event_of_a_batch(fixture: &impl Fixture) {
    let (connector, topic) = (fixture.connector(), fixture.fresh_name("batch"));
    fixture.create(&topic, 3).await;
    let batch = crate::ids("e", 50).into_iter().map(|id| outbound(&topic, Some(&id), event(id.clone(), "x"))).collect();
    let outcomes = store(&*connector, batch).await;
    let places: std::collections::HashSet<_> = outcomes.iter().map(|outcome| format!("{outcome:?}")).collect();
    assert_eq!(places.len(), 50);
}

/// Per key, whatever else goes on.
pub async fn keeps_the_order_of_a_key(fixture: &impl Fixture) {
    let order = published_and_read(fixture, |number| Some(format!("key-{}", number % 7))).await;
    for (key, numbers) in order {
        assert!(numbers.is_sorted(), "{key:?} came as {numbers:?}");
    }
}

/// Without a key, per channel; here all events are of one.
pub async fn keeps_the_order_of_a_channel(fixture: &impl Fixture) {
    let order = published_and_read(fixture, |_| None).await;
    assert!(order[&None].is_sorted(), "came as {:?}", order[&None]);
}

async fn published_and_read(
    fixture: &impl Fixture,
    key: impl Fn(usize) -> Option<String>,
) -> HashMap<Option<Bytes>, Vec<usize>> {
    const COUNT: usize = 500;
    let (connector, topic) = (fixture.connector(), fixture.fresh_name("order"));
    fixture.create(&topic, 4).await;
    let before = stand_before(&*connector, TopicSet::one(topic.clone())).await;
    let mut acks = Vec::new();
    for number in 0..COUNT {
        let one = outbound(&topic, key(number).as_deref(), event(number.to_string(), "x"));
        acks.push(connector.publish([one].into_iter().collect()).await); // many in flight at once
    }
    for ack in acks {
        assert_eq!(ack.outcomes().await[0].name(), "stored");
    }
    let mut reader = read_all(&*connector, TopicSet::one(topic), before).await;
    let mut order: HashMap<_, Vec<usize>> = HashMap::new();
    for record in take(&mut *reader, COUNT).await {
        order.entry(record.key.clone()).or_default().push(number(&record));
    }
    order
}

fn number(record: &Record) -> usize {
    record.message.event.id.parse().expect("the id is a number")
}

/// Health, and a clean end.
pub async fn is_up_and_shuts_down_with_nothing_left(fixture: &impl Fixture) {
    let (connector, topic) = (fixture.connector(), fixture.fresh_name("end"));
    fixture.create(&topic, 1).await;
    store(&*connector, vec![outbound(&topic, None, event("1", "x"))]).await;
    let health = connector.health();
    assert!(health.up && health.was_up, "{health:?}");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    assert_eq!(connector.shutdown(deadline).await, 0);
}
