use std::{sync::OnceLock, time::SystemTime};

use super::*;
use crate::{event::Event, message::Message, position::Place};

mod model;

const ALL: NonZeroUsize = NonZeroUsize::new(1000).expect("not zero");

fn record(offset: u64, key: Option<&str>) -> Arc<Record> {
    record_in(0, offset, key)
}

fn record_in(partition: u32, offset: u64, key: Option<&str>) -> Arc<Record> {
    let message = Message { event: Box::new(Event::default()), channel: Some("channel".into()), ..Message::default() };
    Arc::new(Record {
        message,
        topic: "topic".into(),
        position: Position { partition, ..at(offset) },
        next: Place::offset(offset + 1),
        key: key.map(|key| key.to_owned().into()),
        time: SystemTime::UNIX_EPOCH,
        note: OnceLock::new(),
    })
}

fn at(offset: u64) -> Position {
    Position { topic: "topic".into(), partition: 0, place: Place::offset(offset) }
}

fn deal(window: usize) -> Deal {
    let mut deal = Deal::new(Bounds { window, bytes: 1 << 20 });
    deal.open(at(0).into());
    deal
}

fn push_all(deal: &mut Deal, offsets: std::ops::Range<u64>) {
    for offset in offsets {
        assert!(deal.push(record(offset, None), Instant::now()));
    }
}

fn offsets(taken: &[(u64, Arc<Record>)]) -> Vec<u64> {
    taken.iter().map(offset).collect()
}

fn low(deal: &Deal) -> u64 {
    deal.lows().next().expect("a partition").place.offset
}

fn offset((_, record): &(u64, Arc<Record>)) -> u64 {
    record.position.place.offset
}

fn again(after: Option<u64>) -> End {
    End::Returned { after: after.map(Duration::from_secs) }
}

#[test]
fn a_returned_record_parks_its_key_alone() {
    let (mut deal, now) = (deal(100), Instant::now());
    let member = deal.join(now);
    for (offset, key) in [(0, "a"), (1, "b"), (2, "a")] {
        deal.push(record(offset, Some(key)), now);
    }
    let taken = deal.take(member, ALL, now);
    assert_eq!(offsets(&taken), [0, 1, 2], "in the order of reading");
    for (offset, key) in [(3, "a"), (4, "b")] {
        deal.push(record(offset, Some(key)), now);
    }
    deal.settle(taken[0].0, again(Some(5)), now);
    deal.settle(taken[2].0, End::Settled, now);
    assert_eq!(offsets(&deal.take(member, ALL, now)), [4]);
    let due = deal.wait(member, Waker::noop().clone()).expect("something is parked");
    assert_eq!(due, now + Duration::from_secs(5));
    let returned = deal.take(member, ALL, due);
    assert_eq!(offsets(&returned), [0], "what was never delivered waits for it");
    deal.settle(returned[0].0, End::Settled, due);
    assert_eq!(offsets(&deal.take(member, ALL, due)), [3]);
    assert_eq!(low(&deal), 1);
}

#[test]
fn what_a_member_leaves_goes_to_others_and_its_late_words_count_nothing() {
    let (mut deal, now) = (deal(100), Instant::now());
    let (first, second) = (deal.join(now), deal.join(now));
    push_all(&mut deal, 0..3);
    let taken = deal.take(first, ALL, now);
    assert_eq!(taken.len(), 3, "a lane that its favourite does not wait for goes to who asks");
    push_all(&mut deal, 3..5);
    assert!(deal.take(second, ALL, now).is_empty(), "the order is the first one's while it has some of it");
    deal.leave(first, now);
    assert!(deal.settle(taken[0].0, End::Settled, now).is_none());
    assert_eq!(offsets(&deal.take(second, ALL, now)), [0, 1, 2, 3, 4]);
    assert_eq!(low(&deal), 0);
}

#[test]
fn what_a_called_member_does_not_fetch_is_offered_to_others() {
    let (mut deal, now) = (deal(100), Instant::now());
    let members = [deal.join(now), deal.join(now)];
    members.iter().for_each(|member| assert_eq!(deal.wait(*member, Waker::noop().clone()), None));
    deal.push(record(0, None), now);
    assert_eq!(deal.calls.len(), 1, "one is enough");
    let other = *deal.hungry.first().expect("the other one");
    assert!(deal.take(other, ALL, now).is_empty());
    deal.wait(other, Waker::noop().clone());
    deal.remind(now);
    assert!(deal.hungry.contains(&other));
    deal.remind(now + COURTESY);
    assert!(!deal.hungry.contains(&other), "it was called");
    assert_eq!(deal.take(other, ALL, now + COURTESY).len(), 1);
}

#[test]
fn what_is_parked_comes_when_it_is_due_though_its_member_has_left() {
    let now = Instant::now();
    let due = now + Duration::from_secs(5);
    for stays in [true, false] {
        let mut deal = deal(100);
        let first = deal.join(now);
        deal.push(record(0, None), now);
        let taken = deal.take(first, ALL, now);
        let idle = deal.join(now);
        assert_eq!(deal.wait(idle, Waker::noop().clone()), None);
        deal.settle(taken[0].0, again(Some(5)), now);
        assert_eq!(deal.calls.len(), 1, "who waits does not know yet when to ask again");
        assert!(deal.take(idle, ALL, now).is_empty());
        assert_eq!(deal.wait(idle, Waker::noop().clone()), Some(due));
        if !stays {
            deal.leave(first, now);
        }
        deal.calls.clear();
        deal.remind(due);
        assert_eq!(deal.calls.len(), 1, "at the latest when all are reminded");
        assert_eq!(offsets(&deal.take(idle, ALL, due)), [0]);
    }
}

#[test]
fn who_waits_learns_of_what_is_due_before_what_was_parked_earlier() {
    let (mut deal, now) = (deal(100), Instant::now());
    let (busy, idle) = (deal.join(now), deal.join(now));
    (0..2).for_each(|offset| assert!(deal.push(record(offset, Some(&offset.to_string())), now)));
    let taken = deal.take(busy, ALL, now);
    deal.settle(taken[0].0, again(Some(60)), now);
    assert_eq!(deal.wait(idle, Waker::noop().clone()), Some(now + Duration::from_secs(60)));
    deal.settle(taken[1].0, again(Some(5)), now);
    assert_eq!(deal.calls.len(), 1);
    assert!(deal.take(idle, ALL, now).is_empty());
    assert_eq!(deal.wait(idle, Waker::noop().clone()), Some(now + Duration::from_secs(5)));
}

#[test]
fn the_window_is_bounded() {
    let (mut deal, now) = (deal(3), Instant::now());
    let member = deal.join(now);
    let topic = Str::from("topic");
    let mut pushed = 0;
    while deal.room_in(&topic, 0) > 0 {
        deal.push(record(pushed, Some(&pushed.to_string())), now);
        pushed += 1;
    }
    assert_eq!(pushed, 4, "three ahead of the lowest");
    let taken = deal.take(member, ALL, now);
    deal.settle(taken[1].0, End::Settled, now);
    assert_eq!(deal.room_in(&topic, 0), 0);
    deal.settle(taken[0].0, End::Settled, now);
    assert_eq!(deal.room_in(&topic, 0), 2);
    assert_eq!(low(&deal), 2);
}

/// Reads a partition as long as there is room, one record at a time; how many that were.
fn read_on(deal: &mut Deal, partition: u32, first: u64) -> u64 {
    let mut offset = first;
    while deal.room_in(&"topic".into(), partition) > 0 {
        assert!(deal.push(record_in(partition, offset, None), Instant::now()));
        offset += 1;
    }
    offset - first
}

#[test]
fn what_is_stuck_in_one_partition_leaves_bytes_to_others() {
    const PARTITIONS: u32 = 4;
    let (mut deal, now) = (deal(1000), Instant::now());
    (1..PARTITIONS).for_each(|partition| deal.open(Position { partition, ..at(0) }.into()));
    let bytes = record(0, None).footprint();
    deal.bounds.bytes = 160 * bytes;
    let stuck = [0, 1, 2].map(|partition| read_on(&mut deal, partition, 0));
    assert_eq!(stuck, [80, 40, 20], "each stops when it has what is free");
    assert!(deal.room_in(&"topic".into(), 3) > 0 && deal.bytes < deal.bounds.bytes);
    // A read under way may go over the bound.
    (20..60).for_each(|offset| assert!(deal.push(record_in(2, offset, None), now)));
    assert!(deal.bytes > deal.bounds.bytes);
    let member = deal.join(now);
    for offset in 0..3 {
        assert_eq!(read_on(&mut deal, 3, offset), 1, "one at a time goes through even then");
        let taken: Vec<_> = (0..4).flat_map(|_| deal.take(member, ALL, now)).collect();
        let (delivery, _) = taken.iter().find(|(_, record)| record.position.partition == 3).expect("it is dealt");
        assert!(deal.settle(*delivery, End::Settled, now).is_some());
    }
    let held = |deal: &Deal| deal.partitions.values().map(|partition| partition.bytes).sum::<usize>();
    assert_eq!(held(&deal), deal.bytes);
    deal.close(&"topic".into(), 0);
    assert_eq!(held(&deal), deal.bytes);
}

#[test]
fn one_read_of_large_records_does_not_take_what_others_are_to_have() {
    let mut deal = deal(1000);
    deal.open(Position { partition: 1, ..at(0) }.into());
    deal.bounds.bytes = 160 * record(0, None).footprint();
    assert_eq!(deal.room_in(&"topic".into(), 0), 1001, "nothing is known yet of their size");
    push_all(&mut deal, 0..10);
    assert_eq!(deal.room_in(&"topic".into(), 0), 70);
    push_all(&mut deal, 10..80);
    assert_eq!(deal.room_in(&"topic".into(), 0), 0);
    assert!(deal.room_in(&"topic".into(), 1) > 0);
}

#[test]
fn what_is_no_record_is_passed_once_all_before_it_is_settled() {
    let (mut deal, now) = (deal(100), Instant::now());
    let (member, topic) = (deal.join(now), Str::from("topic"));
    push_all(&mut deal, 0..2);
    deal.pass(&topic, 0, Place::offset(3));
    deal.pass(&topic, 1, Place::offset(3)); // is not open
    let taken = deal.take(member, ALL, now);
    for (delivery, expected) in [(1, 0), (0, 3)] {
        deal.settle(taken[delivery].0, End::Settled, now);
        assert_eq!(low(&deal), expected);
    }
    push_all(&mut deal, 3..4);
    assert_eq!(low(&deal), 3);
    let taken = deal.take(member, ALL, now);
    deal.settle(taken[0].0, End::Settled, now);
    deal.pass(&topic, 0, Place::offset(2));
    assert_eq!(low(&deal), 4, "never back");
}

#[test]
fn who_asks_for_nothing_gets_little_read_ahead() {
    let (mut deal, now) = (deal(100_000), Instant::now());
    let member = deal.join(now);
    push_all(&mut deal, 0..READ_AHEAD as u64);
    assert!(!deal.has_room());
    let taken = deal.take(member, NonZeroUsize::MIN, now);
    deal.settle(taken[0].0, again(Some(60)), now);
    assert!(!deal.has_room());
    assert!(deal.take(member, ALL, now).is_empty());
    deal.wait(member, Waker::noop().clone());
    assert!(deal.has_room(), "a stuck key does not keep a member hungry");
}

#[test]
fn a_partition_goes_on_where_it_was_closed() {
    let (mut deal, now) = (deal(100), Instant::now());
    let member = deal.join(now);
    push_all(&mut deal, 0..4);
    let taken = deal.take(member, ALL, now);
    for settled in [0, 2] {
        assert!(deal.settle(taken[settled].0, End::Settled, now).is_some());
    }
    let resume = deal.close(&"topic".into(), 0).expect("it is open");
    assert_eq!(resume, Resume { at: at(1), settled: [Place::offset(2)].into() });
    assert!(deal.settle(taken[3].0, End::Settled, now).is_none());
    assert_eq!((deal.unsettled(), deal.bytes, deal.lanes.len()), (0, 0, 0));
    deal.open(resume);
    let is_new: Vec<_> = (1..4).map(|offset| deal.push(record(offset, None), now)).collect();
    assert_eq!(is_new, [true, false, true]);
    assert_eq!(offsets(&deal.take(member, ALL, now)), [1, 3]);
}
