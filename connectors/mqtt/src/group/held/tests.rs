use std::sync::Arc;

use bytes::Bytes;
use meshgate_api::{Str, binding::mqtt::Properties, group::Bounds, topic::TopicSet};

use super::{Held, Taken};
use crate::{
    client::Arrival,
    group::{Door, Local, Settled},
};

const TOPIC: &str = "readings";

fn held_of(most: usize) -> Held {
    let bounds = Bounds { window: 100, bytes: 1 << 20 };
    let local = Local::new("group".into(), TopicSet::one(TOPIC), bounds, Door::default());
    Held::new("mqtt".into(), Arc::new(local), most)
}

fn held() -> Held {
    held_of(usize::MAX)
}

/// An event whose data is always the same.
fn arrival(packet: u16, id: &'static str, expiry: u32) -> Arrival {
    let user = [("specversion", "1.0"), ("id", id), ("source", "/device"), ("type", "reading")];
    let user = user.map(|(name, value)| (Str::from_static(name), Str::from_static(value))).into_iter().collect();
    Arrival {
        packet,
        topic: Bytes::from_static(TOPIC.as_bytes()),
        payload: Bytes::from_static(b"21.5"),
        properties: Some(Properties { user, expiry: Some(expiry), ..Properties::default() }),
        subscriptions: Vec::new(),
        retained: false,
    }
}

#[test]
fn what_comes_again_over_another_connection_is_held_once() {
    let mut held = held();
    assert_eq!(held.arrived(arrival(1, "a", 60)), Taken::Yes);
    held.begin();
    assert_eq!(held.arrived(arrival(1, "a", 59)), Taken::No, "the same, some time later");
    assert_eq!((held.unsettled(), held.unconfirmed()), (1, 1));
}

#[test]
fn another_event_of_the_same_data_under_the_same_packet_identifier_is_another_one() {
    let mut held = held();
    assert_eq!(held.arrived(arrival(1, "a", 60)), Taken::Yes);
    held.begin();
    assert_eq!(held.arrived(arrival(1, "b", 60)), Taken::Yes);
    assert_eq!((held.unsettled(), held.next_settled()), (2, None), "both are to be delivered");
}

#[test]
fn what_nobody_wants_is_confirmed_at_once_and_in_its_turn() {
    let mut held = held();
    let other = |packet| Arrival { topic: Bytes::from_static(b"other"), ..arrival(packet, "x", 60) };
    held.arrived(other(7));
    held.arrived(arrival(1, "a", 60));
    held.arrived(other(8));
    assert_eq!((held.next_settled(), held.next_settled()), (Some(7), None), "8 waits for 1");
}

#[test]
fn what_goes_over_the_bound_is_left_to_the_next_connection() {
    let mut held = held_of(1);
    assert_eq!(held.arrived(arrival(1, "a", 60)), Taken::Last, "one always fits");
    assert_eq!(held.arrived(arrival(2, "b", 60)), Taken::No);
    assert_eq!((held.unsettled(), held.unconfirmed(), held.wants_the_rest()), (1, 1, false), "a is on its way");
    let bytes = held.bytes;
    held.local.keeper.settled.lock().push(Settled { number: 1, topic: TOPIC.into(), bytes });
    held.settle();
    assert_eq!((held.next_settled(), held.next_settled()), (Some(1), None), "2 was not taken");
    assert!(held.wants_the_rest());
    held.begin();
    assert_eq!((held.arrived(arrival(2, "b", 60)), held.wants_the_rest()), (Taken::Last, false));
}
