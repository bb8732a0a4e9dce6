//! Every record after the start, once, without a gap.

use std::{num::NonZeroUsize, time::SystemTime};

use futures::FutureExt;
use meshgate_api::{
    Str,
    connector::{ReadError, Start},
    topic::{TopicPattern, TopicSet},
};

use crate::{
    Fixture, PATIENCE, event, ids, nothing_more, outbound, read_all, refuses, stand_before, store, store_ids,
    subscribe, take, take_ids, try_subscribe,
};

async fn topic(fixture: &impl Fixture, prefix: &str) -> Str {
    let topic = fixture.fresh_name(prefix);
    fixture.create(&topic, 1).await;
    topic
}

/// Nothing from before, everything from after.
pub async fn latest_is_what_comes_after(fixture: &impl Fixture) {
    let (connector, topic) = (fixture.connector(), topic(fixture, "latest").await);
    for round in 0..5 {
        store_ids(&*connector, &topic, ids("before", 3)).await;
        let mut reader = subscribe(&*connector, TopicSet::one(topic.clone()), Start::Latest).await;
        store_ids(&*connector, &topic, ids("after", 3)).await;
        assert_eq!(take_ids(&mut *reader, 3).await, ids("after", 3), "in round {round}");
    }
}

/// From the very first.
pub async fn earliest_is_all(fixture: &impl Fixture) {
    let (connector, topic) = (fixture.connector(), topic(fixture, "earliest").await);
    if refuses(&*connector, &topic, Start::Earliest).await {
        return;
    }
    store_ids(&*connector, &topic, ids("e", 20)).await;
    let mut reader = subscribe(&*connector, TopicSet::one(topic.clone()), Start::Earliest).await;
    assert_eq!(take_ids(&mut *reader, 20).await, ids("e", 20));
    nothing_more(&*connector, &mut *reader, &topic).await;
}

/// From the broker's time on.
pub async fn reads_from_a_time(fixture: &impl Fixture) {
    let (connector, topic) = (fixture.connector(), topic(fixture, "time").await);
    store_ids(&*connector, &topic, ids("old", 3)).await;
    tokio::time::sleep(std::time::Duration::from_millis(20)).await; // brokers count in milliseconds
    let between = SystemTime::now();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    store_ids(&*connector, &topic, ids("new", 3)).await;
    let from_then = try_subscribe(&*connector, TopicSet::one(topic.clone()), Start::At(between)).await;
    if !connector.capabilities().replay_by_time {
        assert!(matches!(from_then, Err(ReadError::Unsupported { .. })));
        return;
    }
    let mut reader = from_then.expect("the subscription stands");
    assert_eq!(take_ids(&mut *reader, 3).await, ids("new", 3));
    let mut reader = subscribe(&*connector, TopicSet::one(topic.clone()), Start::At(SystemTime::UNIX_EPOCH)).await;
    assert_eq!(take_ids(&mut *reader, 6).await, [ids("old", 3), ids("new", 3)].concat());
    let mut reader =
        subscribe(&*connector, TopicSet::one(topic.clone()), Start::At(SystemTime::now() + PATIENCE)).await;
    nothing_more(&*connector, &mut *reader, &topic).await;
}

/// Each of them, each event once.
pub async fn many_readers_get_all(fixture: &impl Fixture) {
    let (connector, topic) = (fixture.connector(), topic(fixture, "many").await);
    let mut readers = Vec::new();
    for _ in 0..20 {
        readers.push(subscribe(&*connector, TopicSet::one(topic.clone()), Start::Latest).await);
    }
    store_ids(&*connector, &topic, ids("e", 50)).await;
    readers.truncate(10); // some leave in between
    for reader in &mut readers {
        assert_eq!(take_ids(&mut **reader, 50).await, ids("e", 50));
    }
}

/// Two topics in one flow.
pub async fn merges_topics(fixture: &impl Fixture) {
    let connector = fixture.connector();
    let (a, b) = (topic(fixture, "merge-a").await, topic(fixture, "merge-b").await);
    let topics = TopicSet { names: vec![a.clone(), b.clone()], patterns: Vec::new() };
    let before = stand_before(&*connector, topics.clone()).await;
    store_ids(&*connector, &a, ids("a", 10)).await;
    let mut reader = read_all(&*connector, topics, before).await;
    store_ids(&*connector, &b, ids("b", 10)).await;
    store_ids(&*connector, &a, ids("c", 10)).await;
    let mut read = take_ids(&mut *reader, 30).await;
    let of = |prefix: &str| read.iter().filter(|id| id.starts_with(prefix)).cloned().collect::<Vec<_>>();
    assert_eq!([of("a-"), of("c-")].concat(), [ids("a", 10), ids("c", 10)].concat());
    read.retain(|id| id.starts_with("b-"));
    assert_eq!(read, ids("b", 10));
}

/// A topic that fits a pattern is read from its start, however late it comes.
pub async fn joins_a_topic_that_appears_later(fixture: &impl Fixture) {
    let (connector, topic) = (fixture.connector(), fixture.fresh_name("late"));
    let pattern = TopicPattern::new(vec![topic.clone(), Str::new()]).expect("there is a hole");
    let topics = TopicSet { names: Vec::new(), patterns: vec![pattern] };
    let mut reader = subscribe(&*connector, topics, Start::Latest).await;
    for late in [topic.clone(), format!("{topic}-2").into()] {
        fixture.create(&late, 2).await;
        store_ids(&*connector, &late, ids("e", 5)).await;
        assert_eq!(take_ids(&mut *reader, 5).await, ids("e", 5));
    }
}

/// The same for a topic that is asked for by its name.
pub async fn joins_a_named_topic_that_appears_later(fixture: &impl Fixture) {
    let (connector, late) = (fixture.connector(), fixture.fresh_name("named"));
    let mut reader = subscribe(&*connector, TopicSet::one(late.clone()), Start::Latest).await;
    fixture.create(&late, 1).await;
    store_ids(&*connector, &late, ids("e", 5)).await;
    assert_eq!(take_ids(&mut *reader, 5).await, ids("e", 5));
}

/// A future that is dropped half-way has taken nothing.
pub async fn a_cancelled_wait_loses_nothing(fixture: &impl Fixture) {
    let (connector, topic) = (fixture.connector(), topic(fixture, "cancel").await);
    let mut reader = subscribe(&*connector, TopicSet::one(topic.clone()), Start::Latest).await;
    let max = NonZeroUsize::new(7).expect("not zero");
    let mut read = Vec::new();
    for round in 0..50 {
        assert!(reader.next(max).now_or_never().is_none_or(|next| {
            read.extend(next.expect("reading goes on").deliveries);
            true
        }));
        store(&*connector, vec![outbound(&topic, None, event(format!("e-{round}"), "x"))]).await;
        let briefly = std::time::Duration::from_micros(50 * round);
        if let Ok(next) = tokio::time::timeout(briefly, reader.next(max)).await {
            read.extend(next.expect("reading goes on").deliveries);
        }
    }
    let mut found: Vec<_> = read.iter().map(|delivery| delivery.record.message.event.id.to_string()).collect();
    let missing = 50 - found.len();
    found.extend(take_ids(&mut *reader, missing).await);
    assert_eq!(found, ids("e", 50));
}

/// It gets everything, or is told that its position is gone: nothing in between.
pub async fn a_reader_that_pauses_sees_no_gap(fixture: &impl Fixture) {
    const DATA: usize = 64 * 1024;
    let (connector, topic) = (fixture.connector(), topic(fixture, "pause").await);
    let mut reader = subscribe(&*connector, TopicSet::one(topic.clone()), Start::Latest).await;
    let count = fixture.live_buffer() / DATA + 20;
    for id in ids("e", count) {
        store(&*connector, vec![outbound(&topic, None, event(id, vec![b'x'; DATA]))]).await;
    }
    if connector.capabilities().durable {
        assert_eq!(take_ids(&mut *reader, count).await, ids("e", count));
        nothing_more(&*connector, &mut *reader, &topic).await;
        return;
    }
    let max = NonZeroUsize::new(count).expect("not zero");
    let next = reader.next(max).await;
    let Err(ReadError::Gone { resume, .. }) = next else { panic!("not told that it is behind: {next:?}") };
    if !connector.capabilities().replay {
        let mut reader = subscribe(&*connector, TopicSet::one(topic.clone()), Start::Latest).await;
        nothing_more(&*connector, &mut *reader, &topic).await;
        return;
    }
    let mut reader = subscribe(&*connector, TopicSet::one(topic), Start::After(resume)).await;
    let first = take(&mut *reader, 1).await.remove(0).message.event.id.to_string();
    let at = ids("e", count).iter().position(|id| *id == first).expect("one of them");
    assert_eq!(take_ids(&mut *reader, count - at - 1).await, ids("e", count)[at + 1..]);
}
