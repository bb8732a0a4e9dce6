//! What became of a publish. Every listener maps these four in one place.

use std::time::Duration;

use smallvec::SmallVec;

use crate::position::Position;

/// One event's fate at one destination. `Unknown` wherever it is not certain that the event was stored, or was not.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The broker confirmed it, and it stands there.
    Stored(Position),
    /// It will never be stored as it is.
    Rejected {
        /// In what respect it is wrong.
        reason: Rejection,
        /// What to change, for a person.
        detail: String,
    },
    /// Known not to be stored: it is safe to send it again.
    Unavailable {
        /// What is missing.
        reason: Unavailability,
        /// When a further try makes sense.
        retry_after: Duration,
        /// What is the matter, for a person.
        detail: String,
    },
    /// It may or may not be stored.
    Unknown {
        /// What is the matter, for a person.
        detail: String,
    },
}

/// One outcome an event, in the order of the batch.
pub type Outcomes = SmallVec<[Outcome; 1]>;

/// Why an event will never be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// It is no valid event, or cannot be placed as its route says.
    BadEvent,
    /// Its encoding is none that the gateway reads.
    UnsupportedType,
    /// No route takes it.
    NoRoute,
    /// A rule forbids it.
    Forbidden,
    /// It is larger than the gateway or the broker takes.
    TooLarge,
}

/// Why an event was not stored this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailability {
    /// The connector cannot reach its broker, or the broker refused for now.
    Down,
    /// The topic does not exist.
    Missing,
    /// A limit of this client is reached.
    ClientLimit,
    /// A limit of the gateway is reached.
    GatewayLimit,
}

impl Outcome {
    /// A rejection.
    pub fn rejected(reason: Rejection, detail: impl Into<String>) -> Self {
        Self::Rejected { reason, detail: detail.into() }
    }

    /// Known not to be stored; another try may succeed in a second.
    pub fn unavailable(reason: Unavailability, detail: impl Into<String>) -> Self {
        Self::Unavailable { reason, retry_after: Duration::from_secs(1), detail: detail.into() }
    }

    /// Perhaps stored.
    pub fn unknown(detail: impl Into<String>) -> Self {
        Self::Unknown { detail: detail.into() }
    }

    /// Its name in metrics, receipts and documents.
    #[must_use]
    pub fn name(&self) -> &'static str {
        OUTCOME_NAMES[self.badness()]
    }

    /// An answer that asks for a resend is worse than one that does not: 0 stored, 1 rejected, 2 unavailable, 3 unknown.
    #[must_use]
    pub fn badness(&self) -> usize {
        match self {
            Self::Stored(_) => 0,
            Self::Rejected { .. } => 1,
            Self::Unavailable { .. } => 2,
            Self::Unknown { .. } => 3,
        }
    }

    /// For a person; empty when stored.
    #[must_use]
    pub fn detail(&self) -> &str {
        match self {
            Self::Stored(_) => "",
            Self::Rejected { detail, .. } | Self::Unavailable { detail, .. } | Self::Unknown { detail } => detail,
        }
    }
}

/// The outcomes' names, indexed by [`Outcome::badness`].
pub const OUTCOME_NAMES: [&str; 4] = ["stored", "rejected", "unavailable", "unknown"];
