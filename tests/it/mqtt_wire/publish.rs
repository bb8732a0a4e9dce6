//! What clients publish: acknowledgements, topic aliases, properties, the receive maximum.

use std::time::Instant;

use super::wire::{PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, Wire, address, connect, noted, sized, start};

use crate::harness::gateway::Gateway;

#[tokio::test]
async fn each_quality_of_service_has_its_answer() {
    let gateway = start("");
    let at = address(&gateway).await;
    for version in [4, 5] {
        let more = if version == 5 { "00" } else { "" };
        let mut client = Wire::connect(&at, version, "qos").await;
        client.put(PUBLISH, &format!("<t> {more} 'x'")).await;
        client.put(PUBLISH | 2, &format!("<t> 0001 {more} 'x'")).await;
        client.expect(PUBACK, "0001").await;
        client.put(PUBLISH | 4, &format!("<t> ffff {more} 'x'")).await;
        client.expect(PUBREC, "ffff").await;
        client.put(PUBREL, "ffff").await;
        client.expect(PUBCOMP, "ffff").await;
        client.put(PUBLISH | 0x0A, &format!("<t> 0001 {more} 'a new one, whatever DUP says'")).await;
        client.expect(PUBACK, "0001").await;
        client.put(PUBLISH | 2, &format!("<t> 0002 {more}")).await; // an empty payload
        client.expect(PUBACK, "0002").await;
        client.nothing().await;
    }
}

#[tokio::test]
async fn acknowledgements_come_in_the_order_of_the_publishes() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut client = Wire::connect(&at, 5, "order").await;
    let publish = |n: u16| noted(PUBLISH | if n.is_multiple_of(3) { 4 } else { 2 }, &format!("<t> {n:04x} 00 'x'"));
    let all: Vec<u8> = (1..=600).flat_map(publish).collect();
    client.send(all).await;
    for n in 1..=600u16 {
        client.expect(if n.is_multiple_of(3) { PUBREC } else { PUBACK }, &format!("{n:04x}")).await;
    }
    let released: Vec<u8> = (1..=200u16).flat_map(|n| noted(PUBREL, &format!("{:04x}", n * 3))).collect();
    client.send(released).await;
    for n in 1..=200u16 {
        client.expect(PUBCOMP, &format!("{:04x}", n * 3)).await;
    }
}

#[tokio::test]
async fn what_can_be_read_and_not_taken_is_acknowledged_so() {
    let gateway = start("");
    let at = address(&gateway).await;
    let long = "x".repeat(1025);
    let table = [
        ("a topic of the server's own", "<$SYS/x> 0001 00".to_owned(), 0x90),
        ("$ alone", "<$> 0001 00".to_owned(), 0x90),
        ("a level that URLs lose", "<a/../b> 0001 00".to_owned(), 0x90),
        ("a control character", "0002 'a' 07 0001 00".to_owned(), 0x90),
        ("a topic that is too long", format!("<{long}> 0001 00"), 0x90),
        ("a text that is none", "<t> 0001 02 0101 ff".to_owned(), 0x99),
        ("an event that is none", "<t> 0001 1f 03 <application/cloudevents+json> '{'".to_owned(), 0x99),
        ("a batch", "<t> 0001 25 03 <application/cloudevents-batch+json> '[]'".to_owned(), 0x99),
    ];
    for (what, body, reason) in table {
        for (qos, first) in [(2, PUBACK), (4, PUBREC)] {
            let mut client = Wire::connect(&at, 5, "rejected").await;
            client.put(PUBLISH | qos, &body).await;
            let ack = client.next().await.expect("an acknowledgement");
            assert_eq!((ack.first, &ack.body[..3]), (first, &[0, 1, reason][..]), "{what}: {ack:?}");
            client.put(PUBLISH, &body.replacen(" 0001", "", 1)).await; // QoS 0: nobody hears of it
            client.put(PUBLISH | 2, "<t> 0001 00 'the identifier is free again'").await;
            client.expect(PUBACK, "0001").await;
        }
    }
    for topic in ["$SYS/x", "a/./b"] {
        let mut client = Wire::connect(&at, 4, "rejected").await;
        client.put(PUBLISH | 2, &format!("<{topic}> 0001 'x'")).await;
        client.closed().await; // 3.1.1 has no word for it
    }
}

#[tokio::test]
async fn who_releases_what_it_has_not_published_is_told_so() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut client = Wire::connect(&at, 5, "unknown").await;
    client.put(PUBREL, "1234").await;
    client.expect(PUBCOMP, "1234 92").await;
    client.put(PUBREC, "1234").await;
    client.expect(PUBREL, "1234 92").await;
    for (first, body) in
        [(PUBACK, "1234"), (PUBACK, "1234 10 00"), (PUBCOMP, "1234"), (PUBCOMP, "1234 92"), (PUBREC, "1234 80")]
    {
        client.put(first, body).await; // nobody answers that
    }
    client.nothing().await;
    let mut client = Wire::connect(&at, 4, "unknown").await;
    client.put(PUBREL, "1234").await;
    client.expect(PUBCOMP, "1234").await;
    client.put(PUBREC, "1234").await;
    client.expect(PUBREL, "1234").await;
    client.put(PUBACK, "1234").await;
    client.nothing().await;
}

#[tokio::test]
async fn more_than_the_receive_maximum_is_a_fault() {
    let gateway = start("");
    let at = address(&gateway).await;
    let publishes =
        |count: u16| -> Vec<u8> { (1..=count).flat_map(|n| noted(PUBLISH | 4, &format!("<t> {n:04x} 00"))).collect() };
    let mut client = Wire::connect(&at, 5, "greedy").await;
    client.send(publishes(1024)).await;
    for n in 1..=1024 {
        client.expect(PUBREC, &format!("{n:04x}")).await;
    }
    client.put(PUBLISH, "<t> 00 'QoS 0 does not count'").await;
    client.put(PUBREL, "0007").await;
    client.expect(PUBCOMP, "0007").await;
    client.put(PUBLISH | 4, "<t> 0007 00").await; // as many as that again
    client.expect(PUBREC, "0007").await;
    client.put(PUBLISH | 4, "<t> 0007 00").await; // this one came before
    client.expect(PUBREC, "0007").await;
    client.put(PUBLISH | 2, "<t> 0401 00").await;
    client.ended(0x93).await;
    let mut client = Wire::connect(&at, 4, "greedy").await; // which knows no such maximum
    let publishes: Vec<u8> = (1..=2000).flat_map(|n: u16| noted(PUBLISH | 4, &format!("<t> {n:04x}"))).collect();
    client.send(publishes).await;
    for n in 1..=2000 {
        client.expect(PUBREC, &format!("{n:04x}")).await;
    }
}

#[tokio::test]
async fn the_receive_maximum_begins_anew_with_each_connection() {
    let gateway = start("");
    let at = address(&gateway).await;
    let all: Vec<u8> = (1..=1000).flat_map(|n: u16| noted(PUBLISH | 4, &format!("<t> {n:04x} 00"))).collect();
    let (mut client, _) = Wire::connect_with(&at, 5, "anew", 0, "11 0000003c").await;
    client.send(all).await;
    for n in 1..=1000 {
        client.expect(PUBREC, &format!("{n:04x}")).await;
    }
    client.vanish();
    let (mut client, _) = Wire::connect_with(&at, 5, "anew", 0, "11 0000003c").await;
    let more: Vec<u8> = (1001..=2024).flat_map(|n: u16| noted(PUBLISH | 4, &format!("<t> {n:04x} 00"))).collect();
    client.send(more).await;
    for n in 1001..=2024 {
        client.expect(PUBREC, &format!("{n:04x}")).await;
    }
}

#[tokio::test]
async fn topic_aliases_stand_for_what_they_were_last_set_to() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut reader = Wire::connect(&at, 5, "reader").await;
    reader.subscribe("alias/#", 0, "").await;
    let mut client = Wire::connect(&at, 5, "aliases").await;
    for alias in 1..=10 {
        client.put(PUBLISH, &format!("<alias/{alias}> 03 23 {alias:04x}")).await;
        assert_eq!(reader.delivered().await.topic, format!("alias/{alias}"));
    }
    for (topic, alias, known) in
        [("", 3, "alias/3"), ("alias/new", 3, "alias/new"), ("", 3, "alias/new"), ("", 10, "alias/10")]
    {
        let name = if topic.is_empty() { "0000".to_owned() } else { format!("<{topic}>") };
        client.put(PUBLISH, &format!("{name} 03 23 {alias:04x}")).await;
        let delivery = reader.delivered().await;
        assert_eq!((&*delivery.topic, delivery.properties.get(0x23)), (known, None));
    }
    let mut again = Wire::connect(&at, 5, "aliases").await;
    client.ended(0x8E).await;
    again.put(PUBLISH, "0000 03 23 0003").await; // it belonged to the connection
    again.ended(0x82).await;
}

#[tokio::test]
async fn what_stands_beside_a_payload_arrives_as_it_was_sent() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut reader = Wire::connect(&at, 5, "reader").await;
    let mut old = Wire::connect(&at, 4, "old").await;
    for each in [&mut reader, &mut old] {
        each.subscribe("beside", 1, "").await;
    }
    let mut client = Wire::connect(&at, 5, "writer").await;
    let properties = "0101 02 0000003c 03 <text/plain> 08 <answers/here> 09 0003 00ff00 26 <Z> <1> 26 <A> <2> 26 <Z> <1> 26 0000 0000";
    client.publish_with(PUBLISH | 2, "beside", properties, "text").await;
    let got = reader.delivered().await;
    let said = &got.properties;
    assert_eq!(got.payload, b"text");
    assert_eq!(
        (said.number(0x01), said.text(0x03), said.text(0x08)),
        (Some(1), Some("text/plain"), Some("answers/here"))
    );
    assert_eq!(said.get(0x09), Some(&[0, 3, 0, 0xFF, 0][..]));
    assert!(said.number(0x02).is_some_and(|left| (50..=60).contains(&left)), "{said:?}");
    let user: Vec<_> = said.0.iter().filter(|(name, _)| *name == 0x26).map(|(_, value)| value.clone()).collect();
    let wanted = ["<Z> <1>", "<A> <2>", "<Z> <1>", "0000 0000"].map(super::wire::bytes);
    assert_eq!(user, wanted, "unaltered and in their order");
    assert_eq!(said.0.len(), 9, "{said:?}");
    let got = old.next().await.expect("a PUBLISH");
    assert_eq!(got.body, super::wire::bytes(&format!("<beside> {:02x}{:02x} 'text'", got.body[8], got.body[9])));
    // A content type need be no media type.
    for (content_type, wanted) in [("<no media type>", "no media type"), ("0000", ""), ("<a/b; c=d>", "a/b; c=d")] {
        client.publish_with(PUBLISH | 2, "beside", &format!("03 {content_type}"), "x").await;
        let said = reader.delivered().await.properties;
        assert_eq!((said.text(0x03), said.0.len()), (Some(wanted), 1));
        old.next().await.expect("a PUBLISH");
    }
    // The least that there is: nothing is added.
    client.publish("beside", "plain").await;
    assert_eq!(reader.delivered().await.properties.0, []);
}

#[tokio::test]
async fn payloads_are_bytes() {
    let gateway = start("");
    let at = address(&gateway).await;
    let all: String = (0..=255).map(|byte| format!("{byte:02x}")).collect();
    for version in [4, 5] {
        let mut client = Wire::connect(&at, version, "bytes").await;
        client.subscribe("bytes", 0, "").await;
        for payload in ["", "00", &all, "efbbbf", "'{\"specversion\":1}'"] {
            let more = if version == 5 { sized("") } else { String::new() };
            client.put(PUBLISH, &format!("<bytes> {more} {payload}")).await;
            assert_eq!(client.delivered().await.payload, super::wire::bytes(payload), "{payload}");
        }
    }
    let mut client = Wire::open(&at).await;
    client.send([connect(5, "fast", 2, ""), noted(PUBLISH, "<bytes> 00 'before CONNACK'")].concat()).await;
    client.next().await.expect("a CONNACK");
    client.ping().await;
}

#[tokio::test]
async fn what_cannot_be_stored_now_is_held_and_then_ends_the_connection() {
    let gateway = Gateway::start(
        r##"
listeners:
  { http: { address: "127.0.0.1:0" }, admin: { address: "127.0.0.1:0" }, mqtt: { address: "127.0.0.1:0" } }
connectors:
  memory: { kind: memory }
  away: { kind: mqtt, url: "mqtt://127.0.0.1:1" }
routes:
  - { name: away, channel: "away/#", to: [{ connector: away, topic: "{channel}" }] }
  - { name: rest, channel: "#", to: [{ connector: memory, topic: "{channel}" }] }
limits: { publish_timeout: 2s }
"##,
    );
    let at = address(&gateway).await;
    for version in [4, 5] {
        let more = if version == 5 { "00" } else { "" };
        let mut client = Wire::connect(&at, version, "held").await;
        client.put(PUBLISH, &format!("<away/a> {more} 'QoS 0 is lost'")).await;
        client.put(PUBLISH | 2, &format!("<here> 0001 {more}")).await;
        client.expect(PUBACK, "0001").await;
        let begun = Instant::now();
        client.put(PUBLISH | 2, &format!("<away/a> 0002 {more}")).await;
        client.put(PUBLISH | 4, &format!("<here> 0003 {more} 'in its order: behind what is held'")).await;
        client.ping().await; // all else goes on
        client.ended(0x89).await;
        let took = begun.elapsed();
        assert!((1900..10_000).contains(&took.as_millis()), "{took:?}");
    }
    let mut client = Wire::connect(&at, 5, "greedy").await;
    let all: Vec<u8> = (1..=1025u16).flat_map(|n| noted(PUBLISH | 2, &format!("<away/a> {n:04x} 00"))).collect();
    client.send(all).await;
    client.ended(0x93).await;
}
