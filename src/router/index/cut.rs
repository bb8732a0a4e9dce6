//! The piece of a text by which it can be looked up.

/// Where the piece stands; in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::router) enum Cut {
    Whole,
    First(usize),
    Last(usize),
}

impl Cut {
    /// The piece; `None`: the text is too short to have it.
    pub(super) fn of(self, text: &str) -> Option<&[u8]> {
        let bytes = text.as_bytes();
        match self {
            Self::Whole => Some(bytes),
            Self::First(length) => bytes.get(..length),
            Self::Last(length) => bytes.len().checked_sub(length).map(|from| &bytes[from..]),
        }
    }
}
