//! How a connection ends, and what its client is told (RFC 6455, section 7.4).

use tokio_tungstenite::tungstenite::{
    Error,
    error::CapacityError,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::deliver::Ended;

/// A position is gone, or a cursor has outgrown its limit.
const GONE: CloseCode = CloseCode::Library(4010);
/// Bytes of a reason: a control frame holds 125, two of them are the code.
const MAX_REASON: usize = 123;

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// The gateway closes it.
    Close(CloseFrame),
    /// The client closes it.
    ByClient,
    /// It is broken, or nobody is there any more.
    Lost,
}

impl End {
    pub(super) fn complete() -> Self {
        Self::close(CloseCode::Normal, "as many events as `limit` says")
    }

    pub(super) fn draining() -> Self {
        Self::close(CloseCode::Away, "the gateway is shutting down")
    }

    pub(super) fn try_again_later(reason: &str) -> Self {
        Self::close(CloseCode::Again, reason)
    }

    pub(super) fn protocol_error(reason: &str) -> Self {
        Self::close(CloseCode::Protocol, reason)
    }

    fn close(code: CloseCode, reason: &str) -> Self {
        let reason = &reason[..reason.floor_char_boundary(MAX_REASON)];
        Self::Close(CloseFrame { code, reason: reason.into() })
    }
}

impl From<&Ended> for End {
    fn from(ended: &Ended) -> Self {
        match ended {
            Ended::Gone { .. } | Ended::CursorTooLong => Self::close(GONE, &ended.to_string()),
            Ended::Interrupted(_) => Self::try_again_later(&ended.to_string()),
        }
    }
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        match error {
            Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
                Self::close(CloseCode::Size, &format!("{size} bytes are over `max_body`, which is {max_size}"))
            }
            Error::Utf8(_) => Self::close(CloseCode::Invalid, "a text frame is not UTF-8"),
            Error::Protocol(problem) => Self::protocol_error(&problem.to_string()),
            _ => Self::Lost,
        }
    }
}
