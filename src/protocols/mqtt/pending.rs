//! What a client has sent of a packet that is not whole yet: small ones are free, of larger ones every byte that has come counts towards
//! `limits.in_flight`, so that many clients who begin large packets cannot fill the memory.

use std::sync::Arc;

use crate::{
    codec::mqtt::{Fault, Reason},
    protocols::http::body::{Budget, Share},
};

/// Bytes that need no share.
const FREE: usize = 16 << 10;

/// The share of one connection.
pub(super) struct Pending {
    budget: Arc<Budget>,
    share: Option<(usize, Share)>,
}

impl Pending {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self { budget, share: None }
    }

    /// So many bytes are there now. A fault: there is no room for them.
    pub(super) fn account(&mut self, bytes: usize) -> Result<(), Fault> {
        if bytes <= FREE {
            self.share = None;
            return Ok(());
        }
        if self.share.as_ref().is_some_and(|(taken, _)| bytes <= *taken) {
            return Ok(());
        }
        self.share = None;
        let taken = bytes.next_power_of_two();
        let full = || Fault::new(Reason::QuotaExceeded, "as much as `limits.in_flight` allows is on its way already");
        self.share = Some((taken, Share::of(&self.budget, taken).ok_or_else(full)?));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_large_needs_room_and_gives_it_back() {
        let budget = Budget::of(64 << 10);
        let (mut one, mut other) = (Pending::new(budget.clone()), Pending::new(budget));
        one.account(FREE).expect("free");
        one.account(FREE + 1).expect("there is room");
        one.account(32 << 10).expect("it has that already");
        assert!(other.account(40 << 10).is_err(), "not for both");
        one.account(0).expect("free");
        other.account(40 << 10).expect("there is room again");
    }
}
