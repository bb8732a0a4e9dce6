use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use meshgate_api::{
    connector::{Capabilities, Connector, Health, KeptHeaders, PublishAck, ReadError, SubscribeRequest, Subscription},
    event::Event,
    outcome::{Outcomes, Rejection, Unavailability},
    position::Place,
};
use tokio::{task::yield_now, time::sleep};

use super::*;
use crate::{
    config::{HttpListener, Limits, Shutdown},
    gateway::NamedConnector,
    router::{
        Router,
        spec::{ConnectorSpec, DestinationSpec, RouteSpec},
    },
    telemetry::Metrics,
};

const CAPABILITIES: Capabilities = Capabilities {
    replay: true,
    replay_by_time: true,
    groups: false,
    groups_by_time: true,
    headers: KeptHeaders::All,
    keys: true,
    durable: true,
};

/// Answers what it was told to, in order, when it was asked some times; `None`: never.
#[derive(Debug, Default)]
struct Scripted {
    answers: Mutex<VecDeque<Option<Outcome>>>,
    seen: Mutex<Vec<String>>,
    /// It takes nothing.
    is_stuck: AtomicBool,
}

#[async_trait]
impl Connector for Scripted {
    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn publish(&self, batch: Batch) -> PublishAck {
        if self.is_stuck.load(Relaxed) {
            std::future::pending::<()>().await;
        }
        let mut answers = self.answers.lock().expect("no holder panics");
        let taken: Vec<_> = batch.iter().map(|_| answers.pop_front().expect("an answer is scripted")).collect();
        self.seen
            .lock()
            .expect("no holder panics")
            .extend(batch.iter().map(|outbound| outbound.message.event.id.to_string()));
        match taken.into_iter().collect::<Option<Outcomes>>() {
            Some(outcomes) => PublishAck::Pending(Box::pin(after_some_asking(outcomes))),
            None => PublishAck::Pending(Box::pin(std::future::pending())),
        }
    }

    async fn subscribe(&self, _request: SubscribeRequest) -> Result<Box<dyn Subscription>, ReadError> {
        Err(ReadError::Unsupported { detail: "publishes only".into() })
    }

    fn health(&self) -> Health {
        Health { up: true, was_up: true, detail: None }
    }

    async fn shutdown(&self, _deadline: Instant) -> usize {
        0
    }
}

async fn after_some_asking(outcomes: Outcomes) -> Outcomes {
    for _ in 0..5 {
        yield_now().await;
    }
    outcomes
}

fn stored() -> Outcome {
    Outcome::Stored(Position { topic: "t".into(), partition: 0, place: Place::offset(1) })
}

fn unavailable() -> Outcome {
    Outcome::unavailable(Unavailability::Down, "it is away")
}

fn rejected() -> Outcome {
    Outcome::rejected(Rejection::TooLarge, "it is too large")
}

fn unknown() -> Outcome {
    Outcome::unknown("who knows")
}

/// Two connectors behind one route; the second is required or not.
fn gateway(second_required: bool, answers: [&[Option<Outcome>]; 2]) -> (Arc<Gateway>, [Arc<Scripted>; 2]) {
    let destination = |connector: &str, required| DestinationSpec {
        connector: connector.into(),
        topic: format!("topic-{connector}"),
        required: Some(required),
        ..DestinationSpec::default()
    };
    let route = RouteSpec {
        name: "both".into(),
        channel: "a".into(),
        to: vec![destination("first", true), destination("second", second_required)],
        ..RouteSpec::default()
    };
    let spec = |name: &str| ConnectorSpec {
        name: name.into(),
        capabilities: CAPABILITIES,
        topic_naming: |topic| Ok(topic.into()),
        optional_topic_naming: |topic| Ok(topic.into()),
        reserved: None,
    };
    let router = Router::compile(&[route], &[spec("first"), spec("second")]).expect("the route is good");
    let connectors = answers.map(|answers| {
        Arc::new(Scripted { answers: Mutex::new(answers.iter().cloned().collect()), ..Scripted::default() })
    });
    let named = |at: usize, name: &str| NamedConnector {
        name: name.into(),
        kind: "scripted",
        required: true,
        connector: connectors[at].clone(),
    };
    let metrics = Arc::new(Metrics::default());
    let named = vec![named(0, "first"), named(1, "second")];
    let snapshot =
        Snapshot::new(router, named, HttpListener::default(), Limits::default(), Shutdown::default(), &metrics);
    (Arc::new(Gateway::new(snapshot, metrics)), connectors)
}

fn message(id: &str, channel: &str) -> Submission {
    let event = Event { id: id.into(), source: "/s".into(), kind: "t".into(), ..Event::default() };
    Ok(Arc::new(Message { channel: Some(channel.into()), event: Box::new(event), ..Message::default() }))
}

fn unread(id: &str) -> Refused {
    let event = Event { id: id.into(), ..Event::default() };
    let known = Arc::new(Message { event: Box::new(event), ..Message::default() });
    Refused { known, outcome: Outcome::rejected(Rejection::BadEvent, "no event") }
}

async fn publish(gateway: &Arc<Gateway>, messages: impl IntoIterator<Item = Submission>) -> Receipts {
    gateway.publish(Listener::Http, messages.into_iter().collect(), ()).await
}

#[tokio::test]
async fn the_worst_outcome_wins() {
    for (first, second, expected, says) in [
        (stored(), stored(), "stored", ""),
        (stored(), rejected(), "rejected", "it is stored in topic-first"),
        (stored(), unavailable(), "unknown", "it is stored in topic-first"),
        (unavailable(), stored(), "unknown", "it is stored in topic-second"),
        (stored(), unknown(), "unknown", "who knows"),
        (rejected(), unavailable(), "unavailable", "it is away"),
        (unknown(), rejected(), "unknown", "who knows"),
        (unavailable(), unavailable(), "unavailable", "it is away"),
    ] {
        let case = format!("{first:?} and {second:?}");
        let (gateway, _) = gateway(true, [&[Some(first)], &[Some(second)]]);
        let receipt = &publish(&gateway, [message("1", "a")]).await[0];
        assert_eq!(receipt.outcome.name(), expected, "{case}");
        assert!(receipt.outcome.detail().contains(says), "{case}: {}", receipt.outcome.detail());
    }
}

#[tokio::test(start_paused = true)]
async fn no_answer_in_time_is_unknown() {
    let (gateway, _) = gateway(true, [&[Some(stored())], &[None]]);
    let begun = Instant::now();
    let receipt = &publish(&gateway, [message("1", "a")]).await[0];
    assert_eq!(receipt.outcome.name(), "unknown");
    assert!(begun.elapsed() < gateway.now().limits.connectors.publish_timeout);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_keeps_no_other_from_it() {
    let (gateway, _) = gateway(true, [&[None], &[Some(stored())]]);
    let receipt = &publish(&gateway, [message("1", "a")]).await[0];
    assert_eq!((receipt.outcome.name(), receipt.stored.len()), ("unknown", 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_required_is_not_waited_for() {
    for second in [Some(unavailable()), None] {
        let (gateway, connectors) = gateway(false, [&[Some(stored())], &[second]]);
        let begun = Instant::now();
        let receipt = &publish(&gateway, [message("1", "a")]).await[0];
        assert_eq!(receipt.outcome.name(), "stored");
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert_eq!(*connectors[1].seen.lock().expect("no holder panics"), ["1"]);
    }
}

/// Begins a publish of one event and goes away; what it has occupied.
fn abandon(gateway: &Arc<Gateway>) -> Weak<()> {
    let held = Arc::new(());
    let occupied = Arc::downgrade(&held);
    let publish = gateway.publish(Listener::Http, SmallVec::from_iter([message("1", "a")]), held);
    assert!(publish.now_or_never().is_none(), "it waits");
    occupied
}

/// Time is paused and goes on when everybody sleeps.
async fn freed(occupied: &Weak<()>) {
    while occupied.strong_count() > 0 {
        sleep(Duration::from_millis(1)).await;
    }
}

fn counts(gateway: &Gateway) -> Vec<u64> {
    gateway.now().counters.published_by_route(0).map(|(_, count)| count).collect()
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_any_more_is_counted_and_occupies_memory_until_then() {
    for (answer, expected, at_once) in [(Some(stored()), [1, 0, 0, 0], true), (None, [0, 0, 0, 1], false)] {
        let (gateway, _) = gateway(true, [&[Some(stored())], &[answer]]);
        let begun = Instant::now();
        let occupied = abandon(&gateway);
        assert_eq!((occupied.strong_count(), counts(&gateway)), (1, vec![0; 4]));
        freed(&occupied).await;
        assert_eq!(counts(&gateway), expected);
        assert_eq!(begun.elapsed() < Duration::from_secs(1), at_once);
        assert!(begun.elapsed() < gateway.now().limits.connectors.publish_timeout);
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_connector_was_given_yet_is_sent_when_the_client_has_gone() {
    for required in [true, false] {
        let (gateway, connectors) = gateway(required, [&[], &[Some(stored())]]);
        connectors[0].is_stuck.store(true, Relaxed);
        freed(&abandon(&gateway)).await;
        assert_eq!(counts(&gateway), [0, 0, 0, 1]);
        assert_eq!(*connectors[1].seen.lock().expect("no holder panics"), ["1"]);
    }
}

#[tokio::test]
async fn each_event_has_its_own_fate_and_what_is_refused_is_not_tried() {
    let answers = [Some(stored()), Some(rejected())];
    let (gateway, connectors) = gateway(true, [&answers, &[Some(stored()), Some(stored())]]);
    let unread = Err(unread("unread"));
    let receipts = publish(&gateway, [message("1", "a"), message("2", "elsewhere"), unread, message("4", "a")]).await;
    let fates: Vec<_> = receipts.iter().map(|receipt| (&*receipt.id, receipt.outcome.name(), receipt.route)).collect();
    let expected =
        [("1", "stored", Some(0)), ("2", "rejected", None), ("unread", "rejected", None), ("4", "rejected", Some(0))];
    assert_eq!(fates, expected);
    assert_eq!(*connectors[0].seen.lock().expect("no holder panics"), ["1", "4"]);
    assert_eq!(counts(&gateway), [1, 1, 0, 0]);
}
