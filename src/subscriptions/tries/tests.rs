use std::{sync::OnceLock, time::SystemTime};

use meshgate_api::{
    message::Message,
    position::{Place, Position},
};

use super::*;

fn record() -> Arc<Record> {
    Arc::new(Record {
        message: Message::default(),
        topic: "t".into(),
        position: Position { topic: "t".into(), partition: 0, place: Place::default() },
        next: Place::offset(1),
        key: None,
        time: SystemTime::UNIX_EPOCH,
        note: OnceLock::new(),
    })
}

fn tried(times: u32) -> Tried {
    Tried { times, given_up: None }
}

#[test]
fn each_record_has_its_own_tries() {
    let (mut tries, [one, other]) = (Tries::default(), [record(), record()]);
    tries.note(&one, tried(3));
    assert_eq!([tries.of(&one), tries.of(&other)], [tried(3), tried(0)]);
    tries.forget(&one);
    assert_eq!((tries.of(&one), tries.waiting()), (tried(0), 0));
}

#[test]
fn what_a_group_has_let_go_of_is_not_kept_for_ever() {
    let (mut tries, kept) = (Tries::default(), record());
    tries.note(&kept, tried(7));
    for _ in 0..10_000 {
        tries.note(&record(), tried(1));
        assert!(tries.waiting() <= FEW + 1, "{}", tries.waiting());
    }
    assert_eq!(tries.of(&kept), tried(7));
    let all: Vec<_> = (0..1000).map(|_| record()).collect();
    all.iter().for_each(|record| tries.note(record, tried(2)));
    assert!(all.iter().all(|record| tries.of(record) == tried(2)));
}

#[test]
fn each_rest_is_longer_up_to_the_longest_one() {
    let retry = Retry { attempts: None, initial: Duration::from_millis(200), max: Duration::from_secs(30) };
    let millis = |times, share| rest(&retry, times, share).as_millis();
    assert_eq!([1, 2, 3, 8, 9, u32::MAX].map(|times| millis(times, 1.0)), [200, 400, 800, 25_600, 30_000, 30_000]);
    assert_eq!([1, 9].map(|times| millis(times, 0.0)), [100, 15_000], "half of it at least");
    let (longest, jitter) = (Duration::MAX, 1.0);
    let retry = Retry { attempts: None, initial: Duration::from_secs(86_400), max: Duration::from_secs(86_400) };
    assert!(rest(&retry, 40, jitter) < longest);
}
