//! Publishers in a closed loop, each with an order of its own to keep, that write down what was answered.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::harness::{
    connection::{Connection, Reply},
    gateway::Gateway,
};

/// How long a publisher rests after an answer other than 202. Without it all events would be used up while nothing can be stored.
const REST: Duration = Duration::from_millis(100);

/// A load under way.
pub struct Load {
    progress: Arc<Progress>,
    publishers: JoinSet<Vec<Publication>>,
}

struct Progress {
    address: SocketAddr,
    /// What the ids of its events begin with.
    name: &'static str,
    /// Events that may still be published.
    left: AtomicU64,
    answered: AtomicU64,
}

/// One event and what its publisher knows of it. Nothing is sent twice.
#[derive(Clone, Debug)]
pub struct Publication {
    pub id: String,
    pub publisher: u32,
    /// Counts the publisher's events.
    pub sequence: u64,
    pub answer: Answer,
    pub sent: Instant,
    pub answered: Instant,
    /// Of an answer that is not 202.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// 202
    Stored,
    /// 503 and 429
    Unavailable,
    /// 504
    Unknown,
    /// None: the connection broke.
    Broken,
    Unexpected(u16),
}

impl Load {
    /// Begins to publish `events` events over as many connections as there are publishers.
    pub fn start(gateway: &Gateway, name: &'static str, publishers: u32, events: u64) -> Self {
        let address = gateway.url.trim_start_matches("http://").parse().expect("an address");
        let progress = Progress { address, name, left: AtomicU64::new(events), answered: AtomicU64::new(0) };
        let progress = Arc::new(progress);
        let publishers = (0..publishers).map(|publisher| publish(progress.clone(), publisher)).collect();
        Self { progress, publishers }
    }

    /// Returns once so many events are answered.
    pub async fn until(&self, answered: u64) {
        while self.answered() < answered {
            assert!(!self.publishers.is_empty(), "publishers go on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn answered(&self) -> u64 {
        self.progress.answered.load(Relaxed)
    }

    /// Publishes no further event.
    pub fn stop(&self) {
        self.progress.left.store(0, Relaxed);
    }

    /// Waits for the last answers.
    pub async fn finish(self) -> Vec<Publication> {
        self.publishers.join_all().await.concat()
    }
}

async fn publish(progress: Arc<Progress>, publisher: u32) -> Vec<Publication> {
    let mut all = Vec::new();
    let mut connection = None;
    while progress.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
        let sequence = all.len() as u64;
        let mut open = match connection.take() {
            Some(connection) => connection,
            None => Connection::open(progress.address).await,
        };
        let id = format!("{}-{publisher}-{sequence}", progress.name);
        let begun = Instant::now();
        let publication = match open.ask(&request(&id, publisher, sequence)).await {
            Ok(Reply { status, body, sent, answered }) => {
                connection = Some(open);
                Publication {
                    id,
                    publisher,
                    sequence,
                    answer: Answer::of(status),
                    sent,
                    answered,
                    detail: detail(&body),
                }
            }
            Err(problem) => {
                let (answered, detail) = (Instant::now(), problem.kind().to_string());
                Publication { id, publisher, sequence, answer: Answer::Broken, sent: begun, answered, detail }
            }
        };
        let rests = publication.answer != Answer::Stored;
        all.push(publication);
        progress.answered.fetch_add(1, Relaxed);
        if rests {
            tokio::time::sleep(REST).await;
        }
    }
    all
}

/// One half of the publishers has a key each, the other a channel. The event's data is its sequence number.
fn request(id: &str, publisher: u32, sequence: u64) -> Vec<u8> {
    let (channel, key) = match publisher % 2 {
        0 => ("load/keyed".to_owned(), format!("ce-partitionkey: key-{publisher}\r\n")),
        _ => (format!("load/{publisher}"), String::new()),
    };
    let data = sequence.to_string();
    format!(
        "POST /channels/{channel} HTTP/1.1\r\nhost: test\r\nce-specversion: 1.0\r\nce-id: {id}\r\nce-source: /load\r\n\
         ce-type: com.example.load\r\n{key}content-type: text/plain\r\ncontent-length: {}\r\n\r\n{data}",
        data.len()
    )
    .into_bytes()
}

fn detail(body: &str) -> String {
    if body.is_empty() {
        return String::new();
    }
    let problem: serde_json::Value = serde_json::from_str(body).expect("a problem in JSON");
    problem["detail"].as_str().expect("a detail").to_owned()
}

impl Answer {
    fn of(status: u16) -> Self {
        match status {
            202 => Self::Stored,
            503 | 429 => Self::Unavailable,
            504 => Self::Unknown,
            other => Self::Unexpected(other),
        }
    }
}

impl Publication {
    pub fn took(&self) -> Duration {
        self.answered - self.sent
    }
}

/// What was answered how often, and how late at the most, as lines of a table.
pub fn table(publications: &[Publication]) -> String {
    let mut rows: BTreeMap<(Answer, &str), (u64, Duration)> = BTreeMap::new();
    for publication in publications {
        let row = rows.entry((publication.answer, &publication.detail)).or_default();
        *row = (row.0 + 1, row.1.max(publication.took()));
    }
    let line = |((answer, detail), (count, latest)): ((Answer, &str), (u64, Duration))| {
        format!("{count:>8}  {:<16} at most {:>6.3} s  {detail}\n", format!("{answer:?}"), latest.as_secs_f64())
    };
    rows.into_iter().map(line).collect()
}
