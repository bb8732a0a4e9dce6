//! Subscribers share what the gateway reads.

use std::time::{Duration, Instant};

use super::{gateway, tell, turn};
use crate::harness::{broker::Broker, eventually, gateway::Gateway, sse::Stream};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_subscribers_use_as_many_connections_to_the_broker_as_one() {
    const SUBSCRIBERS: usize = 120;
    let _turn = turn().await;
    let broker = Broker::up().await;
    broker.make_topic("load", 4).await;
    let gateway = gateway(&broker).await;
    gateway.store("load/a", "before").await;
    let mut streams = vec![Stream::open(&gateway, "load/**").await];
    gateway.store("load/a", "one").await;
    assert_eq!(streams[0].ids(1).await, ["one"]);
    let with_one = most_connections(&broker, &gateway).await;

    while streams.len() < SUBSCRIBERS {
        streams.push(Stream::open(&gateway, if streams.len() % 2 == 0 { "load/**" } else { "load/a" }).await);
    }
    gateway.store("load/a", "all").await;
    for stream in &mut streams {
        assert_eq!(stream.ids(1).await, ["all"]);
    }
    let with_all = most_connections(&broker, &gateway).await;
    tell(format!("{with_one} connections to the broker with one subscriber, {with_all} with {SUBSCRIBERS}"));
    assert!(with_one > 0);
    assert_eq!(with_all, with_one);

    // A reader of old events has a connection of its own until it has caught up.
    let mut old = Stream::open(&gateway, "load/**?from=earliest").await;
    assert_eq!(old.ids(3).await, ["before", "one", "all"]);
    eventually("its own connection is closed", async || {
        (broker.connections_of(gateway.pid()) <= with_one).then_some(())
    })
    .await;
}

/// The gateway asks the broker this and that once in a while: whatever it does, it does it within this time.
const ROUND: Duration = Duration::from_secs(5);

async fn most_connections(broker: &Broker, gateway: &Gateway) -> usize {
    let begun = Instant::now();
    let mut most = 0;
    while begun.elapsed() < ROUND {
        most = most.max(broker.connections_of(gateway.pid()));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    most
}
