//! Files change: so the system says. What it says is taken as a hint only, for editors, mounts and Kubernetes change files in many ways.

use std::sync::Arc;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::config::Files;

/// Watches the folders of some files.
pub(super) struct Watch {
    touched: Arc<Notify>,
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Whatever happens in the folders of these files counts.
    pub(super) fn of(files: &Files) -> Self {
        let touched = Arc::new(Notify::new());
        let told = touched.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                told.notify_one();
            }
        });
        let watcher = watcher.and_then(|mut watcher| {
            files.folders().iter().try_for_each(|folder| watcher.watch(folder, RecursiveMode::NonRecursive))?;
            Ok(watcher)
        });
        if let Err(problem) = &watcher {
            tracing::debug!(%problem, "changes of the configuration are found by looking at it only");
        }
        Self { touched, _watcher: watcher.ok() }
    }

    /// Something has happened. Cancel-safe.
    pub(super) async fn touched(&self) {
        self.touched.notified().await;
    }
}
