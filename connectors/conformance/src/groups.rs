//! Groups share a flow; nothing of it is lost, whoever leaves. A connector without groups refuses them.

use std::{
    collections::{BTreeSet, HashMap},
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::{FutureExt, future::select_all};
use meshgate_api::{
    Str,
    connector::{Connector, Delivery, ReadError, Settlement, Start, SubscribeRequest, Subscription},
    topic::{TopicPattern, TopicSet},
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::{Fixture, PATIENCE, event, ids, outbound, store, store_ids};

/// Long enough for what should not come.
const SILENCE: Duration = Duration::from_millis(500);

struct Scene {
    connector: Arc<dyn Connector>,
    topic: Str,
    group: Str,
}

/// A topic and a name for a group; `None` if the connector has no groups, and says so.
async fn scene(fixture: &impl Fixture, partitions: u32) -> Option<Scene> {
    let (connector, topic) = (fixture.connector(), fixture.fresh_name("grouped"));
    fixture.create(&topic, partitions).await;
    let scene = Scene { group: fixture.fresh_name("group"), connector, topic };
    if scene.connector.capabilities().groups {
        return Some(scene);
    }
    let refused = try_join(&*scene.connector, TopicSet::one(scene.topic), Start::Earliest, &scene.group).await;
    assert!(matches!(refused.err(), Some(ReadError::Unsupported { .. })), "what it cannot do is refused, not ignored");
    None
}

impl Scene {
    async fn join(&self, start: Start) -> Box<dyn Subscription> {
        join(&*self.connector, TopicSet::one(self.topic.clone()), start, &self.group).await
    }

    /// Where there are no keys, what keeps its order is what was published to one channel: a key becomes one.
    async fn store(&self, events: impl IntoIterator<Item = (Option<String>, String)>) {
        let has_keys = self.connector.capabilities().keys;
        let outbound = events.into_iter().map(|(key, id)| {
            let mut one = outbound(&self.topic, key.as_deref(), event(id, "x"));
            if let Some(key) = key.filter(|_| !has_keys) {
                Arc::make_mut(&mut one.message).channel = Some(key.into());
            }
            one
        });
        store(&*self.connector, outbound.collect()).await;
    }
}

/// Joins a group and insists that it succeeds.
pub async fn join(connector: &dyn Connector, topics: TopicSet, start: Start, group: &str) -> Box<dyn Subscription> {
    try_join(connector, topics, start, group).await.expect("the group stands")
}

async fn try_join(
    connector: &dyn Connector,
    topics: TopicSet,
    start: Start,
    group: &str,
) -> Result<Box<dyn Subscription>, ReadError> {
    let request = SubscribeRequest { topics, start, group: Some(group.into()), compacted: false };
    timeout(PATIENCE, connector.subscribe(request)).await.expect("the answer comes in time")
}

/// What comes first to a member, and `count` in all; settles nothing.
pub async fn hold(member: &mut dyn Subscription, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    while let Some(max) = NonZeroUsize::new(count - deliveries.len()) {
        let next = timeout(PATIENCE, member.next(max)).await;
        let next = next.unwrap_or_else(|_| panic!("{count} come in time, there are {:?}", ids_of(&deliveries)));
        deliveries.extend(next.expect("reading goes on").deliveries);
    }
    deliveries
}

/// What comes in a while; settles nothing.
pub async fn hold_what_comes(member: &mut dyn Subscription) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    let max = NonZeroUsize::new(1000).expect("not zero");
    while let Ok(next) = timeout(SILENCE, member.next(max)).await {
        deliveries.extend(next.expect("reading goes on").deliveries);
    }
    deliveries
}

/// Confirms what comes until nothing does for a while; how many that were.
async fn ack_what_comes(member: &mut dyn Subscription) -> usize {
    let mut seen = 0;
    while let Ok(next) = timeout(SILENCE, member.next(NonZeroUsize::MIN)).await {
        let deliveries = next.expect("reading goes on").deliveries;
        seen += deliveries.len();
        ack_all(deliveries.into_vec());
    }
    seen
}

/// The ids of events that were delivered.
#[must_use]
pub fn ids_of(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|delivery| delivery.record.message.event.id.to_string()).collect()
}

/// Ends a delivery; whether it was one.
pub fn settle(delivery: Delivery, settlement: Settlement) -> bool {
    delivery.settler.expect("a group's deliveries are to be settled").settle(settlement)
}

/// Confirms all, in any order.
pub fn ack_all(deliveries: Vec<Delivery>) {
    deliveries.into_iter().rev().for_each(|delivery| assert!(settle(delivery, Settlement::Ack), "it is known"));
}

/// Lets all members read and confirm until `count` different events have come, and says what each got, in order.
pub async fn share(members: &mut [Box<dyn Subscription>], count: usize) -> Vec<Vec<(Option<String>, String)>> {
    let mut got = vec![Vec::new(); members.len()];
    let mut all = BTreeSet::new();
    let deadline = Instant::now() + PATIENCE;
    for turn in 0.. {
        if all.len() == count {
            break;
        }
        let next = members.iter_mut().enumerate();
        let next = next.map(|(at, member)| async move { (at, member.next(NonZeroUsize::MIN).await) }.boxed());
        let mut next: Vec<_> = next.collect();
        next.rotate_left(turn % got.len()); // the first that is ready is taken
        let next = timeout_at(deadline, select_all(next)).await;
        let ((member, next), ..) = next.unwrap_or_else(|_| panic!("{count} come in time, there are {}", all.len()));
        for delivery in next.expect("reading goes on").deliveries {
            let id = delivery.record.message.event.id.to_string();
            let key = delivery.record.key.as_ref().map(|key| String::from_utf8_lossy(key).into_owned());
            let key = key.or_else(|| delivery.record.message.channel.as_deref().map(str::to_owned));
            all.insert(id.clone());
            got[member].push((key, id));
            settle(delivery, Settlement::Ack);
        }
    }
    got
}

/// Insists that the ids of each key, which end in numbers, came in their order.
pub fn check_order(got: &[(Option<String>, String)]) {
    let mut last: HashMap<&Option<String>, u64> = HashMap::new();
    for (key, id) in got {
        let number = id.rsplit('-').next().and_then(|number| number.parse().ok()).expect("a number");
        let before = last.insert(key, number);
        assert!(before.is_none_or(|before| before < number), "{id} of {key:?} came after {before:?}");
    }
}

fn keyed(count: usize, keys: usize) -> impl Iterator<Item = (Option<String>, String)> {
    ids("e", count).into_iter().enumerate().map(move |(number, id)| (Some(format!("key-{}", number % keys)), id))
}

fn retry(after: Option<Duration>) -> Settlement {
    Settlement::Retry { after }
}

/// Each event goes to one of them.
pub async fn members_share_and_keep_the_order_of_a_key(fixture: &impl Fixture) {
    let Some(scene) = scene(fixture, 4).await else { return };
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(scene.join(Start::Earliest).await);
    }
    scene.store(keyed(300, 30)).await;
    let got = share(&mut members, 300).await;
    assert_eq!(got.iter().map(Vec::len).sum::<usize>(), 300, "nothing comes twice");
    assert!(got.iter().all(|got| !got.is_empty()), "each has a share");
    got.iter().for_each(|got| check_order(got));
    for member in &mut members {
        assert!(hold_what_comes(&mut **member).await.is_empty());
    }
}

/// Whether it lets go of them or not.
pub async fn what_a_member_leaves_goes_to_another_in_order(fixture: &impl Fixture) {
    let Some(scene) = scene(fixture, 1).await else { return };
    let mut first = scene.join(Start::Earliest).await;
    scene.store(ids("e", 10).into_iter().map(|id| (None, id))).await;
    let mut held = hold(&mut *first, 10).await;
    settle(held.remove(3), Settlement::Ack);
    let mut second = scene.join(Start::Earliest).await;
    assert!(hold_what_comes(&mut *second).await.is_empty(), "they are the first one's");
    let late = held.pop().expect("there are some");
    drop(first);
    let again = hold(&mut *second, 9).await;
    assert_eq!(ids_of(&again), [&ids("e", 10)[..3], &ids("e", 10)[4..]].concat());
    assert!(!settle(late, Settlement::Ack), "it means nothing any more");
    drop(held);
    assert!(hold_what_comes(&mut *second).await.is_empty());
    ack_all(again);
}

/// The others go on, and what follows in the key waits.
pub async fn a_returned_event_parks_its_key_alone(fixture: &impl Fixture) {
    let Some(scene) = scene(fixture, 1).await else { return };
    let mut member = scene.join(Start::Earliest).await;
    let of = |key: &str, id: &str| (Some(key.to_owned()), id.to_owned());
    scene.store([of("a", "a-1"), of("b", "b-1")]).await;
    let mut held = hold(&mut *member, 2).await;
    settle(held.pop().expect("b-1"), Settlement::Ack);
    let began = Instant::now();
    settle(held.pop().expect("a-1"), retry(Some(Duration::from_secs(1))));
    scene.store([of("a", "a-2"), of("b", "b-2"), of("b", "b-3")]).await;
    let others = hold(&mut *member, 2).await;
    assert_eq!(ids_of(&others), ["b-2", "b-3"]);
    ack_all(others);
    let again = hold(&mut *member, 1).await;
    assert_eq!(ids_of(&again), ["a-1"]);
    assert!(began.elapsed() >= Duration::from_secs(1), "it was to come later");
    again.into_iter().for_each(|delivery| assert!(settle(delivery, retry(None))));
    let again = hold(&mut *member, 1).await;
    assert_eq!(ids_of(&again), ["a-1"], "at once");
    assert!(hold_what_comes(&mut *member).await.is_empty(), "what follows waits");
    ack_all(again);
    let last = hold(&mut *member, 1).await;
    assert_eq!(ids_of(&last), ["a-2"]);
    drop(last);
    assert_eq!(ids_of(&hold(&mut *member, 1).await), ["a-2"], "not settled is not confirmed");
}

/// It is settled for the group.
pub async fn a_rejected_event_does_not_come_again(fixture: &impl Fixture) {
    let Some(scene) = scene(fixture, 1).await else { return };
    let mut member = scene.join(Start::Earliest).await;
    scene.store([(None, "bad".to_owned()), (None, "good".to_owned())]).await;
    let mut held = hold(&mut *member, 2).await;
    settle(held.remove(0), Settlement::Reject { reason: "bad".into() });
    drop(held);
    assert_eq!(ids_of(&hold(&mut *member, 1).await), ["good"]);
}

/// `start` counts for a new group only, and its position stands when it is answered.
pub async fn a_new_group_begins_where_it_says_and_an_old_one_where_it_was(fixture: &impl Fixture) {
    let Some(mut scene) = scene(fixture, 3).await else { return };
    for round in 0..3 {
        scene.group = fixture.fresh_name("latest");
        store_ids(&*scene.connector, &scene.topic, ids("before", 3)).await;
        drop(scene.join(Start::Latest).await);
        store_ids(&*scene.connector, &scene.topic, ids("after", 3)).await;
        let mut member = scene.join(Start::Earliest).await;
        let held = hold(&mut *member, 3).await;
        assert_eq!(ids_of(&held), ids("after", 3), "in round {round}");
        ack_all(held);
    }
    scene.group = fixture.fresh_name("timed");
    sleep(Duration::from_millis(20)).await; // brokers count in milliseconds
    let then = SystemTime::now();
    sleep(Duration::from_millis(20)).await;
    store_ids(&*scene.connector, &scene.topic, ids("last", 2)).await;
    let topics = TopicSet::one(scene.topic.clone());
    let timed = try_join(&*scene.connector, topics, Start::At(then), &scene.group).await;
    if scene.connector.capabilities().groups_by_time {
        let mut member = timed.expect("the group stands");
        assert_eq!(ids_of(&hold(&mut *member, 2).await), ids("last", 2));
    } else {
        assert!(matches!(timed.err(), Some(ReadError::Unsupported { .. })));
    }
    scene.group = fixture.fresh_name("earliest");
    let mut member = scene.join(Start::Earliest).await;
    if scene.connector.capabilities().replay {
        assert_eq!(hold(&mut *member, 20).await.len(), 20);
    } else {
        assert!(hold_what_comes(&mut *member).await.is_empty(), "nothing is kept for a group that is new");
    }
}

/// They know nothing of each other.
pub async fn each_group_gets_all(fixture: &impl Fixture) {
    let Some(mut scene) = scene(fixture, 2).await else { return };
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(scene.join(Start::Latest).await);
        scene.group = fixture.fresh_name("other");
    }
    scene.store(keyed(20, 5)).await;
    for member in &mut members {
        let held = hold(&mut **member, 20).await;
        assert_eq!(ids_of(&held).into_iter().collect::<BTreeSet<_>>(), ids("e", 20).into_iter().collect());
        ack_all(held);
    }
}

/// Also after all members were away for a moment.
pub async fn a_group_goes_on_at_its_lowest_gap(fixture: &impl Fixture) {
    let Some(scene) = scene(fixture, 1).await else { return };
    let mut member = scene.join(Start::Earliest).await;
    scene.store(ids("e", 6).into_iter().map(|id| (None, id))).await;
    let mut held = hold(&mut *member, 6).await;
    settle(held.remove(5), Settlement::Ack);
    settle(held.remove(2), Settlement::Ack);
    settle(held.remove(0), Settlement::Ack);
    drop(member);
    let mut member = scene.join(Start::Latest).await;
    let again = hold(&mut *member, 3).await;
    assert_eq!(ids_of(&again), ["e-1", "e-3", "e-4"]);
    ack_all(again);
    assert!(hold_what_comes(&mut *member).await.is_empty());
}

/// After the first has ended: nothing that was not confirmed is lost, nothing below the gap comes again.
pub async fn another_replica_goes_on_at_the_lowest_gap(fixture: &impl Fixture) {
    let Some(mut scene) = scene(fixture, 1).await else { return };
    let Some(first) = fixture.replica().await else { return };
    let other = std::mem::replace(&mut scene.connector, first);
    let mut member = scene.join(Start::Earliest).await;
    scene.store(ids("e", 6).into_iter().map(|id| (None, id))).await;
    let mut held = hold(&mut *member, 6).await;
    settle(held.remove(4), Settlement::Ack);
    settle(held.remove(1), Settlement::Ack);
    settle(held.remove(0), Settlement::Ack);
    assert_eq!(scene.connector.shutdown(Instant::now() + PATIENCE).await, 0);
    scene.connector = other;
    let mut member = scene.join(Start::Latest).await;
    let mut again = hold(&mut *member, 3).await;
    again.extend(hold_what_comes(&mut *member).await);
    let (above, missing) = (&ids("e", 6)[2..], ["e-2", "e-3", "e-5"]);
    let come = ids_of(&again);
    assert!(come == above || come == missing, "what was settled above the gap may come again, nothing else: {come:?}");
    ack_all(again);
}

/// However many events are there.
pub async fn the_window_ahead_of_a_stuck_event_is_bounded(fixture: &impl Fixture) {
    let Some(scene) = scene(fixture, 1).await else { return };
    let (window, count) = (fixture.settled_window(), fixture.settled_window() * 3);
    let mut member = scene.join(Start::Earliest).await;
    scene.store(keyed(count, count)).await;
    let mut held = hold(&mut *member, 1).await;
    let stuck = held.remove(0);
    let seen = 1 + ack_what_comes(&mut *member).await;
    assert_eq!(seen, window + 1, "so many, and the stuck one");
    settle(stuck, Settlement::Ack);
    share(&mut [member], count - seen).await;
}

/// However full its window is.
pub async fn a_stuck_topic_does_not_hold_up_others(fixture: &impl Fixture) {
    let Some(scene) = scene(fixture, 1).await else { return };
    let (other, count) = (fixture.fresh_name("other"), fixture.settled_window() * 2);
    fixture.create(&other, 1).await;
    let both = TopicSet { names: vec![scene.topic.clone(), other.clone()], patterns: Vec::new() };
    let mut member = join(&*scene.connector, both, Start::Earliest, &scene.group).await;
    scene.store([(Some("stuck".to_owned()), "stuck".to_owned())]).await;
    let stuck = hold(&mut *member, 1).await;
    scene.store(keyed(count, count)).await;
    let mut seen = ack_what_comes(&mut *member).await;
    assert_eq!(seen, fixture.settled_window(), "then the window is full");
    for round in 0..3 {
        store_ids(&*scene.connector, &other, ids("other", 5)).await;
        let held = hold(&mut *member, 5).await;
        assert_eq!(ids_of(&held), ids("other", 5), "in round {round}");
        ack_all(held);
    }
    ack_all(stuck);
    while seen < count {
        let next = hold(&mut *member, 1).await;
        seen += next.len();
        ack_all(next);
    }
    assert!(hold_what_comes(&mut *member).await.is_empty(), "nothing comes twice");
}

/// From their start, whatever the group's.
pub async fn a_group_joins_topics_that_appear_later(fixture: &impl Fixture) {
    let Some(scene) = scene(fixture, 1).await else { return };
    let prefix = fixture.fresh_name("late");
    let pattern = TopicPattern::new(vec![prefix.clone(), Str::new()]).expect("there is a hole");
    let topics = TopicSet { names: vec![scene.topic.clone()], patterns: vec![pattern] };
    let mut member = join(&*scene.connector, topics, Start::Latest, &scene.group).await;
    for late in [prefix.clone(), format!("{prefix}-2").into()] {
        fixture.create(&late, 2).await;
        store_ids(&*scene.connector, &late, ids("e", 5)).await;
        let held = hold(&mut *member, 5).await;
        assert_eq!(ids_of(&held), ids("e", 5));
        ack_all(held);
    }
    scene.store([(None, "old topic".to_owned())]).await;
    assert_eq!(ids_of(&hold(&mut *member, 1).await), ["old topic"]);
}
