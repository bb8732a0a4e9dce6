//! Many events, while the broker or the gateway is disturbed.

use std::time::{Duration, Instant};

use super::{
    follower::Follower,
    gateway, ledger,
    load::{Answer, Load, Publication},
    tell, turn,
};
use crate::harness::broker::Broker;

const PUBLISHERS: u32 = 64;
const PARTITIONS: u32 = 4;
/// So long after the broker's return events must be stored again.
const RECOVERY: Duration = Duration::from_secs(10);

/// From when to when the broker was away.
struct Absence {
    what: &'static str,
    from: Instant,
    to: Instant,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_is_paused_and_killed() {
    const EVENTS: u64 = 200_000;
    let _turn = turn().await;
    let broker = Broker::up().await;
    broker.make_topic("load", PARTITIONS).await;
    let gateway = gateway(&broker).await;
    let follower = Follower::start(&gateway, "load/**").await;
    let begun = Instant::now();
    let load = Load::start(&gateway, "storm", PUBLISHERS, EVENTS);

    load.until(EVENTS / 4).await;
    broker.pause().await;
    let paused = Instant::now();
    tokio::time::sleep(Duration::from_secs(8)).await;
    let pause = Absence { what: "paused", from: paused, to: Instant::now() };
    broker.resume().await;

    let replay = Follower::start(&gateway, "load/**?from=earliest").await;
    load.until(EVENTS / 2).await;
    broker.kill().await;
    let killed = Instant::now();
    load.until(load.answered() + u64::from(PUBLISHERS)).await;
    broker.restart().await;
    let death = Absence { what: "killed and restarted", from: killed, to: Instant::now() };

    let publications = load.finish().await;
    tell(format!("{EVENTS} events were answered within {:.1} s", begun.elapsed().as_secs_f64()));
    let stored = broker.read("load").await;
    ledger::settle("the broker is paused and killed", &publications, &stored);
    pause.check(&publications);
    death.check(&publications);
    follower.has_seen("live, while the broker is paused and killed", &stored).await;
    replay.has_seen("from the start, while the broker is killed", &stored).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_is_killed() {
    const EVENTS: u64 = 60_000;
    let _turn = turn().await;
    let broker = Broker::up().await;
    broker.make_topic("load", PARTITIONS).await;
    let mut gateway = gateway(&broker).await;
    let follower = Follower::start(&gateway, "load/**").await;
    let load = Load::start(&gateway, "storm", PUBLISHERS, EVENTS);

    load.until(EVENTS / 4).await;
    gateway = gateway.kill_and_restart();
    load.until(EVENTS / 2).await;
    broker.kill().await;
    broker.restart().await;
    load.until(EVENTS / 4 * 3).await;
    gateway = gateway.kill_and_restart();

    let publications = load.finish().await;
    let stored = broker.read("load").await;
    ledger::settle("the gateway is killed twice, the broker once", &publications, &stored);
    follower.has_seen("the gateway is killed twice, the broker once", &stored).await;
    drop(gateway);
}

impl Absence {
    /// While the broker was away nobody was told that an event is stored; soon after its return events were stored again.
    fn check(&self, publications: &[Publication]) {
        let Self { what, from, to } = self;
        let meanwhile =
            publications.iter().filter(|publication| publication.sent > *from && publication.answered < *to);
        let meanwhile: Vec<_> = meanwhile.collect();
        let first = meanwhile.iter().map(|publication| publication.answered - *from).min();
        let confirmed = meanwhile.iter().find(|publication| publication.answer == Answer::Stored);
        let anew =
            publications.iter().filter(|publication| publication.answer == Answer::Stored && publication.sent > *from);
        let anew = anew.map(|publication| publication.answered).min().expect("events are stored again");
        let recovery = anew.saturating_duration_since(*to);
        tell(format!(
            "the broker was {what} for {:.1} s: {} events were sent and answered meanwhile, the first after {:.1} s; \
             events were stored again {:.2} s after its return",
            (*to - *from).as_secs_f64(),
            meanwhile.len(),
            first.map_or(f64::NAN, |first| first.as_secs_f64()),
            recovery.as_secs_f64(),
        ));
        assert!(!meanwhile.is_empty(), "{what}: answers come while the broker is away");
        assert!(recovery < RECOVERY, "{what}: {recovery:?}");
        if *what == "paused" {
            assert!(confirmed.is_none(), "a paused broker confirms nothing: {confirmed:?}");
        }
    }
}
