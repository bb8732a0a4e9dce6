//! A gateway with an MQTT listener on the memory connector, its clients, and what must hold when all is over.

use std::{future::poll_fn, path::Path, sync::Arc, time::Duration};

use meshgate::{
    assembly::Assembly,
    config::{self, MqttListener},
    deliver::{Begin, Reading},
    gateway::Gateway,
    protocols::{http::Http, mqtt::Mqtt},
    registry,
    router::ChannelFilter,
    shutdown::{DrainSwitch, drain},
    telemetry::Metrics,
};
use tokio::{
    io::{DuplexStream, duplex},
    time::sleep,
};

use super::{
    client::Client,
    ledger::{Ledger, matches},
    link::Cause,
    wire::{self, Opening},
};

const CONFIGURATION: &str = r##"
connectors: { memory: { kind: memory } }
routes:
  - { name: all, channel: "#", to: [{ connector: memory, topic: "{channel}" }] }
"##;
/// Within it everything has its answer: no longer than a publish may take.
const PATIENCE: u32 = 1100;
/// So much cannot come of one step.
const ROUNDS: u32 = 100_000;
/// Its place among the clients.
pub const WITNESS: usize = 3;

pub struct World {
    gateway: Arc<Gateway>,
    mqtt: Mqtt,
    switch: DrainSwitch,
    pub ledger: Ledger,
    pub clients: Vec<Client>,
    /// Bytes that a connection holds in either direction.
    buffer: usize,
    /// A member of the group may lose events that it has taken.
    pub is_group_lossy: bool,
    /// What must come to the group.
    pub shared: Vec<usize>,
}

impl World {
    /// With a witness, which sees everything.
    pub async fn new(buffer: usize) -> Self {
        let config = config::parse(CONFIGURATION, Path::new("fuzz"), &registry::kinds(), &|_| None).expect("sound");
        let metrics = Arc::new(Metrics::default());
        let (_, snapshot) = Assembly::start(config, metrics.clone()).expect("memory starts");
        let gateway = Arc::new(Gateway::new(snapshot, metrics));
        let (switch, drain) = drain();
        let mqtt = Mqtt::new(
            &Http::new(gateway.clone(), drain),
            MqttListener::default(),
            &(std::sync::Arc::new(meshgate::state::OfProcess::new(1 << 20)) as std::sync::Arc<dyn meshgate::state::State>),
        );
        let clients = ["one", "two", "three", "witness"].map(Client::new).into();
        let (ledger, shared) = Default::default();
        let mut world = Self { gateway, mqtt, switch, ledger, clients, buffer, is_group_lossy: false, shared };
        let opening = Opening {
            version: 5,
            clean: true,
            keep_alive: 0,
            expiry: 0,
            receive_maximum: 1000,
            maximum: None,
            problems: true,
            will: None,
        };
        world.connect(WITNESS, opening);
        world.settle().await;
        world.subscribe(WITNESS, "#", 2, 0);
        world.settle().await;
        world
    }

    pub fn open(&self) -> DuplexStream {
        let (near, far) = duplex(self.buffer);
        let mqtt = self.mqtt.clone();
        tokio::spawn(async move { mqtt.serve_stream(far).await });
        near
    }

    pub fn connect(&mut self, client: usize, opening: Opening) {
        let stream = self.open();
        self.clients[client].connect(opening, stream);
    }

    /// `more`: the options beside the QoS.
    pub fn subscribe(&mut self, client: usize, filter: &str, qos: u8, more: u8) {
        let Client { link: Some(link), session, .. } = &mut self.clients[client] else { return };
        let Some(packet) = (201..250).find(|packet| !link.asked.contains_key(packet)) else { return };
        link.asked.insert(packet, (filter.to_owned(), Some(qos)));
        session.ever.insert(filter.to_owned());
        if let Some(before) = session.subscriptions.get_mut(filter).filter(|before| **before != qos) {
            *before = qos.min(*before); // whether SUBACK comes or not
            session.forgiven = self.ledger.events.len();
            session.has_changed = true;
        }
        link.send(&wire::subscribe(link.opening.version, packet, filter, qos | more));
    }

    /// Lets everything happen that happens by itself, and looks that each request has its answer.
    pub async fn settle(&mut self) {
        let mut idle = 0;
        for _ in 0..ROUNDS {
            // The clock moves only when nothing else can.
            sleep(Duration::from_millis(if idle == 0 { 1 } else { 10 })).await;
            let mut has_moved = false;
            for client in &mut self.clients {
                has_moved |= client.turn(&mut self.ledger);
            }
            if has_moved {
                idle = 0;
                continue;
            }
            let Some(what) = self.clients.iter().find_map(Client::waits) else { return };
            idle += 1;
            assert!(idle < PATIENCE, "nothing comes any more: {what}");
        }
        panic!("it does not come to rest");
    }

    /// Which sessions an event that is published now is to come to.
    pub fn due(&self, topic: &str, qos: u8) -> Vec<(usize, u64)> {
        let all = self.clients.iter().enumerate();
        let due = all.filter(|(_, client)| client.is_well() || client.link.is_none() && client.is_kept());
        let due = due.filter(|(_, client)| client.session.granted(topic).min(qos) > 0);
        due.map(|(number, client)| (number, client.session.number)).collect()
    }

    /// Everyone comes back, completes what there is, and has had what it was to have.
    pub async fn finish(mut self, drains: bool) {
        self.settle().await;
        for client in &mut self.clients {
            if client.session.is_wild {
                client.leave_if(|_| true);
            }
            client.complete_all();
        }
        self.settle().await;
        for client in 0..WITNESS {
            if self.clients[client].link.is_none() && self.clients[client].is_kept() {
                self.connect(client, back());
            }
        }
        self.settle().await;
        sleep(Duration::from_secs(2)).await; // wills, and groups whose members have gone
        self.settle().await;
        let log = self.log().await;
        self.ledger.settle(&log.iter().filter_map(|payload| self.ledger.find(payload)).collect::<Vec<_>>());
        self.check_clients(&log);
        if drains {
            self.drain().await;
        }
    }

    /// What is stored, in order.
    async fn log(&self) -> Vec<bytes::Bytes> {
        let channels = ChannelFilter::parse("#").expect("a filter").into();
        let (cursors, positions, group, events) = (false, false, None, None);
        let reading = Reading { channels, from: Begin::Earliest, cursors, positions, group, events };
        let mut flow = self.gateway.open(reading).await.expect("memory can be read");
        let mut log = Vec::new();
        loop {
            tokio::select! {
                biased;
                event = poll_fn(|cx| flow.poll_event(cx, 100)) => {
                    let data = event.expect("nothing is gone").event().data.clone();
                    log.push(data.unwrap_or_default());
                }
                () = sleep(Duration::from_millis(10)) => return log,
            }
        }
    }

    fn check_clients(&self, log: &[bytes::Bytes]) {
        assert_eq!(self.clients[WITNESS].payloads, log, "the witness has seen something else than what is stored");
        let stored: Vec<usize> = log.iter().filter_map(|payload| self.ledger.find(payload)).collect();
        for (number, client) in self.clients.iter().enumerate() {
            let session = &client.session;
            for (event, published) in self.ledger.events.iter().enumerate().skip(session.forgiven) {
                let is_due = published.due.contains(&(number, session.number)) && stored.contains(&event);
                let is_sure = !session.is_wild && !session.may_miss && client.is_well();
                assert!(!is_due || !is_sure || client.got.contains(&event), "{} has missed {event}", client.name);
            }
            // Of what was published more than once nobody can tell which of them came.
            let once = client.got.iter().filter(|event| stored.iter().filter(|stored| stored == event).count() == 1);
            let places = once.map(|event| {
                let place = stored.iter().position(|stored| stored == event).expect("what comes is stored");
                (&self.ledger.events[*event].topic, place)
            });
            let places: Vec<_> = places.collect();
            for (at, (topic, place)) in places.iter().enumerate() {
                let is_late = places[..at].iter().any(|(other, before)| other == topic && before > place);
                assert!(!is_late || session.is_wild, "{} has got {topic} out of order: {places:?}", client.name);
            }
        }
        let has_member = self
            .clients
            .iter()
            .any(|client| client.is_well() && client.session.subscriptions.keys().any(|filter| filter == GROUP));
        if has_member && !self.is_group_lossy && !self.clients.iter().any(|client| client.session.is_wild) {
            for event in self.shared.iter().filter(|event| stored.contains(event)) {
                let is_there = self.clients.iter().any(|client| client.shared.contains(event));
                assert!(is_there, "the group has missed {event}");
            }
        }
    }

    /// Everyone is told to go.
    async fn drain(mut self) {
        for client in self.clients.iter_mut().filter(|client| client.is_well()) {
            if let Some(link) = &mut client.link {
                link.cause = Cause::Must(0x8B);
            }
        }
        self.switch.begin();
        self.settle().await;
        assert!(self.clients.iter().all(|client| !client.is_well()), "somebody stays after the drain");
    }
}

/// The shared subscription that there is.
pub const GROUP: &str = "$share/g/s/#";

/// A client that wants its session.
fn back() -> Opening {
    let (version, clean, keep_alive, expiry, receive_maximum) = (5, false, 0, 1000, 20);
    Opening { version, clean, keep_alive, expiry, receive_maximum, maximum: None, problems: true, will: None }
}

/// Whether the group is to get an event.
pub fn is_shared(topic: &str) -> bool {
    matches("s/#", topic)
}
