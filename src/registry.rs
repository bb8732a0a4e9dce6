//! The connector kinds of this program: the only file that names every connector.

use meshgate_api::connector::Kind;

/// Every kind that is built in, by cargo feature; memory always is.
#[must_use]
pub fn kinds() -> Vec<&'static dyn Kind> {
    vec![
        &meshgate_memory::MemoryKind,
        #[cfg(feature = "kafka")]
        &meshgate_kafka::KafkaKind,
        #[cfg(feature = "mqtt")]
        &meshgate_mqtt::MqttKind,
        #[cfg(feature = "pulsar")]
        &meshgate_pulsar::PulsarKind,
    ]
}
