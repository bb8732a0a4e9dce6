//! `meshgate subscribe`

use std::time::Duration;

use clap::Args;
use reqwest::{Response, StatusCode, header::ACCEPT};

use super::{Exit, client, print, say};

/// Between two attempts to connect, unless the stream says otherwise.
const RETRY: Duration = Duration::from_secs(2);

/// Prints events as they come, one structured JSON event a line; connects again with its cursor when the connection ends.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  meshgate subscribe 'orders/#'
  meshgate subscribe orders/+ --from earliest --count 10
  meshgate subscribe orders/eu --from 2026-01-31T12:00:00Z
  meshgate subscribe orders/+ --filter \"amount > 100 AND subject LIKE 'eu-%'\"
  meshgate subscribe orders/eu --after CURSOR

It goes on when the connection ends, until --count events are printed or it is stopped.

Exit codes: 0 all printed, 64 usage, 65 refused, 69 no gateway answers, 75 not now")]
pub(super) struct Subscribe {
    /// The channel, or a filter with `+` and `#`
    filter: String,
    /// The gateway's HTTP listener
    #[arg(long, default_value = "http://127.0.0.1:8080", value_parser = client::base_url)]
    url: String,
    /// latest, earliest, or an RFC 3339 time
    #[arg(long, default_value = "latest")]
    from: String,
    /// Go on after this cursor
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// End after so many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Only events of which this expression in CloudEvents SQL is true
    #[arg(long = "filter", value_name = "CESQL")]
    filter_expression: Option<String>,
}

/// Where the reading stands.
struct Progress {
    cursor: Option<String>,
    /// The cursor of the event that is being read: it counts once the event is whole.
    next_cursor: Option<String>,
    left: u64,
    retry: Duration,
}

impl Subscribe {
    pub(super) async fn run(self) -> Exit {
        let left = self.count.unwrap_or(u64::MAX);
        let mut progress = Progress { cursor: self.after.clone(), next_cursor: None, left, retry: RETRY };
        let mut connected = false;
        while progress.left > 0 {
            match self.connect(&progress).await {
                Ok(answer) if answer.status() == StatusCode::OK => {
                    connected = true;
                    if let Some(exit) = follow(answer, &mut progress).await {
                        return exit;
                    }
                }
                Ok(answer) => return refused(answer).await,
                Err(problem) if connected => say(&client::failure(&self.url, &problem)),
                Err(problem) => {
                    say(&client::failure(&self.url, &problem));
                    return Exit::Unreachable;
                }
            }
            if progress.left > 0 {
                tokio::time::sleep(progress.retry).await;
            }
        }
        Exit::Clean
    }

    async fn connect(&self, progress: &Progress) -> reqwest::Result<Response> {
        let mut url =
            format!("{}?from={}", client::channel_url(&self.url, &self.filter), client::query_value(&self.from));
        if let Some(expression) = &self.filter_expression {
            url = format!("{url}&filter={}", client::query_value(expression));
        }
        if let Some(cursor) = &progress.cursor {
            url = format!("{url}&after={}", client::query_value(cursor));
        }
        client::new().get(url).header(ACCEPT, "text/event-stream").send().await
    }
}

async fn refused(answer: Response) -> Exit {
    let status = answer.status();
    let body = answer.text().await.unwrap_or_else(|problem| client::explain(&problem));
    say(&format!("{status}: {}", client::detail(&body)));
    if status.is_server_error() { Exit::TryAgain } else { Exit::Rejected }
}

/// Prints a stream's events until it ends (`None`), or until there is nobody to print for.
async fn follow(mut answer: Response, progress: &mut Progress) -> Option<Exit> {
    let mut unread = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => unread.extend_from_slice(&chunk),
            Ok(None) => return None,
            Err(problem) => {
                say(&client::explain(&problem));
                return None;
            }
        }
        let mut begun = 0;
        while let Some(length) = memchr::memchr(b'\n', &unread[begun..]) {
            let line = String::from_utf8_lossy(&unread[begun..begun + length]);
            begun += length + 1;
            if !progress.take_line(&line) {
                return Some(Exit::Clean);
            }
            if progress.left == 0 {
                return None;
            }
        }
        unread.drain(..begun);
    }
}

impl Progress {
    /// One line of the stream; `false`: nobody reads what is printed.
    fn take_line(&mut self, line: &str) -> bool {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => self.cursor = self.next_cursor.take().or(self.cursor.take()),
            "id" => self.next_cursor = Some(value.to_owned()),
            "retry" => self.retry = value.parse().map_or(RETRY, Duration::from_millis),
            "data" => {
                self.left -= 1;
                return print(value);
            }
            _ => {}
        }
        true
    }
}
