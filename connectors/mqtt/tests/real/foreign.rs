//! Plain MQTT programs on the other side.

use std::time::Duration;

use bytes::Bytes;
use meshgate_api::{
    connector::{ContentMode, Limits, Start},
    event::{Value, WRAPPED_TYPE},
    outcome::{Outcome, Rejection},
    topic::{TopicPattern, TopicSet},
};
use meshgate_conformance::{event, ids, nothing_more, outbound, store, store_ids, subscribe, take, take_ids};
use meshgate_mqtt::{MqttConfig, config::Version};

use crate::broker::{Broker, fresh_name, gauge, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_plain_bytes_and_properties_to_others() {
    let broker = Broker::given();
    let connector = broker.connector(broker.config(), Limits::default()).await;
    let topic = fresh_name("out");
    let mut listening = broker.subscribe(&["-V", "5", "-q", "1", "-t", &topic, "-F", "%p|%C|%P"]).await;
    let mut one = event("1", "21.5");
    one.datacontenttype = Some("text/plain".into());
    one.extensions.push(("unit".into(), Value::String("C".into())));
    store(&*connector, vec![outbound(&topic, None, one)]).await;
    let line = listening.line().await;
    assert!(line.starts_with("21.5|text/plain|"), "{line}");
    for property in ["specversion:1.0", "id:1", "source:/conformance", "type:com.example.check", "unit:C"] {
        assert!(line.contains(property), "{property} in {line}");
    }
    assert!(line.contains(&format!("meshgate-channel:{topic}")), "{line}");

    let mut wrapped = outbound(&topic, None, event("2", "plain"));
    wrapped.mode = ContentMode::Structured;
    std::sync::Arc::make_mut(&mut wrapped.message).wrapped = true;
    store(&*connector, vec![wrapped]).await;
    assert!(listening.line().await.starts_with("plain|"), "what somebody sent as bytes leaves as bytes");

    let mut structured = outbound(&topic, None, event("3", "x"));
    structured.mode = ContentMode::Structured;
    store(&*connector, vec![structured]).await;
    let line = listening.line().await;
    assert!(
        line.starts_with("{\"specversion\":\"1.0\",\"id\":\"3\"") && line.contains("application/cloudevents+json"),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_json_to_programs_of_version_3_1_1() {
    let broker = Broker::given();
    let config = MqttConfig { version: Version::V4, ..broker.config() };
    let connector = broker.connector(config, Limits::default()).await;
    let topic = fresh_name("out");
    let mut listening = broker.subscribe(&["-V", "311", "-q", "1", "-t", &topic]).await;
    store(&*connector, vec![outbound(&topic, None, event("1", "x"))]).await;
    assert!(listening.line().await.starts_with("{\"specversion\":\"1.0\",\"id\":\"1\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_devices_send_is_read() {
    let broker = Broker::given();
    for version in [Version::V5, Version::V4] {
        let config = MqttConfig { version, ..broker.config() };
        let connector = broker.connector(config, Limits::default()).await;
        let topic = fresh_name("in");
        let retained = format!("{topic}/retained");
        broker.publish(&["-t", &retained, "-q", "1", "-r", "-m", "old"]).await;
        let pattern = TopicPattern::new(vec![topic.clone(), "".into()]).expect("there is a hole");
        let topics = TopicSet { names: Vec::new(), patterns: vec![pattern] };
        let mut reader = subscribe(&*connector, topics, Start::Latest).await;
        broker
            .publish(&[
                "-V",
                "5",
                "-q",
                "1",
                "-t",
                &topic,
                "-m",
                "\u{1}21.5",
                "-D",
                "publish",
                "user-property",
                "Unit",
                "C",
            ])
            .await;
        broker.publish(&["-V", "311", "-q", "0", "-t", &format!("{topic}/b"), "-n"]).await;
        let json = r#"{"specversion":"1.0","id":"j","source":"/j","type":"t","data":{"a": 1}}"#;
        broker.publish(&["-V", "311", "-q", "2", "-t", &topic, "-m", json]).await;
        broker.publish(&["-q", "1", "-t", &retained, "-r", "-m", "new"]).await;
        let read = take(&mut *reader, 4).await;
        let of = |at: usize| (&*read[at].topic, &*read[at].message.event.kind, read[at].message.event.data.clone());
        assert_eq!(of(0), (&*topic, WRAPPED_TYPE, Some(Bytes::from_static(b"\x0121.5"))), "{version:?}");
        assert_eq!(of(1), (&*format!("{topic}/b"), WRAPPED_TYPE, Some(Bytes::new())));
        assert_eq!(of(2), (&*topic, "t", Some(Bytes::from_static(b"{\"a\": 1}"))));
        assert_eq!(of(3), (&*retained, WRAPPED_TYPE, Some(Bytes::from_static(b"new"))), "not what was retained before");
        let wrapped = &read[0].message.event;
        assert_eq!(wrapped.source, format!("/mqtt/{topic}"));
        assert!(wrapped.time.is_some() && wrapped.id.len() == 36, "{wrapped:?}");
        broker.publish(&["-t", &retained, "-q", "1", "-r", "-n"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_whose_topics_overlap_get_each_event_once() {
    let broker = Broker::given();
    let connector = broker.connector(broker.config(), Limits::default()).await;
    let topic = fresh_name("overlap");
    let below = |levels: &str| TopicPattern::new(vec![format!("{topic}/{levels}").into(), "".into()]).expect("a hole");
    let wide = TopicSet { names: Vec::new(), patterns: vec![below("")] };
    let narrow = TopicSet { names: Vec::new(), patterns: vec![below("a/")] };
    let one = TopicSet::one(format!("{topic}/a/b"));
    for order in [[&wide, &narrow, &one], [&one, &narrow, &wide]] {
        let mut readers = Vec::new();
        for topics in order {
            readers.push(subscribe(&*connector, topics.clone(), Start::Latest).await);
        }
        let target = format!("{topic}/a/b");
        store_ids(&*connector, &target, ids("e", 20)).await;
        for reader in &mut readers {
            assert_eq!(take_ids(&mut **reader, 20).await, ids("e", 20));
            store_ids(&*connector, &target, ["after".to_owned()]).await;
        }
        for (at, reader) in readers.iter_mut().enumerate() {
            assert_eq!(take_ids(&mut **reader, 3).await, ["after"; 3], "reader {at}");
            let mut late = subscribe(&*connector, one.clone(), Start::Latest).await;
            nothing_more(&*connector, &mut *late, &target).await;
            take_ids(&mut **reader, 1 + at).await;
        }
        drop(readers);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    until("what nobody reads is not subscribed", || gauge(&connector, "live_filters") == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_mqtt_cannot_hold_is_refused_before_it_is_sent() {
    let broker = Broker::given();
    let connector = broker.connector(broker.config(), Limits::default()).await;
    let mut one = event("1", "x");
    one.extensions.push(("big".into(), Value::String("x".repeat(70_000).into())));
    let ack = connector.publish([outbound(&fresh_name("big"), None, one)].into_iter().collect()).await;
    let outcome = ack.outcomes().await.remove(0);
    assert!(
        matches!(&outcome, Outcome::Rejected { reason: Rejection::TooLarge, detail } if detail.contains("`big`")),
        "{outcome:?}"
    );
    assert_eq!(gauge(&connector, "publish_confirmed"), 0);
}
