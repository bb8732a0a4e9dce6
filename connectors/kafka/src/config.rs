//! `kind: kafka` in the configuration (specification, sections 9 and 11).

use std::fmt;

use meshgate_api::settings::Fields;
use rdkafka::{ClientConfig, error::KafkaError};

/// The settings of one Kafka connector.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// `host:port` of brokers to ask first; at least one.
    pub brokers: Vec<String>,
    /// librdkafka's own properties, by name.
    pub properties: Vec<(String, String)>,
}

/// Properties on which the gateway's guarantees, or its own limits, rest.
const OWNED: [&str; 31] = [
    "acks",
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "bootstrap.servers",
    "consume.callback.max.messages",
    "delivery.report.only.error",
    "delivery.timeout.ms",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "isolation.level",
    "log.queue",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.max.bytes",
    "message.timeout.ms",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "partitioner",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queuing.strategy",
    "request.required.acks",
    "statistics.interval.ms",
    "transaction.timeout.ms",
    "transactional.id",
];

impl KafkaConfig {
    /// Reads the settings, collecting every problem in `fields`; `None` if there was any.
    pub(crate) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let brokers = fields.list_of_text("brokers").required();
        let brokers = brokers.and_then(|brokers| Self::read_brokers(fields, &brokers));
        let properties = fields.section("properties", Self::read_properties).or(Vec::new());
        Some(Self { brokers: brokers?, properties: properties? })
    }

    fn read_brokers(fields: &Fields<'_>, brokers: &[&str]) -> Option<Vec<String>> {
        if brokers.is_empty() {
            fields.refuse_value("brokers", "name at least one broker, as `host:port`");
        }
        let problems = brokers.iter().filter_map(|broker| Some((broker, check_broker(broker).err()?)));
        let wrong = problems
            .inspect(|(broker, problem)| fields.refuse_value("brokers", format!("`{broker}`: {problem}")))
            .count();
        (wrong == 0 && !brokers.is_empty()).then(|| brokers.iter().map(|broker| (*broker).to_owned()).collect())
    }

    fn read_properties(fields: &mut Fields<'_>) -> Option<Vec<(String, String)>> {
        let mut sound = Some(Vec::new());
        for (name, value) in fields.all_texts()? {
            match check_property(name, value) {
                Ok(()) => sound.iter_mut().for_each(|all| all.push((name.to_owned(), value.to_owned()))),
                Err(problem) => {
                    fields.refuse_key(name, problem);
                    sound = None;
                }
            }
        }
        sound
    }
}

/// What is wrong with a property, if anything, for a person.
pub(crate) fn check_property(name: &str, value: &str) -> Result<(), String> {
    if OWNED.contains(&name) || name.starts_with("enable.auto.") || name.ends_with("_cb") {
        return Err("the gateway sets this property itself: remove it".into());
    }
    if name == "plugin.library.paths" {
        return Err("plug-ins are not loaded: remove it".into());
    }
    match ClientConfig::new().set(name, value).create_native_config() {
        Ok(_) => Ok(()),
        // A value that is no number may be a secret that was filled in.
        Err(KafkaError::ClientConfig(_, problem, ..)) if value.is_empty() || value.parse::<f64>().is_ok() => {
            Err(problem)
        }
        Err(KafkaError::ClientConfig(_, problem, ..)) => Err(problem.replace(value, "…")),
        Err(problem) => Err(problem.to_string()),
    }
}

/// What is wrong with a broker's address, if anything, for a person.
pub(crate) fn check_broker(address: &str) -> Result<(), String> {
    let (host, port) = address.rsplit_once(':').ok_or("expected `host:port`")?;
    let bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    if host.is_empty() || bare_v6 || host.contains(['/', ',', ' ']) {
        return Err("expected `host:port`, an IPv6 address in brackets".into());
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(()),
        _ => Err(format!("`{port}` is no port: expected 1 to 65535")),
    }
}

/// Without the properties' values: some are secrets.
impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.properties.iter().map(|(name, _)| name).collect();
        f.debug_struct("KafkaConfig").field("brokers", &self.brokers).field("properties", &names).finish()
    }
}

#[cfg(test)]
mod tests;
