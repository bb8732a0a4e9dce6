//! Records that end with the process.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use futures::future::{BoxFuture, FutureExt, ready};
use meshgate_api::{Str, message::Message};

use super::{Follow, Standing, State, Unstored, is_removal};

/// Told to the follower at once, and kept by nobody else.
#[derive(Default)]
pub struct OfProcess {
    follower: OnceLock<Arc<dyn Follow>>,
    most: usize,
}

impl OfProcess {
    /// Whose records have at most so many bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { follower: OnceLock::new(), most }
    }
}

impl State for OfProcess {
    fn begin(&self, follower: Arc<dyn Follow>) {
        self.follower.get_or_init(|| follower);
    }

    fn put(&self, key: Str, record: Message) -> BoxFuture<'static, Result<(), Unstored>> {
        let Some(follower) = self.follower.get() else {
            return ready(Err(Unstored("the records are not followed yet".into()))).boxed();
        };
        follower.apply(&key, (!is_removal(&record)).then_some(&record));
        ready(Ok(())).boxed()
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn most(&self) -> usize {
        self.most
    }

    fn standing(&self) -> Standing {
        Standing { is_read: true, detail: None }
    }
}

impl fmt::Debug for OfProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OfProcess")
    }
}
