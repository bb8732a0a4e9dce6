//! Positions: where a reader stopped is where another goes on.

use meshgate_api::{
    Str,
    connector::{ReadError, Start},
    position::{Place, Position, Positions},
    topic::TopicSet,
};

use crate::{Fixture, ids, refuses, store_ids, subscribe, take, take_ids, try_subscribe};

/// After every single record of a reader.
pub async fn goes_on_after_each_position(fixture: &impl Fixture) {
    const COUNT: usize = 6;
    let (connector, topic) = (fixture.connector(), fixture.fresh_name("resume"));
    if refuses(&*connector, &topic, Start::After(Positions::default())).await {
        return;
    }
    fixture.create(&topic, 1).await;
    store_ids(&*connector, &topic, ids("e", COUNT)).await;
    let topics = TopicSet::one(topic.clone());
    let mut reader = subscribe(&*connector, topics.clone(), Start::Earliest).await;
    let mut positions = reader.positions().clone();
    for read in 1..=COUNT {
        let record = take(&mut *reader, 1).await.remove(0);
        positions.advance(&record.position, record.next);
        assert_eq!(positions.get(&record.position.topic, record.position.partition), Some(record.next));
        let mut other = subscribe(&*connector, topics.clone(), Start::After(positions.clone())).await;
        assert_eq!(take_ids(&mut *other, COUNT - read).await, ids("e", COUNT)[read..]);
        store_ids(&*connector, &topic, ["later".into()]).await;
        let rest = take_ids(&mut *other, read).await; // one for each round so far
        assert_eq!(rest, vec!["later"; read]);
    }
}

/// What is stored, and where a reader stood, means the same to every process.
pub async fn goes_on_at_another_replica(fixture: &impl Fixture) {
    let (connector, topic) = (fixture.connector(), fixture.fresh_name("elsewhere"));
    if refuses(&*connector, &topic, Start::After(Positions::default())).await {
        return;
    }
    let Some(other) = fixture.replica().await else { return };
    fixture.create(&topic, 1).await;
    store_ids(&*connector, &topic, ids("e", 5)).await;
    let topics = TopicSet::one(topic);
    let mut reader = subscribe(&*connector, topics.clone(), Start::Earliest).await;
    assert_eq!(take_ids(&mut *reader, 2).await, ids("e", 5)[..2]);
    let mut reader = subscribe(&*other, topics, Start::After(reader.positions().clone())).await;
    assert_eq!(take_ids(&mut *reader, 3).await, ids("e", 5)[2..]);
}

/// Also when other topics are named.
pub async fn what_is_not_named_is_read_from_its_start(fixture: &impl Fixture) {
    let (connector, topic) = (fixture.connector(), fixture.fresh_name("unnamed"));
    if refuses(&*connector, &topic, Start::After(Positions::default())).await {
        return;
    }
    fixture.create(&topic, 1).await;
    store_ids(&*connector, &topic, ids("e", 3)).await;
    let mut reader = subscribe(&*connector, TopicSet::one(topic), Start::After(Positions::default())).await;
    assert_eq!(take_ids(&mut *reader, 3).await, ids("e", 3));
}

/// Also after much that the reader does not want.
pub async fn a_topic_that_came_after_a_position_is_read_from_its_start(fixture: &impl Fixture) {
    let connector = fixture.connector();
    let names = ["early", "other", "late"].map(|name| fixture.fresh_name(name));
    let [early, other, late] = &names;
    if refuses(&*connector, early, Start::After(Positions::default())).await {
        return;
    }
    for topic in [early, other] {
        fixture.create(topic, 1).await;
    }
    store_ids(&*connector, early, ["1".into()]).await;
    let topics = TopicSet { names: vec![early.clone(), late.clone()], patterns: Vec::new() };
    let mut reader = subscribe(&*connector, topics.clone(), Start::Earliest).await;
    assert_eq!(take_ids(&mut *reader, 1).await, ["1"]);
    let after = reader.positions().clone();
    drop(reader);
    store_ids(&*connector, other, ids("other", 3)).await;
    fixture.create(late, 1).await;
    store_ids(&*connector, late, ["2".into()]).await;
    let mut reader = subscribe(&*connector, topics, Start::After(after)).await;
    assert_eq!(take_ids(&mut *reader, 1).await, ["2"]);
}

/// A topic that was made anew, or a process that forgot.
pub async fn beyond_the_end_is_gone(fixture: &impl Fixture) {
    let (connector, topic) = (fixture.connector(), fixture.fresh_name("beyond"));
    if refuses(&*connector, &topic, Start::After(Positions::default())).await {
        return;
    }
    fixture.create(&topic, 1).await;
    store_ids(&*connector, &topic, ids("e", 3)).await;
    let topics = TopicSet::one(topic);
    let mut reader = subscribe(&*connector, topics.clone(), Start::Earliest).await;
    let last = take(&mut *reader, 3).await.remove(2);
    let place = Place { offset: last.next.offset + 1_000_000, ..last.next };
    let beyond = [Position { place, ..last.position.clone() }].into_iter().collect();
    let refused = try_subscribe(&*connector, topics, Start::After(beyond)).await;
    assert!(matches!(refused.err(), Some(ReadError::Gone { .. })));
}

/// The error says where reading can go on, and it can.
pub async fn what_was_forgotten_is_gone_and_reading_can_go_on(fixture: &impl Fixture) {
    let (connector, topic) = (fixture.connector(), fixture.fresh_name("forgotten"));
    if refuses(&*connector, &topic, Start::After(Positions::default())).await {
        return;
    }
    fixture.create(&topic, 1).await;
    let topics = TopicSet::one(topic.clone());
    store_ids(&*connector, &topic, ids("old", 5)).await;
    let mut reader = subscribe(&*connector, topics.clone(), Start::Earliest).await;
    let first: Str = take(&mut *reader, 1).await[0].message.event.id.clone();
    assert_eq!(first, "old-0");
    let after_first = reader.positions().clone();
    fixture.forget_records(&topic).await;
    let refused = try_subscribe(&*connector, topics.clone(), Start::After(after_first)).await;
    let Some(ReadError::Gone { resume, .. }) = refused.err() else { panic!("not told that it is gone") };
    store_ids(&*connector, &topic, ids("new", 3)).await;
    let mut reader = subscribe(&*connector, topics, Start::After(resume)).await;
    let mut read = take_ids(&mut *reader, 1).await;
    while read.last().is_some_and(|last| last != "new-2") {
        read.extend(take_ids(&mut *reader, 1).await);
    }
    read.retain(|id| id.starts_with("new"));
    assert_eq!(read, ids("new", 3));
}
