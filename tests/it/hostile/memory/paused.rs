//! The crowd, and a broker that does not answer for a while although everybody publishes to it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::sleep};

use super::{BOUND, Crowd, EVENT, IN_FLIGHT, RING, check, start};
use crate::harness::{broker::Broker, connection::Connection, eventually, sse::Stream};

const PUBLISHERS: usize = 64;
/// What a Kafka connector takes: its own copy of what is in flight, the live log, and an answer of the broker as large as that, once as
/// it came and once as records.
const KAFKA: usize = IN_FLIGHT + 3 * RING;

/// Publishers to Kafka at full speed, until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    stored: Arc<AtomicU64>,
    publishers: JoinSet<()>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let (stop, stored) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let publishers = (0..PUBLISHERS).map(|_| publish(address, stop.clone(), stored.clone())).collect();
        Self { stop, stored, publishers }
    }

    /// Returns once so many more events were stored.
    async fn goes_on(&self, events: u64) {
        let stored = self.stored.load(Relaxed);
        eventually("events are stored", async || (self.stored.load(Relaxed) >= stored + events).then_some(())).await;
    }

    async fn stop(self) -> u64 {
        self.stop.store(true, Relaxed);
        self.publishers.join_all().await;
        self.stored.load(Relaxed)
    }
}

async fn publish(address: SocketAddr, stop: Arc<AtomicBool>, stored: Arc<AtomicU64>) {
    let head = format!("POST /channels/k/a HTTP/1.1\r\nhost: a\r\ncontent-length: {EVENT}\r\n\r\n");
    let request = [head.as_bytes(), &[b'x'; EVENT]].concat();
    let mut connection = Connection::open(address).await;
    while !stop.load(Relaxed) {
        let reply = connection.ask(&request).await.expect("an answer");
        match reply.status {
            202 => {
                stored.fetch_add(1, Relaxed);
            }
            503 | 504 => sleep(Duration::from_millis(100)).await,
            other => panic!("{other}: {}", reply.body),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg(target_os = "linux")]
async fn stays_under_it_while_a_broker_is_paused_under_load() {
    const PAUSE: Duration = Duration::from_secs(8);
    let broker = Broker::up().await;
    broker.make_topic("crowd", 4).await;
    let gateway = start(Some(&broker));
    eventually("ready", async || (gateway.ask_admin("/readyz").await.status() == 200).then_some(())).await;
    let _crowd = Crowd::gather(&gateway, "k/a").await;
    let mut reader = Stream::open(&gateway, "near").await;
    let load = Load::start(gateway.url.trim_start_matches("http://").parse().expect("an address"));
    load.goes_on(5000).await;
    broker.pause().await;
    let (paused, mut near, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    while paused.elapsed() < PAUSE {
        let begun = Instant::now();
        gateway.store("near", &near.to_string()).await;
        assert_eq!(reader.ids(1).await, [near.to_string()], "others read");
        slowest = slowest.max(begun.elapsed());
        near += 1;
        sleep(Duration::from_millis(5)).await;
    }
    broker.resume().await;
    load.goes_on(5000).await;
    let stored = load.stop().await;
    let more = format!(
        ", {stored} events of {EVENT} bytes stored, the broker paused for {PAUSE:?} and {near} events elsewhere meanwhile"
    );
    check(&gateway, BOUND + KAFKA, slowest, &more);
}
