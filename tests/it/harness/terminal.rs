//! A terminal in which somebody follows an example's README.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::eventually;

/// What `scripts/brokers env` may set.
const ADDRESSES: [&str; 4] = ["KAFKA_BOOTSTRAP", "PULSAR_URL", "PULSAR_ADMIN_URL", "MQTT_ADDRESS"];

/// What a reader of the README types, in order, in front of brokers of its own.
pub struct Terminal {
    /// Where the README and the configuration are.
    example: &'static str,
    folder: TempDir,
    /// Addresses of brokers, in the order of the variables.
    brokers: Vec<String>,
    /// With its addresses: HTTP, admin, and MQTT if it has that.
    gateway: Option<(Child, [String; 3])>,
}

impl Terminal {
    pub fn new(example: &'static str) -> Self {
        Self { example, folder: tempfile::tempdir().expect("a temporary folder"), brokers: Vec::new(), gateway: None }
    }

    /// A shell in the repository's root. Ports are free ones, and the gateway is the one under test; nothing else is changed.
    fn shell(&self, command: &str) -> Command {
        let local = ["http://localhost:8080", "http://localhost:9090", "localhost:1883"].map(str::to_owned);
        let [url, admin, mqtt] = self.gateway.as_ref().map_or(&local, |(_, urls)| urls);
        let binary = env!("CARGO_BIN_EXE_meshgate");
        let command = command
            .replace("http://localhost:8080", url)
            .replace("http://localhost:9090", admin)
            .replace("localhost:1883", mqtt)
            .replace("scripts/run ", &format!("exec {binary} "))
            .replace(&format!("{}/meshgate.yaml", self.example), &self.configuration().to_string_lossy());
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", &command]).current_dir(env!("CARGO_MANIFEST_DIR"));
        shell.env("MESHGATE_BROKERS_STATE", self.folder.path().join("brokers"));
        for name in ADDRESSES {
            shell.env_remove(name);
        }
        for (name, address) in ADDRESSES.iter().zip(&self.brokers).filter(|(_, address)| !address.is_empty()) {
            shell.env(name, address);
        }
        shell
    }

    fn configuration(&self) -> PathBuf {
        let file = self.folder.path().join("meshgate.yaml");
        let text = fs::read_to_string(format!("{}/meshgate.yaml", self.example)).expect("the example's configuration");
        let text = text
            .replace("127.0.0.1:8080", "127.0.0.1:0")
            .replace("127.0.0.1:9090", "127.0.0.1:0")
            .replace("127.0.0.1:1883", "127.0.0.1:0");
        fs::write(&file, text).expect("a file");
        file
    }

    /// Runs a command to its end; what it prints.
    pub fn run(&self, command: &str) -> String {
        let done = self.shell(command).output().expect("bash starts");
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{command}: {}\n{out}{err}", done.status);
        out.into_owned()
    }

    /// Starts a command that does not end by itself.
    pub fn start(&self, command: &str) -> (Child, BufReader<std::process::ChildStdout>) {
        let mut child = self.shell(command).stdout(Stdio::piped()).spawn().expect("bash starts");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        (child, out)
    }

    /// Evaluates what `scripts/brokers env` prints.
    pub fn evaluate(&mut self, command: &str) {
        let print: String = ADDRESSES.iter().map(|name| format!("echo \"${{{name}:-}}\"\n")).collect();
        self.brokers = self.run(&format!("{command}\n{print}")).lines().map(str::to_owned).collect();
    }

    /// Starts the gateway, and waits for Kafka as the time that it takes to open a second terminal does.
    pub async fn serve(&mut self, command: &str) {
        let (child, mut out) = self.start(command);
        let mut greeting = String::new();
        out.read_line(&mut greeting).expect("a greeting");
        let words = greeting.split(['(', ')', ' ', '\n']);
        let mqtt = words.clone().find_map(|word| word.strip_prefix("mqtt://")).unwrap_or("localhost:1883");
        let mut urls = words.filter(|word| word.starts_with("http://"));
        let (Some(url), Some(admin)) = (urls.next(), urls.next()) else { panic!("no addresses in {greeting:?}") };
        let urls = [url, admin.trim_end_matches('.'), mqtt].map(str::to_owned);
        let ready = format!("{}/readyz", urls[1]);
        self.gateway = Some((child, urls));
        eventually("ready", async || (reqwest::get(&ready).await.ok()?.status() == 200).then_some(())).await;
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some((mut gateway, _)) = self.gateway.take() {
            gateway.kill().expect("it can be killed");
            gateway.wait().expect("it ends");
        }
        self.brokers.clear();
        let down = self.shell("scripts/brokers down").status().expect("bash starts");
        assert!(down.success() || std::thread::panicking(), "scripts/brokers down: {down}");
    }
}

/// The commands of the README's `sh` blocks, in order; a backslash joins lines.
pub fn commands(example: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("{example}/README.md")).expect("the README");
    let blocks = text.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap_or_default());
    let joined: Vec<String> = blocks.map(|block| block.replace("\\\n", " ")).collect();
    joined.iter().flat_map(|block| block.lines()).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}
