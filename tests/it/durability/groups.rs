//! A group over two gateway processes: whoever dies, every confirmed event reaches a member that confirms it.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{gateway, tell, turn};
use crate::harness::{
    broker::Broker,
    gateway::Gateway,
    websocket::{Frame, Socket, event},
};

const EVENTS: usize = 100_000;
const KEYS: usize = 64;
const MEMBERS: usize = 4;
const UNANSWERED: usize = 512;

/// What the members have confirmed, and what went wrong.
#[derive(Default)]
struct Ledger {
    confirmed: Mutex<HashSet<usize>>,
    deliveries: AtomicUsize,
    disorder: Mutex<Vec<String>>,
    /// Every event has been confirmed.
    done: AtomicBool,
}

#[tokio::test(flavor = "multi_thread")]
async fn loses_nothing_when_members_and_a_process_die() {
    let _turn = turn().await;
    let broker = Broker::up().await;
    broker.make_topic("load", 8).await;
    let (first, second) = (gateway(&broker).await, gateway(&broker).await);
    let urls = [first.url.clone(), second.url.clone()];
    let ledger = Arc::new(Ledger::default());
    let mut members: Vec<_> = (0..MEMBERS).map(|n| member(&ledger, &urls[n % 2])).collect();
    let publishing = tokio::spawn(publish(first.url.clone()));
    let mut second = Some(second);
    let mut killed = 0;
    for round in 0_usize.. {
        tokio::time::sleep(Duration::from_millis(400 + 100 * (round as u64 % 7))).await;
        if ledger.confirmed.lock().len() == EVENTS {
            break;
        }
        assert!(round < 400, "{} of {EVENTS} were confirmed in time", ledger.confirmed.lock().len());
        if round == 5 {
            second = second.take().map(Gateway::kill_and_restart);
        }
        if round < 40 {
            let victim = rand::random_range(0..MEMBERS);
            members[victim].abort();
            members[victim] = member(&ledger, &urls[rand::random_range(0..2)]);
            killed += 1;
        }
    }
    ledger.done.store(true, Relaxed);
    publishing.await.expect("all are published");
    let deliveries = ledger.deliveries.load(Relaxed);
    tell(format!("{EVENTS} events, {deliveries} deliveries, {killed} members and one process killed"));
    assert_eq!(*ledger.disorder.lock(), Vec::<String>::new());
    drop(second);
}

/// Publishes all events, each with its number as `id`, and insists on their receipts.
async fn publish(url: String) {
    let mut socket = Socket::connect(&url, "load/a?role=publish").await.expect("101");
    let mut answered = 0;
    for n in 0..EVENTS {
        if n - answered == UNANSWERED {
            assert_eq!(socket.answer().await.3, "stored");
            answered += 1;
        }
        let mut event = event(&n.to_string());
        event["partitionkey"] = format!("key-{}", n % KEYS).into();
        socket.send(&event).await;
    }
    for _ in answered..EVENTS {
        assert_eq!(socket.answer().await.3, "stored");
    }
}

/// One member at a time, until all is done; it confirms whatever it gets.
fn member(ledger: &Arc<Ledger>, url: &str) -> JoinHandle<()> {
    let (ledger, url) = (ledger.clone(), url.to_owned());
    tokio::spawn(async move {
        while !ledger.done.load(Relaxed) {
            match Socket::connect(&url, "load/a?group=shift&from=earliest").await {
                Some(socket) => serve(&ledger, socket).await,
                None => tokio::time::sleep(Duration::from_millis(50)).await, // killed, and not back yet
            }
        }
    })
}

async fn serve(ledger: &Ledger, mut socket: Socket) {
    let mut last: HashMap<usize, usize> = HashMap::new();
    let mut seen = HashSet::new();
    while let Frame::Event(event) = socket.next().await {
        let n: usize = event["id"].as_str().and_then(|id| id.parse().ok()).expect("a number");
        if seen.insert(n)
            && let Some(before) = last.insert(n % KEYS, n)
            && before > n
        {
            ledger.disorder.lock().push(format!("{n} came after {before}"));
        }
        ledger.deliveries.fetch_add(1, Relaxed);
        if !acknowledge(&mut socket, &event["deliverytag"]).await {
            return;
        }
        ledger.confirmed.lock().insert(n);
    }
}

async fn acknowledge(socket: &mut Socket, tag: &Value) -> bool {
    let mut ack = event("ack");
    ack["type"] = "io.meshgate.ack".into();
    ack["data"] = json!({ "deliverytags": [tag] });
    socket.try_send(&ack).await
}
