//! Retained messages.

use super::wire::{PUBACK, PUBLISH, QUIET, SUBACK, SUBSCRIBE, Wire, address, start};

const RETAIN: u8 = 1;

#[tokio::test]
async fn the_last_one_of_each_topic_comes_with_a_subscription() {
    let gateway = start("");
    let at = address(&gateway).await;
    for version in [4, 5] {
        let mut writer = Wire::connect(&at, version, "writer").await;
        for (topic, payload) in [("a", "old"), ("a", "new"), ("b", "b"), ("b/c", "c")] {
            writer.publish_with(PUBLISH | 2 | RETAIN, &format!("r{version}/{topic}"), "", payload).await;
        }
        writer.publish(&format!("r{version}/a"), "not retained").await;
        let mut reader = Wire::connect(&at, version, "reader").await;
        for _ in 0..2 {
            reader.subscribe(&format!("r{version}/+"), 1, "").await; // with each SUBSCRIBE
            let mut got = [reader.delivered().await, reader.delivered().await];
            got.sort_by(|one, other| one.topic.cmp(&other.topic));
            for (got, (topic, payload)) in got.iter().zip([("a", "new"), ("b", "b")]) {
                assert_eq!((&*got.topic, &got.payload[..]), (&*format!("r{version}/{topic}"), payload.as_bytes()));
                assert_eq!((got.retain, got.qos, got.dup), (true, 1, false));
            }
            reader.nothing().await;
        }
        writer.publish_with(PUBLISH | 2 | RETAIN, &format!("r{version}/a"), "", "live").await;
        let got = reader.delivered().await;
        assert_eq!((&got.payload[..], got.retain), (&b"live"[..], false), "it matches a standing subscription");
        writer.publish_with(PUBLISH | 2 | RETAIN, &format!("r{version}/a"), "", "").await;
        let got = reader.delivered().await;
        assert_eq!((&got.payload[..], got.retain), (&b""[..], false), "what removes it is delivered, too");
        let mut late = Wire::connect(&at, version, "late").await;
        late.subscribe(&format!("r{version}/a"), 1, "").await;
        late.nothing().await;
    }
}

#[tokio::test]
async fn qualities_are_the_lower_of_both_and_qos_0_is_retained_too() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut writer = Wire::connect(&at, 5, "writer").await;
    writer.put(PUBLISH | RETAIN, "<q/0> 00 'x'").await;
    writer.publish_with(PUBLISH | 2 | RETAIN, "q/1", "", "x").await;
    writer.put(PUBLISH | 4 | RETAIN, "<q/2> 0001 00 'x'").await;
    writer.next().await.expect("a PUBREC");
    for asked in 0..3 {
        let mut reader = Wire::connect(&at, 5, "reader").await;
        reader.subscribe("q/+", asked, "0b 07").await;
        let mut got = Vec::new();
        for _ in 0..3 {
            let next = reader.delivered().await;
            assert_eq!(next.properties.subscriptions(), [7]);
            got.push((next.topic, next.qos, next.retain));
        }
        got.sort();
        let wanted = [0, 1, 2].map(|qos: u8| (format!("q/{qos}"), qos.min(asked), true));
        assert_eq!(got, wanted);
    }
}

#[tokio::test]
async fn retain_handling_says_when_they_come() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut writer = Wire::connect(&at, 5, "writer").await;
    writer.publish_with(PUBLISH | 2 | RETAIN, "h", "", "kept").await;
    let mut reader = Wire::connect(&at, 5, "reader").await;
    for (handling, comes) in [(2, false), (1, false), (0, true), (0, true), (1, false), (2, false)] {
        reader.subscribe("h", handling << 4, "").await;
        if comes {
            assert_eq!(reader.delivered().await.payload, b"kept");
        }
        reader.nothing().await;
    }
    reader.put(0xA2, "0001 00 <h>").await;
    reader.next().await.expect("an UNSUBACK");
    reader.subscribe("h", 1 << 4, "").await;
    assert_eq!(reader.delivered().await.payload, b"kept", "it is a new one again");
    // In one packet, each for itself.
    reader.put(SUBSCRIBE, "0002 00 <h> 20 <+> 00 <h/#> 10").await;
    reader.expect(SUBACK, "0002 00 00 00 00").await;
    for _ in 0..2 {
        assert_eq!(reader.delivered().await.payload, b"kept");
    }
    reader.nothing().await;
}

#[tokio::test]
async fn retain_as_published_keeps_the_flag() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut writer = Wire::connect(&at, 5, "writer").await;
    let mut keeps = Wire::connect(&at, 5, "keeps").await;
    let mut not = Wire::connect(&at, 5, "not").await;
    keeps.subscribe("flag", 0x08, "").await;
    not.subscribe("flag", 0, "").await;
    for retain in [0, RETAIN] {
        writer.publish_with(PUBLISH | 2 | retain, "flag", "", "x").await;
        assert_eq!(keeps.delivered().await.retain, retain == RETAIN);
        assert!(!not.delivered().await.retain);
    }
}

#[tokio::test]
async fn what_a_publish_carries_is_retained_with_it_until_it_expires() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut writer = Wire::connect(&at, 5, "writer").await;
    let properties = "02 0000003c 03 <text/plain> 08 <answers> 09 <data> 26 <Name> <value>";
    writer.publish_with(PUBLISH | 2 | RETAIN, "props", properties, "x").await;
    writer.publish_with(PUBLISH | 2 | RETAIN, "brief", "02 00000001", "x").await;
    tokio::time::sleep(std::time::Duration::from_millis(2000)).await;
    let mut reader = Wire::connect(&at, 5, "reader").await;
    reader.subscribe("props", 0, "").await;
    let got = reader.delivered().await.properties;
    assert!(got.number(0x02).is_some_and(|left| (40..=58).contains(&left)), "{got:?}");
    assert_eq!((got.text(0x03), got.text(0x08), got.text(0x09)), (Some("text/plain"), Some("answers"), Some("data")));
    assert!(got.get(0x26).is_some());
    reader.subscribe("brief", 0, "").await;
    reader.nothing().await;
    // They are no part of a session.
    reader.disconnect().await;
    writer.disconnect().await;
    let mut reader = Wire::connect(&at, 4, "reader").await;
    reader.subscribe("props", 0, "").await;
    assert_eq!(reader.delivered().await.payload, b"x");
}

#[tokio::test]
async fn a_publish_that_is_refused_is_not_retained() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut writer = Wire::connect(&at, 5, "writer").await;
    writer.put(PUBLISH | 2 | RETAIN, "<refused> 0001 02 0101 ff").await;
    let ack = writer.next().await.expect("a PUBACK");
    assert_eq!((ack.first, ack.body[2]), (PUBACK, 0x99));
    tokio::time::sleep(QUIET).await;
    writer.subscribe("refused", 0, "").await;
    writer.nothing().await;
}
