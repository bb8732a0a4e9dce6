//! A histogram of times that threads fill without meeting.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use meshgate_api::sharded::Sharded;
use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric},
};

/// The buckets' upper bounds, in seconds: from a tenth of a millisecond to the default publish timeout, and beyond.
const BOUNDS: [f64; 18] = [
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    f64::INFINITY,
];

/// The histogram. Cheap to clone: clones count together.
#[derive(Clone, Debug, Default)]
pub(super) struct Latency(Arc<Sharded<Times>>);

#[derive(Debug, Default)]
struct Times {
    /// How many times lay in each bucket and in none before it.
    counts: [AtomicU64; BOUNDS.len()],
    nanoseconds: AtomicU64,
}

impl Latency {
    pub(super) fn observe(&self, time: Duration) {
        let times = self.0.own();
        let seconds = time.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len() - 1);
        times.counts[bucket].fetch_add(1, Relaxed);
        times.nanoseconds.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }
}

impl EncodeMetric for Latency {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let count = |bucket: usize| self.0.iter().map(|times| times.counts[bucket].load(Relaxed)).sum::<u64>();
        let buckets: Vec<(f64, u64)> = BOUNDS.iter().enumerate().map(|(at, bound)| (*bound, count(at))).collect();
        let seconds = |times: &Times| Duration::from_nanos(times.nanoseconds.load(Relaxed)).as_secs_f64();
        let observed = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(self.0.iter().map(seconds).sum(), observed, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

impl TypedMetric for Latency {
    const TYPE: MetricType = MetricType::Histogram;
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;

    #[test]
    fn times_of_all_threads_are_shown_together() {
        let latency = Latency::default();
        std::thread::scope(|scope| {
            for milliseconds in [0, 1, 2, 40_000] {
                let latency = latency.clone();
                scope.spawn(move || latency.observe(Duration::from_millis(milliseconds)));
            }
        });
        let mut registry = Registry::default();
        registry.register("took", "Time", latency);
        let mut text = String::new();
        encode(&mut text, &registry).expect("is written");
        for line in [
            "took_sum 40.003",
            "took_count 4",
            "took_bucket{le=\"0.0001\"} 1",
            "took_bucket{le=\"0.0005\"} 1",
            "took_bucket{le=\"0.001\"} 2",
            "took_bucket{le=\"0.0025\"} 3",
            "took_bucket{le=\"30.0\"} 3",
            "took_bucket{le=\"+Inf\"} 4",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in:\n{text}");
        }
    }
}
