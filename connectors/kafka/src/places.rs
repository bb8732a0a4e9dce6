//! Where partitions begin and end, and where they stood at a time.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use meshgate_api::{
    Str,
    position::{Place, Position, Positions},
};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use tokio::sync::{mpsc, oneshot};

use crate::client::Quiet;

const TIMEOUT: Duration = Duration::from_secs(5);
/// Questions that may wait; who has one more waits for room.
const WAITING: usize = 1024;

/// Partitions, by topic and number.
pub(crate) type Partitions = Vec<(Str, u32)>;

/// Where to ask.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    questions: mpsc::Sender<Question>,
}

/// Which place of a partition is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// That of the oldest record that is kept.
    Start,
    /// That after the newest committed record.
    End,
    /// That of the first record received at this time (Unix milliseconds) or later; the end if there is none.
    At(i64),
}

/// Asked by a reader; answered for all of its partitions or with what is the matter.
#[derive(Debug)]
pub(crate) struct Question {
    partitions: Partitions,
    wanted: Wanted,
    answer: oneshot::Sender<Result<Positions, String>>,
}

impl Places {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Question>) {
        let (questions, receiver) = mpsc::channel(WAITING);
        (Self { questions }, receiver)
    }

    /// The wanted place of each of `partitions`, as of after this call.
    pub(crate) async fn find(&self, partitions: Partitions, wanted: Wanted) -> Result<Positions, String> {
        if partitions.is_empty() {
            return Ok(Positions::default());
        }
        let (answer, answered) = oneshot::channel();
        let closed = || "the connector is closed".to_owned();
        self.questions.send(Question { partitions, wanted, answer }).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }

    /// As [`find`](Self::find), for a thread that cannot wait: `None` while too many wait already.
    pub(crate) fn begin(
        &self,
        partitions: Partitions,
        wanted: Wanted,
    ) -> Option<oneshot::Receiver<Result<Positions, String>>> {
        let (answer, answered) = oneshot::channel();
        self.questions.try_send(Question { partitions, wanted, answer }).ok()?;
        Some(answered)
    }
}

/// The time in Unix milliseconds, as [`Wanted::At`] takes it.
pub(crate) fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default(); // what is older than 1970 is older than any record
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Answers questions until nobody can ask any more. Those that are waiting for the same go into one request.
pub(crate) fn serve_places(client: &Arc<BaseConsumer<Quiet>>, mut questions: mpsc::Receiver<Question>) {
    while let Some(first) = questions.blocking_recv() {
        let mut waiting = vec![first];
        while let Ok(next) = questions.try_recv() {
            waiting.push(next);
        }
        while let Some(wanted) = waiting.last().map(|question| question.wanted) {
            let alike: Vec<_> = waiting.extract_if(.., |question| question.wanted == wanted).collect();
            answer(client, alike, wanted);
        }
    }
}

fn answer(client: &BaseConsumer<Quiet>, mut questions: Vec<Question>, wanted: Wanted) {
    let all: BTreeSet<_> = questions.iter().flat_map(|question| &question.partitions).cloned().collect();
    let found = find(client, &all, wanted);
    if found.is_err() && questions.len() > 1 {
        // One sick partition fails the whole request: its reader must not keep the others waiting.
        questions.drain(..).for_each(|question| answer(client, vec![question], wanted));
    }
    for Question { partitions, answer, .. } in questions {
        let own = found.as_ref().map_err(Clone::clone).and_then(|found| {
            let positions = partitions.into_iter().map(|partition| {
                let place = found.get(&partition).cloned().unwrap_or_else(|| Err("no answer".to_owned()));
                let (topic, partition) = partition;
                Ok(Position {
                    place: Place::offset(place.map_err(|fault| format!("{topic}: {fault}"))?),
                    topic,
                    partition,
                })
            });
            positions.collect()
        });
        // Who asked may have gone away.
        drop(answer.send(own));
    }
}

/// Each partition's offset, or what is the matter with it.
type Found = HashMap<(Str, u32), Result<u64, String>>;

fn find(client: &BaseConsumer<Quiet>, partitions: &BTreeSet<(Str, u32)>, wanted: Wanted) -> Result<Found, String> {
    let offset = match wanted {
        Wanted::Start => Offset::Beginning,
        Wanted::End => Offset::End,
        Wanted::At(millis) => Offset::Offset(millis),
    };
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        let added = list.add_partition_offset(topic, *partition as i32, offset);
        added.map_err(|problem| problem.to_string())?;
    }
    let list = client.offsets_for_times(list, TIMEOUT).map_err(|problem| problem.to_string())?;
    let mut found = Found::with_capacity(partitions.len());
    let mut nothing_so_late = BTreeSet::new();
    for element in list.elements() {
        let partition = (Str::from(element.topic()), element.partition().unsigned_abs());
        match (element.error(), element.offset()) {
            (Err(problem), _) => drop(found.insert(partition, Err(problem.to_string()))),
            (Ok(()), Offset::Offset(offset)) => drop(found.insert(partition, Ok(offset.unsigned_abs()))),
            (Ok(()), Offset::End) if wanted != Wanted::End => drop(nothing_so_late.insert(partition)),
            (Ok(()), other) => drop(found.insert(partition, Err(format!("unexpected offset {other:?}")))),
        }
    }
    if !nothing_so_late.is_empty() {
        found.extend(find(client, &nothing_so_late, Wanted::End)?);
    }
    Ok(found)
}
