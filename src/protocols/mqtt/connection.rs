//! One connection: packets in, packets out, and whether the client is still there.

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use futures::{FutureExt, future::BoxFuture};
use meshgate_api::{connector::Settlement, cursor::Cursor};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::{Instant, Sleep, sleep, sleep_until, timeout},
};

use super::{
    Mqtt,
    farewell::linger,
    handshake::{Greeting, encoder},
    inbound::Inbound,
    outbound::{Flows, Interrupted, Outbound, REST},
    pending::Pending,
    recording::Recording,
    session::Session,
    sessions::{Claim, Left},
};
use crate::{
    codec::mqtt::{Ack, AckKind, Disconnect, Encoder, Fault, Framing, Packet, Reason, Version, decode},
    shutdown::Drain,
    state::Unstored,
    telemetry::InFlight,
};

mod changes;
use changes::Change;

/// Bytes that are read at once.
const READ: usize = 64 << 10;
/// Bytes that wait to be written before nothing more is put to them.
const WRITE: usize = 64 << 10;
/// Buffers that are empty and have so many bytes are given back.
const IDLE: usize = 1 << 10;
/// Rounds of one turn; then other tasks have theirs.
const ROUNDS: usize = 64;
/// As many of them a change of what is read takes.
const CHANGE: usize = 8;
/// How long the last words may take.
const CLOSING_TIME: Duration = Duration::from_secs(5);
/// How long what the client has published and is under way is waited for: less than the session's next owner waits.
const SETTLING_TIME: Duration = Duration::from_millis(800);

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the client has ended it: {}", .0.reason.text())]
    ByClient(Disconnect),
    #[error("{0}")]
    Lost(String),
    /// By this side: what the client sent cannot be taken, or it cannot be served any longer.
    #[error("{0}")]
    Fault(Fault),
}

/// The client's side of it.
pub(super) struct Connection<S> {
    stream: S,
    mqtt: Mqtt,
    encoder: Encoder,
    framing: Framing,
    claim: Claim,
    session: Box<Session>,
    expiry: u32,
    inbound: Inbound,
    outbound: Outbound,
    in_flight: InFlight,
    /// What is read and not looked at, and what is to be written.
    input: BytesMut,
    pending: Pending,
    output: BytesMut,
    /// The flows while they change, and what is to be said then.
    changing: Option<BoxFuture<'static, (Flows, Change)>>,
    /// A packet that waits for that.
    waiting: Option<Box<Packet>>,
    recording: Recording,
    drain: Drain,
    /// Nothing more is taken: what was is answered.
    is_draining: bool,
    /// One and a half times the keep alive.
    patience: Option<Duration>,
    /// When the last whole packet came; and when one began that is not whole.
    heard: Instant,
    begun: Option<Instant>,
    /// When reading began that broke off.
    resumed: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    /// On the heap once and for all: a future that keeps it by value has it in itself several times over.
    pub(super) fn new(mqtt: Mqtt, stream: S, greeting: Greeting) -> Box<Self> {
        let Greeting { connect, mut claim, connack, rest } = greeting;
        let encoder = encoder(&connect);
        let recovers = claim.earlier.is_some();
        let mut session = claim.earlier.take().unwrap_or_default();
        let expiry = connect.lasting();
        let patience = (connect.keep_alive > 0).then(|| Duration::from_secs(connect.keep_alive.into()) * 3 / 2);
        let now = Instant::now();
        let counters = mqtt.gateway.metrics.mqtt.clone();
        let in_flight = counters.in_flight();
        let mut outbound =
            Outbound::new(encoder, claim.client_id.clone(), connect.receive_maximum, mqtt.retained.clone(), counters);
        outbound.is_recorded = claim.is_recorded();
        outbound.take_aliases(connect.topic_alias_maximum);
        outbound.resume(&mut session);
        let inbound = Inbound::new(mqtt.clone(), encoder, &claim.client_id, recovers);
        let budget = mqtt.in_flight.clone();
        Box::new(Self {
            framing: mqtt.framing(),
            drain: mqtt.drain.clone(),
            is_draining: false,
            alarm: Box::pin(sleep_until(now + patience.unwrap_or(Duration::from_secs(3600)))),
            stream,
            mqtt,
            encoder,
            claim,
            session,
            expiry,
            inbound,
            outbound,
            in_flight,
            input: rest,
            pending: Pending::new(budget),
            output: connack,
            changing: None,
            waiting: None,
            recording: Recording::new(),
            patience,
            heard: now,
            begun: None,
            resumed: now,
        })
    }

    /// Serves until one side ends it.
    pub(super) async fn serve(mut self: Box<Self>) -> End {
        self.resume(Duration::ZERO);
        let end = self.run().await;
        Box::pin(self.close(&end)).await;
        end
    }

    /// Opens what an earlier connection of the session has left to be read, after a `rest`.
    fn resume(&mut self, rest: Duration) {
        if self.session.subscriptions.is_empty() {
            return;
        }
        let (gateway, subscriptions) = (self.mqtt.gateway.clone(), self.session.subscriptions.clone());
        let after = self.session.after.clone();
        self.resumed = Instant::now() + rest;
        let resuming = async move {
            if !rest.is_zero() {
                sleep(rest).await;
            }
            (Flows::resume(gateway, subscriptions, after).await, Change::Resumed)
        };
        self.changing = Some(resuming.boxed());
    }

    async fn run(&mut self) -> End {
        poll_fn(|cx| self.poll_end(cx)).await
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.claim.poll_wanted(cx).is_ready() {
            return Poll::Ready(End::Fault(Fault::new(
                Reason::SessionTakenOver,
                "another client of this name has connected",
            )));
        }
        self.is_draining |= self.drain.poll_begun(cx).is_ready();
        let moved = self.move_packets(cx);
        self.in_flight.set(self.inbound.unanswered(), self.session.window.unconfirmed());
        if let Err(end) = moved {
            return Poll::Ready(end);
        }
        while let Poll::Ready(stored) = self.poll_recording(cx) {
            match stored {
                Ok(answer) => self.output.extend_from_slice(&answer),
                Err(problem) => {
                    let detail = format!("the session cannot be stored: {problem}");
                    return Poll::Ready(Fault::new(Reason::ServerBusy, detail).into());
                }
            }
        }
        if self.is_draining && self.inbound.is_idle() {
            let detail = "the gateway is draining: connect again";
            return Poll::Ready(Fault::new(Reason::ServerShuttingDown, detail).into());
        }
        self.poll_silence(cx)
    }

    /// Moves packets both ways as long as there are any.
    fn move_packets(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let mut rounds = 0;
        while rounds < ROUNDS {
            let before = self.output.len();
            self.inbound.answer(cx, &mut self.output, &mut self.session)?;
            let was_changing = self.changing.is_some();
            self.finish_change(cx);
            rounds += if was_changing { CHANGE } else { 1 };
            let has_taken = self.take_packets(cx)?;
            let has_delivered = self.deliver(cx);
            let has_read = !has_taken && self.read(cx)?;
            let is_written = self.write(cx)?;
            let has_moved = has_taken || has_delivered || has_read || before != self.output.len() && is_written;
            if !has_moved {
                return Ok(());
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Takes the packets that were read. Whether there were any.
    fn take_packets(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut has_taken = false;
        while !self.is_draining && self.inbound.has_room() && self.output.len() < WRITE {
            let packet = match self.waiting.take() {
                Some(packet) => *packet,
                None => match self.framing.next(&mut self.input)? {
                    Some(frame) => decode(self.encoder.version, frame)?,
                    None => break,
                },
            };
            let is_change = matches!(packet, Packet::Subscribe(_) | Packet::Unsubscribe(_));
            if is_change && (self.changing.is_some() || self.recording.owes_an_answer()) {
                self.waiting = Some(packet.into());
                break;
            }
            has_taken = true;
            self.take(cx, packet)?;
        }
        self.pending.account(self.input.len())?;
        if has_taken {
            self.heard = Instant::now();
            self.begun = None;
        }
        if self.input.is_empty() {
            self.begun = None;
            give_back(&mut self.input);
        } else if !self.is_reading() {
            self.begun = None; // what is there may be whole
        } else if self.begun.is_none() {
            self.begun = Some(Instant::now());
        }
        Ok(has_taken)
    }

    fn take(&mut self, cx: &mut Context<'_>, packet: Packet) -> Result<(), End> {
        match packet {
            Packet::Publish(publish) => self.inbound.take(cx, publish, &self.session)?,
            Packet::Ack(ack) => {
                self.recording.note();
                self.take_ack(&ack);
            }
            Packet::Subscribe(subscribe) => self.subscribe(subscribe),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(&unsubscribe),
            Packet::PingReq => self.encoder.ping_resp(&mut self.output),
            Packet::Disconnect(disconnect) => {
                if self.expiry == 0 && disconnect.session_expiry.is_some_and(|expiry| expiry > 0) {
                    return Err(
                        Fault::protocol("a session that ends with its connection cannot be given more time").into()
                    );
                }
                return Err(End::ByClient(disconnect));
            }
            Packet::Auth(_) => return Err(Fault::protocol("AUTH without an authentication method in CONNECT").into()),
        }
        Ok(())
    }

    fn take_ack(&mut self, ack: &Ack) {
        let window = &mut self.session.window;
        match ack.kind {
            AckKind::PubAck | AckKind::PubComp => {
                window.confirm(ack.packet, &settlement(ack.reason));
            }
            AckKind::PubRec if ack.reason.is_failure() => {
                window.confirm(ack.packet, &settlement(ack.reason));
            }
            AckKind::PubRec => {
                let is_known = window.release(ack.packet);
                let reason = match self.encoder.version {
                    Version::V5 if !is_known => Reason::PacketIdentifierNotFound,
                    _ => Reason::Success,
                };
                self.encoder.ack(&mut self.output, &Ack { kind: AckKind::PubRel, packet: ack.packet, reason }, "");
            }
            AckKind::PubRel => self.inbound.release(ack.packet, &mut self.output, &mut self.session),
        }
    }

    /// Writes what the client is to get, as long as it takes it. Whether there was anything.
    fn deliver(&mut self, cx: &mut Context<'_>) -> bool {
        let mut has_delivered = false;
        while self.output.len() < WRITE {
            match self.outbound.write_next(cx, &mut self.output, &mut self.session) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) => {
                    self.recording.note();
                    has_delivered = true;
                }
                Poll::Ready(Err(interrupted)) => {
                    self.read_again(&interrupted);
                    return true;
                }
            }
        }
        has_delivered
    }

    /// A broker has ended the reading: it goes on where it stood, or where it can.
    fn read_again(&mut self, Interrupted { detail, cursor }: &Interrupted) {
        tracing::debug!(client = %self.claim.client_id, "reading begins anew: {detail}");
        let text = self.session.own_filters().text().into_owned();
        let resumed = cursor.as_ref().and_then(|cursor| Cursor::decode(cursor, &text).ok());
        self.session.after = resumed.or_else(|| self.outbound.flows.positions());
        self.outbound.flows = Flows::default();
        let has_failed_at_once = self.resumed.elapsed() < REST;
        self.resume(if has_failed_at_once { REST } else { Duration::ZERO });
    }

    /// Whether more is taken of the client now.
    fn is_reading(&self) -> bool {
        !self.is_draining && self.inbound.has_room() && self.waiting.is_none() && self.output.len() < WRITE
    }

    /// Reads from the socket. Whether there was anything.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        thread_local! {
            static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
        }
        if !self.is_reading() {
            return Ok(false);
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut read) {
                Poll::Pending => Ok(false),
                Poll::Ready(Err(problem)) => Err(problem.into()),
                Poll::Ready(Ok(())) if read.filled().is_empty() => Err(End::Lost("the client has closed it".into())),
                Poll::Ready(Ok(())) => {
                    self.input.extend_from_slice(read.filled());
                    self.pending.account(self.input.len())?;
                    Ok(true)
                }
            }
        })
    }

    /// Writes to the socket what it takes. Whether that is all.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        while !self.output.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.output) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Err(problem)) => return Err(problem.into()),
                Poll::Ready(Ok(written)) => self.output.advance(written),
            }
        }
        give_back(&mut self.output);
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(Err(problem)) => Err(problem.into()),
            Poll::Ready(Ok(())) => Ok(true),
            Poll::Pending => Ok(false),
        }
    }

    /// Ready when the client has been silent for too long [MQTT-3.1.2-22], or an answer has been held for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let now = Instant::now();
            // What waits for others to answer is not the client's silence: that has a time of its own.
            let silent = self.patience.filter(|_| self.inbound.has_room()).map(|patience| self.heard + patience);
            let whole = self.begun.map(|begun| begun + self.mqtt.gateway.now().limits.body_timeout);
            let held = self.inbound.deadline();
            if held.is_some_and(|deadline| deadline <= now) {
                let detail = format!("the event's destination did not confirm it: {}", self.inbound.why_held());
                return Poll::Ready(Fault::new(Reason::ServerBusy, detail).into());
            }
            if silent.is_some_and(|deadline| deadline <= now) {
                return Poll::Ready(Fault::new(Reason::KeepAliveTimeout, "nothing was heard of the client").into());
            }
            if whole.is_some_and(|deadline| deadline <= now) {
                let detail = "a packet did not come whole within limits.body_timeout";
                return Poll::Ready(Fault::new(Reason::ImplementationSpecific, detail).into());
            }
            let recording = self.recording.deadline(&self.claim);
            if recording.is_some_and(|deadline| deadline <= now) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let Some(next) = silent.into_iter().chain(held).chain(whole).chain(recording).min() else {
                return Poll::Pending;
            };
            // One that comes too early is set anew then, instead of at every packet.
            if next < self.alarm.deadline() || self.alarm.is_elapsed() {
                self.alarm.as_mut().reset(next);
            }
            if self.alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Leaves the session as its client wants it, then says why. In this order: who takes the session up waits a second for it, and a
    /// client that reads nothing any more may hold up the last words for longer.
    async fn close(mut self: Box<Self>, end: &End) {
        if let End::Fault(fault) = end {
            tracing::debug!(client = %self.claim.client_id, "an MQTT connection is ended: {fault}");
            self.encoder.disconnect(&mut self.output, fault.reason, &fault.detail);
        }
        let mut left = Left { expiry: self.expiry, has_will: true, is_draining: self.is_draining };
        if let End::ByClient(Disconnect { reason, session_expiry }) = end {
            left.has_will = *reason != Reason::Success; // [MQTT-3.14.4-3]
            left.expiry = session_expiry.unwrap_or(self.expiry);
        }
        if left.expiry > 0 {
            drop(timeout(SETTLING_TIME, self.inbound.settle(&mut self.session)).await); // the rest is unknown
        }
        drop(self.changing.take());
        let after = self.after();
        let Self { mut stream, output, claim, session, outbound, .. } = *self;
        drop(outbound); // a group's other members have what was its
        claim.park(&session, after.as_ref(), left).await;
        let last = async {
            stream.write_all(&output).await?;
            stream.shutdown().await
        };
        if !matches!(end, End::Lost(_)) && !matches!(timeout(CLOSING_TIME, last).await, Ok(Ok(()))) {
            tracing::debug!("an MQTT client has not heard why its connection ended");
        }
        if matches!(end, End::Fault(_)) {
            linger(&mut stream).await;
        }
    }

    /// Where reading goes on for who has this session next.
    fn after(&mut self) -> Option<Cursor> {
        let mut after = self.outbound.flows.positions().or_else(|| self.session.after.clone());
        if let Some(after) = &mut after {
            self.session.window.hold_back(after);
        }
        after
    }

    /// Writes where the session stands, if it is time. Ready with what is to be said once that is stored.
    fn poll_recording(&mut self, cx: &mut Context<'_>) -> Poll<Result<BytesMut, Unstored>> {
        let Self { recording, claim, session, outbound, .. } = self;
        let earlier = session.after.clone();
        recording.poll(cx, claim, session, || outbound.flows.positions().or(earlier))
    }
}

/// Its capacity alone does not tell: what was taken off its front is still there.
fn give_back(buffer: &mut BytesMut) {
    if buffer.is_empty() && buffer.try_reclaim(IDLE) {
        *buffer = BytesMut::new();
    }
}

/// Of a member of a group: what it refuses is set aside.
fn settlement(reason: Reason) -> Settlement {
    if reason.is_failure() { Settlement::Reject { reason: reason.text().to_owned() } } else { Settlement::Ack }
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

#[cfg(test)]
mod tests;
