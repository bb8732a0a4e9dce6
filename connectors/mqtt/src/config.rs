//! `kind: mqtt` in the configuration (specification, sections 9 and 11).

use std::{fmt, ops::RangeInclusive, path::PathBuf, time::Duration};

use meshgate_api::{binding::mqtt::LONGEST_TEXT, settings::Fields};

use crate::naming::topic_name;

/// For how long the broker may keep a session; what MQTT can say ends after 136 years.
const SESSIONS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(365 * 24 * 3600);
const DEFAULT_SESSION: Duration = Duration::from_secs(3600);

/// The settings of one MQTT connector.
#[derive(Clone, PartialEq, Eq)]
pub struct MqttConfig {
    /// The broker's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// TLS, with these settings.
    pub tls: Option<Tls>,
    /// Of the protocol.
    pub version: Version,
    /// Who the gateway is.
    pub username: Option<String>,
    /// And what proves it.
    pub password: Option<String>,
    /// What the broker publishes when the gateway vanishes.
    pub will: Option<Will>,
    /// The name under which the broker keeps what groups have not confirmed; unique among replicas.
    pub client_id: Option<String>,
    /// For how long it keeps it while the gateway is away.
    pub session: Duration,
}

/// A version of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1, whose number on the wire is 4.
    V4,
    /// 5.0.
    V5,
}

/// How the broker and the gateway know each other over TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates (PEM) that may have signed the broker's; the system's if there is none.
    pub ca: Option<PathBuf>,
    /// The gateway's own certificate chain and private key (PEM).
    pub client: Option<(PathBuf, PathBuf)>,
}

/// What the broker publishes when the gateway vanishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Where.
    pub topic: String,
    /// What.
    pub payload: String,
    /// 0, 1 or 2.
    pub qos: u8,
    /// The broker keeps it for later subscribers.
    pub retain: bool,
}

impl MqttConfig {
    /// To a broker without TLS and password, with everything else as it is by default.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            tls: None,
            version: Version::V5,
            username: None,
            password: None,
            will: None,
            client_id: None,
            session: DEFAULT_SESSION,
        }
    }

    /// Reads the settings, collecting every problem in `fields`; `None` if there was any.
    pub(crate) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        const FORM: &str = "`mqtt://host:port`, or `mqtts://host:port` for TLS";
        let url = fields.text("url").required();
        let address = url.and_then(parse_url);
        if url.is_some() && address.is_none() {
            // Not shown: it may hold a password.
            fields.refuse_value("url", format!("expected {FORM}; who the gateway is say `username` and `password`"));
        }
        let version = fields.choice("version", &[("5", Version::V5), ("4", Version::V4)]).or(Version::V5);
        let username = text(fields, "username");
        let password = text(fields, "password");
        if let (Some(None), Some(Some(_))) = (&username, &password) {
            fields.refuse_value("password", "a password needs a `username` beside it");
        }
        let tls = fields.section("tls", read_tls).optional();
        let will = fields.section("will", read_will).optional();
        let client_id = text(fields, "client_id");
        let session = fields.duration("session", SESSIONS).or(DEFAULT_SESSION);
        let Address { host, port, is_tls } = address?;
        if tls.is_some() && !is_tls {
            fields.refuse_value("tls", "the `url` begins with `mqtt://`, which is without TLS: write `mqtts://`");
        }
        Some(Self {
            host,
            port,
            tls: is_tls.then(|| tls.unwrap_or_default()),
            version: version?,
            username: username?,
            password: password?,
            will,
            client_id: client_id?,
            session: session?,
        })
    }
}

/// A text that MQTT can hold. `Some(None)` if there is none.
fn text(fields: &mut Fields<'_>, key: &'static str) -> Option<Option<String>> {
    let form = format!("a text of 1 to {LONGEST_TEXT} bytes without null characters");
    let is_sound = |text: &str| (1..=LONGEST_TEXT).contains(&text.len()) && !text.contains('\0');
    fields.parsed(key, &form, |text| is_sound(text).then(|| Some(text.to_owned()))).or(None)
}

struct Address {
    host: String,
    port: u16,
    is_tls: bool,
}

fn parse_url(url: &str) -> Option<Address> {
    let (scheme, rest) = url.split_once("://")?;
    let (is_tls, default) = match scheme {
        "mqtt" => (false, 1883),
        "mqtts" => (true, 8883),
        _ => return None,
    };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok().filter(|port| *port > 0)?),
        _ => (rest, default),
    };
    let bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    let is_host = !host.is_empty() && !bare_v6 && !host.contains(['/', '@', '?', '#', ' ', ',']);
    is_host.then(|| Address { host: host.to_owned(), port, is_tls })
}

fn read_tls(fields: &mut Fields<'_>) -> Option<Tls> {
    let mut path = |key| fields.text(key).optional().map(PathBuf::from);
    let (ca, cert, key) = (path("ca"), path("cert"), path("key"));
    let client = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        _ => {
            fields.refuse("`cert` and `key` belong together: the gateway's own certificate and its private key");
            return None;
        }
    };
    Some(Tls { ca, client })
}

fn read_will(fields: &mut Fields<'_>) -> Option<Will> {
    let topic = fields.text("topic").required();
    if let Some(problem) = topic.and_then(|topic| topic_name(topic).err()) {
        fields.refuse_value("topic", problem);
    }
    let payload = fields.text("payload").or("");
    let qos = fields.integer("qos", 0..=2).or(1);
    let retain = fields.boolean("retain").or(false);
    let topic = topic.filter(|topic| topic_name(topic).is_ok())?.to_owned();
    Some(Will { topic, payload: payload?.to_owned(), qos: qos?, retain: retain? })
}

/// Without secrets.
impl fmt::Debug for MqttConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MqttConfig")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .field("version", &self.version)
            .field("username", &self.username)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
