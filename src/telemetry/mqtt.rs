//! What the MQTT listener counts and holds. What is counted with each packet is counted by each thread for itself.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
};

use meshgate_api::sharded::Sharded;
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

/// Sessions of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionFigures {
    /// Those that a connection has.
    pub connected: usize,
    /// Those that wait for their clients.
    pub parked: usize,
}

/// Why somebody who should have got an event did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undelivered {
    /// Its `expirytime` had passed.
    Expired,
    /// It is larger than its client, or MQTT, takes.
    TooLarge,
    /// It was published with QoS 0, and could not be stored.
    PublishFailed,
}

/// Their names, in the same order.
const UNDELIVERED: [&str; 3] = ["expired", "too_large", "publish_failed"];

/// Counts for the MQTT listener. Cheap to clone: clones count together.
#[derive(Clone, Default)]
pub struct MqttCounters {
    counts: Arc<Sharded<Counts>>,
    sessions: Arc<Mutex<Option<AskSessions>>>,
}

type AskSessions = Box<dyn Fn() -> SessionFigures + Send + Sync>;

#[derive(Debug, Default)]
struct Counts {
    received: AtomicU64,
    sent: AtomicU64,
    undelivered: [AtomicU64; UNDELIVERED.len()],
    /// One thread may count up what another one counts down.
    unanswered: AtomicI64,
    unconfirmed: AtomicI64,
}

/// What one connection has in flight: it counts as long as this is there.
#[derive(Debug)]
pub struct InFlight {
    counters: MqttCounters,
    unanswered: usize,
    unconfirmed: usize,
}

/// All of it at one moment, for the admin listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MqttFigures {
    /// Bytes that clients have sent.
    pub received: u64,
    /// Bytes that they were sent.
    pub sent: u64,
    /// Publishes that have no answer yet.
    pub unanswered: i64,
    /// Deliveries of QoS 1 and 2 that connected clients have not confirmed.
    pub unconfirmed: i64,
    undelivered: [u64; UNDELIVERED.len()],
}

impl MqttCounters {
    /// Shown in these metrics from now on.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    /// Asks `figures` for the sessions whenever they are to be shown: there is a listener.
    pub fn show_sessions(&self, figures: impl Fn() -> SessionFigures + Send + Sync + 'static) {
        *self.sessions.lock() = Some(Box::new(figures));
    }

    /// How many sessions there are; `None`: there is no MQTT listener.
    #[must_use]
    pub fn sessions(&self) -> Option<SessionFigures> {
        self.sessions.lock().as_ref().map(|figures| figures())
    }

    /// So many bytes have come.
    pub fn received(&self, bytes: usize) {
        self.counts.own().received.fetch_add(bytes as u64, Relaxed);
    }

    /// So many bytes have gone.
    pub fn sent(&self, bytes: usize) {
        self.counts.own().sent.fetch_add(bytes as u64, Relaxed);
    }

    /// Somebody did not get an event.
    pub fn undelivered(&self, why: Undelivered) {
        self.counts.own().undelivered[why as usize].fetch_add(1, Relaxed);
    }

    /// What a new connection has in flight: nothing.
    #[must_use]
    pub fn in_flight(&self) -> InFlight {
        InFlight { counters: self.clone(), unanswered: 0, unconfirmed: 0 }
    }

    /// All that is counted.
    #[must_use]
    pub fn figures(&self) -> MqttFigures {
        let mut figures = MqttFigures::default();
        for counts in self.counts.iter() {
            figures.received += counts.received.load(Relaxed);
            figures.sent += counts.sent.load(Relaxed);
            figures.unanswered += counts.unanswered.load(Relaxed);
            figures.unconfirmed += counts.unconfirmed.load(Relaxed);
            for (sum, count) in figures.undelivered.iter_mut().zip(&counts.undelivered) {
                *sum += count.load(Relaxed);
            }
        }
        figures
    }
}

impl InFlight {
    /// The connection has this much in flight now. Where that has not changed, it costs nothing.
    pub fn set(&mut self, unanswered: usize, unconfirmed: usize) {
        let counts = self.counters.counts.own();
        for (known, now, count) in [
            (&mut self.unanswered, unanswered, &counts.unanswered),
            (&mut self.unconfirmed, unconfirmed, &counts.unconfirmed),
        ] {
            if *known != now {
                count.fetch_add(now as i64 - *known as i64, Relaxed);
                *known = now;
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.set(0, 0);
    }
}

impl MqttFigures {
    /// Events that somebody did not get, by why.
    pub fn undelivered(&self) -> impl Iterator<Item = (&'static str, u64)> {
        UNDELIVERED.into_iter().zip(self.undelivered)
    }
}

impl Collector for MqttCounters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (figures, sessions) = (self.figures(), self.sessions().unwrap_or_default());
        let help = "MQTT sessions of this process, by whether their clients are connected.";
        let mut shown = encoder.encode_descriptor("mqtt_sessions", help, None, MetricType::Gauge)?;
        for (state, count) in [("connected", sessions.connected), ("parked", sessions.parked)] {
            gauge(count as i64).encode(shown.encode_family(&[("state", state)])?)?;
        }
        for (name, help, count) in [
            ("mqtt_unanswered_publishes", "Publishes of MQTT clients that wait for their outcome.", figures.unanswered),
            (
                "mqtt_unconfirmed_deliveries",
                "Deliveries of QoS 1 and 2 that connected clients have not confirmed.",
                figures.unconfirmed,
            ),
        ] {
            gauge(count).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let help =
            "Events that an MQTT client did not get, or that none got because a publish of QoS 0 failed, by why.";
        let mut shown = encoder.encode_descriptor("mqtt_undelivered", help, None, MetricType::Counter)?;
        for (reason, count) in figures.undelivered() {
            ConstCounter::new(count).encode(shown.encode_family(&[("reason", reason)])?)?;
        }
        for (name, help, bytes) in [
            ("mqtt_received", "What MQTT clients have sent.", figures.received),
            ("mqtt_sent", "What MQTT clients were sent.", figures.sent),
        ] {
            let shown = encoder.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Counter)?;
            ConstCounter::new(bytes).encode(shown)?;
        }
        Ok(())
    }
}

fn gauge(count: i64) -> ConstGauge<i64> {
    ConstGauge::new(count)
}

impl fmt::Debug for MqttCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.figures().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_count_apart_is_shown_together() {
        let counters = MqttCounters::default();
        std::thread::scope(|scope| {
            for bytes in [1, 20, 300] {
                let counters = counters.clone();
                scope.spawn(move || {
                    counters.received(bytes);
                    counters.sent(bytes * 2);
                    counters.undelivered(Undelivered::TooLarge);
                });
            }
        });
        let figures = counters.figures();
        assert_eq!((figures.received, figures.sent), (321, 642));
        let undelivered: Vec<_> = figures.undelivered().collect();
        assert_eq!(undelivered, [("expired", 0), ("too_large", 3), ("publish_failed", 0)]);
    }

    #[test]
    fn what_a_connection_has_in_flight_goes_with_it() {
        let counters = MqttCounters::default();
        let (mut one, mut other) = (counters.in_flight(), counters.in_flight());
        one.set(3, 1);
        other.set(2, 7);
        one.set(1, 1);
        assert_eq!((counters.figures().unanswered, counters.figures().unconfirmed), (3, 8));
        std::thread::scope(|scope| drop(scope.spawn(move || drop(other)).join()));
        assert_eq!((counters.figures().unanswered, counters.figures().unconfirmed), (1, 1));
        drop(one);
        assert_eq!(counters.figures(), MqttFigures::default());
    }
}
