//! The command line: `serve` (the default), `check`, `explain`, `publish`, `subscribe`, `cesql`, `healthcheck`, `schema`.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, error::ErrorKind};

use crate::{
    config,
    telemetry::{LogFormat, start_logging},
};

mod cesql;
mod check;
mod client;
mod content;
mod explain;
mod healthcheck;
mod publish;
mod serve;
mod subscribe;

/// Exit codes, from sysexits(3) as far as they fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Clean = 0,
    Usage = 64,
    Rejected = 65,
    Unreachable = 69,
    Software = 70,
    TryAgain = 75,
    BadConfig = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Meshgate, an event-mesh gateway: HTTP clients in front, Kafka and other brokers behind, CloudEvents all the way.
#[derive(Debug, Parser)]
#[command(name = "meshgate", version, propagate_version = true, about, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
    /// Levels of log lines: `info`, or directives such as `meshgate=debug,warn`.
    #[arg(long, global = true, default_value = "info", env = "MESHGATE_LOG")]
    log_level: String,
    /// How log lines on stderr look.
    #[arg(long, global = true, value_enum, default_value_t)]
    log_format: LogFormat,
}

const EXAMPLES: &str = "\
Examples:
  meshgate                                           serve the embedded default: HTTP on 127.0.0.1:8080, memory behind
  meshgate --config meshgate.yaml                    serve a configuration
  meshgate check meshgate.yaml                       show every problem of it
  meshgate explain --channel a --event event.json    tell what would become of an event
  meshgate publish orders/eu '{\"order_id\": 7}'       publish an event
  meshgate subscribe 'orders/#'                      print events as they come

Exit codes: 0 clean, 64 usage, 65 rejected, 69 cannot listen or unreachable, 75 unavailable or unknown, 78 bad configuration";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Serve(Serve),
    /// Check configuration files: prints every problem as file:line:column: path: message
    Check(check::Check),
    /// Tell what would become of an event, route by route, without sending anything
    Explain(explain::Explain),
    /// Publish events through a gateway's HTTP listener
    Publish(publish::Publish),
    /// Print the events of a channel filter, one JSON event a line
    Subscribe(subscribe::Subscribe),
    /// Evaluate an expression of CloudEvents SQL for an event
    Cesql(cesql::Cesql),
    /// Ask a gateway's admin listener whether it lives: exit 0 or 69
    Healthcheck(healthcheck::Healthcheck),
    /// Print the JSON Schema of the configuration, for editors
    Schema,
}

#[derive(Args, Debug, Default)]
struct Serve {
    /// The configuration file; without one, the embedded default is served
    #[arg(long, short, env = "MESHGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Does what the command line says.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(problem) => return usage(&problem).into(),
    };
    if let Err(problem) = start_logging(arguments.log_format, &arguments.log_level) {
        say(&problem);
        return Exit::Usage.into();
    }
    match arguments.command.unwrap_or(Command::Serve(arguments.serve)) {
        Command::Serve(serve) => serve::run(&serve),
        Command::Check(check) => check.run(),
        Command::Explain(explain) => client::block_on(explain.run()),
        Command::Publish(publish) => client::block_on(publish.run()),
        Command::Subscribe(subscribe) => client::block_on(subscribe.run()),
        Command::Cesql(cesql) => cesql.run(),
        Command::Healthcheck(healthcheck) => client::block_on(healthcheck.run()),
        Command::Schema => schema(),
    }
    .into()
}

fn usage(problem: &clap::Error) -> Exit {
    if let Err(closed) = problem.print() {
        tracing::debug!(%closed, "nobody reads the usage");
    }
    match problem.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Clean,
        _ => Exit::Usage,
    }
}

fn schema() -> Exit {
    if !print(config::SCHEMA.trim_end()) {
        tracing::debug!("nobody reads the schema");
    }
    Exit::Clean
}

/// A line for the person at the terminal.
#[expect(clippy::print_stderr, reason = "the one place where the program speaks to its user")]
fn say(line: &str) {
    eprintln!("{line}");
}

/// A line of output. `false`: nobody reads it any more.
fn print(line: &str) -> bool {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
}
