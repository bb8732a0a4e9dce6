//! The connector while its broker is frozen, killed and started again: `scripts/brokers up mosquitto`, then
//! `eval "$(scripts/brokers env mosquitto)"`.

#[path = "../real/broker.rs"]
#[expect(dead_code, reason = "the other tests use more of it")]
mod broker;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use broker::{Broker, PATIENCE, fresh_name, gauge, until};
use meshgate_api::{
    Str,
    connector::{Batch, Connector, Limits, Start},
    outcome::Outcome,
    topic::TopicSet,
};
use meshgate_conformance::{
    Fixture, event,
    faults::{Faults, alone, run_script},
    groups, ids, outbound, store_ids,
};
use meshgate_mqtt::MqttConfig;
use tokio::time::{Instant, sleep, timeout};

struct Suite {
    broker: Broker,
    config: MqttConfig,
    connector: Arc<dyn Connector>,
}

async fn suite() -> Suite {
    let broker = Broker::given();
    let config = MqttConfig { client_id: Some(fresh_name("faults").into()), ..broker.config() };
    let connector = broker.connector(config.clone(), Limits::default()).await;
    Suite { broker, config, connector }
}

#[async_trait]
impl Fixture for Suite {
    fn connector(&self) -> Arc<dyn Connector> {
        self.connector.clone()
    }

    fn fresh_name(&self, prefix: &str) -> Str {
        fresh_name(prefix)
    }

    async fn create(&self, _topic: &str, _partitions: u32) {}

    async fn forget_records(&self, _topic: &str) {}

    async fn replica(&self) -> Option<Arc<dyn Connector>> {
        Some(self.broker.connector(self.config.clone(), Limits::default()).await)
    }

    fn settled_window(&self) -> usize {
        Limits::default().settled_window
    }

    fn tells_no_data_from_empty(&self) -> bool {
        false
    }

    fn live_buffer(&self) -> usize {
        Limits::default().ring
    }
}

#[async_trait]
impl Faults for Suite {
    async fn broker(&self, what: &str) {
        run_script(what, "mosquitto", "MQTT_ADDRESS").await;
    }

    /// What was not confirmed to the broker it sends again.
    fn stores_once(&self) -> bool {
        false
    }
}

meshgate_conformance::faults!(suite);

/// An event whose data is its id.
async fn publish(connector: &dyn Connector, topic: &str, id: String) -> Outcome {
    let one = outbound(topic, None, event(id.as_str(), id.clone()));
    connector.publish(Batch::from_vec(vec![one])).await.outcomes().await.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stored_while_the_broker_is_away() {
    let _alone = alone().await;
    let suite = suite().await;
    let topic = fresh_name("away");
    for (break_it, mend_it) in [("pause", "resume"), ("kill", "restart"), ("stop", "restart")] {
        suite.broker(break_it).await;
        let begun = Instant::now();
        let under_way: Vec<_> = (0..50)
            .map(|number| {
                let (connector, topic) = (suite.connector.clone(), topic.clone());
                tokio::spawn(async move { publish(&*connector, &topic, number.to_string()).await })
            })
            .collect();
        for one in under_way {
            let outcome = one.await.expect("no panic");
            assert!(
                matches!(outcome, Outcome::Unknown { .. } | Outcome::Unavailable { .. }),
                "{break_it}: {outcome:?}"
            );
        }
        assert!(
            begun.elapsed() < Limits::default().publish_timeout,
            "{break_it}: answered after {:?}",
            begun.elapsed()
        );
        until("it is noticed", || !suite.connector.health().up).await;
        let begun = Instant::now();
        let outcome = publish(&*suite.connector, &topic, "late".into()).await;
        assert!(matches!(outcome, Outcome::Unavailable { .. }), "{break_it}: {outcome:?}");
        assert!(begun.elapsed() < Duration::from_millis(100), "{break_it}: refused at once");
        suite.broker(mend_it).await;
        let begun = Instant::now();
        until("it is up again", || suite.connector.health().up).await;
        println!("after {break_it} and {mend_it} the connector is up again in {:?}", begun.elapsed());
        store_ids(&*suite.connector, &topic, ids("after", 3)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_subscriber_of_the_broker_keeps_has_all_that_was_confirmed() {
    let _alone = alone().await;
    let suite = suite().await;
    let (topic, name) = (fresh_name("kept"), fresh_name("witness").replace(['/', '.'], "-"));
    let session = ["-V", "311", "-c", "-i", &name, "-q", "1", "-t", &topic];
    drop(suite.broker.subscribe(&session).await); // its session stays
    let mut confirmed = Vec::new();
    for (round, (break_it, mend_it)) in
        [("pause", "resume"), ("kill", "restart"), ("stop", "restart")].iter().enumerate()
    {
        for number in 0..200 {
            if number == 100 {
                suite.broker(break_it).await;
            }
            let id = format!("{round}-{number}");
            match publish(&*suite.connector, &topic, id.clone()).await {
                Outcome::Stored(_) => confirmed.push(id),
                Outcome::Unavailable { .. } if number >= 100 => break,
                Outcome::Unknown { .. } if number >= 100 => {}
                other => panic!("{id}: {other:?}"),
            }
        }
        suite.broker(mend_it).await;
        until("it is up again", || suite.connector.health().up).await;
    }
    assert!(confirmed.len() >= 300, "{}", confirmed.len());
    assert_eq!(u64::try_from(confirmed.len()).ok(), Some(gauge(&suite.connector, "publish_confirmed")));
    let mut witness = suite.broker.subscribe(&session).await;
    let mut missing: BTreeSet<_> = confirmed.into_iter().collect();
    while !missing.is_empty() {
        let line = timeout(PATIENCE, witness.line()).await;
        missing.remove(&line.unwrap_or_else(|_| panic!("confirmed and not there: {missing:?}")));
    }
}

/// Two replicas of one group; one is gone without a word.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_replica_had_not_confirmed_comes_again() {
    let _alone = alone().await;
    let broker = Broker::given();
    let (topic, group) = (fresh_name("dead"), fresh_name("group"));
    let config = |replica: &str| MqttConfig { client_id: Some(format!("{group}-{replica}")), ..broker.config() };
    let topics = TopicSet::one(topic.clone());
    let publisher = broker.connector(broker.config(), Limits::default()).await;
    let alive = broker.connector(config("a"), Limits::default()).await;
    let mut member = groups::join(&*alive, topics.clone(), Start::Latest, &group).await;
    // What dies is its whole runtime: nobody says goodbye.
    let (port, dying) = (broker.port, config("b"));
    let death = std::thread::spawn({
        let (topics, group) = (topics.clone(), group.clone());
        move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
            let held = runtime.block_on(async {
                let broker = Broker { host: "127.0.0.1".into(), port };
                let doomed = broker.connector(dying.clone(), Limits::default()).await;
                let mut member = groups::join(&*doomed, topics, Start::Latest, &group).await;
                let held = groups::hold(&mut *member, 10).await;
                let mut ids = groups::ids_of(&held);
                let (settled, rest): (Vec<_>, Vec<_>) = held.into_iter().enumerate().partition(|(at, _)| *at < 3);
                groups::ack_all(settled.into_iter().map(|(_, delivery)| delivery).collect());
                sleep(Duration::from_millis(500)).await; // the confirmations are on the wire
                std::mem::forget((rest, member, doomed));
                ids.drain(..3);
                ids
            });
            runtime.shutdown_background();
            held
        }
    });
    sleep(Duration::from_secs(1)).await;
    store_ids(&*publisher, &topic, ids("e", 40)).await;
    let unconfirmed = tokio::task::spawn_blocking(|| death.join().expect("no panic")).await.expect("no panic");
    let others = groups::hold_what_comes(&mut *member).await;
    assert!(others.len() >= 10, "the other replica has its share: {}", others.len());
    let rest = 40 - others.len() - 3;
    groups::ack_all(others);
    let again = broker.connector(config("b"), Limits::default()).await;
    let mut member = groups::join(&*again, topics, Start::Latest, &group).await;
    let come = groups::hold(&mut *member, rest).await;
    assert_eq!(groups::ids_of(&come)[..unconfirmed.len()], unconfirmed, "what was not confirmed, in order");
    groups::ack_all(come);
    assert!(groups::hold_what_comes(&mut *member).await.is_empty(), "nothing else");
    assert_eq!(again.shutdown(Instant::now() + PATIENCE).await, 0);
}
