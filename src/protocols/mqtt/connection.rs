//! One connection: packets in, packets out, and whether the client is still there.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    num::NonZeroU16,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use futures::{FutureExt, future::BoxFuture};
use meshgate_api::{connector::Settlement, cursor::Cursor};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    Mqtt,
    handshake::encoder,
    inbound::Inbound,
    outbound::{Flows, Interrupted, Outbound, refusal},
    pending::Pending,
    session::{Session, Subscription, sends_retained},
    sessions::Claim,
};
use crate::{
    codec::mqtt::{
        Ack, AckKind, Connect, Disconnect, Encoder, Fault, Framing, Packet, Qos, Reason, Subscribe, Unsubscribe,
        Version, decode,
    },
    deliver::OpenError,
    shutdown::Drain,
};

/// Bytes that are read at once.
const READ: usize = 64 << 10;
/// Bytes that wait to be written before nothing more is put to them.
const WRITE: usize = 64 << 10;
/// Buffers that are empty and larger are given back.
const IDLE: usize = 4 << 10;
/// Rounds of one turn; then other tasks have theirs.
const ROUNDS: usize = 64;
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
    /// What is read and not looked at, and what is to be written.
    input: BytesMut,
    pending: Pending,
    output: BytesMut,
    /// The flows while they change, and what is to be said then.
    changing: Option<BoxFuture<'static, (Flows, Change)>>,
    /// A packet that waits for that.
    waiting: Option<Packet>,
    drain: Drain,
    /// Nothing more is taken: what was is answered.
    is_draining: bool,
    /// One and a half times the keep alive.
    patience: Option<Duration>,
    heard: Instant,
    alarm: Pin<Box<Sleep>>,
}

/// What has become of a change of what is read.
enum Change {
    Resumed,
    Subscribed(Subscribe, Vec<Result<Subscription, (Reason, String)>>),
    Unsubscribed(NonZeroU16, Vec<Reason>),
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    /// Serves until one side ends it.
    pub(super) async fn begin(
        mqtt: Mqtt,
        stream: S,
        connect: Connect,
        mut claim: Claim,
        rest: BytesMut,
    ) -> io::Result<End> {
        let encoder = encoder(&connect);
        let recovers = claim.earlier.is_some();
        let mut session = claim.earlier.take().unwrap_or_default();
        session.will = connect.will;
        let expiry = match connect.version {
            Version::V5 => connect.session_expiry.unwrap_or(0),
            Version::V3 if connect.clean_start => 0,
            Version::V3 => u32::MAX,
        };
        let patience = (connect.keep_alive > 0).then(|| Duration::from_secs(connect.keep_alive.into()) * 3 / 2);
        let now = Instant::now();
        let mut outbound = Outbound::new(encoder, claim.client_id.clone(), connect.receive_maximum);
        outbound.resume(&mut session);
        let inbound = Inbound::new(mqtt.clone(), encoder, &claim.client_id, recovers);
        let budget = mqtt.in_flight.clone();
        let mut connection = Self {
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
            input: rest,
            pending: Pending::new(budget),
            output: BytesMut::new(),
            changing: None,
            waiting: None,
            patience,
            heard: now,
        };
        connection.resume();
        let end = connection.run().await;
        connection.close(&end).await;
        Ok(end)
    }

    /// Opens what an earlier connection of the session has left to be read.
    fn resume(&mut self) {
        if self.session.subscriptions.is_empty() {
            return;
        }
        let (gateway, subscriptions) = (self.mqtt.gateway.clone(), self.session.subscriptions.clone());
        let after = self.session.after.clone();
        let resuming = async move { (Flows::resume(gateway, subscriptions, after).await, Change::Resumed) };
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
        if let Err(end) = self.move_packets(cx) {
            return Poll::Ready(end);
        }
        if self.is_draining && self.inbound.is_idle() {
            let detail = "the gateway is draining: connect again";
            return Poll::Ready(Fault::new(Reason::ServerShuttingDown, detail).into());
        }
        self.poll_silence(cx)
    }

    /// Moves packets both ways as long as there are any.
    fn move_packets(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        for _ in 0..ROUNDS {
            let before = self.output.len();
            self.inbound.answer(cx, &mut self.output, &mut self.session)?;
            self.finish_change(cx);
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
                Some(packet) => packet,
                None => match self.framing.next(&mut self.input)? {
                    Some(frame) => decode(self.encoder.version, frame)?,
                    None => break,
                },
            };
            let is_change = matches!(packet, Packet::Subscribe(_) | Packet::Unsubscribe(_));
            if is_change && self.changing.is_some() {
                self.waiting = Some(packet);
                break;
            }
            has_taken = true;
            self.take(cx, packet)?;
        }
        self.pending.account(self.input.len())?;
        if self.input.is_empty() && self.input.capacity() > IDLE {
            self.input = BytesMut::new();
        }
        Ok(has_taken)
    }

    fn take(&mut self, cx: &mut Context<'_>, packet: Packet) -> Result<(), End> {
        match packet {
            Packet::Publish(publish) => self.inbound.take(cx, publish, &self.session)?,
            Packet::Ack(ack) => self.take_ack(&ack),
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

    fn subscribe(&mut self, subscribe: Subscribe) {
        let mut flows = self.take_flows();
        let (gateway, mut present) = (self.mqtt.gateway.clone(), self.session.subscriptions.clone());
        let changing = async move {
            let mut results = Vec::with_capacity(subscribe.filters.len());
            for asked in &subscribe.filters {
                let result = match Subscription::new(asked, subscribe.identifier) {
                    Err(problem) => Err((Reason::TopicFilterInvalid, problem.to_string())),
                    Ok(new) => {
                        let opened = flows.subscribe(&gateway, &present, &new).await;
                        opened.map(|()| new).map_err(|problem: OpenError| (refusal(&problem), problem.to_string()))
                    }
                };
                present.extend(result.as_ref().ok().cloned());
                results.push(result);
            }
            (flows, Change::Subscribed(subscribe, results))
        };
        self.changing = Some(changing.boxed());
    }

    fn unsubscribe(&mut self, unsubscribe: &Unsubscribe) {
        let subscriptions = &mut self.session.subscriptions;
        let reasons = unsubscribe.filters.iter().map(|filter| {
            let before = subscriptions.len();
            subscriptions.retain(|subscription| subscription.text != *filter);
            if subscriptions.len() < before { Reason::Success } else { Reason::NoSubscriptionExisted }
        });
        let change = Change::Unsubscribed(unsubscribe.packet, reasons.collect());
        let left = subscriptions.clone();
        let mut flows = self.take_flows();
        let changing = async move {
            flows.keep(&left).await;
            (flows, change)
        };
        self.changing = Some(changing.boxed());
    }

    /// Takes them away to change them; where they stood is known meanwhile.
    fn take_flows(&mut self) -> Flows {
        let positions = self.outbound.flows.positions();
        self.session.after = positions.or(self.session.after.take());
        std::mem::take(&mut self.outbound.flows)
    }

    /// Takes the flows back once they have changed, and says so.
    fn finish_change(&mut self, cx: &mut Context<'_>) {
        let Some(Poll::Ready((flows, change))) = self.changing.as_mut().map(|changing| changing.poll_unpin(cx)) else {
            return;
        };
        self.changing = None;
        self.outbound.flows = flows;
        match change {
            Change::Resumed => {}
            Change::Unsubscribed(packet, reasons) => self.encoder.unsub_ack(&mut self.output, packet, &reasons),
            Change::Subscribed(subscribe, results) => {
                let (mut reasons, mut details) = (Vec::new(), Vec::new());
                for (asked, result) in subscribe.filters.iter().zip(results) {
                    match result {
                        Err((reason, detail)) => {
                            reasons.push(reason);
                            details.push(format!("{}: {detail}", asked.filter));
                        }
                        Ok(subscription) => {
                            reasons.push(granted(subscription.qos));
                            let was_there = self.session.put(subscription.clone());
                            if subscription.group.is_none() && sends_retained(asked, was_there) {
                                let retained = self.mqtt.retained.matching(&subscription.filter);
                                self.outbound.put_retained(retained, &subscription);
                            }
                        }
                    }
                }
                self.encoder.sub_ack(&mut self.output, subscribe.packet, &reasons, &details.join("; "));
            }
        }
    }

    /// Writes what the client is to get, as long as it takes it. Whether there was anything.
    fn deliver(&mut self, cx: &mut Context<'_>) -> bool {
        let mut has_delivered = false;
        while self.output.len() < WRITE {
            match self.outbound.write_next(cx, &mut self.output, &mut self.session) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) => has_delivered = true,
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
        self.resume();
    }

    /// Reads from the socket. Whether there was anything.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        thread_local! {
            static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
        }
        if self.is_draining || !self.inbound.has_room() || self.waiting.is_some() || self.output.len() >= WRITE {
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
                    self.heard = Instant::now();
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
        if self.output.capacity() > IDLE {
            self.output = BytesMut::new();
        }
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
            let silent = self.patience.map(|patience| self.heard + patience);
            let held = self.inbound.deadline();
            if held.is_some_and(|deadline| deadline <= now) {
                let detail = format!("the event's destination did not confirm it: {}", self.inbound.why_held());
                return Poll::Ready(Fault::new(Reason::ServerBusy, detail).into());
            }
            if silent.is_some_and(|deadline| deadline <= now) {
                return Poll::Ready(Fault::new(Reason::KeepAliveTimeout, "nothing was heard of the client").into());
            }
            let Some(next) = silent.into_iter().chain(held).min() else { return Poll::Pending };
            if self.alarm.deadline() != next {
                self.alarm.as_mut().reset(next);
            }
            if self.alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Says why, and leaves the session as its client wants it.
    async fn close(mut self, end: &End) {
        if let End::Fault(fault) = end {
            tracing::debug!(client = %self.claim.client_id, "an MQTT connection is ended: {fault}");
            self.encoder.disconnect(&mut self.output, fault.reason, &fault.detail);
        }
        let last = async {
            self.stream.write_all(&self.output).await?;
            self.stream.shutdown().await
        };
        if !matches!(end, End::Lost(_)) && !matches!(tokio::time::timeout(CLOSING_TIME, last).await, Ok(Ok(()))) {
            tracing::debug!("an MQTT client has not heard why its connection ended");
        }
        if let Some(changing) = self.changing.take() {
            drop(changing);
        }
        let after = self.outbound.flows.positions();
        self.session.after = after.or(self.session.after.take());
        if let Some(after) = &mut self.session.after {
            self.session.window.hold_back(after);
        }
        let mut expiry = self.expiry;
        if let End::ByClient(Disconnect { reason, session_expiry }) = end {
            if *reason == Reason::Success {
                self.session.will = None; // [MQTT-3.14.4-3]
            }
            expiry = session_expiry.unwrap_or(expiry);
        }
        if expiry > 0 {
            drop(tokio::time::timeout(SETTLING_TIME, self.inbound.settle(&mut self.session)).await); // the rest is unknown
        }
        self.claim.park(self.session, expiry);
    }
}

fn granted(qos: Qos) -> Reason {
    match qos {
        Qos::AtMostOnce => Reason::Success,
        Qos::AtLeastOnce => Reason::GrantedQos1,
        Qos::ExactlyOnce => Reason::GrantedQos2,
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
