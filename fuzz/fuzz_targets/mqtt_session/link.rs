//! One connection of a client: bytes both ways, and why it may end.

use bytes::{Buf, BytesMut};
use futures::FutureExt;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::Instant,
};

use super::{
    heard::{self, Heard},
    ledger::Ledger,
    wire::Opening,
};

/// Whoever has promised to speak every ten seconds and says nothing for so long may be let go.
pub const SILENCE: Duration = Duration::from_secs(14);

/// Why the gateway may end a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// There is none.
    None,
    /// The client has sent something that may be wrong.
    Perhaps,
    /// The client has said goodbye.
    Goodbye,
    /// The client has said goodbye, and another of its name has come: whichever the gateway sees first.
    GoodbyeOrTakeover,
    /// It must, and say this.
    Must(u8),
}

pub struct Link {
    pub opening: Opening,
    stream: DuplexStream,
    unsent: BytesMut,
    unread: BytesMut,
    /// CONNACK has come: whether the session was there.
    pub let_in: Option<bool>,
    pub cause: Cause,
    /// It has said goodbye, and wants its will published.
    pub leaves_will: bool,
    goodbye: Option<u8>,
    pub is_over: bool,
    /// When it last sent something.
    pub spoke: Instant,
    pub pings: usize,
    /// SUBSCRIBE and UNSUBSCRIBE without an answer: filter and QoS.
    pub asked: BTreeMap<u16, (String, Option<u8>)>,
    /// Packet identifiers of what has come on this connection and is not complete.
    pub quota: BTreeSet<u16>,
    /// Publishes of QoS 2 that were sent again on it: they may be answered twice.
    pub repeated: BTreeSet<u16>,
    /// What its session had to come again, and has not.
    pub again: BTreeSet<u16>,
}

impl Link {
    pub fn new(opening: Opening, stream: DuplexStream) -> Self {
        let (unsent, unread) = Default::default();
        let (asked, quota, repeated, again) = Default::default();
        let (let_in, goodbye, cause, is_over) = (None, None, Cause::None, false);
        let (spoke, pings, leaves_will) = (Instant::now(), 0, false);
        Self {
            opening,
            stream,
            unsent,
            unread,
            let_in,
            cause,
            leaves_will,
            goodbye,
            is_over,
            spoke,
            pings,
            asked,
            quota,
            repeated,
            again,
        }
    }

    pub fn send(&mut self, packet: &[u8]) {
        self.unsent.extend_from_slice(packet);
    }

    /// Sends what there is room for. Whether anything.
    pub fn write(&mut self) -> bool {
        let mut has_written = false;
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent).now_or_never() {
                Some(Ok(written)) if written > 0 => {
                    self.unsent.advance(written);
                    self.spoke = Instant::now();
                    has_written = true;
                }
                Some(_) => {
                    self.unsent.clear(); // the gateway has closed it, which reading will tell
                    break;
                }
                None => break,
            }
        }
        has_written
    }

    /// All that was sent has left.
    pub fn is_flushed(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Reads what there is. Whether anything.
    pub fn read(&mut self) -> bool {
        let mut has_read = false;
        let is_silent = self.opening.keep_alive > 0 && self.spoke.elapsed() > SILENCE;
        if is_silent && self.cause == Cause::None {
            self.cause = Cause::Perhaps;
        }
        while !self.is_over {
            match self.stream.read_buf(&mut self.unread).now_or_never() {
                None => break,
                Some(Ok(length)) if length > 0 => has_read = true,
                Some(_) => {
                    self.is_over = true;
                    has_read = true;
                }
            }
        }
        has_read
    }

    /// The next packet of those that were read.
    pub fn next(&mut self) -> Option<Heard> {
        let maximum = self.opening.maximum.map_or(usize::MAX, |bytes| bytes as usize);
        let heard = heard::next(self.opening.version, maximum, &mut self.unread)?;
        assert_eq!(self.goodbye, None, "{heard:?} after DISCONNECT");
        match &heard {
            Heard::ConnAck { code, present } => {
                assert_eq!(self.let_in, None, "a second CONNACK");
                if *code == 0 {
                    self.let_in = Some(*present);
                } else {
                    assert_ne!(self.cause, Cause::None, "{heard:?} without a cause");
                    self.goodbye = Some(*code);
                }
            }
            other => assert!(self.let_in.is_some(), "{other:?} before CONNACK"),
        }
        if let Heard::Disconnect { reason } = heard {
            assert_ne!(self.cause, Cause::None, "DISCONNECT {reason:#04x} without a cause");
            self.goodbye = Some(reason);
        }
        Some(heard)
    }

    /// The client is gone, or the gateway has ended it: what that means for its will.
    pub fn settle_will(&self, ledger: &mut Ledger) {
        let Some(will) = &self.opening.will else { return };
        let event = &mut ledger.events[will.event];
        match self.cause {
            Cause::Goodbye if !self.is_flushed() => {}
            Cause::Goodbye if !self.leaves_will => event.most = 0,
            Cause::Perhaps | Cause::GoodbyeOrTakeover => {}
            _ => event.is_confirmed |= self.let_in.is_some() && will.delay == 0,
        }
    }

    /// The gateway has ended it: in the way that it may.
    pub fn check_end(&self, ledger: &mut Ledger) {
        self.settle_will(ledger);
        assert!(self.unread.is_empty(), "the connection ends within a packet: {:?}", self.unread);
        let said = self.goodbye;
        let is_told = self.opening.version == 5 && self.let_in.is_some();
        match self.cause {
            Cause::None => panic!("the connection ends without a cause"),
            Cause::Perhaps => assert!(said.is_some_and(|reason| reason >= 0x80) || !is_told, "it ends without a word"),
            Cause::Goodbye => assert_eq!(said, None, "a word after the client's DISCONNECT"),
            Cause::GoodbyeOrTakeover => assert!(said.is_none_or(|reason| reason == 0x8E), "DISCONNECT {said:x?}"),
            Cause::Must(reason) => assert_eq!(said, is_told.then_some(reason), "of a connection that must end"),
        }
    }
}
