//! `meshgate explain`

use std::{env, path::Path, path::PathBuf};

use axum::http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use bytes::Bytes;
use clap::Args;
use tokio::io::AsyncReadExt;

use super::{Exit, content, print, say};
use crate::{
    config::{self, Config},
    explain::Setting,
    registry,
};

/// Tells what would become of an event, route by route, and sends nothing.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  meshgate explain --config meshgate.yaml --channel orders/eu --event event.json
  echo 21.5 | meshgate explain --config meshgate.yaml --channel sensors/7 --event -

Without --content-type a JSON object with `specversion` is a CloudEvent, a JSON array of such a batch;
anything else is wrapped. `meshgate publish` takes it for the same.

Exit codes: 0 it would be published, 65 it would be rejected, 78 bad configuration")]
pub(super) struct Explain {
    /// The configuration file; without one, the embedded default is asked
    #[arg(long, short, env = "MESHGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The channel that the event would be published to
    #[arg(long)]
    channel: String,
    /// What would be published; `-` reads stdin
    #[arg(long, value_name = "FILE")]
    event: PathBuf,
    /// What it is, as a publisher would say it
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// For machines: JSON
    #[arg(long)]
    json: bool,
    /// Name every route, also those that have nothing to do with the channel
    #[arg(long, conflicts_with = "json")]
    all: bool,
}

impl Explain {
    pub(super) async fn run(self) -> Exit {
        let config = match self.config() {
            Ok(config) => config,
            Err(exit) => return exit,
        };
        let body = match read(&self.event).await {
            Ok(body) => body,
            Err(problem) => {
                say(&format!("{}: {problem}", self.event.display()));
                return Exit::Usage;
            }
        };
        let Ok(headers) = self.headers(&body) else {
            say("--content-type: expected a media type");
            return Exit::Usage;
        };
        let connectors = config.connectors.iter().map(|connector| &*connector.spec.name).collect();
        let setting = Setting { router: &config.router, connectors, max_body: config.http.max_body };
        let explanation = setting.explain(&headers, body, &self.channel);
        print(&if self.json { explanation.json() } else { explanation.text(self.all) });
        let rejected = explanation.fates().iter().any(|fate| fate.is_rejected());
        if rejected { Exit::Rejected } else { Exit::Clean }
    }

    fn config(&self) -> Result<Config, Exit> {
        let kinds = registry::kinds();
        let loaded = match &self.config {
            Some(path) => config::load(path, &kinds, &|name| env::var_os(name)),
            None => config::embedded_default(&kinds),
        };
        loaded.map_err(|issues| {
            issues.iter().for_each(|issue| say(&issue.to_string()));
            Exit::BadConfig
        })
    }

    fn headers(&self, body: &[u8]) -> Result<HeaderMap, axum::http::header::InvalidHeaderValue> {
        let content_type = match &self.content_type {
            Some(given) => HeaderValue::from_str(given)?,
            None => HeaderValue::from_static(content::of_publish(body)),
        };
        Ok(HeaderMap::from_iter([(CONTENT_TYPE, content_type)]))
    }
}

async fn read(file: &Path) -> std::io::Result<Bytes> {
    let mut bytes = Vec::new();
    if file.as_os_str() == "-" {
        tokio::io::stdin().read_to_end(&mut bytes).await?;
    } else {
        bytes = tokio::fs::read(file).await?;
    }
    Ok(bytes.into())
}
