//! Writing where a session stands: at once when its subscriptions change, which are answered when they are stored; else from time to time,
//! where another replica may have to go on with it.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use futures::{FutureExt, future::BoxFuture};
use meshgate_api::cursor::Cursor;
use tokio::time::Instant;

use super::{session::Session, sessions::Claim};
use crate::state::Unstored;

/// Between two records, unless something is to be written at once.
const PACE: Duration = Duration::from_secs(1);

pub(super) struct Recording {
    under: Option<Under>,
    begun: Option<Instant>,
    /// Something has moved since then.
    is_changed: bool,
    /// To be sent to the client once it is stored what it says.
    answer: Option<BytesMut>,
}

/// A record that is being stored.
struct Under {
    stored: BoxFuture<'static, Result<(), Unstored>>,
    /// Packet identifiers that it tells of.
    given: u16,
    answer: Option<BytesMut>,
}

impl Recording {
    pub(super) fn new() -> Self {
        Self { under: None, begun: None, is_changed: false, answer: None }
    }

    /// Something has been delivered or confirmed.
    pub(super) fn note(&mut self) {
        self.is_changed = true;
    }

    /// Sends this once what the session is now is stored.
    pub(super) fn answer_later(&mut self, answer: BytesMut) {
        self.answer = Some(answer);
    }

    /// An answer waits: it is to be given before anything else changes.
    pub(super) fn owes_an_answer(&self) -> bool {
        self.answer.is_some() || self.under.as_ref().is_some_and(|under| under.answer.is_some())
    }

    /// When something is to be written, if nothing else happens.
    pub(super) fn deadline(&self, claim: &Claim) -> Option<Instant> {
        let is_due = self.is_changed && self.under.is_none() && claim.is_recorded();
        is_due.then(|| self.begun.map_or_else(Instant::now, |begun| begun + PACE))
    }

    /// Begins to write, if it is time, and takes in what was written. Ready with an answer that is due, or with why there is none.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        claim: &Claim,
        session: &mut Session,
        after: impl FnOnce() -> Option<Cursor>,
    ) -> Poll<Result<BytesMut, Unstored>> {
        if let Some(under) = &mut self.under {
            let Poll::Ready(stored) = under.stored.poll_unpin(cx) else { return Poll::Pending };
            let Under { given, answer, .. } = self.under.take().unwrap_or_else(|| unreachable!("it was there"));
            if let Err(problem) = stored {
                session.window.is_unrecorded(given);
                self.is_changed = true;
                if answer.is_some() {
                    return Poll::Ready(Err(problem));
                }
                claim.tell_unstored(&problem);
            } else if let Some(answer) = answer {
                cx.waker().wake_by_ref();
                return Poll::Ready(Ok(answer));
            }
        }
        let is_wanted = claim.is_overwritten() || claim.is_recorded() && session.window.wants_record();
        let is_due = self.deadline(claim).is_some_and(|deadline| deadline <= Instant::now());
        if self.answer.is_none() && !is_wanted && !is_due {
            return Poll::Pending;
        }
        let mut after = after();
        if let Some(after) = &mut after {
            session.window.hold_back(after);
        }
        let stored = claim.save(session, after.as_ref());
        let given = session.window.is_recorded();
        self.under = Some(Under { stored, given, answer: self.answer.take() });
        (self.begun, self.is_changed) = (Some(Instant::now()), false);
        cx.waker().wake_by_ref(); // what is being stored is asked
        Poll::Pending
    }
}
