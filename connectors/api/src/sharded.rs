//! One thing in several copies, so that threads do not meet in it.
//!
//! What all threads write to with each event, a count or the reference count of a text, is a line of memory that travels from core to
//! core: that takes longer than the rest of many a step. Each thread works with its own copy instead; who wants to know adds them up.

use std::{
    iter,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// As many copies. Where there are more threads than that, some share one.
const COPIES: usize = 8;

/// Copies of a `T`, of which each thread has its own.
#[derive(Clone, Debug)]
pub struct Sharded<T>(Box<[Apart<T>]>);

/// On lines of memory of its own. Processors fetch lines in pairs.
#[derive(Clone, Debug)]
#[repr(align(128))]
struct Apart<T>(T);

impl<T> Sharded<T> {
    /// Of copies that `make` makes.
    pub fn new(mut make: impl FnMut() -> T) -> Self {
        Self(iter::repeat_with(|| Apart(make())).take(COPIES).collect())
    }

    /// The copy of this thread. Others may work with it, too.
    pub fn own(&self) -> &T {
        &self.0[copy()].0
    }

    /// All copies.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|Apart(copy)| copy)
    }
}

impl<T: Default> Default for Sharded<T> {
    fn default() -> Self {
        Self::new(T::default)
    }
}

/// The number of this thread's copies. Threads get them in turn.
fn copy() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static COPY: usize = NEXT.fetch_add(1, Relaxed) % COPIES;
    }
    COPY.with(|copy| *copy)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn threads_work_apart() {
        let counts = Sharded::<AtomicUsize>::default();
        thread::scope(|scope| {
            for _ in 0..3 * COPIES {
                scope.spawn(|| {
                    for _ in 0..100 {
                        counts.own().fetch_add(1, Relaxed);
                    }
                });
            }
        });
        let each: Vec<usize> = counts.iter().map(|count| count.load(Relaxed)).collect();
        assert_eq!(each, [300; COPIES]);
    }
}
