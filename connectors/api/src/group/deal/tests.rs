use std::{
    collections::{BTreeMap, HashMap},
    sync::OnceLock,
    time::SystemTime,
};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{event::Event, message::Message, position::Place};

const ALL: NonZeroUsize = NonZeroUsize::new(1000).expect("not zero");

fn record(offset: u64, key: Option<&str>) -> Arc<Record> {
    let message = Message { event: Event::default(), channel: Some("channel".into()), ..Message::default() };
    Arc::new(Record {
        message: Arc::new(message),
        topic: "topic".into(),
        position: at(offset),
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
fn the_window_and_the_bytes_are_bounded() {
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
    let bytes = record(9, None).footprint();
    deal.bounds.bytes = deal.bytes + bytes;
    assert!(deal.has_room());
    deal.push(record(4, None), now);
    assert!(!deal.has_room());
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

#[derive(Clone, Copy, Debug)]
enum Step {
    Push(Option<u8>),
    Take(usize, usize),
    Settle(usize, u8),
    Join,
    Leave(usize),
    Wait(usize),
    Pass(u64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => proptest::option::of(0u8..4).prop_map(Step::Push),
        6 => (any::<usize>(), 1usize..6).prop_map(|(member, max)| Step::Take(member, max)),
        8 => (any::<usize>(), 0u8..5).prop_map(|(delivery, end)| Step::Settle(delivery, end)),
        1 => Just(Step::Join),
        1 => any::<usize>().prop_map(Step::Leave),
        2 => any::<usize>().prop_map(Step::Wait),
        2 => (0u64..4).prop_map(Step::Pass),
        1 => Just(Step::Reopen),
    ]
}

/// What is known from outside of a [`Deal`].
struct Model {
    deal: Deal,
    now: Instant,
    members: Vec<MemberId>,
    keys: Vec<Option<u8>>,
    next: u64,
    settled: BTreeSet<u64>,
    /// By delivery: offset and member.
    held: BTreeMap<u64, (u64, MemberId)>,
    seen: BTreeSet<u64>,
    returned: BTreeSet<u64>,
}

impl Model {
    fn new() -> Self {
        let (deal, now) = (deal(20), Instant::now());
        let (members, keys, settled) = (Vec::new(), Vec::new(), BTreeSet::new());
        let (held, seen, returned) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Self { deal, now, members, keys, next: 0, settled, held, seen, returned }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Push(key) => {
                if self.deal.room_in(&"topic".into(), 0) > 0 {
                    if self.next == self.keys.len() as u64 {
                        self.keys.push(key);
                    }
                    let key = self.keys[self.next as usize].map(|key| key.to_string());
                    let is_new = self.deal.push(record(self.next, key.as_deref()), self.now);
                    assert_eq!(is_new, !self.settled.contains(&self.next));
                    self.next += 1;
                }
            }
            Step::Take(member, max) => {
                if let Some(member) = pick(&self.members, member) {
                    self.take(member, max);
                }
            }
            Step::Settle(delivery, end) => {
                let held: Vec<_> = self.held.keys().copied().collect();
                if let Some(delivery) = pick(&held, delivery) {
                    self.settle(delivery, end);
                }
            }
            Step::Join => self.members.push(self.deal.join(self.now)),
            Step::Leave(member) => {
                if let Some(member) = pick(&self.members, member) {
                    self.deal.leave(member, self.now);
                    self.members.retain(|other| *other != member);
                    self.held.retain(|_, (_, holder)| *holder != member);
                }
            }
            Step::Wait(member) => {
                if let Some(member) = pick(&self.members, member) {
                    self.deal.wait(member, Waker::noop().clone());
                }
            }
            Step::Pass(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.deal.remind(self.now);
            }
            Step::Reopen => {
                let resume = self.deal.close(&"topic".into(), 0).expect("it is open");
                self.next = resume.at.place.offset;
                self.held.clear();
                self.seen = self.settled.clone();
                self.returned.clear();
                self.deal.open(resume);
            }
        }
        let low = low(&self.deal);
        assert!((0..low).all(|offset| self.settled.contains(&offset)), "below {low} all is settled");
        assert!(low == self.next || !self.settled.contains(&low), "{low} is the lowest gap");
        assert!(self.next - low <= 21, "the window is bounded");
    }

    fn take(&mut self, member: MemberId, max: usize) {
        for (delivery, record) in self.deal.take(member, NonZeroUsize::new(max).expect("not zero"), self.now) {
            let offset = record.position.place.offset;
            assert!(!self.settled.contains(&offset), "{offset} was settled");
            let key = self.keys[offset as usize];
            let in_flight: HashMap<u64, MemberId> = self.held.values().copied().collect();
            for earlier in (0..offset).filter(|earlier| self.keys[*earlier as usize] == key) {
                assert!(
                    self.settled.contains(&earlier) || in_flight.get(&earlier) == Some(&member),
                    "{earlier} comes before {offset}, to the same member"
                );
                let is_stuck = self.returned.contains(&earlier) && !self.settled.contains(&earlier);
                assert!(!is_stuck || self.seen.contains(&offset), "{offset} waits until {earlier} is settled");
            }
            self.seen.insert(offset);
            assert!(self.held.insert(delivery, (offset, member)).is_none());
        }
    }

    fn settle(&mut self, delivery: u64, end: u8) {
        let (offset, _) = self.held.remove(&delivery).expect("it is held");
        let (end, settles) = match end {
            0 => (again(None), false),
            1 => (again(Some(2)), false),
            2 => (End::Abandoned, false),
            _ => (End::Settled, true),
        };
        if matches!(end, End::Returned { .. }) {
            self.returned.insert(offset);
        }
        assert_eq!(self.deal.settle(delivery, end, self.now).is_some(), settles);
        if settles {
            self.settled.insert(offset);
        }
    }

    /// Everything can still be delivered and settled.
    fn finish(mut self) {
        for member in std::mem::take(&mut self.members) {
            self.deal.leave(member, self.now);
        }
        self.held.clear();
        let member = self.deal.join(self.now);
        for _ in 0..=self.keys.len() {
            self.step(Step::Pass(3));
            self.take(member, 1000);
            let held: Vec<_> = self.held.keys().copied().collect();
            held.into_iter().for_each(|delivery| self.settle(delivery, 4));
        }
        assert_eq!(low(&self.deal), self.next);
        assert_eq!((self.deal.unsettled(), self.deal.bytes, self.deal.lanes.len()), (0, 0, 0));
        assert!(self.deal.lane_names.is_empty() && self.deal.parked.is_empty() && self.deal.deliveries.is_empty());
    }
}

fn pick<T: Copy>(all: &[T], number: usize) -> Option<T> {
    all.get(number % all.len().max(1)).copied()
}

proptest! {
    #[test]
    fn whatever_becomes_of_deliveries_nothing_is_lost_and_order_is_kept(steps in vec(step(), 1..200)) {
        let mut model = Model::new();
        steps.into_iter().for_each(|step| model.step(step));
        model.finish();
    }
}
