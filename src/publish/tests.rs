use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use meshgate_api::{
    connector::{Capabilities, Connector, Health, ReadError, SubscribeRequest, Subscription},
    event::Event,
    outcome::{Rejection, Unavailability},
    position::Place,
};

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

const CAPABILITIES: Capabilities =
    Capabilities { replay: true, replay_by_time: true, groups: false, headers: true, keys: true, durable: true };

/// Answers what it was told to, in order; `None`: never.
#[derive(Debug, Default)]
struct Scripted {
    answers: Mutex<VecDeque<Option<Outcome>>>,
    seen: Mutex<Vec<String>>,
}

#[async_trait]
impl Connector for Scripted {
    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn publish(&self, batch: Batch) -> PublishAck {
        let mut answers = self.answers.lock().expect("no holder panics");
        let taken: Vec<_> = batch.iter().map(|_| answers.pop_front().expect("an answer is scripted")).collect();
        self.seen
            .lock()
            .expect("no holder panics")
            .extend(batch.iter().map(|outbound| outbound.message.event.id.to_string()));
        match taken.into_iter().collect::<Option<Outcomes>>() {
            Some(outcomes) => PublishAck::Pending(Box::pin(async { outcomes })),
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
fn gateway(second_required: bool, answers: [&[Option<Outcome>]; 2]) -> (Gateway, [Arc<Scripted>; 2]) {
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
    };
    let router = Router::compile(&[route], &[spec("first"), spec("second")]).expect("the route is good");
    let connectors = answers.map(|answers| {
        Arc::new(Scripted { answers: Mutex::new(answers.iter().cloned().collect()), seen: Mutex::default() })
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
    (Gateway::new(snapshot, metrics), connectors)
}

fn message(id: &str, channel: &str) -> Submission {
    let event = Event { id: id.into(), source: "/s".into(), kind: "t".into(), ..Event::default() };
    Ok(Arc::new(Message { channel: Some(channel.into()), event, ..Message::default() }))
}

fn unread(id: &str) -> Refused {
    let event = Event { id: id.into(), ..Event::default() };
    let known = Arc::new(Message { event, ..Message::default() });
    Refused { known, outcome: Outcome::rejected(Rejection::BadEvent, "no event") }
}

async fn publish(gateway: &Gateway, messages: impl IntoIterator<Item = Submission>) -> Receipts {
    gateway.publish(Listener::Http, messages.into_iter().collect()).await
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
    let counts: Vec<_> = gateway.now().counters.published_by_route(0).map(|(_, count)| count).collect();
    assert_eq!(counts, [1, 1, 0, 0]);
}
