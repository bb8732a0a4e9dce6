//! The CloudEvents JSON event format 1.0.2, both ways, and its batch format.
//!
//! Data is carried as it was written: JSON data is never parsed into values, only checked, and texts are slices of what came in.
//! Where the specification leaves a choice:
//!
//! - `data` without `datacontenttype` is `application/json`; data without one goes out as `data_base64`, which alone keeps "none";
//! - `"data": null` is the JSON text `null` where JSON is declared (section 3.1.1), else no data;
//! - `data` of another type is the content of the string; any other JSON value stays JSON text;
//! - `data` that the type's `charset` would write in other bytes than UTF-8 is refused on the way in, and goes out as `data_base64`;
//! - no member may come twice, not even as `null`.
//!
//! Nothing here recurses into data: its depth costs one byte a level.

mod decode;
mod encode;

pub use decode::{DecodeError, MAX_FAULTS, decode, decode_batch};
pub use encode::encode_into;

#[cfg(test)]
mod tests;
