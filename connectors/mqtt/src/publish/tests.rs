use std::time::Duration;

use meshgate_api::connector::Limits;
use meshgate_conformance::{event, outbound};

use super::{work::Work, *};
use crate::{
    client::{Heard, Line, Welcome},
    config::MqttConfig,
    session::Duty,
};

const WELCOME: Welcome = Welcome {
    resumed: false,
    receive: 10,
    largest: None,
    confirms: true,
    retains: true,
    shares: true,
    identifies: true,
};

/// A publisher whose connection is played by the test.
struct Scene {
    publisher: Publisher,
    work: Work,
    line: Line,
}

impl Scene {
    fn with(limits: Limits, welcome: Welcome) -> Self {
        let context = Context::new("plant", limits);
        let link = Arc::new(Link::new(context.name.clone()));
        let opener = Opener::new(MqttConfig::new("localhost", 1)).expect("no certificates");
        let common = Arc::new(Common::new(opener, &context, link, "test".into(), Box::new(|| true)));
        let (lane, mut work) = lane(&common, 0);
        let line = join(&mut work, welcome);
        Self { publisher: Publisher { common, lanes: RwLock::new(HashMap::from([(runtime(), lane)])) }, work, line }
    }

    fn new() -> Self {
        Self::with(Limits::default(), WELCOME)
    }

    async fn publish(&self, count: usize) -> PublishAck {
        let events = (0..count).map(|number| outbound("a/b", None, event(number.to_string(), "x")));
        self.publisher.publish(events.collect()).await
    }
}

/// A lane whose task is played by the test.
fn lane(common: &Arc<Common>, number: usize) -> (Arc<Lane>, Work) {
    let lane = Arc::new(Lane::new(common.clone(), number));
    let work = Work::new(lane.clone());
    (lane, work)
}

fn join(work: &mut Work, welcome: Welcome) -> Line {
    let (client, line) = work.open().expect("a client");
    work.joined(&client, welcome).expect("a sound broker");
    line
}

async fn names(ack: PublishAck) -> Vec<&'static str> {
    ack.outcomes().await.iter().map(Outcome::name).collect()
}

#[tokio::test]
async fn only_its_own_confirmation_stores_an_event() {
    let mut scene = Scene::with(Limits::default(), Welcome { receive: 3, ..WELCOME });
    let ack = scene.publish(5).await;
    for packet in [1, 2] {
        scene.work.heard(Heard::Sent(packet)).expect("in order");
    }
    scene.work.heard(Heard::Confirmed(2, Verdict::Taken)).expect("it was sent");
    assert_eq!(
        scene.publisher.figures()[..3],
        [("publish_queue", 1), ("publish_unconfirmed", 3), ("publish_confirmed", 1)]
    );
    scene.work.lost(&mut scene.line, "it broke");
    // The first was on the wire, the third and fourth only with the client, the last waited for its turn.
    assert_eq!(names(ack).await, ["unknown", "stored", "unavailable", "unavailable", "unavailable"]);
    assert_eq!(names(scene.publish(1).await).await, ["unavailable"], "nothing is taken without a connection");
}

#[tokio::test]
async fn each_reason_has_its_outcome() {
    let table = [
        (Verdict::Taken, "stored"),
        (Verdict::NotAuthorized, "rejected"),
        (Verdict::TopicInvalid, "rejected"),
        (Verdict::PayloadInvalid, "rejected"),
        (Verdict::QuotaExceeded, "unavailable"),
        (Verdict::Refused, "unavailable"),
        (Verdict::Confused, "unknown"),
    ];
    for (verdict, expected) in table {
        let mut scene = Scene::new();
        let ack = scene.publish(1).await;
        scene.work.heard(Heard::Sent(1)).expect("in order");
        assert_eq!(scene.work.heard(Heard::Confirmed(1, verdict)).is_err(), verdict == Verdict::Confused);
        assert_eq!(names(ack).await, [expected], "{verdict:?}");
    }
}

#[tokio::test]
async fn what_makes_no_sense_ends_the_connection() {
    for nonsense in [Heard::Sent(1), Heard::Confirmed(7, Verdict::Taken), Heard::Stuck] {
        let mut scene = Scene::new();
        let told = format!("{nonsense:?}");
        assert!(scene.work.heard(nonsense).is_err(), "{told}");
    }
    let mut scene = Scene::new();
    let ack = scene.publish(2).await;
    scene.work.heard(Heard::Sent(1)).expect("in order");
    assert!(scene.work.heard(Heard::Sent(1)).is_err(), "a packet identifier that is in use");
    scene.work.lost(&mut scene.line, "nonsense");
    assert!(names(ack).await.iter().all(|name| *name == "unknown"));
    let mut scene = Scene::new();
    let (client, _line) = scene.work.open().expect("a client");
    assert!(scene.work.joined(&client, Welcome { confirms: false, ..WELCOME }).is_err(), "without confirmations");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_the_timeout() {
    let limits = Limits { publish_timeout: Duration::from_secs(4), ..Limits::default() };
    let mut scene = Scene::with(limits, Welcome { receive: 1, ..WELCOME });
    let ack = scene.publish(2).await;
    scene.work.heard(Heard::Sent(1)).expect("in order");
    tokio::time::advance(Duration::from_millis(2900)).await;
    scene.work.attend().expect("there is time");
    tokio::time::advance(Duration::from_millis(200)).await;
    assert!(scene.work.attend().is_err(), "the connection is given up");
    scene.work.lost(&mut scene.line, "too late");
    assert_eq!(names(ack).await, ["unknown", "unavailable"]);
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_by_looking() {
    let scene = Scene::with(Limits::default(), Welcome { largest: Some(200), ..WELCOME });
    let big = outbound("a", None, event("1", vec![0; 200]));
    assert_eq!(names(scene.publisher.publish([big].into_iter().collect()).await).await, ["rejected"]);
    let scene = Scene::with(Limits::default(), Welcome { retains: false, ..WELCOME });
    let mut kept = outbound("a", None, event("1", "x"));
    kept.options = Some(Options::new(Publishing { retain: true }));
    assert_eq!(names(scene.publisher.publish([kept].into_iter().collect()).await).await, ["rejected"]);
}

#[tokio::test]
async fn queue_and_topics_are_bounded() {
    let limits = Limits { in_flight: 1000, topics: 2, ..Limits::default() };
    let mut scene = Scene::with(limits, Welcome { receive: 1, ..WELCOME });
    let first = scene.publish(1).await;
    let mut waiting = Vec::new();
    for _ in 0..20 {
        waiting.push(scene.publish(1).await);
    }
    scene.work.lost(&mut scene.line, "it broke");
    drop(first);
    let mut details = Vec::new();
    for ack in waiting {
        details.push(ack.outcomes().await[0].detail().to_owned());
    }
    let full = details.iter().filter(|detail| detail.contains("limits.in_flight")).count();
    assert!((10..19).contains(&full), "{full} found no room");

    let mut scene = Scene::with(limits, WELCOME);
    let mut acks = Vec::new();
    for topic in ["a", "b", "c", "a"] {
        acks.push(scene.publisher.publish([outbound(topic, None, event("1", "x"))].into_iter().collect()).await);
    }
    for packet in 1..=3 {
        scene.work.heard(Heard::Sent(packet)).expect("in order");
        scene.work.heard(Heard::Confirmed(packet, Verdict::Taken)).expect("it was sent");
    }
    let mut outcomes = Vec::new();
    for ack in acks {
        outcomes.extend(names(ack).await);
    }
    assert_eq!(outcomes, ["stored", "stored", "unavailable", "stored"]);
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_what_is_under_way_and_says_what_stays() {
    let scene = Scene::new();
    let ack = scene.publish(2).await;
    let left = scene.publisher.close(Instant::now() + Duration::from_secs(1)).await;
    assert_eq!(left, 2);
    assert!(names(ack).await.iter().all(|name| *name == "unknown"), "they are with the client: who knows");
    assert_eq!(names(scene.publish(1).await).await, ["unavailable"]);
}

#[tokio::test]
async fn the_broker_is_away_until_all_lanes_stand_again() {
    let mut scene = Scene::new();
    let common = scene.publisher.common.clone();
    let (_lane, mut work) = lane(&common, 1);
    let mut line = join(&mut work, WELCOME);
    assert!(common.link.is_up());
    work.lost(&mut line, "the second broke");
    assert!(common.link.detail().contains("the second broke"));
    scene.work.lost(&mut scene.line, "and the first");
    join(&mut scene.work, WELCOME);
    assert_eq!(names(scene.publish(1).await).await, ["unavailable"], "the second does not stand");
    join(&mut work, WELCOME);
    assert!(common.link.is_up());
    work.lost(&mut line, "its thread ends");
    drop(work);
    scene.work.lost(&mut scene.line, "the first again");
    join(&mut scene.work, WELCOME);
    assert!(common.link.is_up(), "one that has ended does not count");
}

#[tokio::test(start_paused = true)]
async fn the_first_connection_of_a_lane_is_waited_for() {
    let scene = Scene::new();
    let common = scene.publisher.common.clone();
    for (becomes, expected) in [(Some(true), "unknown"), (Some(false), "unavailable"), (None, "unavailable")] {
        let (lane, mut work) = lane(&common, 1);
        scene.publisher.lanes.write().insert(runtime(), lane);
        let publish = scene.publish(1);
        let happens = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let (client, mut line) = work.open().expect("a client");
            match becomes {
                Some(true) => work.joined(&client, WELCOME).expect("a sound broker"),
                Some(false) => work.lost(&mut line, "the broker takes no more clients"),
                None => {}
            }
        };
        let (ack, ()) = tokio::join!(publish, happens);
        drop(work);
        common.answered(1);
        assert_eq!(names(ack).await, [expected], "{becomes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_ends_holds_up_nothing() {
    let Scene { publisher, work, line: _line } = Scene::new();
    let ack = publisher.publish([outbound("a", None, event("1", "x"))].into_iter().collect()).await;
    drop(work);
    assert_eq!(names(ack).await, ["unknown"]);
    let begun = Instant::now();
    assert_eq!(publisher.close(begun + Duration::from_secs(9)).await, 0);
    assert_eq!(Instant::now(), begun, "without waiting");
}
