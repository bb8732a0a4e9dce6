use std::num::NonZeroU16;

use meshgate_api::{
    connector::Settlement,
    position::{Place, Position},
};

use super::*;
use crate::{
    codec::mqtt::PublishProperties,
    protocols::mqtt::window::{Origin, Spot},
};

fn subscription(filter: &str, qos: Qos, identifier: Option<u32>) -> Subscription {
    let asked = Filter {
        filter: filter.into(),
        qos,
        no_local: identifier.is_some(),
        retain_as_published: identifier.is_none(),
        retain_handling: RetainHandling::Send,
    };
    Subscription::new(&asked, identifier).expect("a filter")
}

fn spot(offset: u64) -> Spot {
    let place = Place { generation: 3, offset, index: 1 };
    Spot { connector: "c".into(), topic: "t".into(), partition: 2, place }
}

fn packet(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).expect("not 0")
}

fn kept() -> Publish {
    let properties = PublishProperties {
        expiry: Some(60),
        response_topic: Some("answers".into()),
        user: vec![("a".into(), "b".into()), ("a".into(), "c".into())],
        subscriptions: vec![7, 8],
        ..PublishProperties::default()
    };
    let (qos, packet) = (Qos::AtLeastOnce, Some(packet(4)));
    Publish { qos, packet, topic: "x/y".into(), payload: "data".into(), properties, ..Publish::default() }
}

/// With three events of the log, of which the first is confirmed and the second released, and a message that is nowhere else.
fn session() -> (Session, Cursor) {
    let mut session = Session::default();
    session.subscriptions.push(subscription("a/+/#", Qos::ExactlyOnce, Some(9)));
    session.subscriptions.push(subscription("$share/g/b", Qos::AtMostOnce, None));
    session.unreleased.extend([5, 6]);
    for offset in 10..13 {
        session.window.enter(Origin::Log(spot(offset))).expect("new");
    }
    session.window.enter(Origin::Kept(Box::new(kept()))).expect("new");
    session.window.confirm(packet(2), &Settlement::Ack);
    session.window.release(packet(3));
    let mut after = Cursor::new(&session.own_filters().text());
    after.positions_mut(&"c".into()).set(Position { topic: "t".into(), partition: 2, place: Place::offset(10) });
    (session, after)
}

fn there_and_back(is_final: bool) -> Box<Session> {
    let (before, after) = session();
    let (raw, left_out) = content(&before, Some(&after), is_final, usize::MAX).expect("JSON");
    assert_eq!(left_out, 0);
    let read = super::session(&raw).expect("it can be read").expect("there is one");
    assert_eq!(read.after, Some(after));
    read
}

#[test]
fn a_session_that_has_ended_comes_back_as_it_was() {
    let mut read = there_and_back(true);
    let texts: Vec<_> = read.subscriptions.iter().map(|each| (&*each.text, each.qos, each.identifier)).collect();
    assert_eq!(texts, [("a/+/#", Qos::ExactlyOnce, Some(9)), ("$share/g/b", Qos::AtMostOnce, None)]);
    assert!(read.subscriptions[0].no_local && read.subscriptions[1].retain_as_published);
    assert_eq!(read.unreleased, HashSet::from([5, 6]));
    assert_eq!(
        read.window.resume(),
        [(packet(3), None), (packet(4), Some(kept()))],
        "the release, and what is here alone"
    );
    assert_eq!(read.window.enter(Origin::Log(spot(10))), Some((packet(1), true)), "it was sent before");
    assert_eq!(read.window.enter(Origin::Log(spot(11))), None, "it was confirmed");
    assert_eq!(read.window.enter(Origin::Log(spot(13))), Some((packet(5), false)));
}

#[test]
fn of_a_session_that_was_broken_off_no_packet_identifier_is_given_that_its_client_may_know() {
    let mut read = there_and_back(false);
    assert!(read.unreleased.is_empty(), "what was released since may be used for something else");
    read.window.resume();
    let (next, _) = read.window.enter(Origin::Log(spot(13))).expect("new");
    assert_eq!(next, packet(4 + window::GIVEN + 1));
    for offset in 14.. {
        let (next, _) = read.window.enter(Origin::Log(spot(offset))).expect("new");
        read.window.confirm(next, &Settlement::Ack);
        assert!(!(5..=4 + window::GIVEN).contains(&next.get()), "{next}");
        if next == packet(4 + window::GIVEN) || offset > 70_000 {
            break;
        }
    }
}

#[test]
fn messages_that_are_nowhere_else_make_room_oldest_first() {
    let (mut session, after) = session();
    session.window.enter(Origin::Kept(Box::new(kept()))).expect("new");
    let one = window::Entry::kept_bytes(session.window.entries().last().expect("one"));
    let (raw, left_out) = content(&session, Some(&after), true, 2 * one - 1).expect("JSON");
    assert_eq!(left_out, 1);
    let at_once = super::session(&raw).expect("it can be read").expect("there is one").window.resume();
    assert_eq!(at_once.iter().map(|(packet, _)| packet.get()).collect::<Vec<_>>(), [3, 5]);
}

#[test]
fn an_envelope_comes_back_and_a_later_format_is_not_read() {
    let (session, after) = session();
    let (raw, _) = content(&session, Some(&after), true, usize::MAX).expect("JSON");
    let mut envelope = Envelope::new(7, "here".into(), 60, Some(raw));
    let will = Will {
        topic: "gone".into(),
        payload: "x".into(),
        qos: Qos::ExactlyOnce,
        retain: true,
        delay: 5,
        properties: PublishProperties::default(),
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
    envelope.will = Some(LeftWill::new(&will).left(now, Duration::ZERO));
    let data = envelope.message().expect("JSON").event.data.expect("data");
    let read = Envelope::read(&data).expect("it can be read");
    assert_eq!((read.epoch, &*read.owner, read.is_connected, read.expiry), (7, "here", true, 60));
    assert_eq!(read.session.get(), envelope.session.get());
    let will = read.will.expect("a will");
    assert_eq!((will.at, will.has_delay()), (Some(105_000), true));
    let publish = will.publish().expect("it can be read");
    assert_eq!((&*publish.topic, publish.retain, publish.qos), ("gone", true, Qos::ExactlyOnce));
    envelope.format += 1;
    let data = envelope.message().expect("JSON").event.data.expect("data");
    assert!(Envelope::read(&data).expect_err("it is later").contains("later version"));
}

#[test]
fn a_record_without_data_removes() {
    assert_eq!(record(Vec::new()).event.data, None);
}
