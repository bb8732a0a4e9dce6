use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use meshgate_api::{
    connector::{Settlement, Start},
    topic::TopicSet,
};
use meshgate_conformance::{Fixture, event, groups, outbound};

use super::*;

const CAPACITY: usize = 4 << 20;
const WINDOW: usize = 300;

struct Process(Arc<Memory>);

#[async_trait]
impl Fixture for Process {
    fn connector(&self) -> Arc<dyn Connector> {
        self.0.clone()
    }

    fn fresh_name(&self, prefix: &str) -> meshgate_api::Str {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        format!("{prefix}/{}", NUMBER.fetch_add(1, Relaxed)).into()
    }

    async fn create(&self, _topic: &str, _partitions: u32) {}

    async fn forget_records(&self, _topic: &str) {
        for _ in 0..CAPACITY / 65536 {
            self.0.publish([outbound("filler", None, event("x", vec![0; 65536]))].into_iter().collect()).await;
        }
    }

    async fn replica(&self) -> Option<Arc<dyn Connector>> {
        None
    }

    fn settled_window(&self) -> usize {
        WINDOW
    }

    fn live_buffer(&self) -> usize {
        CAPACITY
    }
}

fn memory(capacity: usize, topics: usize) -> Arc<Memory> {
    Arc::new(Memory::new(MemoryConfig { capacity }, &context(topics)))
}

fn context(topics: usize) -> Context {
    let mut context = Context::new("memory", Default::default());
    context.limits.topics = topics;
    context.limits.settled_window = WINDOW;
    context
}

async fn fixture() -> Process {
    Process(memory(CAPACITY, 100))
}

meshgate_conformance::conformance!(fixture);

#[tokio::test]
async fn refuses_more_topics_than_its_limit() {
    let memory = memory(CAPACITY, 2);
    let mut names = Vec::new();
    for topic in ["a", "b", "c", "a"] {
        let ack = memory.publish([outbound(topic, None, event("1", "x"))].into_iter().collect()).await;
        names.push(ack.outcomes().await[0].name());
    }
    assert_eq!(names, ["stored", "stored", "unavailable", "stored"]);
}

#[tokio::test]
async fn refuses_what_it_can_never_hold() {
    let memory = memory(64 << 10, 10);
    let ack = memory.publish([outbound("a", None, event("1", vec![0; 64 << 10]))].into_iter().collect()).await;
    assert!(matches!(&ack.outcomes().await[0], meshgate_api::outcome::Outcome::Rejected { .. }));
}

#[tokio::test]
async fn a_position_of_another_process_is_gone() {
    let (mine, other) = (memory(CAPACITY, 10), memory(CAPACITY, 10));
    let topics = TopicSet::one("a");
    let reader = meshgate_conformance::subscribe(&*mine, topics.clone(), Start::Latest).await;
    let start = Start::After(reader.positions().clone());
    assert!(matches!(
        meshgate_conformance::try_subscribe(&*other, topics, start).await.err(),
        Some(ReadError::Gone { .. })
    ));
}

/// Publishes events of 64 KiB until one is not stored; how many were.
async fn fill(memory: &Memory, topic: &str, most: usize) -> usize {
    for count in 0..most {
        let one = outbound(topic, None, event(format!("e-{count}"), vec![0; 65536]));
        if memory.publish([one].into_iter().collect()).await.outcomes().await[0].name() != "stored" {
            return count;
        }
    }
    most
}

fn skipped(memory: &Memory) -> u64 {
    memory.gauges().into_iter().find(|(name, _)| *name == "group_skipped").expect("it is told").1
}

#[tokio::test]
async fn what_a_connected_group_has_not_confirmed_makes_no_room() {
    let memory = memory(CAPACITY, 10);
    let mut member = groups::join(&*memory, TopicSet::one("a"), Start::Latest, "group").await;
    assert_eq!(fill(&memory, "b", 100).await, 100, "others make room");
    let stored = fill(&memory, "a", 100).await;
    assert!((20..100).contains(&stored), "{stored} were stored before it was full");
    assert_eq!(fill(&memory, "b", 1).await, 0, "nothing else can go");
    groups::ack_all(groups::hold(&mut *member, 1).await);
    assert_eq!(fill(&memory, "a", 2).await, 1, "what is confirmed makes room");
    groups::ack_all(groups::hold(&mut *member, stored).await);
    assert_eq!(fill(&memory, "a", 1).await, 1);
    assert_eq!(groups::ids_of(&groups::hold(&mut *member, 1).await), ["e-0"]);
    assert_eq!(skipped(&memory), 0);
}

#[tokio::test]
async fn a_stuck_key_parks_alone_however_many_bytes_wait_behind_it() {
    let mut context = context(10);
    context.limits.ring = 256 << 10;
    let memory = Memory::new(MemoryConfig { capacity: CAPACITY }, &context);
    let mut member = groups::join(&memory, TopicSet::one("a"), Start::Latest, "group").await;
    let publish = async |key, id, bytes: usize| {
        let one = outbound("a", Some(key), event(id, vec![0; bytes]));
        meshgate_conformance::store(&memory, vec![one]).await;
    };
    publish("stuck", "first", 10).await;
    let stuck = groups::hold(&mut *member, 1).await.remove(0);
    groups::settle(stuck, Settlement::Retry { after: Some(Duration::from_secs(3600)) });
    for _ in 0..20 {
        publish("stuck", "behind", 65536).await;
    }
    publish("other", "other", 10).await;
    assert_eq!(groups::ids_of(&groups::hold(&mut *member, 1).await), ["other"]);
}

#[tokio::test]
async fn what_only_absent_groups_wait_for_goes_and_is_counted() {
    let context = context(10);
    let memory = Memory::new(MemoryConfig { capacity: CAPACITY }, &context);
    let mut member = groups::join(&memory, TopicSet::one("a"), Start::Latest, "group").await;
    assert_eq!(fill(&memory, "a", 3).await, 3);
    let mut held = groups::hold(&mut *member, 3).await;
    groups::settle(held.remove(1), Settlement::Ack);
    assert_eq!(memory.groups()[0].lag, 2);
    drop(member);
    assert_eq!(fill(&memory, "a", 100).await, 100, "who left does not hold up others");
    let kept = memory.log.usage().1 as u64;
    assert_eq!(skipped(&memory), 102 - kept);
    assert_eq!(memory.groups()[0].lag, 102);
    let mut member = groups::join(&memory, TopicSet::one("a"), Start::Latest, "group").await;
    let first = groups::hold(&mut *member, 1).await;
    assert_eq!(groups::ids_of(&first), [format!("e-{}", 100 - kept)], "it goes on from the oldest");
    assert_eq!(skipped(&memory), 102 - kept, "told once");
    assert_eq!(context.skipped.load(Relaxed), 102 - kept, "and counted with what other readers skip");
}

#[tokio::test]
async fn what_appears_and_goes_while_a_group_is_absent_is_counted() {
    let memory = memory(CAPACITY, 10);
    let both = TopicSet { names: vec!["a".into(), "late".into()], patterns: Vec::new() };
    drop(groups::join(&*memory, both.clone(), Start::Latest, "group").await);
    assert_eq!(fill(&memory, "a", 100).await, 100);
    assert_eq!(fill(&memory, "late", 3).await, 3);
    assert_eq!(memory.groups()[0].lag, 103);
    assert_eq!(fill(&memory, "b", 100).await, 100);
    assert_eq!((skipped(&memory), memory.groups()[0].lag), (103, 103));
    fill(&memory, "late", 1).await;
    assert_eq!((skipped(&memory), memory.groups()[0].lag), (103, 104));
    let mut member = groups::join(&*memory, both, Start::Latest, "group").await;
    assert_eq!(groups::hold(&mut *member, 1).await.len(), 1, "it goes on from what is left");
    assert_eq!((skipped(&memory), memory.groups()[0].lag), (103, 1));
}

#[tokio::test]
async fn a_group_that_has_left_makes_room_to_the_last_byte() {
    for length in 0..300 {
        let memory = memory(64 << 10, 10);
        drop(groups::join(&*memory, TopicSet::one("a"), Start::Latest, "group").await);
        for number in 0..150 {
            let one = outbound("a", Some("key"), event("e", vec![0; length]));
            let outcome = memory.publish([one].into_iter().collect()).await.outcomes().await.remove(0);
            assert_eq!(outcome.name(), "stored", "number {number} of those with {length} bytes: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn a_group_turns_to_the_topics_of_who_joined_last() {
    let memory = memory(CAPACITY, 10);
    fill(&memory, "b", 1).await;
    let mut first = groups::join(&*memory, TopicSet::one("a"), Start::Latest, "group").await;
    let both = TopicSet { names: vec!["a".into(), "b".into()], patterns: Vec::new() };
    fill(&memory, "a", 1).await;
    let held = groups::hold(&mut *first, 1).await;
    let mut second = groups::join(&*memory, both, Start::Latest, "group").await;
    let joined = groups::share(std::slice::from_mut(&mut second), 1).await;
    assert_eq!(joined[0].len(), 1, "what is new is read from its start");
    groups::ack_all(held);
    assert_eq!(memory.groups()[0].lag, 0);
}
