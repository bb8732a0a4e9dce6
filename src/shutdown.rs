//! How the gateway ends: not ready → `shutdown.delay` → stop accepting → finish what is in flight → commit and close.

use tokio::sync::watch;

/// Tells everything that serves clients that the end has begun. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Drain(watch::Receiver<bool>);

/// Begins the end.
#[derive(Debug)]
pub struct DrainSwitch(watch::Sender<bool>);

/// A switch, and what hangs on it.
#[must_use]
pub fn drain() -> (DrainSwitch, Drain) {
    let (switch, drain) = watch::channel(false);
    (DrainSwitch(switch), Drain(drain))
}

impl DrainSwitch {
    /// From now on nothing new begins.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }
}

impl Drain {
    /// Whether the end has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the end begins.
    pub async fn begun(&mut self) {
        // Without its switch nothing can begin the end in order: that is the end, too.
        if self.0.wait_for(|begun| *begun).await.is_err() {
            tracing::debug!("the drain switch is gone");
        }
    }
}
