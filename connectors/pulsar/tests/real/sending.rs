//! What a destination says of sending: plain programs read what is compressed and batched, and the gateway reads what they write so.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use meshgate_api::{
    connector::{Connector, Kind, Limits, Options, Start},
    outcome::Outcome,
    settings::{Node, decode},
    topic::TopicSet,
};
use meshgate_conformance::{event, groups, ids, nothing_more, outbound, store, subscribe, take, take_ids};
use meshgate_pulsar::PulsarKind;
use reqwest::Method;
use tokio::time::Instant;

use crate::{
    broker::{Broker, fresh_name},
    plain::python,
};

/// What a destination with these settings says.
pub(crate) fn options(settings: &Node) -> Option<Options> {
    Some(decode(settings, "to", |fields| PulsarKind.destination(fields)).expect("sound settings"))
}

/// The value of `batch`.
pub(crate) fn batches(events: u32) -> Node {
    Node::map([("events", Node::plain(events.to_string())), ("delay", Node::plain("20ms"))])
}

/// Prints the payloads and the property `ce_id` of the first messages, so many.
const READ: &str = "
consumer = client.subscribe(topic, 'plain', initial_position=InitialPosition.Earliest)
for _ in range(int(sys.argv[3])):
    message = consumer.receive(20000)
    assert message.data() == b'data' * 1000, message.data()[:20]
    print(message.properties()['ce_id'])
client.close()
";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_compressed_is_read_by_plain_programs() {
    let broker = Broker::given();
    let connector = broker.connector(Limits::default()).await;
    for algorithm in ["lz4", "zlib", "zstd"] {
        for batch in [None, Some(batches(10))] {
            let topic = fresh_name(&format!("compressed-{algorithm}"));
            broker.create(&topic, 1).await;
            let mut live = subscribe(&*connector, TopicSet::one(topic.clone()), Start::Latest).await;
            let settings = [("compression", Node::plain(algorithm))].into_iter();
            let options = options(&Node::map(settings.chain(batch.map(|batch| ("batch", batch)))));
            let one = |id: String| {
                let mut one = outbound(&topic, Some("key"), event(id, "data".repeat(1000)));
                one.options.clone_from(&options);
                one
            };
            store(&*connector, ids(algorithm, 30).into_iter().map(one).collect()).await;
            let stats = broker.admin(Method::GET, &topic, "/stats", "").await;
            let stats: serde_json::Value = serde_json::from_str(&stats).expect("JSON");
            let size = stats["storageSize"].as_u64().expect("a size");
            assert!(size < 30 * 1000, "{algorithm}: 30 events of 4,000 bytes take {size}");
            let mut earliest = subscribe(&*connector, TopicSet::one(topic.clone()), Start::Earliest).await;
            for reader in [&mut live, &mut earliest] {
                let records = take(&mut **reader, 30).await;
                let is_whole = |data: &[u8]| data == "data".repeat(1000).as_bytes();
                assert!(records.iter().all(|record| record.message.event.data.as_deref().is_some_and(is_whole)));
            }
            let read = python(READ, &[&broker.url, &topic, "30"]).await;
            assert_eq!(read.lines().collect::<Vec<_>>(), ids(algorithm, 30), "{algorithm}");
        }
    }
}

/// Each event of a batch is answered with its own place, and found there again.
#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_batch_have_places_of_their_own() {
    let broker = Broker::given();
    let connector = broker.connector(Limits::default()).await;
    let topic = fresh_name("batched");
    broker.create(&topic, 1).await;
    let options = options(&Node::map([("batch", batches(10))]));
    let one = |id| {
        let mut one = outbound(&topic, None, event(id, "data".repeat(1000)));
        one.options.clone_from(&options);
        one
    };
    let outcomes = store(&*connector, ids("batched", 95).into_iter().map(one).collect()).await;
    let mut reader = subscribe(&*connector, TopicSet::one(topic.clone()), Start::Earliest).await;
    let records = take(&mut *reader, 95).await;
    for ((id, outcome), record) in ids("batched", 95).into_iter().zip(&outcomes).zip(&records) {
        let Outcome::Stored(position) = outcome else { panic!("{outcome:?}") };
        assert_eq!((&*record.message.event.id, &record.position), (&*id, position));
    }
    let entries: BTreeSet<_> = records.iter().map(|record| record.position.place.offset).collect();
    assert_eq!(entries.len(), 10, "95 events in batches of 10");
    assert_eq!(python(READ, &[&broker.url, &topic, "95"]).await.lines().collect::<Vec<_>>(), ids("batched", 95));
}

/// Sends one entry with the messages `plain-0`, `plain-1` …, so many.
const SEND_ONE_ENTRY: &str = "
count = int(sys.argv[3])
producer = client.create_producer(topic, batching_enabled=True, batching_max_messages=count, batching_max_publish_delay_ms=2000)
sent = []
for number in range(count):
    event = {'ce_specversion': '1.0', 'ce_source': '/plain', 'ce_type': 't', 'ce_id': f'plain-{number}'}
    producer.send_async(b'x', lambda result, place: sent.append(place), properties=event)
producer.flush()
client.close()
assert len({(place.ledger_id(), place.entry_id()) for place in sent}) == 1, [str(place) for place in sent]
";

#[tokio::test(flavor = "multi_thread")]
async fn siblings_of_a_plain_batch_are_settled_one_by_one() {
    let broker = Broker::given();
    let connector = broker.connector(Limits::default()).await;
    let topic = fresh_name("entry");
    broker.create(&topic, 1).await;
    python(SEND_ONE_ENTRY, &[&broker.url, &topic, "10"]).await;
    let topics = TopicSet::one(topic.clone());
    let join = async |connector: &Arc<dyn Connector>| {
        groups::join(&**connector, topics.clone(), Start::Earliest, &topic).await
    };
    let mut member = join(&connector).await;
    let mut held = groups::hold(&mut *member, 10).await;
    assert_eq!(groups::ids_of(&held), ids("plain", 10));
    let unsettled = held.split_off(7);
    groups::ack_all(held);
    assert_eq!(groups::ids_of(&groups::hold_what_comes(&mut *member).await), [""; 0], "what is settled does not come");
    // Whoever takes over gets what was not settled, and what was with it in the entry.
    assert_eq!(connector.shutdown(Instant::now() + Duration::from_secs(10)).await, 0);
    drop((unsettled, member, connector));
    let connector = broker.connector(Limits::default()).await;
    let mut member = join(&connector).await;
    let again = groups::hold(&mut *member, 10).await;
    assert_eq!(groups::ids_of(&again), ids("plain", 10));
    groups::ack_all(again);
    assert_eq!(connector.shutdown(Instant::now() + Duration::from_secs(10)).await, 0);
    let connector = broker.connector(Limits::default()).await;
    let mut member = join(&connector).await;
    nothing_more(&*connector, &mut *member, &topic).await;
}

/// Sends `plain-0` and so on with each kind of compression, as plain programs do it.
const COMPRESS: &str = "
kinds = [CompressionType.LZ4, CompressionType.ZLib, CompressionType.ZSTD, CompressionType.SNAPPY, CompressionType.NONE]
for number, kind in enumerate(kinds):
    producer = client.create_producer(topic, compression_type=kind)
    event = {'ce_specversion': '1.0', 'ce_source': '/plain', 'ce_type': 't', 'ce_id': f'plain-{number}'}
    producer.send(b'data' * 1000, properties=event)
    producer.close()
client.close()
";

/// Of Snappy the crate knows another form than all other clients: such a message is left out, and holds up nobody.
#[tokio::test(flavor = "multi_thread")]
async fn what_plain_programs_compress_is_read() {
    let broker = Broker::given();
    let connector = broker.connector(Limits::default()).await;
    let topic = fresh_name("plain-compressed");
    broker.create(&topic, 1).await;
    let topics = TopicSet::one(topic.clone());
    let mut live = subscribe(&*connector, topics.clone(), Start::Latest).await;
    let mut member = groups::join(&*connector, topics.clone(), Start::Earliest, &topic).await;
    python(COMPRESS, &[&broker.url, &topic]).await;
    let mut earliest = subscribe(&*connector, topics, Start::Earliest).await;
    for reader in [&mut live, &mut earliest, &mut member] {
        assert_eq!(take_ids(&mut **reader, 4).await, ["plain-0", "plain-1", "plain-2", "plain-4"]);
    }
    // Whom the live buffer serves shares its reading.
    assert!(connector.gauges().contains(&("unreadable_messages", 2)), "{:?}", connector.gauges());
}
