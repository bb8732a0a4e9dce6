use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use meshgate_conformance::{Fixture, event, outbound};

use super::*;

const CAPACITY: usize = 4 << 20;

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

    fn live_buffer(&self) -> usize {
        CAPACITY
    }
}

fn memory(capacity: usize, topics: usize) -> Arc<Memory> {
    let mut context = Context::new("memory", Default::default());
    context.limits.topics = topics;
    Arc::new(Memory::new(MemoryConfig { capacity }, &context))
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
    let topics = meshgate_api::topic::TopicSet::one("a");
    let reader = meshgate_conformance::subscribe(&*mine, topics.clone(), meshgate_api::connector::Start::Latest).await;
    let start = meshgate_api::connector::Start::After(reader.positions().clone());
    assert!(matches!(
        meshgate_conformance::try_subscribe(&*other, topics, start).await.err(),
        Some(ReadError::Gone { .. })
    ));
}
