//! What becomes of the events of subscriptions.

use prometheus_client::registry::Registry;

use super::{Counters, EventCounter, labels};

/// It goes on, is not wanted, is tried again, is given up, or was forwarded as often as may be.
const NAMES: [&str; 5] = ["delivered", "filtered", "retried", "dead_lettered", "hops_refused"];

/// The counters of all subscriptions.
pub(super) struct AllSubscriptions(Counters);

/// Counts one subscription's events.
#[derive(Clone, Debug)]
pub struct SubscriptionCounters([EventCounter; NAMES.len()]);

impl AllSubscriptions {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let all = Counters::default();
        let help = "Events of subscriptions, by what became of them; each refused for its hops is retried or dead-lettered too";
        registry.register("subscription_events", help, all.clone());
        Self(all)
    }

    /// The counters of the subscription of this name; one that had the name before has counted on them.
    pub(super) fn of(&self, name: &str) -> SubscriptionCounters {
        SubscriptionCounters(NAMES.map(|outcome| self.0.get_or_create_owned(&labels(&pairs(name, outcome)))))
    }

    /// Takes the counters out of what is shown.
    pub(super) fn forget(&self, name: &str) {
        for outcome in NAMES {
            self.0.remove(&labels(&pairs(name, outcome)));
        }
    }
}

impl SubscriptionCounters {
    /// One more is stored where the sink leads.
    pub fn delivered(&self) {
        self.0[0].inc();
    }

    /// One more did not fit the filters.
    pub fn filtered(&self) {
        self.0[1].inc();
    }

    /// One more try was in vain, and another one follows.
    pub fn retried(&self) {
        self.0[2].inc();
    }

    /// One more is stored as a dead letter.
    pub fn dead_lettered(&self) {
        self.0[3].inc();
    }

    /// One more was forwarded as often as may be already.
    pub fn hops_refused(&self) {
        self.0[4].inc();
    }

    /// The counts by their names.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.into_iter().zip(self.0.iter().map(|counter| counter.get()))
    }
}

fn pairs<'a>(name: &'a str, outcome: &'a str) -> [(&'static str, &'a str); 2] {
    [("subscription", name), ("outcome", outcome)]
}
