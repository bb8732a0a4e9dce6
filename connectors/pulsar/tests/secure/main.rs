//! TLS and tokens, against a broker of its own that insists on both (`PULSAR_SECURE=1 scripts/brokers up pulsar`).

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::Arc,
    time::{Duration, Instant},
};

use meshgate_api::{
    connector::{Batch, Connector, Context, Limits, Start},
    outcome::Outcome,
    topic::TopicSet,
};
use meshgate_conformance::{PATIENCE, event, outbound, subscribe, take_ids};
use meshgate_pulsar::{PulsarConfig, PulsarConnector};
use tokio::time::sleep;

const TOPIC: &str = "persistent://public/default/secure";

/// A broker that ends with the test.
struct Broker {
    state: PathBuf,
    url: String,
    ca: Vec<u8>,
    token: String,
    secret: PathBuf,
}

fn scripts(state: &Path, arguments: &[&str]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/brokers");
    let mut command = Command::new(script);
    // An address in the environment is somebody else's broker to the script.
    command.args(arguments).env_remove("PULSAR_URL").env("MESHGATE_BROKERS_STATE", state).env("PULSAR_SECURE", "1");
    let ran = command.output().expect("scripts/brokers runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).expect("UTF-8")
}

impl Broker {
    fn start() -> Self {
        let state = env::temp_dir().join(format!("meshgate-secure.{}", process::id()));
        let mut broker =
            Self { state, url: String::new(), ca: Vec::new(), token: String::new(), secret: PathBuf::new() };
        scripts(&broker.state, &["up", "pulsar"]);
        let exports = scripts(&broker.state, &["env", "pulsar"]);
        let value = |name: &str| {
            let found = exports.split([' ', '\n']).find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_else(|| panic!("{name} in {exports}")).to_owned()
        };
        broker.url = value("PULSAR_URL");
        broker.ca = fs::read(value("PULSAR_CA")).expect("certificates");
        broker.token = value("PULSAR_TOKEN");
        broker.secret = value("PULSAR_SECRET").into();
        broker
    }

    fn token(&self, secret: &Path, subject: &str) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/lib/jwt.py");
        let ran = Command::new("python3").arg(script).arg(secret).arg(subject).output().expect("python3 runs");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).expect("UTF-8").trim().to_owned()
    }

    /// Certificates of somebody who does not vouch for the broker.
    fn other_ca(&self) -> Vec<u8> {
        let file = |name: &str| self.state.join(name).to_str().expect("UTF-8").to_owned();
        let (key, ca) = (file("other.key"), file("other.pem"));
        let arguments = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=other"];
        let made = Command::new("openssl").args(arguments).args(["-keyout", &key, "-out", &ca]).output();
        let made = made.expect("openssl runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        fs::read(&ca).expect("certificates")
    }

    fn connector(&self, token: Option<String>, ca: Option<Vec<u8>>) -> Arc<dyn Connector> {
        let config = PulsarConfig { url: self.url.clone(), token, ca };
        Arc::new(PulsarConnector::connect(config, Context::new("pulsar", Limits::default())))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        scripts(&self.state, &["down", "pulsar"]);
        fs::remove_dir_all(&self.state).expect("the state can be removed");
    }
}

async fn publish(connector: &dyn Connector, id: &str) -> Outcome {
    connector.publish(Batch::from_vec(vec![outbound(TOPIC, None, event(id, "x"))])).await.outcomes().await.remove(0)
}

/// Once it was tried to connect: whether that went well, and what the connector tells of it.
async fn tried(connector: &dyn Connector) -> (bool, String) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let health = connector.health();
        let detail = health.detail.unwrap_or_default();
        if health.up || detail != "not connected yet" {
            return (health.up, detail);
        }
        assert!(Instant::now() < deadline, "it is tried in time");
        sleep(Duration::from_millis(20)).await;
    }
}

/// One broker for all of it: to start one takes most of the time.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_right_token_and_the_right_ca_is_let_in_and_nobody_else() {
    let broker = Broker::start();
    let right = broker.connector(Some(broker.token.clone()), Some(broker.ca.clone()));
    assert_eq!(tried(&*right).await, (true, String::new()));
    assert!(matches!(publish(&*right, "right").await, Outcome::Stored(_)));

    let other_secret = broker.state.join("other.secret");
    fs::write(&other_secret, [7; 32]).expect("a file");
    let (wrong, nobody) = (broker.token(&other_secret, "meshgate"), broker.token(&broker.secret, "nobody"));
    let ca = Some(broker.ca.clone());
    let table = [
        ("a wrong token", broker.connector(Some(wrong), ca.clone()), "does not take the `token`"),
        ("no token", broker.connector(None, ca.clone()), "wants a `token`"),
        (
            "a wrong CA",
            broker.connector(Some(broker.token.clone()), Some(broker.other_ca())),
            "`tls.ca` does not vouch",
        ),
        (
            "the well-known CAs",
            broker.connector(Some(broker.token.clone()), None),
            "well-known authorities do not vouch",
        ),
    ];
    for (name, connector, cause) in &table {
        let (is_up, detail) = tried(&**connector).await;
        assert!(!is_up && detail.contains(cause), "{name}: {detail}");
        let outcome = publish(&**connector, name).await;
        assert!(
            matches!(&outcome, Outcome::Unavailable { detail, .. } if detail.contains(cause)),
            "{name}: {outcome:?}"
        );
    }
    let unauthorized = broker.connector(Some(nobody), ca);
    tried(&*unauthorized).await;
    let outcome = publish(&*unauthorized, "a token of nobody").await;
    let says_why = |detail: &str| detail.contains("nobody") || detail.to_lowercase().contains("authoriz");
    assert!(matches!(&outcome, Outcome::Unavailable { detail, .. } if says_why(detail)), "{outcome:?}");

    assert!(matches!(publish(&*right, "last").await, Outcome::Stored(_)));
    let mut reader = subscribe(&*right, TopicSet::one(TOPIC), Start::Earliest).await;
    assert_eq!(take_ids(&mut *reader, 2).await, ["right", "last"], "what was refused is not there");
}
