//! Topics with a schema: those that insist on it (`schemaValidationEnforced`) get events that are written with it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use meshgate_api::{
    connector::{Batch, Connector, Limits, Options, Start},
    outcome::{Outcome, Rejection},
    settings::Node,
    topic::TopicSet,
};
use meshgate_conformance::{PATIENCE, event, outbound, store, subscribe, take};
use reqwest::Method;
use tokio::time::{Instant, sleep};

use crate::{
    broker::{Broker, fresh_name},
    plain::python,
    sending::{batches, options},
};

/// A namespace of its own, and a topic in it.
async fn topic(broker: &Broker) -> (String, String) {
    let name = fresh_name("schema").rsplit('/').next().expect("a last part").to_owned();
    let namespace = format!("namespaces/public/{name}");
    broker.admin(Method::PUT, &namespace, "", r#"{"bundles": {"numBundles": 1}}"#).await;
    broker
        .admin(Method::POST, &namespace, "/retention", r#"{"retentionTimeInMinutes": -1, "retentionSizeInMB": -1}"#)
        .await;
    (namespace, format!("persistent://public/{name}/orders"))
}

async fn enforce(broker: &Broker, namespace: &str) {
    broker.admin(Method::POST, namespace, "/schemaValidationEnforced", "true").await;
}

/// Gives the topic a JSON schema, and sends an order.
const GIVE: &str = "
from pulsar.schema import JsonSchema, Record, String
class Order(Record):
    order_id = String()
client.create_producer(topic, schema=JsonSchema(Order)).send(Order(order_id='plain'))
client.close()
";

async fn give(broker: &Broker, topic: &str, kind: &str) {
    let record = r#"{"type": "record", "name": "Order", "fields": [{"name": "order_id", "type": ["null", "string"]}]}"#;
    let schema = if kind == "AVRO" { record } else { "" };
    let body = serde_json::json!({ "type": kind, "schema": schema, "properties": {} });
    let name = topic.replace("persistent://", "schemas/");
    broker.admin(Method::POST, &name, "/schema", &body.to_string()).await;
}

/// What a plain program finds that knows the schema, and whether each message says that it has one.
const READ: &str = "
from pulsar.schema import JsonSchema, Record, String
class Order(Record):
    order_id = String()
consumer = client.subscribe(topic, 'plain', schema=JsonSchema(Order), initial_position=InitialPosition.Earliest)
for _ in range(int(sys.argv[3])):
    message = consumer.receive(20000)
    print(message.value().order_id, len(message.schema_version()) > 0)
client.close()
";

async fn publish(connector: &dyn Connector, topic: &str, data: impl Into<Bytes>, options: Option<Options>) -> Outcome {
    let mut one = outbound(topic, None, event("order", data));
    one.options = options;
    connector.publish(Batch::from_vec(vec![one])).await.outcomes().await.remove(0)
}

fn check_refused(outcome: &Outcome, cause: &str) {
    let Outcome::Rejected { reason: Rejection::BadEvent, detail } = outcome else { panic!("{outcome:?}") };
    assert!(detail.contains(cause), "{detail}");
}

fn order(id: &str) -> String {
    format!(r#"{{"order_id": "{id}"}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_insists_on_its_json_schema_is_written_and_read() {
    let broker = Broker::given();
    let connector = broker.connector(Limits::default()).await;
    let (namespace, topic) = topic(&broker).await;
    enforce(&broker, &namespace).await;
    python(GIVE, &[&broker.url, &topic]).await;
    let batched = options(&Node::map([("batch", batches(10)), ("compression", Node::plain("zstd"))]));
    for (id, options) in [("alone", None), ("batched", batched)] {
        let stored = publish(&*connector, &topic, order(id), options.clone()).await;
        assert!(matches!(stored, Outcome::Stored(_)), "{stored:?}");
        check_refused(&publish(&*connector, &topic, "no JSON", options).await, "the event's data must be JSON");
    }
    let read = python(READ, &[&broker.url, &topic, "3"]).await;
    assert_eq!(read, "plain True\nalone True\nbatched True\n");
    let mut reader = subscribe(&*connector, TopicSet::one(&*topic), Start::Earliest).await;
    let data: Vec<_> = take(&mut *reader, 3).await.iter().map(|record| record.message.event.data.clone()).collect();
    assert_eq!(data[1..], [Some(order("alone").into()), Some(order("batched").into())]);
    let plain: serde_json::Value = serde_json::from_slice(data[0].as_deref().expect("data")).expect("JSON");
    assert_eq!(plain, serde_json::json!({ "order_id": "plain" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_other_schemas_text_is_written_and_avro_refused() {
    let broker = Broker::given();
    let connector = broker.connector(Limits::default()).await;
    let (namespace, topic) = topic(&broker).await;
    enforce(&broker, &namespace).await;
    let [none, text, avro] = ["none", "text", "avro"].map(|kind| format!("{topic}-{kind}"));
    give(&broker, &text, "STRING").await;
    give(&broker, &avro, "AVRO").await;
    check_refused(&publish(&*connector, &avro, order("1"), None).await, "insists on its Avro schema");
    check_refused(&publish(&*connector, &text, &b"\xff"[..], None).await, "must be UTF-8");
    for topic in [&none, &text] {
        let stored = publish(&*connector, topic, "no JSON", None).await;
        assert!(matches!(stored, Outcome::Stored(_)), "{stored:?}");
    }
}

/// Who writes already is told to send again, and never that an event is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_comes_to_insist_on_its_schema_while_it_is_written() {
    let broker = Broker::given();
    let connector = broker.connector(Limits::default()).await;
    let (namespace, topic) = topic(&broker).await;
    python(GIVE, &[&broker.url, &topic]).await;
    let batched = options(&Node::map([("batch", batches(10))]));
    for options in [None, batched.clone()] {
        store(
            &*connector,
            vec![{
                let mut one = outbound(&topic, None, event("order", order("before")));
                one.options = options;
                one
            }],
        )
        .await;
    }
    enforce(&broker, &namespace).await;
    broker.unload(&topic).await;
    for options in [None, batched] {
        until_stored(&connector, &topic, options).await;
    }
    let read = python(READ, &[&broker.url, &topic, "5"]).await;
    assert_eq!(read.lines().skip(3).collect::<Vec<_>>(), ["after True", "after True"], "{read}");
}

async fn until_stored(connector: &Arc<dyn Connector>, topic: &str, options: Option<Options>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match publish(&**connector, topic, order("after"), options.clone()).await {
            Outcome::Stored(_) => return,
            wrong @ Outcome::Rejected { .. } => panic!("{wrong:?}"),
            again => assert!(Instant::now() < deadline, "{again:?}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}
