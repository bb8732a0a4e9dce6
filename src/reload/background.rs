//! Long work beside the runtime: on a thread of its own, to which the system gives what others leave.

use std::thread;

use tokio::sync::oneshot;

/// Does `work` and waits for it. `None`: it panicked, or no thread could be had; it is logged.
pub(super) async fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = oneshot::channel();
    let run = move || {
        lower_priority();
        drop(done.send(work())); // nobody waits any more when the gateway ends
    };
    if let Err(problem) = thread::Builder::new().name("reload".into()).spawn(run) {
        tracing::error!(%problem, "no thread for the reload");
    }
    result.await.ok()
}

/// Of this thread; elsewhere than on Linux it would be that of the process.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(problem) = rustix::process::nice(10) {
        tracing::debug!(%problem, "reloads compete with everything else");
    }
}
