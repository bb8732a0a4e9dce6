//! What clients are sent, and within which bounds of theirs.

use std::time::Duration;

use super::wire::{
    PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE, Wire, address, start,
};

#[tokio::test]
async fn no_more_is_unconfirmed_than_the_client_takes() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut writer = Wire::connect(&at, 5, "writer").await;
    let (mut reader, _) = Wire::connect_with(&at, 5, "reader", 2, "21 0002").await;
    reader.subscribe("window", 2, "").await;
    for n in 0..6 {
        let qos = if n % 2 == 0 { 2 } else { 4 };
        writer.put(PUBLISH | qos, &format!("<window> {:04x} 00 '{n}'", n + 1)).await;
        writer.next().await.expect("an acknowledgement");
    }
    let first = reader.delivered().await;
    let second = reader.delivered().await;
    assert_eq!((first.qos, &first.payload[..], second.qos), (1, &b"0"[..], 2));
    reader.nothing().await; // what is no PUBLISH is answered meanwhile
    reader.put(SUBSCRIBE, "0001 00 <other> 00").await;
    reader.expect(SUBACK, "0001 00 00").await;
    reader.put(PUBREC, &format!("{:04x}", second.packet)).await;
    reader.expect(PUBREL, &format!("{:04x}", second.packet)).await;
    reader.nothing().await; // until PUBCOMP it counts
    reader.put(PUBCOMP, &format!("{:04x}", second.packet)).await;
    let third = reader.delivered().await;
    assert_eq!(third.payload, b"2");
    reader.nothing().await;
    reader.put(PUBACK, &format!("{:04x} 80", first.packet)).await; // it is refused: that, too, is an end
    let fourth = reader.delivered().await;
    assert_eq!((fourth.qos, &fourth.payload[..]), (2, &b"3"[..]));
    reader.put(PUBREC, &format!("{:04x} 97", fourth.packet)).await;
    assert_eq!(reader.delivered().await.payload, b"4", "and no PUBREL before");
}

#[tokio::test]
async fn nothing_is_larger_than_the_client_takes_and_the_rest_goes_on() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut writer = Wire::connect(&at, 5, "writer").await;
    let (mut reader, _) = Wire::connect_with(&at, 5, "reader", 2, "27 00000028").await;
    reader.subscribe("size", 1, "").await;
    for (payload, fits) in [(20, true), (200, false), (29, true), (30, false), (1, true)] {
        writer.publish("size", &"x".repeat(payload)).await;
        if fits {
            let got = reader.delivered().await;
            assert_eq!(got.payload.len(), payload);
            reader.put(PUBACK, &format!("{:04x}", got.packet)).await;
        }
    }
    reader.nothing().await;
}

#[tokio::test]
async fn topic_aliases_are_sent_to_those_who_take_them() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut writer = Wire::connect(&at, 5, "writer").await;
    let (mut reader, _) = Wire::connect_with(&at, 5, "reader", 2, "22 0002").await;
    reader.subscribe("aliased/#", 0, "").await;
    let mut plain = Wire::connect(&at, 5, "plain").await;
    plain.subscribe("aliased/#", 0, "").await;
    let mut known = [const { String::new() }; 3];
    for topic in
        ["aliased/a", "aliased/b", "aliased/a", "aliased/b", "aliased/c", "aliased/b", "aliased/c", "aliased/a"]
    {
        writer.publish(topic, topic).await;
        let got = reader.delivered().await;
        let alias = got.properties.number(0x23).expect("an alias") as usize;
        assert!((1..=2).contains(&alias), "{alias}");
        if !got.topic.is_empty() {
            known[alias] = got.topic;
        }
        assert_eq!((known[alias].as_bytes(), &got.payload[..]), (topic.as_bytes(), topic.as_bytes()));
        let got = plain.delivered().await;
        assert_eq!((&*got.topic, got.properties.get(0x23)), (topic, None));
    }
    writer.publish("aliased/a", "x").await;
    assert_eq!(reader.delivered().await.topic, "", "it is in use");
    // With QoS 1: what is sent again to another connection is said in full.
    let (mut reader, _) = Wire::connect_with(&at, 5, "again", 0, "22 0010 11 0000003c").await;
    reader.subscribe("aliased/#", 1, "").await;
    for _ in 0..3 {
        writer.publish("aliased/d", "x").await;
    }
    let firsts = [reader.delivered().await.topic, reader.delivered().await.topic, reader.delivered().await.topic];
    assert_eq!(firsts, ["aliased/d", "", ""]);
    reader.vanish();
    let (mut reader, _) = Wire::connect_with(&at, 5, "again", 0, "11 0000003c").await;
    for _ in 0..3 {
        let got = reader.delivered().await;
        assert_eq!((&*got.topic, got.dup, got.properties.get(0x23)), ("aliased/d", true, None));
    }
}

#[tokio::test]
async fn what_has_expired_is_not_delivered_and_the_rest_of_its_time_is_told() {
    let gateway = start("");
    let at = address(&gateway).await;
    let (mut reader, _) = Wire::connect_with(&at, 5, "away", 0, "11 0000003c").await;
    reader.subscribe("expiry", 1, "").await;
    reader.disconnect().await;
    let mut writer = Wire::connect(&at, 5, "writer").await;
    for (seconds, payload) in [(0, "at once"), (1, "short"), (60, "long")] {
        writer.publish_with(PUBLISH | 2, "expiry", &format!("02 {seconds:08x}"), payload).await;
    }
    writer.publish("expiry", "ever").await;
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let (mut reader, _) = Wire::connect_with(&at, 5, "away", 0, "11 0000003c").await;
    let got = reader.delivered().await;
    let left = got.properties.number(0x02).expect("what is left");
    assert!(got.payload == b"long" && (40..=58).contains(&left), "{left} {got:?}");
    let got = reader.delivered().await;
    assert_eq!((&got.payload[..], got.properties.get(0x02)), (&b"ever"[..], None));
    reader.nothing().await;
    let mut reader = Wire::connect(&at, 5, "here").await;
    reader.subscribe("expiry", 0, "").await;
    writer.publish_with(PUBLISH | 2, "expiry", "02 00000001", "a second is time enough").await;
    let got = reader.delivered().await;
    assert_eq!((&got.payload[..], got.properties.number(0x02)), (&b"a second is time enough"[..], Some(1)));
}

#[tokio::test]
async fn what_was_begun_is_finished_though_nothing_more_is_wanted() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut client = Wire::connect(&at, 5, "finish").await;
    client.subscribe("finish", 2, "").await;
    client.put(PUBLISH | 4, "<finish> 0001 00").await;
    client.acknowledged(PUBREC, "0001").await;
    let got = client.delivered().await;
    client.put(UNSUBSCRIBE, "0002 00 <finish>").await;
    client.expect(UNSUBACK, "0002 00 00").await;
    client.put(PUBREC, &format!("{:04x}", got.packet)).await;
    client.expect(PUBREL, &format!("{:04x}", got.packet)).await;
    client.put(PUBCOMP, &format!("{:04x}", got.packet)).await;
    client.nothing().await;
}

#[tokio::test]
async fn each_topic_keeps_its_order() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut reader = Wire::connect(&at, 5, "reader").await;
    reader.subscribe("order/#", 1, "").await;
    let mut writer = Wire::connect(&at, 4, "writer").await;
    for n in 0..500 {
        writer
            .put(
                PUBLISH | if n % 2 == 0 { 0 } else { 2 },
                &format!("<order/a> {} '{n}'", if n % 2 == 0 { "" } else { "0001" }),
            )
            .await;
        if n % 2 == 1 {
            writer.expect(PUBACK, "0001").await;
        }
    }
    let mut packets = Vec::new();
    for n in 0..500u16 {
        let got = reader.delivered().await;
        assert_eq!((u16::from(got.qos), got.dup), (n % 2, false));
        assert_eq!(got.payload, n.to_string().as_bytes());
        packets.extend((got.packet > 0).then_some(got.packet));
    }
    packets.sort_unstable();
    packets.dedup();
    assert_eq!(packets.len(), 250, "each has a packet identifier of its own");
}
