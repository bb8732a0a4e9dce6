//! Whatever becomes of deliveries, nothing is lost and order is kept: steps by chance, against what is known from outside.

use proptest::{collection::vec, prelude::*};

use super::*;

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
