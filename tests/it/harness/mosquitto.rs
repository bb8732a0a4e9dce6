//! A Mosquitto of a test's own, to which much is sent: it writes its store once a second, not as a whole at every change.

use std::process::{Command, Stdio};

use tempfile::TempDir;
use tokio::task::spawn_blocking;

use super::kafka::run;

/// A running Mosquitto. Dropping it takes it down.
pub struct Mosquitto {
    state: TempDir,
    /// `host:port`
    pub address: String,
}

impl Mosquitto {
    /// Starts it and waits until it serves.
    pub async fn up() -> Self {
        let state = tempfile::tempdir().expect("a temporary folder");
        let mut own = Self { state, address: String::new() };
        let (mut up, mut env) = (own.brokers("up"), own.brokers("env"));
        let lines = spawn_blocking(move || {
            run(&mut up);
            run(&mut env)
        });
        let lines = lines.await.expect("it runs");
        let address = lines.lines().find_map(|line| line.strip_prefix("export MQTT_ADDRESS="));
        own.address = address.expect("an address").to_owned();
        own
    }

    /// In its own state, whatever the environment says.
    fn brokers(&self, command: &str) -> Command {
        let mut brokers = Command::new("scripts/brokers");
        brokers.args([command, "mosquitto"]).env_remove("MQTT_ADDRESS");
        brokers.env("MESHGATE_BROKERS_STATE", self.state.path()).env("MOSQUITTO_SAVE", "second");
        brokers
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let mut down = self.brokers("down");
        let down = down.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::null()).status();
        assert!(down.is_ok_and(|status| status.success()) || std::thread::panicking(), "the broker goes down");
    }
}
