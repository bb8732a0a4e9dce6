//! One connection to the broker, whichever version of MQTT it speaks: rumqttc's client and event loop, good for one connection only.
//!
//! rumqttc's event loop would connect again by itself. It is not let: what it had queued of the old connection it would yield as if it
//! were of the new one, a confirmation among it, and it forgets without a word what the new session does not know. So each connection
//! has a client of its own, and after the first error [`Line::unsent`] says what never left.

use std::{fmt, fs, sync::Arc, time::Duration};

use meshgate_api::{
    Str,
    binding::mqtt::{Packed, Properties, Rare},
};
use rumqttc::{
    MqttOptions as OptionsV4, NetworkOptions, TlsConfiguration, Transport,
    mqttbytes::{QoS as QosV4, v4 as of_v4},
    tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    v5::{
        self, MqttOptions as OptionsV5,
        mqttbytes::{QoS as QosV5, v5 as of_v5},
    },
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};

use crate::config::{MqttConfig, Tls, Version};

mod heard;
pub(crate) use heard::{Arrival, Heard, Verdict, Welcome};

/// How often the broker is asked whether it is there: after twice that it is known not to be. rumqttc's least.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Until a connection stands, in seconds.
const CONNECTING: u64 = 5;
/// The largest packet that MQTT has: what the broker took from others is read, however large.
const LARGEST_PACKET: u32 = 268_435_460;
/// Publishes that are not confirmed, at most: brokers often want fewer.
pub(crate) const IN_FLIGHT: u16 = 1000;
/// Requests on their way to the event loop: publishes in flight, or one confirmation for each packet identifier, and a few more.
const REQUESTS: usize = u16::MAX as usize + 16;

/// How clients of a connector are opened.
#[derive(Clone)]
pub(crate) struct Opener {
    config: Arc<MqttConfig>,
    tls: Option<TlsConfiguration>,
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}

/// What a client is for.
#[derive(Clone, Debug)]
pub(crate) struct Purpose {
    /// Its name at the broker.
    pub(crate) client_id: String,
    /// For how long the broker keeps its session; `None`: it ends with the connection.
    pub(crate) session: Option<Duration>,
    /// Begin a session anew, even if the broker has one.
    pub(crate) anew: bool,
    /// How many packets the broker may send that are not confirmed (MQTT 5).
    pub(crate) receive: u16,
    /// It carries the connector's will.
    pub(crate) will: bool,
}

/// Sends over one connection. What it takes may never leave: [`Line`] tells.
#[derive(Clone, Debug)]
pub(crate) enum Client {
    V4(rumqttc::AsyncClient),
    V5(v5::AsyncClient),
}

/// The connection itself.
pub(crate) enum Line {
    V4(Box<rumqttc::EventLoop>),
    V5(Box<v5::EventLoop>),
}

impl Opener {
    /// Reads the certificates. An error is for a person.
    pub(crate) fn new(config: MqttConfig) -> Result<Self, String> {
        let tls = config.tls.as_ref().map(tls).transpose()?;
        Ok(Self { config: Arc::new(config), tls })
    }

    pub(crate) fn config(&self) -> &MqttConfig {
        &self.config
    }

    /// A connection that is made once the line is listened to.
    pub(crate) fn open(&self, purpose: &Purpose) -> (Client, Line) {
        match self.config.version {
            Version::V4 => self.open_v4(purpose),
            Version::V5 => self.open_v5(purpose),
        }
    }

    fn transport(&self) -> Transport {
        self.tls.clone().map_or_else(Transport::tcp, Transport::tls_with_config)
    }

    fn open_v4(&self, purpose: &Purpose) -> (Client, Line) {
        let MqttConfig { host, port, username, password, will, .. } = self.config();
        let mut options = OptionsV4::new(&purpose.client_id, host, *port);
        options.set_transport(self.transport()).set_keep_alive(KEEP_ALIVE).set_manual_acks(true);
        options.set_clean_session(purpose.anew || purpose.session.is_none()).set_inflight(IN_FLIGHT);
        options.set_max_packet_size(LARGEST_PACKET as usize, LARGEST_PACKET as usize);
        if let Some(username) = username {
            options.set_credentials(username, password.as_deref().unwrap_or_default());
        }
        if let Some(will) = will.as_ref().filter(|_| purpose.will) {
            let qos = rumqttc::mqttbytes::qos(will.qos).unwrap_or(QosV4::AtLeastOnce);
            options.set_last_will(of_v4::LastWill::new(&will.topic, will.payload.as_str(), qos, will.retain));
        }
        let (client, mut line) = rumqttc::AsyncClient::new(options, REQUESTS);
        line.set_network_options(network());
        (Client::V4(client), Line::V4(Box::new(line)))
    }

    fn open_v5(&self, purpose: &Purpose) -> (Client, Line) {
        let MqttConfig { host, port, username, password, will, .. } = self.config();
        let mut options = OptionsV5::new(&purpose.client_id, host, *port);
        options.set_transport(self.transport()).set_keep_alive(KEEP_ALIVE).set_manual_acks(true);
        options.set_clean_start(purpose.anew || purpose.session.is_none()).set_connection_timeout(CONNECTING);
        options.set_network_options(network()).set_outgoing_inflight_upper_limit(IN_FLIGHT);
        let expiry = purpose.session.map(|session| u32::try_from(session.as_secs()).unwrap_or(u32::MAX));
        options.set_session_expiry_interval(expiry).set_receive_maximum(Some(purpose.receive));
        options.set_max_packet_size(Some(LARGEST_PACKET));
        if let Some(username) = username {
            options.set_credentials(username, password.as_deref().unwrap_or_default());
        }
        if let Some(will) = will.as_ref().filter(|_| purpose.will) {
            let qos = v5::mqttbytes::qos(will.qos).unwrap_or(QosV5::AtLeastOnce);
            options.set_last_will(of_v5::LastWill::new(&will.topic, will.payload.as_str(), qos, will.retain, None));
        }
        let (client, line) = v5::AsyncClient::new(options, REQUESTS);
        (Client::V5(client), Line::V5(Box::new(line)))
    }
}

fn network() -> NetworkOptions {
    let mut options = NetworkOptions::new();
    options.set_tcp_nodelay(true);
    options.set_connection_timeout(CONNECTING);
    options
}

/// rustls set up by hand: rumqttc's own way panics where the system has no certificates.
fn tls(settings: &Tls) -> Result<TlsConfiguration, String> {
    let mut roots = RootCertStore::empty();
    match &settings.ca {
        Some(path) => {
            for certificate in certificates(path)? {
                let added = roots.add(certificate);
                added.map_err(|problem| format!("tls.ca: {}: {problem}", path.display()))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() {
        return Err("tls: no certificates are known that may have signed the broker's: name them in `tls.ca`".into());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|problem| format!("tls: {problem}"))?;
    let builder = builder.with_root_certificates(roots);
    let config = match &settings.client {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = certificates(chain)?;
            let text = read("tls.key", key)?;
            let private = PrivateKeyDer::from_pem_slice(&text);
            let private = private.map_err(|problem| format!("tls.key: {}: {problem}", key.display()))?;
            builder.with_client_auth_cert(chain, private).map_err(|problem| format!("tls: {problem}"))?
        }
    };
    Ok(TlsConfiguration::Rustls(Arc::new(config)))
}

fn certificates(path: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read("tls", path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(format!("tls: {} holds no certificate (PEM)", path.display())),
        Err(problem) => Err(format!("tls: {}: {problem}", path.display())),
    }
}

fn read(key: &str, path: &std::path::Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|problem| format!("{key}: {} cannot be read: {problem}", path.display()))
}

/// The connection takes no more requests: it has ended, or there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

impl Client {
    /// Publishes with quality of service 1.
    pub(crate) fn publish(&self, topic: &Str, retain: bool, packed: Packed) -> Result<(), Refused> {
        let sent = match self {
            Self::V4(client) => client.try_publish(&**topic, QosV4::AtLeastOnce, retain, packed.payload).map_err(drop),
            Self::V5(client) => {
                let properties = heard::properties(packed.properties);
                let qos = QosV5::AtLeastOnce;
                client.try_publish_with_properties(&**topic, qos, retain, packed.payload, properties).map_err(drop)
            }
        };
        sent.map_err(|()| Refused)
    }

    /// Subscribes with quality of service 1, without what is retained. `id`: the broker tells of which subscription a packet is.
    pub(crate) fn subscribe(&self, filter: &str, id: Option<usize>) -> Result<(), Refused> {
        let sent = match self {
            Self::V4(client) => client.try_subscribe(filter, QosV4::AtLeastOnce).map_err(drop),
            Self::V5(client) => {
                let mut own = of_v5::Filter::new(filter, QosV5::AtLeastOnce);
                own.retain_forward_rule = of_v5::RetainForwardRule::Never;
                match id {
                    None => client.try_subscribe_many([own]).map_err(drop),
                    Some(_) => {
                        let properties = of_v5::SubscribeProperties { id, user_properties: Vec::new() };
                        client.try_subscribe_many_with_properties([own], properties).map_err(drop)
                    }
                }
            }
        };
        sent.map_err(|()| Refused)
    }

    pub(crate) fn unsubscribe(&self, filter: &str) -> Result<(), Refused> {
        let sent = match self {
            Self::V4(client) => client.try_unsubscribe(filter).map_err(drop),
            Self::V5(client) => client.try_unsubscribe(filter).map_err(drop),
        };
        sent.map_err(|()| Refused)
    }

    /// Confirms what has arrived under this packet identifier.
    pub(crate) fn confirm(&self, packet: u16) -> Result<(), Refused> {
        let sent = match self {
            Self::V4(client) => {
                let mut publish = of_v4::Publish::new("", QosV4::AtLeastOnce, Vec::new());
                publish.pkid = packet;
                client.try_ack(&publish).map_err(drop)
            }
            Self::V5(client) => {
                let publish = of_v5::Publish { pkid: packet, qos: QosV5::AtLeastOnce, ..of_v5::Publish::default() };
                client.try_ack(&publish).map_err(drop)
            }
        };
        sent.map_err(|()| Refused)
    }

    /// Ends the connection after all that was asked before.
    pub(crate) fn disconnect(&self) -> Result<(), Refused> {
        let sent = match self {
            Self::V4(client) => client.try_disconnect().map_err(drop),
            Self::V5(client) => client.try_disconnect().map_err(drop),
        };
        sent.map_err(|()| Refused)
    }
}

/// Bytes of a packet of MQTT 5: some less, perhaps, but not more.
pub(crate) fn packet_size(topic: &str, packed: &Packed) -> usize {
    const FRAME: usize = 1 + 4 + 2 + 2 + 4; // type, length, topic's length, packet identifier, length of properties
    let Properties { content_type, user, expiry, rare } = &packed.properties;
    let rare = rare.as_deref().map_or(0, |Rare { response_topic, correlation, .. }| {
        let texts = [response_topic.as_ref().map(|text| text.len()), correlation.as_ref().map(|data| data.len())];
        2 + texts.into_iter().flatten().map(|length| 3 + length).sum::<usize>()
    });
    let content_type = content_type.as_ref().map_or(0, |text| 3 + text.len());
    let user: usize = user.iter().map(|(name, value)| 5 + name.len() + value.len()).sum();
    let expiry = expiry.map_or(0, |_| 5);
    FRAME + topic.len() + content_type + user + expiry + rare + packed.payload.len()
}

impl Line {
    /// What happens next. After an error nothing more does. Connects when it is called first.
    pub(crate) async fn next(&mut self) -> Result<Heard, String> {
        match self {
            Self::V4(line) => line.poll().await.map(heard::of_v4).map_err(|problem| heard::problem_v4(&problem)),
            Self::V5(line) => line.poll().await.map(heard::of_v5).map_err(|problem| heard::problem(&problem)),
        }
    }

    /// Ends the connection; how many of the publishes that the client took last were never sent.
    pub(crate) fn unsent(&mut self) -> usize {
        match self {
            Self::V4(line) => {
                line.clean();
                let is_unsent = |request: &&rumqttc::Request| matches!(request, rumqttc::Request::Publish(publish) if publish.pkid == 0);
                line.pending.iter().filter(is_unsent).count()
            }
            Self::V5(line) => {
                line.clean();
                let is_unsent =
                    |request: &&v5::Request| matches!(request, v5::Request::Publish(publish) if publish.pkid == 0);
                line.pending.iter().filter(is_unsent).count()
            }
        }
    }
}
