//! `meshgate serve`

use std::env;

use super::{Exit, Serve, print, say};
use crate::{
    app::{self, StartError},
    config, registry,
};

pub(super) fn run(serve: &Serve) -> Exit {
    let kinds = registry::kinds();
    let from_file = serve.config.is_some();
    let loaded = match &serve.config {
        Some(path) => config::load(path, &kinds, &|name| env::var_os(name)),
        None => config::embedded_default(&kinds),
    };
    let config = match loaded {
        Ok(config) => config,
        Err(issues) => {
            issues.iter().for_each(|issue| say(&issue.to_string()));
            return Exit::BadConfig;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(problem) => {
            say(&format!("cannot start: {problem}"));
            return Exit::Software;
        }
    };
    let served = runtime.block_on(app::serve(config, |listeners| greet(listeners, from_file)));
    runtime.shutdown_background(); // what the drain did not finish in time is not waited for
    match served {
        Ok(()) => Exit::Clean,
        Err(problem) => {
            say(&problem.to_string());
            match problem {
                StartError::Connector { .. } => Exit::BadConfig,
                StartError::Bind(_) | StartError::Signals(_) => Exit::Unreachable,
            }
        }
    }
}

/// Where it listens; for a newcomer also three commands to try.
fn greet(listeners: &[(&'static str, String)], from_file: bool) {
    for (name, address) in listeners {
        tracing::info!(listener = name, %address, "listening");
    }
    let (Some((_, http)), Some((_, admin))) = (listeners.first(), listeners.last()) else { return };
    let heading = format!("Meshgate listens on http://{http} (admin: http://{admin}).");
    let lines = format!(
        "{heading}\n\nTry, in other terminals:\n  \
         curl -N http://{http}/channels/hello/*\n  \
         curl -i http://{http}/channels/hello/world -d 'Hello, mesh'\n  \
         curl http://{admin}/status"
    );
    if !print(if from_file { &heading } else { &lines }) {
        tracing::debug!("nobody reads stdout");
    }
}
