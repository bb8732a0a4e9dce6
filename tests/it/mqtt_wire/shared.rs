//! Shared subscriptions.

use super::wire::{PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, Wire, address, start};

#[tokio::test]
async fn an_event_goes_to_one_member_of_each_group_and_to_all_others() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut members = Vec::new();
    for (id, filter) in [("a", "$share/g/s/#"), ("b", "$share/g/s/#"), ("c", "$share/h/s/#"), ("d", "s/#")] {
        let mut member = Wire::connect(&at, 5, id).await;
        member.subscribe(filter, 0, "0b 09").await;
        members.push(member);
    }
    let mut writer = Wire::connect(&at, 4, "writer").await;
    for n in 0..40 {
        writer.publish(&format!("s/{n}"), "x").await;
    }
    for alone in &mut members[2..] {
        for _ in 0..40 {
            assert_eq!(alone.delivered().await.properties.subscriptions(), [9]);
        }
        alone.nothing().await;
    }
    let mut shares = [0; 2];
    for (member, share) in members[..2].iter_mut().zip(&mut shares) {
        member.put(0xC0, "").await;
        while let got = member.next().await.expect("a packet")
            && got.first != 0xD0
        {
            assert!(got.delivery(5).topic.starts_with("s/"));
            *share += 1;
        }
    }
    assert_eq!(shares[0] + shares[1], 40, "{shares:?}");
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
}

#[tokio::test]
async fn a_group_is_its_name_and_its_filter_and_gets_nothing_retained() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut writer = Wire::connect(&at, 5, "writer").await;
    writer.publish_with(PUBLISH | 3, "kept/x", "", "retained").await;
    let mut member = Wire::connect(&at, 5, "member").await;
    member.subscribe("$share/g/kept/#", 1, "").await;
    member.subscribe("$share/g/kept/+", 1, "").await;
    member.nothing().await;
    writer.publish("kept/x", "live").await;
    for _ in 0..2 {
        let got = member.delivered().await;
        assert_eq!((&got.payload[..], got.retain), (&b"live"[..], false));
        member.put(PUBACK, &format!("{:04x}", got.packet)).await;
    }
    member.nothing().await;
    member.put(0xA2, "0001 00 <$share/g/kept/+>").await;
    member.expect(0xB0, "0001 00 00").await;
    writer.publish("kept/x", "one").await;
    assert_eq!(member.delivered().await.payload, b"one");
    member.nothing().await;
}

/// Two members that each wait for what is published to `topic`; the one that got the first event comes first, with that.
async fn first_of_two(at: &str, topic: &str, qos: u8) -> (Wire, Wire, super::wire::Delivery) {
    let mut members = Vec::new();
    for id in ["one", "two"] {
        let (mut member, _) = Wire::connect_with(at, 5, &format!("{topic}-{id}"), 0, "11 0000003c").await;
        member.subscribe(&format!("$share/g/{topic}"), qos, "").await;
        members.push(member);
    }
    let mut writer = Wire::connect(at, 5, "writer").await;
    writer.put(PUBLISH | qos << 1, &format!("<{topic}> 0001 00 'x'")).await;
    writer.next().await.expect("an acknowledgement");
    let (mut two, mut one) = (members.pop().expect("two"), members.pop().expect("one"));
    tokio::select! {
        got = one.delivered() => (one, two, got),
        got = two.delivered() => (two, one, got),
    }
}

#[tokio::test]
async fn what_a_member_has_not_confirmed_goes_to_another_when_it_vanishes() {
    let gateway = start("");
    let at = address(&gateway).await;
    for (topic, qos) in [("vanished1", 1), ("vanished2", 2)] {
        let (vanishing, mut other, got) = first_of_two(&at, topic, qos).await;
        assert_eq!(got.qos, qos);
        other.nothing().await;
        vanishing.vanish();
        assert_eq!(other.delivered().await.payload, b"x", "{topic}");
    }
}

#[tokio::test]
async fn an_event_of_qos_2_is_settled_with_pubcomp() {
    let gateway = start("");
    let at = address(&gateway).await;
    // Between PUBREC and PUBCOMP: it goes to another.
    let (mut vanishing, mut other, got) = first_of_two(&at, "between", 2).await;
    vanishing.put(PUBREC, &format!("{:04x}", got.packet)).await;
    vanishing.expect(PUBREL, &format!("{:04x}", got.packet)).await;
    other.nothing().await;
    vanishing.vanish();
    assert_eq!(other.delivered().await.payload, b"x");
    // After PUBCOMP: it does not.
    let (mut vanishing, mut other, got) = first_of_two(&at, "after", 2).await;
    vanishing.put(PUBREC, &format!("{:04x}", got.packet)).await;
    vanishing.expect(PUBREL, &format!("{:04x}", got.packet)).await;
    vanishing.put(PUBCOMP, &format!("{:04x}", got.packet)).await;
    vanishing.ping().await;
    vanishing.vanish();
    other.nothing().await;
}

#[tokio::test]
async fn what_a_member_refuses_goes_to_nobody_else() {
    let gateway = start("");
    let at = address(&gateway).await;
    for (topic, qos, first) in [("refused1", 1, PUBACK), ("refused2", 2, PUBREC)] {
        let (mut member, mut other, got) = first_of_two(&at, topic, qos).await;
        member.put(first, &format!("{:04x} 80", got.packet)).await;
        member.nothing().await;
        member.vanish();
        other.nothing().await;
    }
}
