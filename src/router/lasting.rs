//! Names that stay as long as the process.
//!
//! Every event has its topic's name with it, in several places. To copy a text that may be let go counts references to it, in a line of
//! memory in which all threads meet; a lasting one is just copied. Only what a configuration says itself lasts, so that there is a bound
//! to it, and what is said again, by a reload mostly, takes nothing more.

use std::collections::BTreeSet;

use meshgate_api::Str;
use parking_lot::Mutex;

static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// The name, as one that lasts.
pub(super) fn lasting(name: &str) -> Str {
    let mut names = NAMES.lock();
    let known = names.get(name).copied();
    Str::from_static(known.unwrap_or_else(|| {
        let new = String::leak(name.to_owned());
        names.insert(new);
        new
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_lasts_once() {
        let (first, second) = (lasting("a/lasting/name"), lasting("a/lasting/name"));
        assert_eq!((&*first, first.as_ptr()), ("a/lasting/name", second.as_ptr()));
        assert_ne!(lasting("another"), first);
    }
}
