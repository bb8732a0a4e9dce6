//! Names that stay as long as the process.
//!
//! Every event has its topic's name with it, in several places. To copy a text that may be let go counts references to it, in a line of
//! memory in which all threads meet; a lasting one is just copied. What a configuration says itself lasts; of the names that templates
//! make, those that are used again, up to [`ROOM`]. So there is a bound to it, and what is said again, by a reload mostly, takes nothing
//! more.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    hash::BuildHasher,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use foldhash::fast::FixedState;
use meshgate_api::Str;
use parking_lot::Mutex;

/// Bytes of names that templates have made.
const ROOM: usize = 256 << 10;
/// Names that each thread has at hand.
const AT_HAND: usize = 256;

static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
static LEFT: AtomicUsize = AtomicUsize::new(ROOM);

thread_local! {
    static RECENT: RefCell<Vec<Recent>> = const { RefCell::new(Vec::new()) };
}

/// A name that a template made.
#[derive(Clone, Debug, Default)]
struct Recent {
    name: Str,
    lasts: bool,
}

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

/// A name that a template has made.
pub(super) fn made(name: &str) -> Str {
    RECENT.with_borrow_mut(|recent| {
        recent.resize_with(AT_HAND, Recent::default);
        let at = FixedState::with_seed(0).hash_one(name.as_bytes()) as usize % AT_HAND;
        let recent = &mut recent[at];
        if recent.name != name {
            *recent = Recent { name: name.into(), lasts: false };
        } else if !recent.lasts && has_room(name.len()) {
            *recent = Recent { name: lasting(name), lasts: true };
        }
        recent.name.clone()
    })
}

/// Takes the room for a name, if there is any.
fn has_room(bytes: usize) -> bool {
    LEFT.try_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)).is_ok()
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

    #[test]
    fn what_is_made_again_lasts_while_there_is_room() {
        let names = [made("made/once"), made("made/once"), made("made/once")];
        assert_eq!(names, ["made/once"; 3]);
        assert_ne!(names[0].as_ptr(), names[1].as_ptr(), "the first time it is nothing but a text");
        assert_eq!(names[1].as_ptr(), lasting("made/once").as_ptr());
        assert_eq!(names[1].as_ptr(), names[2].as_ptr());
        let left = LEFT.load(Relaxed);
        assert!(!has_room(left + 1) && has_room(left) && !has_room(1));
        LEFT.store(left, Relaxed);
    }
}
