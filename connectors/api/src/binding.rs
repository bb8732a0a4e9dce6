//! How a message becomes a record with headers and a value, and back: the CloudEvents Kafka binding 1.0.2, which every broker that
//! has both follows alike. MQTT's differs: [`mqtt`].
//!
//! Attributes are headers `ce_…` in UTF-8, without percent-encoding; `datacontenttype` is the header `content-type`; data is the
//! value, and no data is a null value. Beside them stand the gateway's own headers (section 3 of the contract): `meshgate-channel`,
//! `meshgate-wrapped` (`true`) and `meshgate-hops`, and the transport headers.

pub mod mqtt;
mod read;
mod write;

pub use read::{NativeOrigin, decode, native_source};
pub use write::{headers, value};

/// The header that holds `datacontenttype`, or the media type of an event format.
pub const CONTENT_TYPE: &str = "content-type";

#[cfg(test)]
mod tests;
