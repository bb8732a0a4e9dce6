//! Outcomes as MQTT answers them (section 2 of the contract).

use meshgate_api::outcome::{Outcome, Rejection, Unavailability};

use crate::codec::mqtt::{Reason, Version};

/// What becomes of a publish's acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// With this reason code, and what more there is to say.
    Ack(Reason, String),
    /// None: it is held until `limits.publish_timeout` has passed, then the connection ends, so that the client sends again.
    Hold(String),
    /// None, for this version has no word for it: the connection ends.
    Close(String),
}

/// `lenient`: a rejected event of MQTT 3.1.1 is acknowledged all the same.
pub(crate) fn answer(version: Version, outcome: &Outcome, lenient: bool) -> Answer {
    let reason = match outcome {
        Outcome::Stored(_) => return Answer::Ack(Reason::Success, String::new()),
        Outcome::Rejected { reason, .. } => match reason {
            Rejection::BadEvent | Rejection::UnsupportedType => Reason::PayloadFormatInvalid,
            Rejection::NoRoute => Reason::TopicNameInvalid,
            Rejection::Forbidden => Reason::NotAuthorized,
            Rejection::TooLarge => Reason::ImplementationSpecific,
        },
        Outcome::Unavailable { reason: Unavailability::ClientLimit, .. } if version == Version::V5 => {
            Reason::QuotaExceeded
        }
        Outcome::Unavailable { detail, .. } | Outcome::Unknown { detail } => return Answer::Hold(detail.clone()),
    };
    match version {
        Version::V5 => Answer::Ack(reason, outcome.detail().to_owned()),
        Version::V3 if lenient => Answer::Ack(Reason::Success, String::new()),
        Version::V3 => Answer::Close(outcome.detail().to_owned()),
    }
}
