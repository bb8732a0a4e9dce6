//! What the gateway tells about itself: metrics by the Prometheus conventions, log lines, and trace spans.
//!
//! No label ever holds a channel or a client: their number has no bound.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use meshgate_api::{
    connector::Settlement,
    outcome::{OUTCOME_NAMES, Outcomes},
};
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::Gauge,
    },
    registry::{Registry, Unit},
};

use crate::{
    gateway::{Gateway, Listener, NamedConnector},
    publish::Receipt,
};

pub(crate) mod exposition;
mod latency;
mod logs;
mod mqtt;
mod subscriptions;
mod traces;
use latency::Latency;
pub use logs::{LogFormat, start_logging};
pub use mqtt::{InFlight, MqttCounters, MqttFigures, SessionFigures, Undelivered};
use subscriptions::AllSubscriptions;
pub use subscriptions::SubscriptionCounters;
pub use traces::{Spans, Traces};

type Labels = Vec<(&'static str, String)>;
type Counters = Family<Labels, EventCounter>;
/// Counts events.
pub type EventCounter = Counter<u64, AtomicU64>;
/// What becomes of a delivery: it is written to a subscriber, and in a group confirmed, given back or set aside.
const DELIVERY_NAMES: [&str; 4] = ["written", "confirmed", "retried", "rejected"];
/// One counter for each outcome.
type ByOutcome = [EventCounter; OUTCOME_NAMES.len()];

/// The gateway's counters.
pub struct Metrics {
    registry: Mutex<Registry>,
    publish: Counters,
    optional: Counters,
    deliver: Counters,
    route_errors: Counters,
    /// By listener and outcome.
    publish_seconds: Vec<[Latency; OUTCOME_NAMES.len()]>,
    /// Open connections by listener.
    pub connections: Vec<Gauge<i64, AtomicI64>>,
    /// What was gone before it was read: positions of readers, and of groups each event.
    pub skipped: Arc<AtomicU64>,
    /// Events of which a reader's filter could not tell whether it wants them.
    pub filter_errors: EventCounter,
    /// Trace spans that the collector did not get.
    pub spans_dropped: EventCounter,
    /// Records of sessions that were not stored at their time.
    pub state_failures: EventCounter,
    /// What the MQTT listener counts.
    pub mqtt: MqttCounters,
    in_flight: Gauge<i64, AtomicI64>,
    subscriptions: AllSubscriptions,
    subscription_lag: Family<Labels, Gauge<i64, AtomicI64>>,
    connector_up: Family<Labels, Gauge<i64, AtomicI64>>,
    connector_gauges: Family<Labels, Gauge<i64, AtomicI64>>,
}

/// The counters of some routes, by their numbers: looked up once, and not for each event.
pub struct RouteCounters {
    /// By listener, then by route; the last is for events that no route takes.
    published: Vec<Vec<ByOutcome>>,
    /// By route: copies to destinations that are not required.
    optional: Vec<ByOutcome>,
    /// By route: events on which one of its filters erred.
    filter_errors: Vec<EventCounter>,
    /// By route: deliveries to subscribers.
    delivered: Vec<DeliveryCounters>,
}

/// Counts one route's deliveries. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DeliveryCounters(Arc<[EventCounter; DELIVERY_NAMES.len()]>);

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("meshgate");
        let (publish, optional, deliver) = (Counters::default(), Counters::default(), Counters::default());
        let seconds = Family::<Labels, Latency>::default();
        let connections = Family::<Labels, Gauge<i64, AtomicI64>>::default();
        let skipped = Arc::<AtomicU64>::default();
        let filter_errors = Counter::default();
        let (connector_up, connector_gauges) = (Family::default(), Family::default());
        registry.register("publish", "Events by what became of them", publish.clone());
        registry.register("optional_publish", "Copies to destinations that are not required", optional.clone());
        registry.register_with_unit("publish", "From the last byte to the outcome", Unit::Seconds, seconds.clone());
        registry.register("deliver", "Events to subscribers, by what became of them", deliver.clone());
        let route_errors = Counters::default();
        let erred = "Events on which a filter of the route erred, and so did not match";
        registry.register("filter_errors", erred, route_errors.clone());
        registry.register("connections", "Open connections", connections.clone());
        registry.register_collector(Box::new(Skipped(skipped.clone())));
        registry.register("reader_filter_errors", "Events that a reader's filter failed on", filter_errors.clone());
        let spans_dropped = Counter::default();
        registry.register("trace_spans_dropped", "Trace spans the collector did not get", spans_dropped.clone());
        let state_failures = Counter::default();
        registry.register("state_failures", "Records of sessions that were not stored", state_failures.clone());
        let mqtt = MqttCounters::default();
        mqtt.register(&mut registry);
        let (in_flight, subscription_lag) = (Gauge::default(), Family::default());
        let waiting = "Events that wait for their outcomes, as limits.in_flight counts them";
        registry.register_with_unit("in_flight", waiting, Unit::Bytes, in_flight.clone());
        registry.register("subscription_lag", "Events stored and not settled, by group", subscription_lag.clone());
        let subscriptions = AllSubscriptions::register(&mut registry);
        registry.register("connector_up", "1 while the broker answers", connector_up.clone());
        registry.register("connector", "What a connector says of itself", connector_gauges.clone());
        Self {
            registry: registry.into(),
            publish,
            optional,
            deliver,
            route_errors,
            publish_seconds: Listener::ALL
                .map(|listener| {
                    let pairs = |outcome| labels(&[("listener", listener.name()), ("outcome", outcome)]);
                    OUTCOME_NAMES.map(|outcome| seconds.get_or_create_owned(&pairs(outcome)))
                })
                .into(),
            connections: Listener::OF_CLIENTS
                .map(|listener| connections.get_or_create_owned(&labels(&[("listener", listener.name())])))
                .into(),
            skipped,
            filter_errors,
            spans_dropped,
            state_failures,
            mqtt,
            in_flight,
            subscriptions,
            subscription_lag,
            connector_up,
            connector_gauges,
        }
    }
}

/// Shows what the gateway and its connectors count together.
#[derive(Debug)]
struct Skipped(Arc<AtomicU64>);

impl Collector for Skipped {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "What was gone before it was read: positions of readers, and of groups each event.";
        let count = ConstCounter::new(self.0.load(Relaxed));
        count.encode(encoder.encode_descriptor("skipped", help, None, MetricType::Counter)?)
    }
}

impl Metrics {
    /// The counters of routes with these names. A route that had the name before has counted on them.
    #[must_use]
    pub fn of_routes(&self, names: &[&str]) -> RouteCounters {
        let names = || names.iter().copied().chain(["-"]);
        let delivered = |route| {
            let counter =
                |outcome| self.deliver.get_or_create_owned(&labels(&[("route", route), ("outcome", outcome)]));
            DeliveryCounters(Arc::new(DELIVERY_NAMES.map(counter)))
        };
        let published = |listener: &Listener| {
            names().map(|route| by_outcome(&self.publish, &[("listener", listener.name()), ("route", route)])).collect()
        };
        RouteCounters {
            published: Listener::ALL.iter().map(published).collect(),
            optional: names().map(|route| by_outcome(&self.optional, &[("route", route)])).collect(),
            filter_errors: names().map(|route| self.route_errors.get_or_create_owned(&of_route(route))).collect(),
            delivered: names().map(delivered).collect(),
        }
    }

    /// Counts a position that was gone.
    pub fn skip(&self) {
        self.skipped.fetch_add(1, Relaxed);
    }

    /// Counts events that were not kept for who was to have them.
    pub fn skip_many(&self, events: u64) {
        self.skipped.fetch_add(events, Relaxed);
    }

    /// Takes the counters of a route that is gone out of what is shown.
    pub fn forget_route(&self, route: &str) {
        for outcome in OUTCOME_NAMES {
            for listener in Listener::ALL {
                let pairs = [("listener", listener.name()), ("route", route), ("outcome", outcome)];
                self.publish.remove(&labels(&pairs));
            }
            self.optional.remove(&labels(&[("route", route), ("outcome", outcome)]));
        }
        self.route_errors.remove(&of_route(route));
        for outcome in DELIVERY_NAMES {
            self.deliver.remove(&labels(&[("route", route), ("outcome", outcome)]));
        }
    }

    /// The counters of the subscription of this name.
    #[must_use]
    pub fn of_subscription(&self, name: &str) -> SubscriptionCounters {
        self.subscriptions.of(name)
    }

    /// Takes the counters of a subscription that is gone out of what is shown.
    pub fn forget_subscription(&self, name: &str) {
        self.subscriptions.forget(name);
    }

    /// Records how long a publish took, by the worst outcome of its events.
    pub fn answered(&self, listener: Listener, receipts: &[Receipt], took: Duration) {
        let worst = receipts.iter().map(|receipt| receipt.outcome.badness()).max().unwrap_or_default();
        self.publish_seconds[listener as usize][worst].observe(took);
    }

    /// All metrics in the OpenMetrics text format.
    pub fn text(&self, gateway: &Gateway) -> Result<String, fmt::Error> {
        let registry = self.registry.lock(); // nobody else shows them while they are made anew
        self.in_flight.set(signed(gateway.in_flight.load(Relaxed) as u64));
        // Connectors and groups come and go.
        for gauges in [&self.connector_up, &self.connector_gauges, &self.subscription_lag] {
            gauges.clear();
        }
        for NamedConnector { name, connector, .. } in &gateway.now().connectors {
            for group in connector.groups() {
                // A subscription that reads at several connectors has a group of its name at each.
                let lag = self.subscription_lag.get_or_create(&labels(&[("subscription", &group.name)]));
                lag.inc_by(signed(group.lag));
            }
            let up = i64::from(connector.health().up);
            self.connector_up.get_or_create(&labels(&[("connector", name)])).set(up);
            for (figure, value) in connector.gauges() {
                let labels = labels(&[("connector", name), ("figure", figure)]);
                self.connector_gauges.get_or_create(&labels).set(signed(value));
            }
        }
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl RouteCounters {
    /// Counts the events of one publish.
    pub fn published(&self, listener: Listener, receipts: &[Receipt]) {
        let by_route = &self.published[listener as usize];
        for receipt in receipts {
            by_route[receipt.route.unwrap_or(by_route.len() - 1)][receipt.outcome.badness()].inc();
        }
    }

    /// Counts copies that nobody waited for; `None`: they were not answered in time, or never sent.
    pub fn optional(&self, routes: &[usize], outcomes: Option<&Outcomes>) {
        for (at, route) in routes.iter().enumerate() {
            let outcome = outcomes.and_then(|outcomes| outcomes.get(at));
            self.optional[*route][outcome.map_or(OUTCOME_NAMES.len() - 1, |outcome| outcome.badness())].inc();
        }
    }

    /// Counts an event on which a filter of the route erred.
    pub fn filter_erred(&self, route: usize) {
        self.filter_errors[route].inc();
    }

    /// Counts deliveries of a route.
    #[must_use]
    pub fn delivered(&self, route: usize) -> &DeliveryCounters {
        &self.delivered[route]
    }

    /// What became of a route's events over all listeners, by the outcomes' names.
    pub fn published_by_route(&self, route: usize) -> impl Iterator<Item = (&'static str, u64)> {
        let count = move |outcome: usize| self.published.iter().map(|by| by[route][outcome].get()).sum();
        OUTCOME_NAMES.into_iter().enumerate().map(move |(outcome, name)| (name, count(outcome)))
    }
}

impl DeliveryCounters {
    /// One more was written to a subscriber.
    pub fn written(&self) {
        self.0[0].inc();
    }

    /// One more was settled by a member of a group.
    pub fn settled(&self, settlement: &Settlement) {
        let outcome = match settlement {
            Settlement::Ack => 1,
            Settlement::Retry { .. } => 2,
            Settlement::Reject { .. } => 3,
        };
        self.0[outcome].inc();
    }

    /// The counts by their names.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        DELIVERY_NAMES.into_iter().zip(self.0.iter().map(|counter| counter.get()))
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl fmt::Debug for RouteCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteCounters").finish_non_exhaustive()
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn of_route(route: &str) -> Labels {
    labels(&[("route", route)])
}

fn labels(pairs: &[(&'static str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

fn by_outcome(family: &Counters, pairs: &[(&'static str, &str)]) -> ByOutcome {
    OUTCOME_NAMES.map(|outcome| {
        let mut labels = labels(pairs);
        labels.push(("outcome", outcome.to_owned()));
        family.get_or_create_owned(&labels)
    })
}
