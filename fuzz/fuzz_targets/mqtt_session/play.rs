//! Bytes as what clients do. Every input means something: mostly what the standards allow.

use std::time::Duration;

use tokio::{
    io::AsyncWriteExt,
    time::{Instant, sleep},
};

use super::{
    client::Client,
    link::{Cause, SILENCE},
    session::Publishing,
    wire::{self, Opening, PUBACK, PUBCOMP, PUBREC, PUBREL, Will},
    world::{GROUP, WITNESS, World, is_shared},
};

const TOPICS: [&str; 5] = ["a/x", "a/y", "a/x/z", "s/x", "s/y"];
const FILTERS: [&str; 5] = ["a/#", "a/+", "a/x", "a/x/#", GROUP];
/// What more there is of an input means nothing.
const STEPS: usize = 200;
/// Packet identifiers that nobody uses.
const UNKNOWN: u16 = 60_000;

/// What is left of the input.
struct Tape<'a>(&'a [u8]);

impl Tape<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn bytes(&mut self, most: u8) -> Vec<u8> {
        let length = usize::from(self.byte() % most).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes.to_vec()
    }
}

/// Plays an input to its end.
pub async fn play(input: &[u8]) {
    let mut tape = Tape(input);
    let head = tape.byte();
    let buffer = [64, 300, 4 << 10, 64 << 10][usize::from(head & 3)];
    let mut world = World::new(buffer).await;
    for _ in 0..STEPS {
        if tape.0.is_empty() {
            break;
        }
        let step = tape.byte();
        world.step(step & 0x1F, usize::from(step >> 5 & 3) % WITNESS, &mut tape).await;
        if step & 0x80 == 0 {
            world.settle().await;
        }
    }
    world.finish(head & 4 != 0).await;
}

impl World {
    async fn step(&mut self, step: u8, client: usize, tape: &mut Tape<'_>) {
        match step {
            0..=2 => self.enter(client, tape).await,
            3 => self.goodbye(client, tape.byte()),
            4 => self.vanish(client).await,
            5..=7 => self.ask(client, tape.byte()),
            8 => self.give_up(client, tape.byte()),
            9..=14 => self.publish(client, tape),
            15 | 16 => self.complete(client, tape.byte()),
            17 => self.release(client, tape.byte()),
            18 => self.clients[client].is_auto ^= true,
            19 => self.clients[client].is_stalled ^= self.clients[client].is_well(),
            20 => self.ping(client),
            21 => self.wait(tape.byte()).await,
            22 => self.acknowledge_nothing(client, tape.byte()),
            23 => self.repeat(client),
            24 => self.break_rules(client, tape),
            25 => self.break_off(client, tape.byte()).await,
            26 => self.speak_first(tape).await,
            27 => self.publish(WITNESS, tape),
            _ => {}
        }
    }

    /// Whether the client has not just asked to be let in: which of two that come at once is the later one nobody knows, and whether
    /// one that goes at once was seen.
    async fn is_at_rest(&mut self, client: usize) -> bool {
        if self.clients[client].link.as_ref().is_some_and(|link| link.let_in.is_none()) {
            self.settle().await;
        }
        self.clients[client].link.as_ref().is_none_or(|link| link.let_in.is_some())
    }

    async fn enter(&mut self, client: usize, tape: &mut Tape<'_>) {
        if !self.is_at_rest(client).await {
            return;
        }
        let (first, second) = (tape.byte(), tape.byte());
        let version = if first & 1 == 0 { 5 } else { 4 };
        let clean = first & 2 != 0;
        let expiry = match (version, clean) {
            (4, true) => 0,
            (4, false) => u32::MAX,
            _ => [1000, 0, 5, u32::MAX][usize::from(first >> 2 & 3)],
        };
        let receive_maximum = if version == 5 { [100, 1, 2, 5][usize::from(first >> 4 & 3)] } else { u16::MAX };
        let maximum = (version == 5 && first & 0xC0 == 0xC0).then_some(100);
        self.is_group_lossy |= maximum.is_some();
        let will = (second & 1 != 0).then(|| {
            let (topic, qos) = (TOPICS[usize::from(second >> 1) % TOPICS.len()], second >> 4 & 1);
            let event = self.ledger.event(topic, qos, 20);
            self.ledger.events[event].most = 1;
            let payload = self.ledger.events[event].payload.clone();
            let delay = if version == 5 && second & 0x20 != 0 { 3 } else { 0 };
            Will { topic: topic.to_owned(), payload, qos, retain: second & 0x80 != 0, delay, event }
        });
        let keep_alive = if second & 0x40 == 0 { 0 } else { 10 };
        let problems = second & 8 == 0;
        self.connect(client, Opening { version, clean, keep_alive, expiry, receive_maximum, maximum, problems, will });
    }

    fn goodbye(&mut self, client: usize, how: u8) {
        if !self.clients[client].is_well() {
            return;
        }
        let Client { link: Some(link), is_stalled, .. } = &mut self.clients[client] else { return };
        let opening = &mut link.opening;
        let expiry = (opening.version == 5 && opening.expiry > 0 && how & 2 != 0).then_some(u32::from(how >> 2 & 7));
        link.leaves_will = opening.version == 5 && how & 1 != 0;
        let packet = wire::disconnect(opening.version, if link.leaves_will { 4 } else { 0 }, expiry);
        opening.expiry = expiry.unwrap_or(opening.expiry);
        link.send(&packet);
        link.cause = Cause::Goodbye;
        *is_stalled = false;
    }

    async fn vanish(&mut self, client: usize) {
        if self.is_at_rest(client).await
            && let Some(link) = self.clients[client].leave_if(|_| true)
        {
            link.settle_will(&mut self.ledger);
        }
    }

    fn ask(&mut self, client: usize, how: u8) {
        if !self.clients[client].is_well() {
            return;
        }
        let filter = FILTERS[usize::from(how & 7) % FILTERS.len()];
        let qos = (how >> 3 & 3) % 3;
        let is_5 = self.clients[client].link.as_ref().is_some_and(|link| link.opening.version == 5);
        let retain_handling = if is_5 { (how >> 5 & 3) % 3 << 4 } else { 0 };
        self.is_group_lossy |= filter == GROUP && qos == 0;
        self.subscribe(client, filter, qos, retain_handling);
    }

    fn give_up(&mut self, client: usize, how: u8) {
        let Client { link: Some(link), session, .. } = &mut self.clients[client] else { return };
        let filter = FILTERS[usize::from(how) % FILTERS.len()];
        let Some(packet) = (250..300).find(|packet| !link.asked.contains_key(packet)) else { return };
        if link.cause != Cause::None || link.let_in.is_none() {
            return;
        }
        link.asked.insert(packet, (filter.to_owned(), None));
        link.send(&wire::unsubscribe(link.opening.version, packet, filter));
        session.subscriptions.remove(filter);
        session.forgiven = self.ledger.events.len();
        session.has_changed = true;
    }

    fn publish(&mut self, client: usize, tape: &mut Tape<'_>) {
        let how = tape.byte();
        let qos = (how & 3) % 3;
        let topic = TOPICS[usize::from(how >> 2 & 7) % TOPICS.len()];
        if !self.clients[client].is_well() || self.clients[client].session.outbound.len() > 150 {
            return;
        }
        let size = if how & 0x60 == 0x60 { usize::from(tape.byte()) * 100 } else { 0 };
        let event = self.ledger.event(topic, qos, size);
        let due = self.due(topic, qos);
        if is_shared(topic)
            && qos > 0
            && self.clients.iter().any(|client| client.session.subscriptions.contains_key(GROUP))
        {
            self.shared.push(event);
        }
        let known = &mut self.ledger.events[event];
        (known.most, known.due) = (1, due);
        let Client { link: Some(link), session, .. } = &mut self.clients[client] else { return };
        let retain = how & 0x80 != 0;
        let packet = if qos == 0 { 0 } else { session.unused() };
        if qos > 0 {
            session.outbound.insert(packet, Publishing { event, retain, is_taken: false, is_released: false });
        }
        let publish = wire::Publish { topic, payload: &known.payload, qos, packet, dup: false, retain };
        link.send(&wire::publish(link.opening.version, &publish));
    }

    fn complete(&mut self, client: usize, how: u8) {
        let all = self.clients[client].completable();
        let Some(packet) = all.get(usize::from(how & 0x3F) % all.len().max(1)) else { return };
        let reason = if how & 0xC0 == 0xC0 { 0x80 } else { 0 };
        if self.clients[client].is_well() {
            if reason >= 0x80 {
                self.clients[client].refuse(*packet, &self.ledger);
            }
            self.clients[client].complete(*packet, reason);
        }
    }

    fn release(&mut self, client: usize, how: u8) {
        let packets: Vec<u16> = self.clients[client].session.outbound.keys().copied().collect();
        if let Some(packet) = packets.get(usize::from(how) % packets.len().max(1))
            && self.clients[client].is_well()
        {
            self.clients[client].release(*packet);
        }
    }

    fn ping(&mut self, client: usize) {
        if self.clients[client].is_well()
            && let Some(link) = &mut self.clients[client].link
        {
            link.pings += 1;
            link.send(wire::PINGREQ);
        }
    }

    /// Lets time pass; who is silent for too long is let go.
    async fn wait(&mut self, how: u8) {
        if self.clients.iter().filter_map(|client| client.link.as_ref()).any(|link| link.let_in.is_none()) {
            self.settle().await; // CONNECT has its own time
        }
        let time = Duration::from_millis(u64::from(how) * 100);
        for Client { link, is_stalled, .. } in &mut self.clients {
            let Some(link) = link.as_mut().filter(|link| link.opening.keep_alive > 0) else { continue };
            let silent = Instant::now() + time - link.spoke;
            if silent > SILENCE && link.cause == Cause::None {
                let is_sure = !*is_stalled && link.is_flushed() && silent > SILENCE + Duration::from_secs(2);
                link.cause = if is_sure { Cause::Must(0x8D) } else { Cause::Perhaps };
            }
        }
        sleep(time).await;
    }

    /// Acknowledgements of nothing, which change nothing.
    fn acknowledge_nothing(&mut self, client: usize, how: u8) {
        if !self.clients[client].is_well() {
            return;
        }
        let Client { link: Some(link), .. } = &mut self.clients[client] else { return };
        let first = [PUBACK, PUBREC, PUBREL, PUBCOMP][usize::from(how & 3)];
        link.send(&wire::ack(link.opening.version, first, UNKNOWN + u16::from(how), 0));
    }

    /// A publish of QoS 2 that was sent and not released is sent again: also on one connection 3.1.1 allows that.
    fn repeat(&mut self, client: usize) {
        if !self.clients[client].is_well() {
            return;
        }
        let Client { link: Some(link), session, .. } = &mut self.clients[client] else { return };
        let taken = session.outbound.iter().find(|(_, publishing)| publishing.is_taken && !publishing.is_released);
        let Some((packet, Publishing { event, retain, .. })) = taken else { return };
        let event = &self.ledger.events[*event];
        let (topic, payload, packet, retain) = (&*event.topic, &*event.payload, *packet, *retain);
        let again = wire::Publish { topic, payload, qos: 2, packet, dup: true, retain };
        link.send(&wire::publish(link.opening.version, &again));
        link.repeated.insert(packet);
    }

    /// Bytes that may be anything.
    fn break_rules(&mut self, client: usize, tape: &mut Tape<'_>) {
        let bytes = tape.bytes(40);
        if self.clients[client].link.as_ref().is_some_and(|link| link.cause == Cause::Goodbye) {
            return; // nobody reads them
        }
        self.clients[client].run_wild();
        if let Some(link) = &mut self.clients[client].link {
            link.send(&bytes);
        }
    }

    /// The connection breaks within a packet.
    async fn break_off(&mut self, client: usize, how: u8) {
        let Some(link) = self.clients[client].link.as_mut().filter(|link| link.let_in.is_some()) else { return };
        let publish =
            wire::Publish { topic: "a/x", payload: b"half", qos: 1, packet: UNKNOWN, dup: false, retain: false };
        let packet = wire::publish(link.opening.version, &publish);
        link.send(&packet[..usize::from(how) % packet.len()]);
        link.write();
        self.vanish(client).await;
    }

    /// A connection that begins with anything, and is gone again.
    async fn speak_first(&mut self, tape: &mut Tape<'_>) {
        let (bytes, mut stream) = (tape.bytes(60), self.open());
        let written = tokio::time::timeout(Duration::from_millis(50), stream.write_all(&bytes)).await;
        if matches!(written, Ok(Ok(()))) {
            sleep(Duration::from_millis(5)).await;
        }
    }
}
