//! What other programs write into a topic never stops a reader.

use std::{sync::Arc, time::Duration};

use meshgate_api::{
    Str,
    connector::{Connector, Limits, Record, Start},
    event::WRAPPED_TYPE,
    topic::TopicSet,
};
use meshgate_conformance::{event, outbound, store, subscribe, take, take_ids};
use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};

use crate::broker::{Broker, PATIENCE, fresh_name, python};

struct Scene {
    broker: Broker,
    connector: Arc<dyn Connector>,
    topic: Str,
}

async fn scene(settings: &[(&str, &str)]) -> Scene {
    let broker = Broker::given();
    let connector = broker.connector(Limits { ring: 1 << 20, ..Limits::default() }, &[]).await;
    let topic = fresh_name("foreign");
    broker.create(&topic, 1, settings).await;
    Scene { broker, connector, topic }
}

impl Scene {
    fn producer(&self, settings: &[(&str, &str)]) -> ThreadedProducer<DefaultProducerContext> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.broker.bootstrap).set("message.max.bytes", "9000000");
        config.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        config.create().expect("a producer")
    }

    async fn read(&self, count: usize) -> Vec<Arc<Record>> {
        let mut reader = subscribe(&*self.connector, TopicSet::one(self.topic.clone()), Start::Earliest).await;
        take(&mut *reader, count).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn header_names_that_are_not_utf8_are_left_out() {
    let scene = scene(&[]).await;
    let script = r"
import sys, kafka
class Poison(str):
    def encode(self, *ignored): return b'\xff\xfe\x80'
event = [('ce_specversion', b'1.0'), ('ce_id', b'1'), ('ce_source', b'/s'), ('ce_type', b't')]
producer = kafka.KafkaProducer(bootstrap_servers=sys.argv[1])
for headers in [event + [(Poison('x'), b'1')], [(Poison('x'), b'1')], event + [('fine', b'\xff')]]:
    producer.send(sys.argv[2], value=b'data', headers=headers).get(30)
";
    python(script, &[&scene.broker.bootstrap, &scene.topic]);
    let mut live = subscribe(&*scene.connector, TopicSet::one(scene.topic.clone()), Start::Latest).await;
    python(script, &[&scene.broker.bootstrap, &scene.topic]);
    for records in [scene.read(3).await, take(&mut *live, 3).await] {
        let kinds: Vec<_> = records.iter().map(|record| &*record.message.event.kind).collect();
        assert_eq!(kinds, ["t", WRAPPED_TYPE, "t"]);
        assert!(records.iter().all(|record| record.message.event.data.as_deref() == Some(b"data")));
        assert_eq!(records[2].message.headers, [("fine".into(), (&b"\xff"[..]).into())]);
        let position = &records[1].position;
        assert_eq!(records[1].message.event.id, format!("{}:{}", position.partition, position.place.offset));
        assert_eq!(records[1].message.event.source, format!("/kafka/{}", scene.topic));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nulls_and_giants_are_read() {
    let scene = scene(&[("max.message.bytes", "9000000")]).await;
    let producer = scene.producer(&[]);
    let giant = vec![b'h'; 4 << 20]; // more than the live buffer and a private reader's memory
    let headers = OwnedHeaders::new()
        .insert(Header { key: "giant", value: Some(&giant[..]) })
        .insert(Header { key: "null", value: None::<&[u8]> })
        .insert(Header { key: "null", value: None::<&[u8]> });
    let to = |topic| BaseRecord::<[u8], [u8]>::to(topic);
    let records =
        [to(&scene.topic).headers(headers), to(&scene.topic).payload(&[]), to(&scene.topic).key(&[]).payload(&giant)];
    let mut live = subscribe(&*scene.connector, TopicSet::one(scene.topic.clone()), Start::Latest).await;
    for record in records {
        producer.send(record).map_err(|(problem, _)| problem).expect("taken");
    }
    producer.flush(PATIENCE).expect("sent");
    for records in [scene.read(3).await, take(&mut *live, 3).await] {
        assert_eq!(records[0].message.event.data, None);
        let sizes: Vec<_> = records[0].message.headers.iter().map(|(name, value)| (&**name, value.len())).collect();
        assert_eq!(sizes, [("giant", giant.len()), ("null", 0), ("null", 0)]);
        assert_eq!(
            (records[0].key.as_deref(), records[1].key.as_deref(), records[2].key.as_deref()),
            (None, None, Some(&b""[..]))
        );
        assert_eq!(records[1].message.event.data.as_deref(), Some(&b""[..]));
        assert_eq!(records[2].message.event.data.as_deref(), Some(&giant[..]));
    }
}

/// What compaction removed is not gone.
#[tokio::test(flavor = "multi_thread")]
async fn gaps_are_stepped_over() {
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("max.compaction.lag.ms", "100"),
        ("delete.retention.ms", "0"),
    ];
    let scene = scene(&settings).await;
    let put = |id: String, key: &'static str| {
        let event = event(id, "x");
        store(&*scene.connector, vec![outbound(&scene.topic, Some(key), event)])
    };
    put("e-0".into(), "other").await;
    let mut reader = subscribe(&*scene.connector, TopicSet::one(scene.topic.clone()), Start::Earliest).await;
    assert_eq!(take_ids(&mut *reader, 1).await, ["e-0"]);
    let after = Start::After(reader.positions().clone());
    for id in 1..30 {
        put(format!("e-{id}"), "same").await;
        tokio::time::sleep(Duration::from_millis(20)).await; // segments roll by time
    }
    // Compacted or not yet: what is read is in order and ends with the last.
    let mut reader = subscribe(&*scene.connector, TopicSet::one(scene.topic.clone()), after).await;
    let mut last = String::from("e-0");
    while last != "e-29" {
        let next = take_ids(&mut *reader, 1).await.remove(0);
        assert!(next[2..].parse::<u32>().expect("a number") > last[2..].parse::<u32>().expect("a number"));
        last = next;
    }
}
