//! `meshgate serve`

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Exit, Serve, print, say};
use crate::{
    app::{self, StartError},
    config, registry,
    reload::Source,
};

pub(super) fn run(serve: &Serve) -> Exit {
    let (source, loaded) = match &serve.config {
        Some(path) => {
            let (source, loaded) = Source::open(path.clone());
            (Some(source), loaded)
        }
        None => (None, config::embedded_default(&registry::kinds())),
    };
    let config = match loaded {
        Ok(config) => config,
        Err(issues) => {
            issues.iter().for_each(|issue| say(&issue.to_string()));
            return Exit::BadConfig;
        }
    };
    raise_file_limit(config.limits.connections);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(problem) => {
            say(&format!("cannot start: {problem}"));
            return Exit::Software;
        }
    };
    let served = runtime.block_on(app::serve(config, source, |listeners| greet(listeners, serve.config.is_some())));
    runtime.shutdown_background(); // what the drain did not finish in time is not waited for
    match served {
        Ok(()) => Exit::Clean,
        Err(problem) => {
            say(&problem.to_string());
            match problem {
                StartError::Config(_) | StartError::Traces(_) => Exit::BadConfig,
                StartError::Bind { .. } | StartError::Signals(_) => Exit::Unreachable,
                StartError::Threads(_) => Exit::Software,
            }
        }
    }
}

/// Files that the gateway opens besides its clients' connections, at most: those to brokers, its own.
const OTHER_FILES: u64 = 1000;

/// Every connection is an open file: as many as `limits.connections` must be allowed, if the system lets them be.
fn raise_file_limit(connections: usize) {
    let wanted = connections as u64 + OTHER_FILES;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return;
    }
    let most = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum });
    if raised.is_err() || most < wanted {
        tracing::warn!(
            allowed = most,
            wanted,
            "fewer open files are allowed than `limits.connections` needs: raise the limit (ulimit -n)"
        );
    }
}

/// Where it listens; for a newcomer also three commands to try.
fn greet(listeners: &[(&'static str, String)], from_file: bool) {
    for (name, address) in listeners {
        tracing::info!(listener = name, %address, "listening");
    }
    let (Some((_, http)), Some((_, admin))) = (listeners.first(), listeners.last()) else { return };
    let mqtt = listeners.iter().find(|(name, _)| *name == "mqtt");
    let mqtt = mqtt.map(|(_, address)| format!(" and mqtt://{address}")).unwrap_or_default();
    let heading = format!("Meshgate listens on http://{http}{mqtt} (admin: http://{admin}).");
    let lines = format!(
        "{heading}\n\nTry, in other terminals:\n  \
         curl -N 'http://{http}/channels/hello/*'\n  \
         curl -i http://{http}/channels/hello/world -H 'content-type: text/plain' -d 'Hello, mesh'\n  \
         curl http://{admin}/status"
    );
    if !print(if from_file { &heading } else { &lines }) {
        tracing::debug!("nobody reads stdout");
    }
}
