//! The fault part of the suite: nothing that was confirmed is lost, whatever becomes of the broker's process.
//!
//! A connector's tests implement [`Faults`] beside [`Fixture`] and call [`faults!`](crate::faults!). The checks share the broker, so they
//! run one after the other.
#![expect(clippy::print_stdout, reason = "figures of a test, for those who look at them")]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use meshgate_api::{
    connector::{Batch, Connector, Limits, Record, Start, Subscription},
    outcome::Outcome,
    topic::TopicSet,
};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{sleep, timeout},
};

use crate::{
    Fixture, PATIENCE, event, groups, ids, outbound, stand_before, store_ids, subscribe, take, take_all, take_ids,
};

/// A broker whose process the suite may stop and start.
#[async_trait]
pub trait Faults: Fixture {
    /// Does to the broker what `scripts/brokers` calls so: `pause`, `resume`, `stop`, `kill`, `restart`.
    async fn broker(&self, what: &str);

    /// What is not known to be stored is never stored twice.
    fn stores_once(&self) -> bool;
}

/// Makes one test of each check. `$fixture` is an async function that returns what implements [`Faults`].
#[macro_export]
macro_rules! faults {
    ($fixture:path) => {
        $crate::faults!(@tests $fixture,
            what_was_confirmed_is_there_and_what_was_refused_is_not, readers_miss_nothing, groups_go_on_by_themselves
        );
    };
    (@tests $fixture:path, $($check:ident),+) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $check() {
                let _alone = $crate::faults::alone().await;
                let fixture = $fixture().await;
                $crate::faults::$check(&fixture).await;
            }
        )+
    };
}

/// Others wait as long as the answer lives.
pub async fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
    ONE_AT_A_TIME.lock().await
}

/// Does something to the broker of this name, which must have been started by `scripts/brokers`. `address` is the variable that names it.
pub async fn run_script(what: &str, broker: &'static str, address: &'static str) {
    assert!(
        std::env::var("MESHGATE_BROKERS_STATE").is_ok(),
        "needs a broker that may be killed: run scripts/brokers up {broker}, then eval \"$(scripts/brokers env)\""
    );
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/brokers");
    let what = what.to_owned();
    // An address in the environment is somebody else's broker to the script.
    let run = move || std::process::Command::new(script).args([&what, broker]).env_remove(address).output();
    let ran = tokio::task::spawn_blocking(run).await.expect("no panic").expect("scripts/brokers runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

/// Shown where a check fails, and with `--nocapture`.
#[expect(clippy::print_stdout, reason = "tests speak to who runs them")]
fn tell(text: &str) {
    println!("{text}");
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} in time");
        sleep(Duration::from_millis(10)).await;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Stored,
    Unavailable,
    Unknown,
}

/// Publishes to one key, one after the other, until told to stop: each event's fate, and the longest wait.
async fn writer(
    connector: Arc<dyn Connector>,
    topic: String,
    key: String,
    stop: Arc<AtomicBool>,
) -> (Vec<Fate>, Duration) {
    let (mut fates, mut longest) = (Vec::new(), Duration::ZERO);
    while !stop.load(Relaxed) {
        let one = outbound(&topic, Some(&key), event(format!("{key}/{}", fates.len()), "x"));
        let start = Instant::now();
        let outcome = connector.publish(Batch::from_vec(vec![one])).await.outcomes().await.remove(0);
        longest = longest.max(start.elapsed());
        fates.push(match outcome {
            Outcome::Stored(_) => Fate::Stored,
            Outcome::Unknown { .. } => Fate::Unknown,
            Outcome::Unavailable { .. } => {
                sleep(Duration::from_millis(20)).await; // as a client would that is asked to come back later
                Fate::Unavailable
            }
            Outcome::Rejected { .. } => panic!("{outcome:?}"),
        });
    }
    (fates, longest)
}

/// The order of a key is kept as well.
pub async fn what_was_confirmed_is_there_and_what_was_refused_is_not(fixture: &impl Faults) {
    let limits = Limits::default();
    let connector = fixture.connector();
    let topic = fixture.fresh_name("faults");
    fixture.create(&topic, 4).await;
    let stop = Arc::new(AtomicBool::new(false));
    let topics = TopicSet::one(topic.clone());
    let standing =
        stand_before(&*connector, topics.clone()).await.map(|reader| tokio::spawn(collect(reader, stop.clone())));
    let write = |key| tokio::spawn(writer(connector.clone(), topic.to_string(), format!("k{key}"), stop.clone()));
    let writers: Vec<_> = (0..64).map(write).collect();
    sleep(Duration::from_secs(2)).await;
    fixture.broker("pause").await;
    sleep(Duration::from_secs(8)).await;
    fixture.broker("resume").await;
    sleep(Duration::from_secs(3)).await;
    fixture.broker("kill").await;
    sleep(limits.publish_timeout + Duration::from_secs(1)).await; // what was on its way is given up by then, and what follows refused
    fixture.broker("restart").await;
    until("the connector is up", || connector.health().up).await;
    sleep(Duration::from_secs(4)).await;
    stop.store(true, Relaxed);

    let (mut fates, mut counts) = (HashMap::new(), BTreeMap::<_, u32>::new());
    for (key, writer) in writers.into_iter().enumerate() {
        let (of_key, longest) = writer.await.expect("no panic");
        assert!(longest <= limits.publish_timeout, "k{key} waited {longest:?}");
        for (number, fate) in of_key.into_iter().enumerate() {
            *counts.entry(fate).or_default() += 1;
            fates.insert(format!("k{key}/{number}"), fate);
        }
    }
    tell(&format!("{counts:?} {:?}", connector.gauges()));
    assert!(counts.contains_key(&Fate::Stored) && counts.contains_key(&Fate::Unavailable), "{counts:?}");

    let records = match standing {
        Some(reader) => reader.await.expect("no panic"),
        None => take_all(&mut *subscribe(&*connector, topics, Start::Earliest).await).await,
    };
    let (mut newest, mut seen) = (HashMap::new(), BTreeSet::new());
    for record in records {
        let id = record.message.event.id.to_string();
        if !seen.insert(id.clone()) && !fixture.stores_once() {
            continue;
        }
        let (key, number) = id.split_once('/').expect("two parts");
        let number: u32 = number.parse().expect("a number");
        let before = newest.insert(key.to_owned(), number);
        assert!(before.is_none_or(|before| before < number), "{id} after {before:?}");
        assert_ne!(fates.remove(&id), Some(Fate::Unavailable), "{id} was refused, and is there");
    }
    let missing: Vec<_> = fates.iter().filter(|(_, fate)| **fate == Fate::Stored).collect();
    assert!(missing.is_empty(), "confirmed and not there: {missing:?}");
}

/// What comes to a reader until told to stop, and a while longer.
async fn collect(mut reader: Box<dyn Subscription>, stop: Arc<AtomicBool>) -> Vec<Arc<Record>> {
    let mut records = Vec::new();
    let max = NonZeroUsize::new(1000).expect("not zero");
    loop {
        let is_last = stop.load(Relaxed);
        match timeout(Duration::from_secs(3), reader.next(max)).await {
            Ok(next) => {
                let next = next.expect("reading goes on");
                records.extend(next.deliveries.into_iter().map(|delivery| delivery.record));
            }
            Err(_) if is_last => return records,
            Err(_) => {}
        }
    }
}

/// Those that follow, those that read again, and those that begin while the broker is away.
pub async fn readers_miss_nothing(fixture: &impl Faults) {
    let connector = fixture.connector();
    let topic = fixture.fresh_name("stand");
    fixture.create(&topic, 1).await;
    store_ids(&*connector, &topic, ids("before", 100)).await;
    let mut live = subscribe(&*connector, TopicSet::one(topic.clone()), Start::Latest).await;
    let has_replay = connector.capabilities().replay;
    let start = if has_replay { Start::Earliest } else { Start::Latest };
    let mut replay = subscribe(&*connector, TopicSet::one(topic.clone()), start.clone()).await;
    if has_replay {
        assert_eq!(take_ids(&mut *replay, 50).await, &ids("before", 100)[..50]);
    }

    let (mut expected, mut refused) = (Vec::new(), Vec::new());
    for (round, (break_it, mend_it)) in
        [("pause", "resume"), ("kill", "restart"), ("stop", "restart")].into_iter().enumerate()
    {
        fixture.broker(break_it).await;
        until("it is noticed", || !connector.health().up).await;
        let topics = TopicSet::one(topic.clone());
        let begins = {
            let connector = connector.clone();
            let start = start.clone();
            tokio::spawn(async move { subscribe(&*connector, topics, start).await })
        };
        fixture.broker(mend_it).await;
        let mended = Instant::now();
        until("it is up again", || connector.health().up).await;
        println!("after {break_it} and {mend_it}: up again in {:?}", mended.elapsed());
        let mut reader = begins.await.expect("no panic");
        let more = ids(&format!("round{round}"), 20);
        refused.extend(store_when_possible(&*connector, &topic, &more).await);
        expected.extend(more);
        if has_replay {
            take(&mut *reader, 100 + expected.len()).await;
        } else {
            first_of(&mut *reader, 20, fixture.stores_once()).await;
        }
    }
    let seen = first_of(&mut *live, expected.len(), fixture.stores_once()).await;
    let places: Vec<_> =
        seen.iter().map(|record| (record.position.place.offset, record.message.event.id.to_string())).collect();
    let seen_ids: Vec<_> = seen.iter().map(|record| record.message.event.id.to_string()).collect();
    assert_eq!(seen_ids, expected, "{places:?} after {refused:?}");
    if !has_replay {
        return;
    }
    let rest = [&ids("before", 100)[50..], &expected].concat();
    assert_eq!(take_ids(&mut *replay, rest.len()).await, rest);
}

/// Reads until `count` different events are there: each when it came first, where one may come again.
async fn first_of(reader: &mut dyn Subscription, count: usize, once: bool) -> Vec<Arc<Record>> {
    let (mut records, mut seen) = (Vec::new(), BTreeSet::new());
    while records.len() < count {
        let record = take(reader, 1).await.remove(0);
        if seen.insert(record.message.event.id.clone()) || once {
            records.push(record);
        }
    }
    records
}

/// Also what was settled while nobody could be told.
pub async fn groups_go_on_by_themselves(fixture: &impl Faults) {
    let connector = fixture.connector();
    let topic = fixture.fresh_name("standing-group");
    fixture.create(&topic, 2).await;
    let topics = TopicSet::one(topic.clone());
    let mut members = vec![groups::join(&*connector, topics.clone(), Start::Latest, &topic).await];
    for (break_it, mend_it) in [("pause", "resume"), ("kill", "restart"), ("stop", "restart")] {
        store_ids(&*connector, &topic, ids(break_it, 20)).await;
        let held = groups::hold(&mut *members[0], 20).await;
        fixture.broker(break_it).await;
        until("it is noticed", || !connector.health().up).await;
        groups::ack_all(held); // while nobody can be told
        let new = format!("{topic}-{break_it}");
        let begins = groups::join(&*connector, topics.clone(), Start::Latest, &new);
        let (begins, ()) = tokio::join!(begins, fixture.broker(mend_it));
        until("it is up again", || connector.health().up).await;
        let after = ids(&format!("after-{break_it}"), 20);
        store_when_possible(&*connector, &topic, &after).await;
        members.push(begins);
        for member in &mut members {
            let mut missing: BTreeSet<_> = after.iter().cloned().collect();
            while !missing.is_empty() {
                let held = groups::hold(&mut **member, 1).await; // what could not be committed may come again
                missing.remove(&groups::ids_of(&held)[0]);
                groups::ack_all(held);
            }
        }
        members.truncate(1);
    }
    assert_eq!(connector.shutdown(tokio::time::Instant::now() + PATIENCE).await, 0);
    let Some(connector) = fixture.replica().await else { return };
    let mut member = groups::join(&*connector, topics, Start::Earliest, &topic).await;
    store_ids(&*connector, &topic, ids("last", 1)).await;
    assert_eq!(groups::ids_of(&groups::hold(&mut *member, 1).await), ids("last", 1), "all the rest was committed");
}

/// One after the other, each until it is stored; returns the refusals on the way.
async fn store_when_possible(connector: &dyn Connector, topic: &str, ids: &[String]) -> Vec<String> {
    let mut refused = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    for id in ids {
        loop {
            let one = outbound(topic, None, event(id.as_str(), "x"));
            let outcome = connector.publish(Batch::from_vec(vec![one])).await.outcomes().await.remove(0);
            match outcome {
                Outcome::Stored(_) => break,
                Outcome::Unavailable { detail, .. } => {
                    refused.push(format!("{id}: {detail}"));
                    sleep(Duration::from_millis(50)).await;
                }
                other => panic!("{other:?}"),
            }
            assert!(Instant::now() < deadline, "{id} is stored in time");
        }
    }
    refused
}
