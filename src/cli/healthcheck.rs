//! `meshgate healthcheck`

use std::time::Duration;

use clap::Args;

use super::{Exit, client, say};

#[derive(Args, Debug)]
pub(super) struct Healthcheck {
    /// The admin listener
    #[arg(long, default_value = "http://127.0.0.1:9090", value_parser = client::base_url)]
    url: String,
}

impl Healthcheck {
    pub(super) async fn run(self) -> Exit {
        let url = format!("{}/livez", self.url);
        match client::new().get(&url).timeout(Duration::from_secs(3)).send().await {
            Ok(answer) if answer.status().is_success() => Exit::Clean,
            Ok(answer) => {
                say(&format!("{url} answers {}", answer.status()));
                Exit::Unreachable
            }
            Err(problem) => {
                say(&client::failure(&self.url, &problem));
                Exit::Unreachable
            }
        }
    }
}
