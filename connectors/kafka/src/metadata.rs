//! Which topics and partitions there are, and where they begin and end: asked of the broker on own threads, once for all who want to know.
//!
//! The *listing* thread asks for all topics every second or few: that is also how a broker that stops answering, or answers again, is
//! found out. Who needs a listing that is newer than the call waits for the next one. The *places* thread answers questions about
//! offsets; those that wait while it is busy become one request.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, RecvTimeoutError, SyncSender, TrySendError},
    },
    thread,
    time::Duration,
};

use meshgate_api::{Str, link::Link, topic::TopicSet};
use rdkafka::{
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
};
use tokio::sync::watch;

use crate::{
    client::{Clients, Quiet, serve},
    places::{Places, serve_places},
};

/// Between two listings, and how long one may take: a broker that stops answering is noticed after both.
const PACE: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(2);
/// A cluster with more partitions than these is asked less often: a listing grows with them.
const MANY_PARTITIONS: u32 = 4000;
const SLOW_PACE: Duration = Duration::from_secs(3);
const SLOW_TIMEOUT: Duration = Duration::from_secs(5);

/// The topics of the cluster and how many partitions each has.
pub(crate) type Listing = HashMap<Str, u32>;

/// The client's view of the cluster.
#[derive(Debug)]
pub(crate) struct Metadata {
    news: watch::Receiver<News>,
    /// How often a new listing was asked for.
    asked: Arc<AtomicU64>,
    bell: SyncSender<()>,
    pub(crate) places: Places,
}

/// The last listing, and what has become of the last attempt.
#[derive(Clone, Debug, Default)]
pub(crate) struct News {
    pub(crate) listing: Arc<Listing>,
    /// Partitions that have no leader: nobody can read them or ask where they stand.
    pub(crate) leaderless: Arc<HashSet<(Str, u32)>>,
    /// How many listings there have been.
    pub(crate) round: u64,
    /// Why the last attempt failed, if it did.
    fault: Option<String>,
    /// All that was asked for up to here is answered.
    answered: u64,
}

impl Metadata {
    /// Starts both threads. Does not wait for the broker.
    pub(crate) fn start(clients: &Clients, link: Arc<Link>) -> Result<Self, String> {
        let connector = &clients.connector;
        let client = BaseConsumer::from_config_and_context(&clients.inquirer(), Quiet::new(clients));
        let client = Arc::new(client.map_err(|problem| problem.to_string())?);
        let (places, questions) = Places::new();
        let (bell, rung) = mpsc::sync_channel(1);
        let (teller, news) = watch::channel(News::default());
        let asked = Arc::new(AtomicU64::new(0));
        let lister = Lister { client: client.clone(), link, asked: asked.clone(), teller };
        spawn(format!("{connector}-listing"), move || lister.run(&rung))?;
        spawn(format!("{connector}-places"), move || serve_places(&client, questions))?;
        Ok(Self { news, asked, bell, places })
    }

    /// What is known now.
    pub(crate) fn news(&self) -> News {
        self.news.borrow().clone()
    }

    /// The number of the last listing.
    pub(crate) fn round(&self) -> u64 {
        self.news.borrow().round
    }

    /// A listing that was begun after this call; an error says why the broker did not give it.
    pub(crate) async fn fresh(&self) -> Result<Arc<Listing>, String> {
        let number = self.asked.fetch_add(1, Relaxed) + 1;
        self.ring()?;
        let mut news = self.news.clone();
        let answer = news.wait_for(|news| news.answered >= number).await.map_err(|_| "closed".to_owned())?;
        match &answer.fault {
            None => Ok(answer.listing.clone()),
            Some(fault) => Err(fault.clone()),
        }
    }

    /// Has the broker asked at once.
    fn ring(&self) -> Result<(), String> {
        match self.bell.try_send(()) {
            Ok(()) | Err(TrySendError::Full(())) => Ok(()),
            Err(TrySendError::Disconnected(())) => Err("the connector is closed".into()),
        }
    }
}

/// Every partition of the listed topics that are in `topics`.
pub(crate) fn partitions_of(listing: &Listing, topics: &TopicSet) -> Vec<(Str, u32)> {
    let mut all = Vec::new();
    let mut add = |topic: &Str, count: u32| all.extend((0..count).map(|partition| (topic.clone(), partition)));
    if topics.patterns.is_empty() {
        let known = topics.names.iter().filter_map(|name| Some((name, *listing.get(name)?)));
        known.for_each(|(name, count)| add(name, count));
    } else {
        listing.iter().filter(|(name, _)| topics.contains(name)).for_each(|(name, count)| add(name, *count));
    }
    all
}

/// A named thread that ends by itself once its connector is dropped.
pub(crate) fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> Result<(), String> {
    match thread::Builder::new().name(name).spawn(run) {
        Ok(_) => Ok(()),
        Err(problem) => Err(format!("cannot start a thread: {problem}")),
    }
}

struct Lister {
    client: Arc<BaseConsumer<Quiet>>,
    link: Arc<Link>,
    asked: Arc<AtomicU64>,
    teller: watch::Sender<News>,
}

impl Lister {
    /// Until the connector is dropped.
    fn run(&self, bell: &mpsc::Receiver<()>) {
        loop {
            let asked = self.asked.load(Relaxed);
            let partitions: u32 = self.teller.borrow().listing.values().sum();
            let (pace, timeout) =
                if partitions > MANY_PARTITIONS { (SLOW_PACE, SLOW_TIMEOUT) } else { (PACE, TIMEOUT) };
            match self.list(timeout) {
                Ok((listing, leaderless)) => {
                    self.link.answered();
                    self.teller.send_modify(|news| {
                        if *news.listing != listing {
                            news.listing = Arc::new(listing);
                        }
                        if *news.leaderless != leaderless {
                            news.leaderless = Arc::new(leaderless);
                        }
                        news.round += 1;
                        news.fault = None;
                        news.answered = asked;
                    });
                }
                Err(fault) => {
                    self.link.lost(&*fault);
                    self.teller.send_modify(|news| {
                        news.fault = Some(fault);
                        news.answered = asked;
                    });
                }
            }
            let Ok(()) = serve(&self.client, |_| Ok::<_, Infallible>(())); // the context has heard of errors too
            match bell.recv_timeout(pace) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn list(&self, timeout: Duration) -> Result<(Listing, HashSet<(Str, u32)>), String> {
        let metadata = self.client.fetch_metadata(None, timeout).map_err(|problem| problem.to_string())?;
        let before = self.teller.borrow().listing.clone();
        let known = metadata.topics().iter().filter_map(|topic| {
            // A topic whose leaders are being elected has an error, and is not deleted.
            let partitions = match topic.error() {
                None => topic.partitions().len() as u32,
                Some(_) => *before.get(topic.name())?,
            };
            (partitions > 0).then(|| (Str::from(topic.name()), partitions))
        });
        let partitions = metadata.topics().iter().flat_map(|topic| {
            let without = topic.partitions().iter().filter(|partition| partition.leader() < 0);
            without.map(|partition| (Str::from(topic.name()), partition.id().unsigned_abs()))
        });
        Ok((known.collect(), partitions.collect()))
    }
}
