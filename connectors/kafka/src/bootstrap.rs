//! Finding the cluster again.
//!
//! A node that has just come back can tell a client that its cluster has no brokers: the controller has not let it in again yet. librdkafka
//! then drops the brokers that it knows, and now and then never asks at its bootstrap addresses again (issue 5301: a timer is stopped
//! that had just been started). It does say that all brokers are down. Each client remembers that here, and soon after the last time it
//! is given the addresses once more: one that has found its brokers meanwhile drops them at its next look at the cluster.

use std::{
    ffi::CStr,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rdkafka::{ClientContext, client::Client};

use crate::native;

/// Longer than librdkafka takes when it does it by itself; while that fails, it says again and again that all are down.
const REST: Duration = Duration::from_secs(2);

/// The bootstrap addresses of one client.
#[derive(Debug)]
pub(crate) struct Bootstrap {
    addresses: Arc<CStr>,
    all_down: Mutex<Option<Instant>>,
}

impl Bootstrap {
    /// `addresses`: as librdkafka's `bootstrap.servers`.
    pub(crate) fn new(addresses: Arc<CStr>) -> Self {
        Self { addresses, all_down: Mutex::default() }
    }

    /// librdkafka says that no broker is connected.
    pub(crate) fn all_are_down(&self) {
        *self.all_down.lock() = Some(Instant::now());
    }

    /// To be called once in a while. Does not wait for anything.
    pub(crate) fn tend(&self, client: &Client<impl ClientContext>) {
        if self.is_due(REST) {
            native::add_brokers(client, &self.addresses);
        }
    }

    /// Whether all were down for the last time `rest` ago, and nothing was done about it.
    fn is_due(&self, rest: Duration) -> bool {
        self.all_down.lock().take_if(|since| since.elapsed() >= rest).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_due_once_after_each_time_that_all_are_down() {
        let bootstrap = Bootstrap::new(c"127.0.0.1:9092".into());
        assert!(!bootstrap.is_due(Duration::ZERO), "none was lost");
        bootstrap.all_are_down();
        assert!(!bootstrap.is_due(Duration::from_secs(60)), "it may do it by itself");
        assert!(bootstrap.is_due(Duration::ZERO));
        assert!(!bootstrap.is_due(Duration::ZERO), "once is enough");
    }
}
