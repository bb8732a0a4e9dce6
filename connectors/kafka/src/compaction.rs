//! Whether a topic keeps the last record of each key: its `cleanup.policy`, as the broker has it.

use std::time::Duration;

use meshgate_api::connector::{Compaction, ReadError};
use rdkafka::{
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
    types::RDKafkaErrorCode,
};

use crate::client::{Clients, Quiet};

const POLICY: &str = "cleanup.policy";
const WANTED: &str = "compact";

/// Asks the broker within `patience`.
pub(crate) async fn ask(clients: &Clients, topic: &str, patience: Duration) -> Result<Compaction, ReadError> {
    let down =
        |problem: String| ReadError::Down { detail: format!("what the topic `{topic}` keeps is not known: {problem}") };
    let client: AdminClient<Quiet> =
        clients.inquirer().create_with_context(Quiet::new(clients)).map_err(|problem| down(problem.to_string()))?;
    let options = AdminOptions::new().request_timeout(Some(patience));
    let answers = client.describe_configs(&[ResourceSpecifier::Topic(topic)], &options).await;
    let answer = answers.map_err(|problem| down(problem.to_string()))?.pop();
    let resource = match answer {
        Some(Ok(resource)) => resource,
        Some(Err(code)) if code != RDKafkaErrorCode::UnknownTopicOrPartition => return Err(down(code.to_string())),
        _ => return Err(missing(topic)),
    };
    Ok(match resource.get(POLICY).and_then(|entry| entry.value.as_deref()) {
        None => return Err(missing(topic)), // of a topic that is not there the broker tells nothing
        Some(WANTED) => Compaction::Compacted,
        Some(other) => Compaction::Not(format!("its {POLICY} is `{other}`, and must be exactly `{WANTED}`")),
    })
}

fn missing(topic: &str) -> ReadError {
    ReadError::Down { detail: format!("there is no topic `{topic}`: create it with {POLICY}={WANTED}") }
}
