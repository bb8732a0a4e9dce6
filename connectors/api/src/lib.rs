//! What every connector is made of, and what a listener may know about one: no broker, no protocol.
//!
//! In reading order:
//!
//! 1. [`event`]: the CloudEvent, and the [`message`] that carries it with its channel and transport headers;
//! 2. [`json`] and [`binding`]: how a message looks as JSON text and as a broker record's headers and value, and [`media`]: what a
//!    media type says about data;
//! 3. [`topic`], [`position`], [`cursor`]: where events live, and where one reader stands;
//! 4. [`outcome`]: the four things that can become of a publish;
//! 5. [`connector`]: the traits a new broker implements, and [`link`]: whether its broker answers;
//! 6. [`log`]: the bounded, many-reader log that live reading (and the memory connector) is built on;
//! 7. [`group`]: who gets what in a group, and what became of it;
//! 8. [`settings`]: configuration values that know where they were written;
//! 9. [`sharded`]: counts in which threads do not meet.

pub mod binding;
#[cfg(any(test, feature = "cloudevents-sdk"))]
pub mod cloudevents;
pub mod connector;
pub mod cursor;
pub mod event;
pub mod group;
pub mod json;
pub mod link;
pub mod log;
pub mod media;
pub mod message;
pub mod outcome;
pub mod position;
pub mod settings;
pub mod sharded;
pub mod topic;

pub use bytestring::ByteString as Str;
