use std::{
    future::poll_fn,
    num::NonZeroUsize,
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use futures::FutureExt;

use super::*;
use crate::{event::Event, message::Message, position::Position};

fn record(topic: &'static str, partition: u32, offset: u64) -> Arc<Record> {
    let place = Place::offset(offset);
    let event = Event { id: format!("{topic}{partition}-{offset}").into(), ..Event::default() };
    Arc::new(Record {
        message: Message { event: Box::new(event), ..Message::default() },
        topic: Str::from_static(topic),
        position: Position { topic: Str::from_static(topic), partition, place },
        next: Place::offset(offset + 1),
        key: None,
        time: SystemTime::UNIX_EPOCH,
        note: OnceLock::new(),
    })
}

fn log(records: usize) -> Arc<Log> {
    Arc::new(Log::new(records * record("a", 0, 0).footprint()))
}

fn ids(follower: &mut Follower, max: usize) -> Result<Vec<String>, Behind> {
    let mut records = Records::new();
    follower.read(NonZeroUsize::new(max).expect("not zero"), &mut records)?;
    Ok(records.iter().map(|record| record.message.event.id.to_string()).collect())
}

fn both() -> TopicSet {
    TopicSet { names: vec!["a".into(), "b".into()], patterns: Vec::new() }
}

#[test]
fn follows_its_topics_in_the_order_of_appending() {
    let log = log(100);
    let mut all = log.follow(both(), |lane| lane.floor).expect("nothing is missing");
    let mut only_b = log.follow(TopicSet::one("b"), |lane| lane.floor).expect("nothing is missing");
    for record in [record("a", 0, 0), record("b", 0, 7), record("a", 1, 0), record("c", 0, 0), record("b", 0, 9)] {
        log.appender().append(record);
    }
    assert_eq!(ids(&mut all, 2).as_deref(), Ok(&["a0-0".to_owned(), "b0-7".into()][..]));
    assert_eq!(ids(&mut all, 9).as_deref(), Ok(&["a1-0".to_owned(), "b0-9".into()][..]));
    assert_eq!(ids(&mut only_b, 1).as_deref(), Ok(&["b0-7".to_owned()][..]));
    assert_eq!(ids(&mut only_b, 1).as_deref(), Ok(&["b0-9".to_owned()][..]));
    assert_eq!(ids(&mut only_b, 1).as_deref(), Ok(&[][..]));
}

#[test]
fn starts_where_the_reader_stood() {
    let log = log(100);
    (0..10).for_each(|offset| log.appender().append(record("a", 0, offset)));
    let mut late = log.follow(TopicSet::one("a"), |_| Place::offset(8)).expect("it is all there");
    assert_eq!(ids(&mut late, 9).as_deref(), Ok(&["a0-8".to_owned(), "a0-9".into()][..]));
    let mut ahead = log.follow(both(), |_| Place::offset(11)).expect("it is all there");
    (10..13).for_each(|offset| log.appender().append(record("a", 0, offset)));
    assert_eq!(ids(&mut ahead, 9).as_deref(), Ok(&["a0-11".to_owned(), "a0-12".into()][..]));
}

#[test]
fn never_shows_a_gap() {
    let log = log(4);
    let mut slow = log.follow(both(), |lane| lane.floor).expect("nothing is missing");
    (0..6).for_each(|offset| log.appender().append(record("a", 0, offset)));
    let behind = Behind { topic: "a".into(), partition: 0, floor: Place::offset(2) };
    assert_eq!(ids(&mut slow, 9), Err(behind.clone()));
    assert_eq!(log.follow(both(), |_| Place::offset(1)).map(|_| ()), Err(behind));
    assert!(log.follow(both(), |_| Place::offset(2)).is_ok());
}

#[test]
fn what_others_lose_is_no_loss() {
    let log = log(4);
    log.appender().append(record("b", 0, 0));
    let mut patient = log.follow(TopicSet::one("b"), |lane| lane.floor).expect("nothing is missing");
    assert_eq!(ids(&mut patient, 9).as_deref(), Ok(&["b0-0".to_owned()][..]));
    (0..20).for_each(|offset| log.appender().append(record("a", 0, offset)));
    assert_eq!(ids(&mut patient, 9).as_deref(), Ok(&[][..]));
    log.appender().append(record("b", 0, 1));
    assert_eq!(ids(&mut patient, 9).as_deref(), Ok(&["b0-1".to_owned()][..]));
}

#[test]
fn a_removed_topic_ends_its_followers() {
    let log = log(100);
    log.appender().append(record("a", 0, 5));
    let mut follower = log.follow(both(), |lane| lane.floor).expect("nothing is missing");
    log.remove("a");
    assert!(ids(&mut follower, 9).is_err());
    log.appender().append(record("a", 0, 0));
    let mut anew = log.follow(both(), |lane| lane.floor).expect("nothing is missing");
    assert_eq!(ids(&mut anew, 9).as_deref(), Ok(&["a0-0".to_owned()][..]));
}

#[test]
fn holds_the_newest_however_large() {
    let log = Arc::new(Log::new(1));
    (0..3).for_each(|offset| log.appender().append(record("a", 0, offset)));
    assert_eq!(log.usage().1, 1);
}

#[tokio::test]
async fn wakes_who_waits() {
    let log = log(100);
    let mut follower = log.follow(both(), |lane| lane.floor).expect("nothing is missing");
    for offset in 0..3 {
        let mut records = Records::new();
        let reading = poll_fn(|cx| follower.poll_read(cx, NonZeroUsize::MIN, &mut records));
        let (at_end, ()) = tokio::join!(reading, async { log.appender().append(record("b", 3, offset)) });
        assert_eq!((at_end, records[0].next.offset), (Ok(true), offset + 1));
    }
}

#[tokio::test]
async fn looks_again_only_at_what_has_changed() {
    let log = log(100);
    let mut follower = log.follow(both(), |lane| lane.floor).expect("nothing is missing");
    (0..2).for_each(|offset| log.appender().append(record("a", 0, offset)));
    let mut records = Records::new();
    let mut poll = || poll_fn(|cx| follower.poll_read(cx, NonZeroUsize::MIN, &mut records)).now_or_never();
    assert_eq!(poll(), Some(Ok(false)));
    assert_eq!(poll(), Some(Ok(true)), "nobody rang since, and there is one more");
    assert_eq!(poll(), None);
    let held = log.inner.lock();
    assert_eq!(poll(), None, "and waits for no lock");
    drop(held);
}

#[tokio::test]
async fn passes_what_is_no_record_when_all_before_is_read() {
    let log = log(100);
    let mut follower = log.follow(both(), |lane| lane.floor).expect("nothing is missing");
    let mut appender = log.appender();
    (0..2).for_each(|offset| appender.append(record("a", 0, offset)));
    appender.append(record("b", 0, 0));
    appender.pass("a", 0, Place::offset(3));
    appender.pass("elsewhere", 0, Place::offset(9));
    drop(appender);
    let passed = |offset| [Position { topic: "a".into(), partition: 0, place: Place::offset(offset) }].into_iter();
    for (max, id, expected) in [(1, "a0-0", None), (1, "a0-1", None), (9, "b0-0", Some(3)), (9, "", None)] {
        assert_eq!(ids(&mut follower, max).expect("nothing is missing").join(" "), id);
        assert_eq!(follower.take_passed(), expected.into_iter().flat_map(passed).collect(), "{id}");
    }

    let mut records = Records::new();
    let max = NonZeroUsize::new(9).expect("not zero");
    let mut poll = |follower: &mut Follower| poll_fn(|cx| follower.poll_read(cx, max, &mut records)).now_or_never();
    assert_eq!(poll(&mut follower), None);
    log.appender().pass("a", 0, Place::offset(2)); // it was further on already
    assert_eq!(poll(&mut follower), None);
    log.appender().pass("a", 0, Place::offset(5));
    assert_eq!(poll(&mut follower), Some(Ok(true)), "it is woken");
    assert_eq!(follower.take_passed(), passed(5).collect());
    assert_eq!(poll(&mut follower), None);
    log.appender().append(record("a", 0, 5));
    assert_eq!(poll(&mut follower), Some(Ok(true)));
    assert!(follower.take_passed().is_empty());

    let mut only = log.follow(TopicSet::one("a"), |_| Place::offset(2)).expect("it is all there");
    assert_eq!(ids(&mut only, 9).as_deref(), Ok(&["a0-5".to_owned()][..]));
    assert!(only.take_passed().is_empty(), "the record is further on");
}

#[test]
fn forgets_followers_that_left() {
    let log = log(100);
    log.appender().append(record("a", 0, 0));
    drop(log.follow(both(), |lane| lane.floor));
    let inner = log.inner.lock();
    assert!(inner.followers.is_empty() && inner.lanes[0].followers.is_empty());
}

const ALL: NonZeroUsize = NonZeroUsize::new(100).expect("not zero");

fn holder_ids(holder: &mut Holder) -> Vec<String> {
    let mut ids = Vec::new();
    while let Some(records) = poll_fn(|cx| holder.poll_read(cx, ALL, |_, _| 100)).now_or_never() {
        ids.extend(ids_of(&records));
    }
    ids
}

/// What one read gives when there is room for so many of topic `a`.
fn ids_with_room(holder: &mut Holder, max: NonZeroUsize, room: usize) -> Vec<String> {
    let read = poll_fn(|cx| holder.poll_read(cx, max, |topic, _| if topic == "a" { room } else { 100 }));
    read.now_or_never().map_or_else(Vec::new, |records| ids_of(&records))
}

fn ids_of(records: &Records) -> Vec<String> {
    records.iter().map(|record| record.message.event.id.to_string()).collect()
}

#[test]
fn a_lane_without_room_stalls_alone_and_catches_up() {
    let log = log(6);
    let mut holder = log.hold(both(), |lane| lane.floor);
    let append = |topic, offset| log.appender().append(record(topic, 0, offset));
    (0..4).for_each(|offset| append("a", offset));
    (0..2).for_each(|offset| append("b", offset));
    assert_eq!(ids_with_room(&mut holder, ALL, 1), ["a0-0", "b0-0", "b0-1"]);
    assert!(ids_with_room(&mut holder, ALL, 0).is_empty());
    let hold = holder.hold();
    [0, 4, 5].into_iter().for_each(|sequence| hold.release(sequence));
    (2..5).for_each(|offset| append("b", offset)); // what the lane has not read yet is no longer among the newest
    assert_eq!(ids_with_room(&mut holder, ALL, 0), ["b0-2", "b0-3", "b0-4"]);
    [6, 7, 8].into_iter().for_each(|sequence| hold.release(sequence));
    assert_eq!(ids_with_room(&mut holder, ALL, 1), ["a0-1"], "though nothing was appended");
    append("a", 4);
    append("b", 5);
    assert_eq!(ids_with_room(&mut holder, ALL, 1), ["a0-2", "b0-5"]);
    assert_eq!(ids_with_room(&mut holder, NonZeroUsize::MIN, 9), ["a0-3"]);
    append("b", 6);
    append("a", 5);
    assert_eq!(ids_with_room(&mut holder, NonZeroUsize::MIN, 9), ["a0-4"], "what stalled goes on in its order");
    assert_eq!(ids_with_room(&mut holder, ALL, 9), ["b0-6", "a0-5"]);
    drop(holder);
    assert!(log.appender().has_room(6 * record("a", 0, 0).footprint()), "all is released");
}

#[test]
fn a_stalled_lane_survives_a_turn_to_other_topics() {
    let log = log(10);
    let mut holder = log.hold(both(), |lane| lane.floor);
    (0..3).for_each(|offset| log.appender().append(record("a", 0, offset)));
    log.appender().append(record("b", 0, 0));
    assert_eq!(ids_with_room(&mut holder, ALL, 1), ["a0-0", "b0-0"]);
    let three = TopicSet { names: vec!["a".into(), "b".into(), "c".into()], patterns: Vec::new() };
    holder.turn_to(three);
    log.appender().append(record("c", 0, 0));
    assert_eq!(ids_with_room(&mut holder, ALL, 1), ["a0-1", "c0-0"]);
    holder.turn_to(TopicSet::one("b"));
    assert!(ids_with_room(&mut holder, ALL, 1).is_empty());
    holder.turn_to(both());
    assert_eq!(ids_with_room(&mut holder, ALL, 9), ["a0-0", "a0-1", "a0-2"], "left and entered again: from its floor");
}

#[test]
fn what_is_held_makes_no_room_until_it_is_released() {
    let log = log(4);
    let footprint = record("a", 0, 0).footprint();
    let mut holder = log.hold(TopicSet::one("a"), |lane| lane.floor);
    let hold = holder.hold();
    [record("a", 0, 0), record("b", 0, 0), record("a", 0, 1)]
        .into_iter()
        .for_each(|record| log.appender().append(record));
    for offset in 1..10 {
        assert!(log.appender().has_room(footprint));
        log.appender().append(record("b", 0, offset));
        assert_eq!(log.usage(), (4 * footprint, 4), "others make room");
    }
    assert_eq!(holder_ids(&mut holder), ["a0-0", "a0-1"], "as if nothing had been forgotten");
    assert_eq!(log.floor("a", 0), Some((Place::offset(2), 2)), "other readers do not see it any more");
    assert_eq!(log.ordinal("a", 0, Place::offset(1)), 1);
    (2..4).for_each(|offset| log.appender().append(record("a", 0, offset)));
    assert!(!log.appender().has_room(footprint));
    hold.release(0);
    hold.release(0);
    assert!(log.appender().has_room(footprint));
    log.appender().append(record("a", 0, 4));
    assert_eq!(holder_ids(&mut holder), ["a0-2", "a0-3", "a0-4"]);
    drop(holder);
    assert_eq!(log.usage().1, 3, "what is released and was passed over is gone");
    assert!(log.appender().has_room(4 * footprint));
}

#[test]
fn a_lane_that_appears_is_held_from_its_first_record_on() {
    let log = log(2);
    let mut holder = log.hold(both(), |lane| lane.floor);
    log.appender().append(record("b", 0, 7));
    (0..5).for_each(|offset| log.appender().append(record("c", 0, offset)));
    assert_eq!(holder_ids(&mut holder), ["b0-7"]);
    let mut late = log.hold(TopicSet::one("c"), |_| Place::default());
    assert_eq!(holder_ids(&mut late), ["c0-4"], "what is forgotten cannot be held");
}

#[test]
fn a_holder_turns_to_other_topics() {
    let log = log(6);
    let mut holder = log.hold(TopicSet::one("a"), |lane| lane.floor);
    let both_of = |offset| [record("a", 0, offset), record("b", 0, offset)];
    both_of(0).into_iter().for_each(|record| log.appender().append(record));
    assert_eq!(holder_ids(&mut holder), ["a0-0"]);
    both_of(1).into_iter().for_each(|record| log.appender().append(record));
    holder.turn_to(TopicSet::one("b"));
    both_of(2).into_iter().for_each(|record| log.appender().append(record));
    assert_eq!(holder_ids(&mut holder), ["b0-0", "b0-1", "b0-2"]);
    let footprint = record("a", 0, 0).footprint();
    assert!(log.appender().has_room(3 * footprint) && !log.appender().has_room(4 * footprint));
    holder.turn_to(both());
    assert_eq!(holder_ids(&mut holder), ["a0-0", "a0-1", "a0-2"]);
    drop(holder);
    assert!(log.appender().has_room(6 * footprint));
}

/// Through the relay of their thread, of which each runtime has its own.
#[test]
fn tasks_of_other_threads_are_woken() {
    const READERS: usize = 3;
    const PATIENCE: Duration = Duration::from_secs(10);
    let log = log(100);
    let (ready, waiting) = std::sync::mpsc::sync_channel(4 * READERS);
    let reading = {
        let log = log.clone();
        std::thread::spawn(move || {
            for round in 0..2 {
                let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                let tasks: Vec<_> = (0..READERS)
                    .map(|_| {
                        let mut follower =
                            log.follow(TopicSet::one("a"), |_| Place::offset(round)).expect("all is there");
                        let ready = ready.clone();
                        runtime.spawn(poll_fn(move |cx| {
                            let mut records = Records::new();
                            let read = follower.poll_read(cx, NonZeroUsize::MAX, &mut records);
                            ready.send(()).expect("the test goes on");
                            read.map(|_| records[0].message.event.id.to_string())
                        }))
                    })
                    .collect();
                for task in tasks {
                    assert_eq!(runtime.block_on(task).expect("no panic"), format!("a0-{round}"));
                }
            }
        })
    };
    for round in 0..2 {
        (0..READERS).for_each(|_| waiting.recv_timeout(PATIENCE).expect("they wait"));
        log.appender().append(record("a", 0, round));
        (0..READERS).for_each(|_| waiting.recv_timeout(PATIENCE).expect("they were woken"));
    }
    reading.join().expect("they read it");
}
