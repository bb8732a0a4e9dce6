//! `meshgate explain`

use std::{env, path::Path, path::PathBuf};

use axum::http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use bytes::Bytes;
use clap::Args;
use meshgate_api::Str;
use tokio::io::AsyncReadExt;

use super::{Exit, content, print, say};
use crate::{
    codec::mqtt::Version,
    config::{self, Config},
    explain::{Explanation, MqttPublish, Setting},
    registry,
};

/// Tells what would become of an event, route by route, and sends nothing.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  meshgate explain --config meshgate.yaml --channel orders/eu --event event.json
  echo 21.5 | meshgate explain --config meshgate.yaml --channel sensors/7 --event -
  echo 21.5 | meshgate explain --config meshgate.yaml --channel sensors/7 --event - --mqtt 5 --retain

Without --content-type a JSON object with `specversion` is a CloudEvent, a JSON array of such a batch;
anything else is wrapped. `meshgate publish` takes it for the same.

With --mqtt nothing is guessed, as no device guesses: an event of MQTT 5 is JSON with --content-type
application/cloudevents+json, or has its attributes as --user-property id=…, source=…, type=…, specversion=1.0;
of MQTT 3.1.1 it is JSON. Anything else is wrapped.

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
    /// Published over MQTT by a client of this version, 5 or 3.1.1: the channel is the topic
    #[arg(long, value_name = "VERSION", value_parser = MqttPublish::version)]
    mqtt: Option<Version>,
    /// The client's identifier
    #[arg(long, value_name = "ID", requires = "mqtt", default_value = "explain")]
    client_id: String,
    /// A user property of MQTT 5; any number of them
    #[arg(long, value_name = "NAME=VALUE", requires = "mqtt", value_parser = MqttPublish::user_property)]
    user_property: Vec<(Str, Str)>,
    /// With RETAIN
    #[arg(long, requires = "mqtt")]
    retain: bool,
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
        let connectors = config.connectors.iter().map(|connector| &*connector.spec.name).collect();
        let mqtt = config.mqtt.as_ref();
        let setting = Setting { router: &config.router, connectors, max_body: config.http.max_body, mqtt };
        let explanation = match self.explain(&setting, body) {
            Ok(explanation) => explanation,
            Err(problem) => {
                say(problem);
                return Exit::Usage;
            }
        };
        print(&if self.json { explanation.json() } else { explanation.text(self.all) });
        let rejected = explanation.fates().iter().any(|fate| fate.is_rejected());
        if rejected { Exit::Rejected } else { Exit::Clean }
    }

    fn explain(&self, setting: &Setting<'_>, body: Bytes) -> Result<Explanation, &'static str> {
        let Some(version) = self.mqtt else {
            let headers = self.headers(&body).map_err(|_| "--content-type: expected a media type")?;
            return Ok(setting.explain(&headers, body, &self.channel));
        };
        let publish = MqttPublish {
            version,
            client_id: self.client_id.as_str().into(),
            retain: self.retain,
            content_type: self.content_type.as_deref().map(Str::from),
            user: self.user_property.clone(),
            payload: body,
        };
        publish.check()?;
        Ok(setting.explain_mqtt(publish, &self.channel))
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
