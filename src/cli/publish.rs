//! `meshgate publish`

use std::path::PathBuf;

use clap::Args;
use reqwest::{StatusCode, header::CONTENT_TYPE};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};

use super::{Exit, client, content, say};

/// Publishes what an argument, a file or stdin holds, and waits for the brokers' confirmation.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  meshgate publish orders/eu '{\"order_id\": 7}' --type com.acme.order.created --source /shop --id 7
  meshgate publish orders/eu --file order.json
  journalctl -o json -f | meshgate publish logs/host-1 -     one event a line

A JSON object with `specversion` is sent as the CloudEvent that it is, a JSON array of such as a batch.
Other data without --type is wrapped: the gateway makes an event of it. `meshgate explain` shows which.

It prints nothing when the brokers have confirmed the event, and why not when they have not.

Exit codes: 0 stored, 64 usage, 65 rejected, 69 no gateway answers, 75 not stored or unknown: stderr says which")]
pub(super) struct Publish {
    /// The channel
    channel: String,
    /// The data; `-` or none reads stdin, one event a line
    #[arg(conflicts_with = "file")]
    data: Option<String>,
    /// A file whose content is the data of one event
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The gateway's HTTP listener
    #[arg(long, default_value = "http://127.0.0.1:8080", value_parser = client::base_url)]
    url: String,
    /// What the data is; default: what it looks like, of JSON, text and bytes
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Attribute `type`: makes a CloudEvent of it, in binary mode
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Attribute `source`
    #[arg(long, default_value = "/meshgate/cli", requires = "kind")]
    source: String,
    /// Attribute `id`; default: a new one for each event
    #[arg(long, requires = "kind")]
    id: Option<String>,
    /// Attribute `subject`
    #[arg(long, requires = "kind")]
    subject: Option<String>,
}

impl Publish {
    pub(super) async fn run(self) -> Exit {
        let data = match (&self.data, &self.file) {
            (_, Some(file)) => match tokio::fs::read(file).await {
                Ok(data) => data,
                Err(problem) => {
                    say(&format!("{}: {problem}", file.display()));
                    return Exit::Usage;
                }
            },
            (Some(data), None) if data != "-" => data.clone().into_bytes(),
            _ => return self.lines(BufReader::new(tokio::io::stdin())).await,
        };
        self.one(data).await
    }

    /// One event a line, each confirmed before the next is sent; stops at the first that is not.
    async fn lines(&self, input: impl AsyncBufRead + Unpin) -> Exit {
        let mut lines = input.lines();
        loop {
            match lines.next_line().await {
                Ok(Some(line)) if line.is_empty() => {}
                Ok(Some(line)) => match self.one(line.into_bytes()).await {
                    Exit::Clean => {}
                    failed => return failed,
                },
                Ok(None) => return Exit::Clean,
                Err(problem) => {
                    say(&format!("stdin: {problem}"));
                    return Exit::Usage;
                }
            }
        }
    }

    async fn one(&self, data: Vec<u8>) -> Exit {
        let url = client::channel_url(&self.url, &self.channel);
        let mut request = client::new().post(url).header(CONTENT_TYPE, self.content_type(&data)).body(data);
        if let Some(kind) = &self.kind {
            let id = self.id.clone().unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
            let attributes = [
                ("type", Some(kind)),
                ("source", Some(&self.source)),
                ("id", Some(&id)),
                ("subject", self.subject.as_ref()),
            ];
            request = request.header("ce-specversion", "1.0");
            for (name, value) in attributes {
                if let Some(value) = value {
                    request = request.header(format!("ce-{name}"), crate::codec::http::encode_header(value).as_ref());
                }
            }
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(problem) => {
                say(&client::failure(&self.url, &problem));
                return if problem.is_builder() { Exit::Usage } else { Exit::Unreachable };
            }
        };
        let status = answer.status();
        if status == StatusCode::ACCEPTED {
            return Exit::Clean;
        }
        let body = answer.text().await.unwrap_or_else(|problem| client::explain(&problem));
        say(&format!("{status}: {}", client::detail(&body)));
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Exit::TryAgain,
            status if status.is_server_error() => Exit::TryAgain,
            _ => Exit::Rejected,
        }
    }
    fn content_type(&self, data: &[u8]) -> &str {
        match (&self.content_type, &self.kind) {
            (Some(given), _) => given,
            (None, Some(_)) => content::of_data(data),
            (None, None) => content::of_publish(data),
        }
    }
}
