//! Subscriptions of the configuration (specification, section 10): from a channel filter on to another channel.
//!
//! Each is a task, which is a member of a group of the subscription's name; the groups' members in other replicas share the work. They
//! follow reloads: one that goes on keeps its place in its group, whatever else of it has changed but the channel.

use std::{collections::BTreeMap, fmt, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{FutureExt, future::join_all};
use meshgate_api::Str;
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinHandle},
    time::{Instant, sleep, timeout_at},
};

use crate::{
    config::Subscription,
    gateway::{Gateway, Snapshot},
    shutdown::{DrainSwitch, drain},
};

mod bridge;
mod figures;
mod forward;
mod lanes;
mod tries;

use bridge::Bridge;
pub use figures::{Figures, Phase, Trouble};

/// After a bug has ended a subscription's task, before it begins again.
const RECOVERY: Duration = Duration::from_secs(1);

/// All subscriptions of a gateway.
pub struct Subscriptions {
    gateway: Arc<Gateway>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: BTreeMap<Str, Running>,
    /// Finish what they have on its way.
    leaving: Vec<JoinHandle<()>>,
    follower: Option<AbortHandle>,
    is_over: bool,
}

struct Running {
    settings: watch::Sender<Arc<Subscription>>,
    figures: Arc<Figures>,
    stop: DrainSwitch,
    task: JoinHandle<()>,
}

impl Subscriptions {
    /// Begins what the gateway's configuration says, and follows its reloads. Must be called within a tokio runtime.
    #[must_use]
    pub fn start(gateway: Arc<Gateway>) -> Arc<Self> {
        let all = Arc::new(Self { gateway, state: Mutex::default() });
        let follower = tokio::spawn(all.clone().follow()).abort_handle();
        all.state.lock().follower = Some(follower);
        all
    }

    async fn follow(self: Arc<Self>) {
        loop {
            let now = Arc::clone(&self.gateway.now());
            let mut superseded = now.superseded.clone();
            self.adopt(&now);
            drop(now); // it keeps what a reload wants to close
            superseded.begun().await;
        }
    }

    /// Goes over to what `now` says.
    fn adopt(&self, now: &Snapshot) {
        let mut state = self.state.lock();
        if state.is_over {
            return;
        }
        state.leaving.retain(|task| !task.is_finished());
        let is_gone = |name: &Str| !now.subscriptions.iter().any(|each| each.name == *name);
        let gone: Vec<_> = state.running.keys().filter(|name| is_gone(name)).cloned().collect();
        for name in gone {
            if let Some(Running { stop, task, .. }) = state.running.remove(&name) {
                stop.begin();
                state.leaving.push(task);
                self.gateway.metrics.forget_subscription(&name);
                tracing::info!(subscription = &*name, "ends: it is not configured any more");
            }
        }
        for each in &now.subscriptions {
            let before = state.running.remove(&each.name);
            let running = match before {
                Some(running) if running.reads(each) => {
                    running.settings.send_replace(each.clone());
                    running
                }
                Some(Running { figures, stop, task, .. }) => {
                    stop.begin();
                    self.begin(each, figures, Some(task))
                }
                None => {
                    let figures = Figures::new(self.gateway.metrics.of_subscription(&each.name));
                    self.begin(each, Arc::new(figures), None)
                }
            };
            state.running.insert(each.name.clone(), running);
        }
    }

    /// Starts a subscription, when the one `before` it has finished what it had on its way.
    fn begin(&self, each: &Arc<Subscription>, figures: Arc<Figures>, before: Option<JoinHandle<()>>) -> Running {
        let (stop, stopped) = drain();
        let (sender, settings) = watch::channel(each.clone());
        let bridge = Bridge { gateway: self.gateway.clone(), settings, figures: figures.clone(), stop: stopped };
        let task = tokio::spawn(async move {
            if let Some(Err(problem)) = join(before).await {
                tracing::error!(%problem, "a subscription's task failed: a bug");
            }
            keep_running(bridge).await;
        });
        Running { settings: sender, figures, stop, task }
    }

    /// Fetches no more and finishes what is on its way. What is not settled by then comes again.
    pub async fn drain(&self, deadline: Instant) {
        let State { running, leaving, follower, .. } = {
            let mut state = self.state.lock();
            std::mem::replace(&mut *state, State { is_over: true, ..State::default() })
        };
        follower.iter().for_each(AbortHandle::abort);
        running.values().for_each(|running| running.stop.begin());
        let tasks: Vec<_> = running.into_values().map(|running| running.task).chain(leaving).collect();
        let handles: Vec<_> = tasks.iter().map(JoinHandle::abort_handle).collect();
        if timeout_at(deadline, join_all(tasks)).await.is_err() {
            tracing::warn!("`shutdown.grace` is over: what subscriptions had on its way comes again");
            handles.iter().for_each(AbortHandle::abort);
        }
    }

    /// What the subscription of this name tells of itself.
    #[must_use]
    pub fn figures(&self, name: &str) -> Option<Arc<Figures>> {
        self.state.lock().running.get(name).map(|running| running.figures.clone())
    }
}

impl Running {
    /// Whether the other one reads the same.
    fn reads(&self, other: &Subscription) -> bool {
        self.settings.borrow().channel.as_str() == other.channel.as_str()
    }
}

async fn join(task: Option<JoinHandle<()>>) -> Option<Result<(), tokio::task::JoinError>> {
    Some(task?.await)
}

/// A subscription that ends for another reason than that it is told to would be silent.
async fn keep_running(bridge: Bridge) {
    while AssertUnwindSafe(bridge.run()).catch_unwind().await.is_err() {
        tracing::error!("a subscription's task panicked, and begins again: a bug");
        sleep(RECOVERY).await;
    }
}

impl fmt::Debug for Subscriptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriptions").field("running", &self.state.lock().running.keys()).finish_non_exhaustive()
    }
}
