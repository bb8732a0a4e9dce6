//! A Mosquitto that wants TLS and a password: what works with both, and what the gateway says where it is not let in.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::ended;
use crate::harness::{
    eventually,
    gateway::{Gateway, problem},
    kafka::run,
    sse::Stream,
};

const VERSIONS: [u8; 2] = [5, 4];
const USER: &str = "username: mesh, password: secret";

/// Its certificate is for 127.0.0.1 alone, signed by `ca.pem`. Dropping it ends it.
struct Secured {
    process: Child,
    folder: TempDir,
    port: String,
}

/// Words that begin with `@` are files of the folder.
fn run_in(folder: &Path, program: &str, arguments: &str) {
    let place = |word: &str| word.strip_prefix('@').map_or_else(|| word.into(), |name| folder.join(name));
    run(Command::new(program).args(arguments.split(' ').map(place)));
}

/// A certificate that may sign others, and its key: `{name}.pem`, `{name}.key`.
fn authority(folder: &Path, name: &str) {
    let arguments =
        format!("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} -keyout @{name}.key -out @{name}.pem");
    run_in(folder, "openssl", &arguments);
}

impl Secured {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = folder.path();
        authority(place, "ca");
        authority(place, "other");
        run_in(place, "openssl", "req -newkey rsa:2048 -nodes -subj /CN=broker -keyout @broker.key -out @broker.csr");
        fs::write(place.join("names"), "subjectAltName=IP:127.0.0.1").expect("a file");
        let sign = "x509 -req -in @broker.csr -CA @ca.pem -CAkey @ca.key -CAcreateserial -days 2 -extfile @names -out @broker.pem";
        run_in(place, "openssl", sign);
        run_in(place, "mosquitto_passwd", "-b -c @users mesh secret");
        let port = run(Command::new("python3").args(["scripts/lib/free_ports.py", "1"])).trim().to_owned();
        let user = run(Command::new("id").arg("-un"));
        let text = format!(
            "user {user}listener {port} 127.0.0.1\nallow_anonymous false\npassword_file users\ncafile ca.pem\ncertfile broker.pem\nkeyfile broker.key\n"
        );
        fs::write(place.join("mosquitto.conf"), text).expect("a file");
        let mut command = Command::new("mosquitto");
        let path = std::env::var("PATH").expect("a path");
        command.env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin")).args(["-c", "mosquitto.conf"]);
        let process = command.current_dir(place).stderr(Stdio::null()).spawn().expect("mosquitto runs");
        let secured = Self { process, folder, port };
        let is_served = async || {
            let mut hello = Command::new("mosquitto_pub");
            hello.args(secured.client(&["-t", "hello", "-n"])).stderr(Stdio::null());
            hello.status().expect("mosquitto_pub runs").success().then_some(())
        };
        eventually("mosquitto serves", is_served).await;
        secured
    }

    fn certificate(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Arguments of Mosquitto's own clients.
    fn client(&self, more: &[&str]) -> Vec<String> {
        let ca = self.certificate("ca.pem").display().to_string();
        let own = ["-h", "127.0.0.1", "-p", &self.port, "-u", "mesh", "-P", "secret", "-q", "1", "--cafile", &ca];
        own.iter().chain(more).map(|argument| (*argument).to_owned()).collect()
    }

    /// A gateway in front of it, which knows it by this host name and who signed it by this file.
    fn gateway(&self, version: u8, host: &str, who: &str, ca: &str) -> Gateway {
        let (port, ca) = (&self.port, self.certificate(ca));
        let tls = format!("tls: {{ ca: \"{}\" }}", ca.display());
        let settings: Vec<_> = [who, &*tls].into_iter().filter(|text| !text.is_empty()).collect();
        Gateway::start(&format!(
            "connectors:\n  plant: {{ kind: mqtt, version: {version}, url: \"mqtts://{host}:{port}\", {} }}\n\
             routes:\n  - {{ channel: \"#\", to: [{{ connector: plant, topic: \"{{channel}}\" }}] }}\n",
            settings.join(", ")
        ))
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        self.process.kill().expect("it can be killed");
        self.process.wait().expect("it ends");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_right_authority_and_password_events_come_and_go() {
    let broker = Secured::start().await;
    for version in VERSIONS {
        let gateway = broker.gateway(version, "127.0.0.1", USER, "ca.pem");
        eventually("ready", async || (gateway.ask_admin("/readyz").await.status() == 200).then_some(())).await;
        let mut stream = Stream::open(&gateway, "orders/%23").await;
        gateway.store("orders/eu", "1").await;
        run(Command::new("mosquitto_pub").args(broker.client(&["-t", "orders/us", "-m", "plain"])));
        let events = stream.events(2).await;
        assert_eq!(events[0]["id"], "1", "MQTT {version}");
        assert_eq!(events[1]["source"], "/plant/orders/us", "MQTT {version}");
    }
}

/// What is wrong, in words that the connector's state and a publisher's answer both have; and nothing is stored meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_is_told_why_and_stores_nothing() {
    let broker = Secured::start().await;
    let mut listening = Command::new("mosquitto_sub");
    listening.args(broker.client(&["-t", "refused/#", "-F", "%t %p", "-C", "1", "-W", "60"])).stdout(Stdio::piped());
    let listening = listening.spawn().expect("mosquitto_sub runs");
    let refused = [
        ("127.0.0.1", "username: mesh, password: wrong", "ca.pem", "NotAuthorized"),
        ("127.0.0.1", "username: nobody, password: secret", "ca.pem", "NotAuthorized"),
        ("127.0.0.1", "", "ca.pem", "NotAuthorized"),
        ("127.0.0.1", USER, "other.pem", "UnknownIssuer"),
        ("localhost", USER, "ca.pem", "not valid for name"),
    ];
    for (version, (host, who, ca, reason)) in VERSIONS.iter().flat_map(|version| refused.map(|case| (*version, case))) {
        let gateway = broker.gateway(version, host, who, ca);
        let state = eventually(reason, async || {
            let answer = gateway.ask_admin("/readyz").await;
            assert_eq!(answer.status(), 503, "MQTT {version}, {who} {ca}");
            let text = answer.text().await.expect("a body");
            let state: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            let detail = state["connectors"][0]["detail"].as_str().expect("a detail").to_owned();
            detail.contains(reason).then_some(state)
        })
        .await;
        assert_eq!(state["connectors"][0]["up"], false, "{state}");
        let answer = gateway.event("refused/a", "1").body("data").send().await.expect("an answer");
        assert_eq!(answer.status(), 503, "MQTT {version}, {who} {ca}");
        assert!(answer.headers().contains_key("retry-after"), "it is safe to send it again");
        let detail = problem(answer).await["detail"].to_string();
        assert!(detail.contains(reason), "MQTT {version}, {who} {ca}: {detail}");
    }
    run(Command::new("mosquitto_pub").args(broker.client(&["-t", "refused/last", "-m", "marker"])));
    assert_eq!(ended(listening).await, "refused/last marker", "nothing was stored before it");
}
