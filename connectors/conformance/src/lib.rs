//! One suite that every connector passes. A connector's tests implement [`Fixture`] and call [`conformance!`].
//!
//! What a kind of broker cannot do is a declared [`Capabilities`](meshgate_api::connector::Capabilities) entry; a test that needs it
//! then checks that the connector refuses it, instead of being skipped.

use std::{future::poll_fn, num::NonZeroUsize, sync::Arc, task::Poll, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use meshgate_api::{
    Str,
    connector::{
        Batch, Connector, ContentMode, Order, Outbound, ReadError, Record, Start, SubscribeRequest, Subscription,
    },
    event::Event,
    message::Message,
    outcome::{Outcome, Outcomes},
    topic::TopicSet,
};

pub mod faults;
pub mod groups;
pub mod positions;
pub mod publishing;
pub mod reading;

/// Longer than anything that the suite waits for takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A broker that the suite may use, and a connector to it.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The connector.
    fn connector(&self) -> Arc<dyn Connector>;

    /// A topic name that was never used before, beginning with `prefix`.
    fn fresh_name(&self, prefix: &str) -> Str;

    /// Makes the topic at the broker, with so many partitions; nothing to do where topics make themselves.
    async fn create(&self, topic: &str, partitions: u32);

    /// Makes the broker forget what the topic holds now, without forgetting the topic.
    async fn forget_records(&self, topic: &str);

    /// Another connector to the same broker, as another replica has it; `None` where only one process at a time has what is stored.
    async fn replica(&self) -> Option<Arc<dyn Connector>>;

    /// `limits.settled_window` of the connectors; at most some hundred.
    fn settled_window(&self) -> usize;

    /// A record tells no data from data of no bytes.
    fn tells_no_data_from_empty(&self) -> bool {
        true
    }

    /// Publishing more than this many bytes makes a reader that does not read fall off whatever live buffer there is.
    fn live_buffer(&self) -> usize;
}

/// Makes one test of each check of the suite. `$fixture` is an async function that returns a [`Fixture`].
#[macro_export]
macro_rules! conformance {
    ($fixture:path) => {
        $crate::conformance!(@tests $fixture,
            publishing: [
                keeps_everything_of_an_event, tells_no_data_from_empty_data, answers_each_event_of_a_batch,
                keeps_the_order_of_a_key, keeps_the_order_of_a_channel, is_up_and_shuts_down_with_nothing_left
            ],
            reading: [
                latest_is_what_comes_after, earliest_is_all, reads_from_a_time, many_readers_get_all,
                merges_topics, joins_a_topic_that_appears_later, joins_a_named_topic_that_appears_later,
                a_cancelled_wait_loses_nothing, a_reader_that_pauses_sees_no_gap
            ],
            positions: [
                goes_on_after_each_position, goes_on_at_another_replica, what_is_not_named_is_read_from_its_start,
                a_topic_that_came_after_a_position_is_read_from_its_start, beyond_the_end_is_gone,
                what_was_forgotten_is_gone_and_reading_can_go_on
            ],
            groups: [
                members_share_and_keep_the_order_of_a_key, what_a_member_leaves_goes_to_another_in_order,
                a_returned_event_parks_its_key_alone, a_rejected_event_does_not_come_again,
                a_new_group_begins_where_it_says_and_an_old_one_where_it_was, each_group_gets_all,
                a_group_goes_on_at_its_lowest_gap, another_replica_goes_on_at_the_lowest_gap,
                the_window_ahead_of_a_stuck_event_is_bounded, a_stuck_topic_does_not_hold_up_others,
                a_group_joins_topics_that_appear_later
            ]
        );
    };
    (@tests $fixture:path, $($module:ident: [$($check:ident),+]),+) => {
        $($(
            #[tokio::test(flavor = "multi_thread")]
            async fn $check() {
                let fixture = $fixture().await;
                let check = $crate::$module::$check(&fixture);
                tokio::time::timeout($crate::PATIENCE * 3, check).await.expect("the check ends in time");
            }
        )+)+
    };
}

/// An event with nothing but what is required, and `data`.
#[must_use]
pub fn event(id: impl Into<Str>, data: impl Into<Bytes>) -> Event {
    Event {
        id: id.into(),
        source: "/conformance".into(),
        kind: "com.example.check".into(),
        data: Some(data.into()),
        ..Event::default()
    }
}

/// An event on its way to `topic`, published to the channel of the same name.
#[must_use]
pub fn outbound(topic: &str, key: Option<&str>, event: Event) -> Outbound {
    let message = Message { channel: Some(topic.into()), event: Box::new(event), ..Message::default() };
    Outbound {
        message: Arc::new(message),
        topic: topic.into(),
        key: key.map(Str::from),
        order: Order::Kept,
        mode: ContentMode::Binary,
        options: None,
    }
}

/// Publishes and insists that everything was stored.
pub async fn store(connector: &dyn Connector, batch: Vec<Outbound>) -> Outcomes {
    let count = batch.len();
    let ack = connector.publish(Batch::from_vec(batch)).await;
    let outcomes = tokio::time::timeout(PATIENCE, ack.outcomes()).await.expect("outcomes come in time");
    assert_eq!(outcomes.len(), count, "one outcome an event");
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Stored(_))), "all stored: {outcomes:?}");
    outcomes
}

/// Publishes `ids`, one after the other, to one topic.
pub async fn store_ids(connector: &dyn Connector, topic: &str, ids: impl IntoIterator<Item = String>) {
    let batch = ids.into_iter().map(|id| outbound(topic, None, event(id, "data"))).collect();
    store(connector, batch).await;
}

/// A reader that stands before something is stored, where it could not be read later.
pub async fn stand_before(connector: &dyn Connector, topics: TopicSet) -> Option<Box<dyn Subscription>> {
    let has_replay = connector.capabilities().replay;
    if has_replay { None } else { Some(subscribe(connector, topics, Start::Latest).await) }
}

/// The reader that stood before, or one that comes now and reads all.
pub async fn read_all(
    connector: &dyn Connector,
    topics: TopicSet,
    before: Option<Box<dyn Subscription>>,
) -> Box<dyn Subscription> {
    match before {
        Some(reader) => reader,
        None => subscribe(connector, topics, Start::Earliest).await,
    }
}

/// Insists that a connector without replay refuses this start; whether it is one.
pub async fn refuses(connector: &dyn Connector, topic: &str, start: Start) -> bool {
    if connector.capabilities().replay {
        return false;
    }
    let refused = try_subscribe(connector, TopicSet::one(topic), start).await;
    assert!(matches!(refused.err(), Some(ReadError::Unsupported { .. })), "what it cannot do is refused, not ignored");
    true
}

/// Subscribes and insists that it succeeds.
pub async fn subscribe(connector: &dyn Connector, topics: TopicSet, start: Start) -> Box<dyn Subscription> {
    try_subscribe(connector, topics, start).await.expect("the subscription stands")
}

/// Subscribes.
pub async fn try_subscribe(
    connector: &dyn Connector,
    topics: TopicSet,
    start: Start,
) -> Result<Box<dyn Subscription>, ReadError> {
    let request = SubscribeRequest { topics, start, group: None, compacted: false };
    tokio::time::timeout(PATIENCE, connector.subscribe(request)).await.expect("the answer comes in time")
}

/// Reads until `count` records are there.
pub async fn take(subscription: &mut dyn Subscription, count: usize) -> Vec<Arc<Record>> {
    let mut records = Vec::new();
    while let Some(max) = NonZeroUsize::new(count - records.len()) {
        let next = tokio::time::timeout(PATIENCE, subscription.next(max)).await;
        let next = next.unwrap_or_else(|_| panic!("{count} records come in time, there are {}", records.len()));
        records.extend(next.expect("reading goes on").deliveries.into_iter().map(|delivery| delivery.record));
    }
    records
}

/// Reads until all that was stored is there.
pub async fn take_all(subscription: &mut dyn Subscription) -> Vec<Arc<Record>> {
    let mut records = Vec::new();
    loop {
        let next = poll_fn(|cx| match subscription.poll_next(cx, NonZeroUsize::MAX) {
            Poll::Pending if subscription.is_at_end() => Poll::Ready(None),
            next => next.map(Some),
        });
        let next = tokio::time::timeout(PATIENCE, next).await;
        let next = next.unwrap_or_else(|_| panic!("all records come in time, there are {}", records.len()));
        let Some(next) = next else { return records };
        records.extend(next.expect("reading goes on").deliveries.into_iter().map(|delivery| delivery.record));
    }
}

/// The ids of `count` records, in the order of reading.
pub async fn take_ids(subscription: &mut dyn Subscription, count: usize) -> Vec<String> {
    take(subscription, count).await.iter().map(|record| record.message.event.id.to_string()).collect()
}

/// Insists that nothing more comes before a marker that is published now.
pub async fn nothing_more(connector: &dyn Connector, subscription: &mut dyn Subscription, topic: &str) {
    store_ids(connector, topic, ["marker".into()]).await;
    assert_eq!(take_ids(subscription, 1).await, ["marker"], "nothing comes but what is stored now");
}

/// `prefix-0`, `prefix-1` …
#[must_use]
pub fn ids(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}-{number}")).collect()
}

/// What CONTRIBUTING.md shows must compile.
#[cfg(doctest)]
#[doc = include_str!("../../../CONTRIBUTING.md")]
struct Contributing;
