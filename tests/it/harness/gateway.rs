//! A gateway process of its own for each test, on free ports.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    time::Instant,
};

use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;

use super::PATIENCE;

/// A running `meshgate`. Dropping it kills it.
pub struct Gateway {
    child: Child,
    folder: TempDir,
    /// `http://HOST:PORT` of the HTTP listener.
    pub url: String,
    /// The same of the admin listener.
    pub admin: String,
    /// `HOST:PORT` of the MQTT listener, if it has one.
    pub mqtt: Option<String>,
    pub client: Client,
}

/// The binary under test.
pub fn meshgate() -> Command {
    Command::new(env!("CARGO_BIN_EXE_meshgate"))
}

/// Listeners on free ports, and a memory connector behind everything.
pub const MEMORY: &str = r##"
connectors:
  memory: { kind: memory }
routes:
  - { name: all, channel: "#", to: [{ connector: memory, topic: "{channel}" }] }
"##;

const LISTENERS: &str = r#"listeners: { http: { address: "127.0.0.1:0" }, admin: { address: "127.0.0.1:0" } }"#;

impl Gateway {
    /// In front of memory alone.
    pub fn memory() -> Self {
        Self::start(MEMORY)
    }

    /// With `configuration`, to which listeners on free ports are added unless it has its own.
    pub fn start(configuration: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary folder"), configuration)
    }

    /// The same, with what else is in `folder` beside it.
    pub fn start_in(folder: TempDir, configuration: &str) -> Self {
        std::fs::write(folder.path().join("meshgate.yaml"), whole(configuration)).expect("a file");
        Self::run(folder, None)
    }

    /// What `/status` says.
    pub async fn status(&self) -> Value {
        let status = self.ask_admin("/status").await.text().await.expect("a text");
        serde_json::from_str(&status).expect("JSON")
    }

    /// Writes another configuration into its file.
    pub fn rewrite(&self, configuration: &str) {
        std::fs::write(self.folder.path().join("meshgate.yaml"), whole(configuration)).expect("a file");
    }

    /// With variables of the environment.
    pub fn start_with(configuration: &str, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("meshgate.yaml"), whole(configuration)).expect("a file");
        Self::launch(folder, None, variables)
    }

    /// With the `meshgate.yaml` that is in `folder`, on the ports that are `fixed`.
    pub fn run(folder: TempDir, fixed: Option<(String, String)>) -> Self {
        Self::launch(folder, fixed, &[])
    }

    fn launch(folder: TempDir, fixed: Option<(String, String)>, variables: &[(&str, &str)]) -> Self {
        let mut command = meshgate();
        command.envs(variables.iter().copied());
        command.arg("--config").arg(folder.path().join("meshgate.yaml")).stdout(Stdio::piped());
        if std::env::var_os("MESHGATE_LOG").is_none() {
            command.env("MESHGATE_LOG", "warn");
        }
        let mut child = command.spawn().expect("the binary starts");
        let mut greeting = String::new();
        let stdout = child.stdout.take().expect("stdout is a pipe");
        BufReader::new(stdout).read_line(&mut greeting).expect("a greeting");
        let words = greeting.split(|char: char| char.is_whitespace() || "()".contains(char));
        let mqtt = words.clone().find_map(|word| word.strip_prefix("mqtt://")).map(str::to_owned);
        let mut urls = words.filter(|word| word.starts_with("http://"));
        let (Some(url), Some(admin)) = (urls.next(), urls.next()) else {
            panic!("no addresses in the greeting: {greeting:?}")
        };
        let (url, admin) = (url.to_owned(), admin.trim_end_matches(['.', ')']).to_owned());
        if let Some(fixed) = fixed {
            assert_eq!((url.clone(), admin.clone()), fixed, "the same addresses as before");
        }
        Self { child, folder, url, admin, mqtt, client: Client::new() }
    }

    /// Kills it without warning and starts it again with the same configuration, on the same ports.
    pub fn kill_and_restart(mut self) -> Self {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
        let file = self.folder.path().join("meshgate.yaml");
        let text = std::fs::read_to_string(&file).expect("its configuration");
        let fixed = [&self.url, &self.admin].map(|url| url.trim_start_matches("http://").to_owned());
        if !text.contains(&fixed[0]) {
            let text = text.replacen("127.0.0.1:0", &fixed[0], 1).replacen("127.0.0.1:0", &fixed[1], 1);
            std::fs::write(&file, text).expect("a file");
        }
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a temporary folder"));
        Self::run(folder, Some((self.url.clone(), self.admin.clone())))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the gateway ends");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    pub fn channel_url(&self, channel: &str) -> String {
        let slash = if channel.starts_with('?') { "" } else { "/" };
        format!("{}/channels{slash}{channel}", self.url)
    }

    /// A request that publishes a minimal binary-mode event; add to it before it is sent.
    pub fn event(&self, channel: &str, id: &str) -> RequestBuilder {
        let request = self.client.post(self.channel_url(channel));
        let attributes = [("specversion", "1.0"), ("id", id), ("source", "/test"), ("type", "com.example.test")];
        attributes.into_iter().fold(request, |request, (name, value)| request.header(format!("ce-{name}"), value))
    }

    /// Publishes a minimal event and insists on 202.
    pub async fn store(&self, channel: &str, id: &str) {
        let answer = self.event(channel, id).body("data").send().await.expect("an answer");
        assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap_or_default());
    }

    /// `GET` of an admin resource.
    pub async fn ask_admin(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.admin)).send().await.expect("the admin listener answers")
    }
}

fn whole(configuration: &str) -> String {
    let listeners = if configuration.contains("listeners:") { "" } else { LISTENERS };
    format!("{listeners}\n{configuration}")
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().expect("it can be killed");
            self.child.wait().expect("it ends");
        }
    }
}

/// The document of a problem answer, whose form is checked.
pub async fn problem(answer: Response) -> Value {
    let status = answer.status().as_u16();
    let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap_or_default().to_owned());
    let text = answer.text().await.expect("a body");
    assert_eq!(kind.as_deref(), Some("application/problem+json"), "{status}: {text}");
    let problem: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(problem["status"], status, "{text}");
    assert!(problem["title"].is_string() && problem["detail"].is_string(), "{text}");
    problem
}
