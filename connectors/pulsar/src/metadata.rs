//! Which topics and partitions there are, and where they begin and end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use meshgate_api::{
    Str,
    position::{Place, Position, Positions},
    topic::TopicSet,
};
use pulsar::message::proto::command_get_topics_of_namespace::Mode;
use tokio::time::timeout;

use crate::{
    client::Client,
    decode::place,
    feed::{From, Lane, end, open},
    naming::{namespace, of_partition},
};

/// How long the first message of a partition that has some may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Partitions that are asked about at once.
const AT_ONCE: usize = 16;

/// The topics of some namespaces, each with the numbers of its partitions; without any, it is not partitioned.
pub(crate) type Listing = BTreeMap<Str, BTreeSet<u32>>;

/// Asks the broker for the topics of every namespace that a set may find topics in. System topics are left out.
pub(crate) async fn list(client: &Client, topics: &TopicSet) -> Result<Listing, String> {
    let mut listing = Listing::new();
    for namespace in namespaces(topics) {
        let names = client
            .begin(|broker| async move { Box::pin(broker.get_topics_of_namespace(namespace, Mode::Persistent)).await });
        for name in names.await? {
            let (topic, partition) = of_partition(&name);
            if topics.contains(topic) && !is_internal(topic) {
                listing.entry(topic.into()).or_default().extend(partition);
            }
        }
    }
    Ok(listing)
}

fn namespaces(topics: &TopicSet) -> BTreeSet<String> {
    let begin =
        topics.names.iter().map(|name| &**name).chain(topics.patterns.iter().map(|pattern| pattern.beginning()));
    begin.filter_map(namespace).map(str::to_owned).collect()
}

/// Topics of the broker and of its clients' transactions and policies.
fn is_internal(topic: &str) -> bool {
    topic.rsplit_once('/').is_some_and(|(_, name)| name.starts_with("__"))
}

/// All partitions of a listing.
pub(crate) fn lanes(listing: &Listing) -> Vec<Lane> {
    let of = |(topic, partitions): (&Str, &BTreeSet<u32>)| {
        let lane = |partition| Lane { topic: topic.clone(), partition };
        let numbers: Vec<_> = partitions.iter().copied().map(Some).collect();
        if numbers.is_empty() { vec![lane(None)] } else { numbers.into_iter().map(lane).collect() }
    };
    listing.iter().flat_map(of).collect()
}

/// The place after the last message of each partition.
pub(crate) async fn ends(client: &Arc<Client>, lanes: &[Lane]) -> Result<Positions, String> {
    find(lanes, |lane| async move {
        let mut reader = open(client, lane.name(), From::Latest, 1).await?;
        let last = Box::pin(timeout(PATIENCE, reader.get_last_message_id())).await;
        let last = last.map_err(|_| format!("{} does not say where it ends", lane.name()))?;
        Ok(end(&last.map_err(|problem| problem.to_string())?))
    })
    .await
}

/// The first message that each partition still has, as the broker received it at `millis` or later; the end where there is none.
pub(crate) async fn firsts(
    client: &Arc<Client>,
    lanes: &[Lane],
    ends: &Positions,
    millis: u64,
) -> Result<Positions, String> {
    find(lanes, |lane| async move {
        let end = ends.get(&lane.topic, lane.number()).unwrap_or_default();
        if end == Place::default() {
            return Ok(end);
        }
        first(client, &lane, end, millis).await
    })
    .await
}

async fn first(client: &Arc<Client>, lane: &Lane, end: Place, millis: u64) -> Result<Place, String> {
    let mut reader = open(client, lane.name(), From::Earliest, 64).await?;
    loop {
        match timeout(PATIENCE, reader.next()).await {
            Ok(Some(Ok(message))) => {
                let place = place(message.message_id());
                if place >= end || message.metadata().publish_time >= millis {
                    return Ok(place.min(end));
                }
                if (Place { index: place.index + 1, ..place }) >= end {
                    return Ok(end);
                }
            }
            Ok(Some(Err(problem))) if client.is_unreadable(&lane.name(), &problem) => {}
            Ok(Some(Err(problem))) => return Err(problem.to_string()),
            Ok(None) => return Err(format!("the reader of {} has ended", lane.name())),
            Err(_) => return Ok(end), // retention has left none
        }
    }
}

async fn find<'a, F>(lanes: &[Lane], ask: impl Fn(Lane) -> F) -> Result<Positions, String>
where
    F: Future<Output = Result<Place, String>> + Send + 'a,
{
    let mut asked = Vec::with_capacity(lanes.len());
    for lane in lanes {
        let (topic, partition, place) = (lane.topic.clone(), lane.number(), ask(lane.clone()));
        asked.push(async move { Ok::<_, String>(Position { topic, partition, place: place.await? }) }.boxed());
    }
    let found: Vec<Position> = stream::iter(asked).buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(found.into_iter().collect())
}
