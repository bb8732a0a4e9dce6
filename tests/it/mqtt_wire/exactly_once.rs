//! QoS 2 both ways, and what is sent again after a connection broke.

use crate::harness::page::Page;

use super::wire::{PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, Wire, address, noted, start};

const KEPT: &str = "11 0000003c";

/// A client whose session lasts.
async fn client(at: &str, version: u8, id: &str) -> (Wire, bool) {
    let more = if version == 5 { KEPT } else { "" };
    let (client, welcome) = Wire::connect_with(at, version, id, 0, more).await;
    (client, welcome.session_present)
}

fn none(version: u8) -> &'static str {
    if version == 5 { "00" } else { "" }
}

#[tokio::test]
async fn what_comes_again_before_it_is_released_is_one_event() {
    let gateway = start("");
    let at = address(&gateway).await;
    for version in [4, 5] {
        let topic = format!("again{version}");
        let publish =
            |dup: u8, payload: &str| noted(PUBLISH | 4 | dup, &format!("<{topic}> 0005 {} '{payload}'", none(version)));
        let (mut writer, _) = client(&at, version, "writer").await;
        for dup in [0, 8, 0] {
            writer.send(publish(dup, "one")).await;
            writer.expect(PUBREC, "0005").await;
        }
        writer.send([publish(8, "one"), publish(8, "one")].concat()).await;
        for _ in 0..2 {
            writer.expect(PUBREC, "0005").await;
        }
        writer.vanish();
        let (mut writer, was_there) = client(&at, version, "writer").await;
        assert!(was_there);
        writer.send(publish(8, "one")).await;
        writer.expect(PUBREC, "0005").await;
        writer.send([publish(8, "one"), noted(PUBREL, "0005")].concat()).await;
        let mut kinds = [writer.next().await.expect("a packet").first, writer.next().await.expect("a packet").first];
        kinds.sort_unstable();
        assert_eq!(kinds, [PUBREC, PUBCOMP]);
        writer.put(PUBREL, "0005").await;
        writer.expect(PUBCOMP, "0005").await; // no mismatch where a session goes on: the first PUBCOMP may have been lost
        writer.send(publish(8, "two")).await; // a new one, whatever DUP says
        writer.expect(PUBREC, "0005").await;
        writer.put(PUBREL, "0005").await;
        writer.expect(PUBCOMP, "0005").await;
        let stored = Page::read(&gateway, &topic).await.events;
        assert_eq!(stored.len(), 2, "{stored:?}");
        writer.disconnect().await;
    }
}

#[tokio::test]
async fn two_at_once_of_one_identifier_are_one_event_and_have_two_answers() {
    let gateway = start("");
    let at = address(&gateway).await;
    for version in [4, 5] {
        let mut writer = Wire::connect(&at, version, "twice").await;
        let publish = |first| noted(PUBLISH | first, &format!("<twice{version}> 0009 {}", none(version)));
        writer.send([publish(4), publish(4), publish(0x0C)].concat()).await;
        for _ in 0..3 {
            writer.expect(PUBREC, "0009").await;
        }
        writer.put(PUBREL, "0009").await;
        writer.expect(PUBCOMP, "0009").await;
        assert_eq!(Page::read(&gateway, &format!("twice{version}")).await.events.len(), 1);
        writer.nothing().await;
    }
}

#[tokio::test]
async fn a_packet_identifier_of_qos_2_is_in_use_until_it_is_released() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut writer = Wire::connect(&at, 5, "in-use").await;
    writer.put(PUBLISH | 4, "<t> 0001 00").await;
    writer.expect(PUBREC, "0001").await;
    writer.put(PUBLISH | 2, "<t> 0001 00").await;
    let ack = writer.next().await.expect("a PUBACK");
    assert_eq!((ack.first, &ack.body[..3]), (PUBACK, &[0, 1, 0x91][..]));
    writer.put(PUBREL, "0001").await;
    writer.expect(PUBCOMP, "0001").await;
    writer.put(PUBLISH | 2, "<t> 0001 00").await;
    writer.expect(PUBACK, "0001").await;
}

#[tokio::test]
async fn a_publish_that_was_refused_is_new_when_it_comes_again() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut writer = Wire::connect(&at, 5, "refused").await;
    writer.put(PUBLISH | 4, "<refused> 0001 02 0101 ff").await;
    assert_eq!(writer.next().await.expect("a PUBREC").body[2], 0x99);
    writer.put(PUBLISH | 0x0C, "<refused> 0001 02 0101 'x'").await;
    writer.expect(PUBREC, "0001").await;
    assert_eq!(Page::read(&gateway, "refused").await.events.len(), 1);
}

#[tokio::test]
async fn a_delivery_goes_on_where_it_was_when_the_connection_broke() {
    let gateway = start("");
    let at = address(&gateway).await;
    for version in [4, 5] {
        let (id, topic) = (format!("reader{version}"), format!("stages{version}"));
        let (mut reader, _) = client(&at, version, &id).await;
        reader.subscribe(&topic, 2, "").await;
        let mut writer = Wire::connect(&at, version, "writer").await;
        writer.put(PUBLISH | 4, &format!("<{topic}> 0001 {} 'x'", none(version))).await;
        writer.expect(PUBREC, "0001").await;
        // Sent, and nothing came back: again with DUP, as often as that happens.
        let first = reader.delivered().await;
        assert_eq!((first.qos, first.dup), (2, false));
        let packet = format!("{:04x}", first.packet);
        for _ in 0..2 {
            reader.vanish();
            reader = client(&at, version, &id).await.0;
            let again = reader.delivered().await;
            assert_eq!((again.qos, again.dup, again.packet, &again.payload[..]), (2, true, first.packet, &b"x"[..]));
            reader.nothing().await;
        }
        // PUBREC came: the release is sent again, and never the event.
        reader.put(PUBREC, &packet).await;
        reader.expect(PUBREL, &packet).await;
        reader.put(PUBREC, &packet).await;
        reader.expect(PUBREL, &packet).await;
        for _ in 0..2 {
            reader.vanish();
            reader = client(&at, version, &id).await.0;
            reader.expect(PUBREL, &packet).await;
            reader.nothing().await;
        }
        // PUBCOMP came: it is done.
        reader.put(PUBCOMP, &packet).await;
        reader.ping().await;
        reader.vanish();
        reader = client(&at, version, &id).await.0;
        reader.nothing().await;
        writer.publish(&topic, "next").await;
        let next = reader.delivered().await;
        assert_eq!((&next.payload[..], next.dup), (&b"next"[..], false));
    }
}

#[tokio::test]
async fn several_at_several_stages_go_on_in_their_order() {
    let gateway = start("");
    let at = address(&gateway).await;
    let (mut reader, _) = client(&at, 5, "stages").await;
    reader.subscribe("several", 2, "").await;
    let mut writer = Wire::connect(&at, 5, "writer").await;
    for n in 1..=8 {
        writer.put(PUBLISH | if n % 2 == 0 { 4 } else { 2 }, &format!("<several> {n:04x} 00 '{n}'")).await;
        writer.next().await.expect("an acknowledgement");
    }
    let mut packets = vec![0];
    for n in 1..=8u16 {
        let got = reader.delivered().await;
        assert_eq!((got.payload, u16::from(got.qos)), (n.to_string().into_bytes(), if n % 2 == 0 { 2 } else { 1 }));
        packets.push(got.packet);
    }
    reader.put(PUBACK, &format!("{:04x}", packets[3])).await; // out of order
    for n in [2, 6] {
        reader.put(PUBREC, &format!("{:04x}", packets[n])).await;
        reader.expect(PUBREL, &format!("{:04x}", packets[n])).await;
    }
    reader.put(PUBCOMP, &format!("{:04x}", packets[6])).await;
    reader.ping().await;
    reader.vanish();
    let (mut reader, _) = client(&at, 5, "stages").await;
    reader.expect(PUBREL, &format!("{:04x}", packets[2])).await;
    for n in [1, 4, 5, 7, 8] {
        let got = reader.delivered().await;
        assert_eq!((got.payload, got.packet, got.dup), (n.to_string().into_bytes(), packets[n], true));
    }
    reader.nothing().await;
}

#[tokio::test]
async fn what_was_sent_before_it_expired_is_sent_again() {
    let gateway = start("");
    let at = address(&gateway).await;
    let (mut reader, _) = client(&at, 5, "expired").await;
    reader.subscribe("expired", 2, "").await;
    let mut writer = Wire::connect(&at, 5, "writer").await;
    writer.put(PUBLISH | 4, "<expired> 0001 05 02 00000001 'x'").await;
    writer.expect(PUBREC, "0001").await;
    let first = reader.delivered().await;
    reader.vanish();
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let (mut reader, _) = client(&at, 5, "expired").await;
    let again = reader.delivered().await;
    assert_eq!((again.packet, again.dup, &again.payload[..]), (first.packet, true, &b"x"[..]));
}
