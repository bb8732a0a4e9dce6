use std::collections::VecDeque;

use async_trait::async_trait;
use meshgate_api::{
    connector::{
        Batch, Capabilities, Connector, Health, KeptHeaders, PublishAck, ReadError, Start, SubscribeRequest,
        Subscription as Reader,
    },
    event::Event,
    outcome::Rejection,
    position::{Place, Position},
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::*;
use crate::{
    config::{HttpListener, Limits, Retry, Shutdown},
    gateway::{NamedConnector, Snapshot},
    router::{
        ChannelFilter, Router,
        spec::{ConnectorSpec, DestinationSpec, RouteSpec},
    },
    telemetry::Metrics,
};

const CAPABILITIES: Capabilities = Capabilities {
    replay: true,
    replay_by_time: true,
    groups: true,
    groups_by_time: true,
    headers: KeptHeaders::All,
    keys: true,
    durable: true,
};

/// Answers what it was told to, in order, and keeps what it was given.
#[derive(Debug)]
struct Scripted {
    answers: Mutex<VecDeque<Outcome>>,
    given: Mutex<Vec<Arc<Message>>>,
}

#[async_trait]
impl Connector for Scripted {
    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn publish(&self, batch: Batch) -> PublishAck {
        let outcomes = batch.iter().map(|_| self.answers.lock().pop_front().expect("an answer is scripted")).collect();
        self.given.lock().extend(batch.into_iter().map(|outbound| outbound.message));
        PublishAck::Ready(outcomes)
    }

    async fn subscribe(&self, _request: SubscribeRequest) -> Result<Box<dyn Reader>, ReadError> {
        Err(ReadError::Unsupported { detail: "publishes only".into() })
    }

    fn health(&self) -> Health {
        Health { up: true, was_up: true, detail: None }
    }

    async fn shutdown(&self, _deadline: Instant) -> usize {
        0
    }
}

/// The channels `sink` and `dead`, each event of which has the next of these answers.
fn gateway(answers: &[Outcome]) -> (Arc<Gateway>, Arc<Scripted>) {
    let route = |channel: &str| RouteSpec {
        name: channel.into(),
        channel: channel.into(),
        to: vec![DestinationSpec { connector: "c".into(), topic: channel.into(), ..DestinationSpec::default() }],
        ..RouteSpec::default()
    };
    let spec = ConnectorSpec {
        name: "c".into(),
        capabilities: CAPABILITIES,
        topic_naming: |topic| Ok(topic.into()),
        optional_topic_naming: |topic| Ok(topic.into()),
        reserved: None,
    };
    let router = Router::compile(&[route("sink"), route("dead")], &[spec]).expect("good routes");
    let connector = Arc::new(Scripted { answers: Mutex::new(answers.to_vec().into()), given: Mutex::default() });
    let named = NamedConnector { name: "c".into(), kind: "scripted", required: true, connector: connector.clone() };
    let metrics = Arc::new(Metrics::default());
    let (http, shutdown) = (HttpListener::default(), Shutdown::default());
    let snapshot = Snapshot::new(router, vec![named], http, Limits::default(), shutdown, &metrics);
    (Arc::new(Gateway::new(snapshot, metrics)), connector)
}

fn subscription(dead_letter: Option<&str>, attempts: Option<u32>) -> Subscription {
    let channel = |text: &str| Channel::parse(text).expect("a channel");
    Subscription {
        name: "s".into(),
        channel: ChannelFilter::parse("here").expect("a filter"),
        filters: Vec::new(),
        sink: channel("sink"),
        from: Start::Earliest,
        retry: Retry { attempts, initial: Duration::from_secs(1), max: Duration::from_secs(8) },
        dead_letter: dead_letter.map(channel),
        concurrency: 1,
    }
}

fn message() -> Message {
    let event = Event { id: "1".into(), source: "/s".into(), kind: "t".into(), ..Event::default() };
    Message { channel: Some("here".into()), event: event.into(), headers: headers(&[("x", "1")]), wrapped: true }
}

fn stored() -> Outcome {
    Outcome::Stored(Position { topic: "t".into(), partition: 0, place: Place::offset(1) })
}

fn unavailable() -> Outcome {
    Outcome::unavailable(Unavailability::Down, "away")
}

fn rejected() -> Outcome {
    Outcome::rejected(Rejection::TooLarge, "too large")
}

fn tried(times: u32, given_up: Option<&str>) -> Tried {
    Tried { times, given_up: given_up.map(Into::into) }
}

/// What becomes of an event that was tried so before; and the channels that it was published to.
async fn verdict(answers: &[Outcome], to: &Subscription, before: Tried) -> (Verdict, Vec<String>) {
    let (gateway, connector) = gateway(answers);
    let Forwarded { verdict, hops_refused } = forward(&gateway, to, &message(), "here", before).await;
    assert!(!hops_refused);
    assert_eq!(gateway.in_flight.load(Relaxed), 0, "nothing is occupied any more");
    assert_eq!(connector.answers.lock().len(), 0, "all were asked for");
    let given = connector.given.lock();
    (verdict, given.iter().map(|message| message.channel.as_deref().unwrap_or_default().to_owned()).collect())
}

/// That it is tried again: after how many seconds at least, and what is known of it then.
fn again(verdict: Verdict) -> (u64, Tried) {
    let Verdict::Again { after, tried, .. } = verdict else { panic!("it is tried again: {verdict:?}") };
    (after.as_secs(), tried)
}

#[tokio::test]
async fn what_is_stored_is_as_it_was_but_for_its_channel_and_the_hops() {
    let (gateway, connector) = gateway(&[stored()]);
    let forwarded = forward(&gateway, &subscription(None, None), &message(), "here", Tried::default()).await;
    assert_eq!(forwarded.verdict, Verdict::Delivered);
    let headers = headers(&[("x", "1"), ("meshgate-hops", "1")]);
    let expected = Message { channel: Some("sink".into()), headers, ..message() };
    assert_eq!(*connector.given.lock()[0], expected);
}

#[tokio::test]
async fn what_is_not_stored_is_tried_for_ever_or_as_often_as_may_be() {
    let for_ever = [subscription(None, None), subscription(Some("dead"), None)];
    for (to, outcome) in for_ever.iter().flat_map(|to| [(to, unavailable()), (to, Outcome::unknown("who knows"))]) {
        for times in [0, 1000] {
            let (verdict, channels) = verdict(std::slice::from_ref(&outcome), to, tried(times, None)).await;
            let (after, now) = again(verdict);
            assert_eq!((now, &channels[..]), (tried(times + 1, None), &["sink".to_owned()][..]));
            assert_eq!(after >= 4, times > 0, "{after} s after {times} tries");
        }
    }
    let three = subscription(Some("dead"), Some(3));
    let (second, _) = verdict(&[unavailable()], &three, tried(1, None)).await;
    assert_eq!(again(second).1, tried(2, None));
    let (third, channels) = verdict(&[unavailable(), stored()], &three, tried(2, None)).await;
    let reason = "tried 3 times; unavailable: away".into();
    assert_eq!((third, &channels[..]), (Verdict::DeadLettered { reason }, &["sink".to_owned(), "dead".to_owned()][..]));
}

#[tokio::test]
async fn what_is_rejected_is_a_dead_letter_or_waits_as_long_as_may_be() {
    let (at_once, _) = verdict(&[rejected(), stored()], &subscription(Some("dead"), Some(9)), Tried::default()).await;
    assert_eq!(at_once, Verdict::DeadLettered { reason: "rejected: too large".into() });
    let (waits, _) = verdict(&[rejected()], &subscription(None, None), Tried::default()).await;
    assert_eq!(again(waits), (8, tried(1, None)));
}

#[tokio::test]
async fn one_that_is_given_up_stays_so_until_its_dead_letter_is_stored() {
    let to = subscription(Some("dead"), None);
    for failed in [unavailable(), Outcome::unknown("who knows"), rejected()] {
        let (waits, _) = verdict(&[rejected(), failed], &to, Tried::default()).await;
        assert_eq!(again(waits).1, tried(1, Some("rejected: too large")));
    }
    let (then, channels) = verdict(&[stored()], &to, tried(1, Some("why"))).await;
    assert_eq!((then, &channels[..]), (Verdict::DeadLettered { reason: "why".into() }, &["dead".to_owned()][..]));
    let (without, _) = verdict(&[], &subscription(None, None), tried(1, Some("why"))).await;
    assert_eq!(again(without).1, tried(1, None), "a reload took the dead letters away: it is tried anew");
}

#[tokio::test]
async fn a_dead_letter_says_why_whence_and_when() {
    let (gateway, connector) = gateway(&[rejected(), stored()]);
    forward(&gateway, &subscription(Some("dead"), None), &message(), "here/1", Tried::default()).await;
    let mut letter = Message::clone(&connector.given.lock()[1]);
    let texts = ["deadletterreason", "deadletterfrom", "deadlettertime"]
        .map(|name| letter.event.attribute(name).expect("it is there").into_owned());
    assert_eq!([&*texts[0], &*texts[1]], ["rejected: too large", "here/1"]);
    assert!(meshgate_api::event::parse_timestamp(&texts[2]).is_some(), "{}", texts[2]);
    letter.event.extensions.clear();
    assert_eq!(letter, Message { channel: Some("dead".into()), ..message() }, "and is otherwise the same, hops too");
}

#[tokio::test]
async fn over_limits_in_flight_an_event_waits() {
    let (gateway, connector) = gateway(&[stored()]);
    gateway.in_flight.store(Limits::default().connectors.in_flight, Relaxed);
    let to = subscription(None, None);
    let refused = forward(&gateway, &to, &message(), "here", Tried::default()).await;
    assert_eq!((again(refused.verdict).1, connector.given.lock().len()), (tried(1, None), 0));
    assert_eq!(gateway.in_flight.load(Relaxed), Limits::default().connectors.in_flight);
    gateway.in_flight.store(0, Relaxed);
    assert_eq!(forward(&gateway, &to, &message(), "here", Tried::default()).await.verdict, Verdict::Delivered);
}

fn headers(all: &[(&str, &str)]) -> Headers {
    all.iter().map(|(name, value)| ((*name).into(), Bytes::copy_from_slice(value.as_bytes()))).collect()
}

#[test]
fn each_forwarding_counts_up_to_eight() {
    let mut now = headers(&[("traceparent", "00-1"), ("x", "1"), ("x", "2")]);
    for hop in 1..=8 {
        now = next_hop(&now).expect("it may go on");
        let hop = hop.to_string();
        assert_eq!(now, headers(&[("traceparent", "00-1"), ("x", "1"), ("x", "2"), ("meshgate-hops", &hop)]));
    }
    assert_eq!(next_hop(&now), None);
}

#[test]
fn a_count_that_is_none_counts_nothing() {
    for value in ["", "x", "12", "-1", "0"] {
        let next = next_hop(&headers(&[("meshgate-hops", value)]));
        assert_eq!(next, Some(headers(&[("meshgate-hops", "1")])), "{value}");
    }
    assert_eq!(next_hop(&headers(&[("meshgate-hops", "9")])), None);
    assert_eq!(next_hop(&headers(&[("meshgate-hops", "2"), ("meshgate-hops", "8")])), None);
}

#[test]
fn a_reason_is_one_that_an_attribute_may_be() {
    assert_eq!(&*reason("a\nb\u{7f}c"), "a b c");
    let long = reason(&"ä".repeat(2000));
    assert!(long.len() <= MAX_REASON && long.len() > MAX_REASON - 2);
}
