//! Log lines on stderr, in colour on a terminal unless `NO_COLOR` is set. ERROR means that an event may be lost.

use std::{
    env,
    io::{self, IsTerminal},
};

use clap::ValueEnum;
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, registry, util::SubscriberInitExt};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Logs from now on: `filter` is a level (`info`) or directives (`meshgate=debug,rdkafka=warn`).
pub fn start_logging(format: LogFormat, filter: &str) -> Result<(), String> {
    let filter: Targets = filter.parse().map_err(|problem| format!("--log-level {filter}: {problem}"))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(coloured());
    let lines = match format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    registry().with(lines.with_filter(filter)).try_init().map_err(|problem| problem.to_string())
}

fn coloured() -> bool {
    io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
