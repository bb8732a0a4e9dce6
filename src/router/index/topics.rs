//! Destinations that are read, by what the names of their topics have in common.

use std::hash::BuildHasher;

use foldhash::{HashMap, fast::RandomState};

use super::{Candidates, Numbers, cut::Cut};
use crate::router::route::Destination;

#[derive(Debug, Default)]
pub(super) struct Topics {
    /// For each cut, the routes by the fingerprint of connector and piece.
    by_cut: HashMap<Cut, HashMap<u64, Numbers>>,
    fingerprint: RandomState,
}

impl Topics {
    pub(super) fn add(&mut self, number: usize, read: &Destination) {
        let (cut, piece) = read.topic.mark();
        let print = self.fingerprint.hash_one((read.connector, piece.as_bytes()));
        self.by_cut.entry(cut).or_default().entry(print).or_default().push(number);
    }

    /// Adds the routes that may be read at this topic.
    pub(super) fn find<'a>(&'a self, connector: usize, topic: &str, candidates: &mut Candidates<'a>) {
        for (cut, routes) in &self.by_cut {
            let Some(piece) = cut.of(topic) else { continue };
            if let Some(routes) = routes.get(&self.fingerprint.hash_one((connector, piece))) {
                candidates.add(routes);
            }
        }
    }
}
