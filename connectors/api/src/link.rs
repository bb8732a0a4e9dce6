//! Whether the broker answers now: one place that knows, so that publishing can fail fast and `/readyz` can say why.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tracing::{info, warn};

use crate::{Str, connector::Health};

/// Before the first attempt.
const UNTRIED: &str = "not connected yet";

/// The connection to the broker as a whole.
#[derive(Debug)]
pub struct Link {
    connector: Str,
    up: AtomicBool,
    health: Mutex<Health>,
}

impl Link {
    /// Not connected yet.
    #[must_use]
    pub fn new(connector: Str) -> Self {
        let detail = Some(UNTRIED.to_owned());
        Self { connector, up: AtomicBool::new(false), health: Mutex::new(Health { up: false, was_up: false, detail }) }
    }

    /// Whether it answers now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// The broker has answered.
    pub fn answered(&self) {
        if self.is_up() {
            return;
        }
        let mut health = self.health.lock();
        *health = Health { up: true, was_up: true, detail: None };
        self.up.store(true, Ordering::Relaxed);
        info!(connector = %self.connector, "the broker answers");
    }

    /// The broker does not answer, or no connection to it stands.
    pub fn lost(&self, detail: impl Into<String>) {
        let mut health = self.health.lock();
        let detail = detail.into();
        if health.up || health.detail.as_deref() == Some(UNTRIED) {
            warn!(connector = %self.connector, "the broker does not answer: {detail}");
        }
        health.up = false;
        health.detail = Some(detail);
        self.up.store(false, Ordering::Relaxed);
    }

    /// What the connector tells of itself.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.lock().clone()
    }

    /// What is the matter, for a person.
    #[must_use]
    pub fn detail(&self) -> String {
        self.health().detail.unwrap_or_else(|| "the broker answers".to_owned())
    }
}
