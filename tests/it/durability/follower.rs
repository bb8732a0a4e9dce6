//! A reader of server-sent events that keeps to the protocol: whenever its stream ends it comes back with the last `id:`, and what a 410
//! tells it to read on from it reads on from.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use reqwest::{Client, Response};
use tokio::{sync::oneshot, task::JoinHandle};

use super::tell;
use crate::harness::{
    PATIENCE,
    broker::Stored,
    gateway::{Gateway, problem},
    sse::Stream,
};

/// Before it comes back, unless the stream said when.
const REST: Duration = Duration::from_millis(100);

/// A reader under way. Dropping it ends it.
pub struct Follower {
    record: Arc<Mutex<Record>>,
    reading: JoinHandle<()>,
}

/// What a reader has seen.
#[derive(Debug, Default)]
pub struct Record {
    /// Ids in the order of their arrival.
    pub ids: Vec<String>,
    /// How often a stream was opened.
    pub streams: usize,
    /// How often the answer was 410.
    pub gone: usize,
    /// How often nobody answered.
    pub unreachable: usize,
}

impl Follower {
    /// Returns once it stands.
    pub async fn start(gateway: &Gateway, filter_and_query: &str) -> Self {
        Self::waiting(gateway, filter_and_query).await
    }

    /// Begins to try; the answer comes once it stands.
    pub fn waiting(gateway: &Gateway, filter_and_query: &str) -> impl Future<Output = Self> + use<> {
        let (stands, standing) = oneshot::channel();
        let record: Arc<Mutex<Record>> = Arc::default();
        let reader = Reader {
            client: gateway.client.clone(),
            url: gateway.channel_url(filter_and_query),
            last_id: None,
            record: record.clone(),
            stands: Some(stands),
        };
        let reading = tokio::spawn(reader.run());
        let follower = Self { record, reading };
        async move {
            let standing = tokio::time::timeout(PATIENCE, standing).await.expect("the reader stands in time");
            standing.expect("the reader lives");
            follower
        }
    }

    pub fn look<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        assert!(!self.reading.is_finished(), "the reader goes on");
        look(&self.record.lock())
    }

    /// Waits until it has seen everything that is stored, and checks that each partition came in its order: what comes twice comes
    /// because the reader went back to an earlier place, and everything from there on comes again.
    pub async fn has_seen(&self, title: &str, stored: &[Stored]) {
        let begun = Instant::now();
        let missing = || {
            let seen: HashSet<_> = self.look(|record| record.ids.iter().cloned().collect());
            stored.iter().filter(|record| !seen.contains(&record.id)).map(|record| &record.id).collect::<Vec<_>>()
        };
        while !missing().is_empty() {
            if begun.elapsed() > PATIENCE {
                let missing = missing();
                let record = self.look(|record| format!("{} events, {} streams", record.ids.len(), record.streams));
                panic!("{title}: after {record} {} were not read, such as {:?}", missing.len(), missing.first());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.look(|record| record.check_order(title, stored));
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Record {
    fn check_order(&self, title: &str, stored: &[Stored]) {
        let places: HashMap<_, _> =
            stored.iter().map(|record| (&record.id, (record.partition, record.offset))).collect();
        let mut next: HashMap<u32, u64> = HashMap::new();
        let mut repeated = 0;
        for id in &self.ids {
            let Some((partition, offset)) = places.get(id) else { continue }; // of a topic that was deleted
            let next = next.entry(*partition).or_insert(0);
            assert!(*offset <= *next, "{title}: {id} at {partition}:{offset} came when {next} was due");
            repeated += usize::from(offset < next);
            *next = offset + 1;
        }
        let Self { ids, streams, gone, unreachable } = self;
        let (ids, stored) = (ids.len(), stored.len());
        tell(format!(
            "{title}: the reader saw {ids} events of {stored} stored, {repeated} of them again, \
             over {streams} streams; {gone} times 410, {unreachable} times nobody there"
        ));
    }
}

struct Reader {
    client: Client,
    url: String,
    last_id: Option<String>,
    record: Arc<Mutex<Record>>,
    stands: Option<oneshot::Sender<()>>,
}

impl Reader {
    async fn run(mut self) {
        loop {
            let rest = match Stream::request(&self.client, &self.url, self.last_id.as_deref()).await {
                Ok(Ok(stream)) => self.read(stream).await,
                Ok(Err(refusal)) => self.go_on_elsewhere(refusal).await,
                Err(_) => {
                    self.record.lock().unreachable += 1;
                    REST
                }
            };
            tokio::time::sleep(rest).await;
        }
    }

    /// Reads to the stream's end; when to come back.
    async fn read(&mut self, mut stream: Stream) -> Duration {
        self.record.lock().streams += 1;
        let mut rest = REST;
        while let Some(block) = stream.block().await {
            if let Some(data) = block.data {
                let event: serde_json::Value = serde_json::from_str(&data).expect("an event is JSON");
                self.record.lock().ids.push(event["id"].as_str().expect("an id").to_owned());
            }
            if let Some(id) = block.id {
                self.last_id = Some(id);
                if let Some(stands) = self.stands.take() {
                    stands.send(()).expect("somebody waits");
                }
            }
            if let Some(retry) = block.retry {
                rest = Duration::from_millis(retry.parse().expect("milliseconds"));
            }
            if let Some(comment) = block.comment.filter(|comment| !comment.is_empty()) {
                tell(format!("the stream says: {comment}"));
            }
        }
        rest
    }

    async fn go_on_elsewhere(&mut self, refusal: Response) -> Duration {
        let problem = problem(refusal).await;
        assert_eq!(problem["status"], 410, "{problem}");
        tell(format!("410: {}", problem["detail"]));
        self.last_id = Some(problem["cursor"].as_str().expect("a cursor").to_owned());
        self.record.lock().gone += 1;
        Duration::ZERO
    }
}
