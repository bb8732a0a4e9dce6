//! Configuration values that know where they were written, and their reading: every problem is collected, none ends it.
//!
//! A [`Node`] is a value with its place in the file. [`Fields`] reads the keys of one map; what it is not asked for is an unknown
//! key. [`Problems`] is where the problems of a whole file come together. Nothing here knows YAML, so that a connector's settings
//! can be tested with a few texts:
//!
//! ```
//! use meshgate_api::settings::{Node, decode};
//!
//! let node = Node::from(&[("capacity", "64KiB"), ("colour", "red")]);
//! let problems = decode(&node, "connectors.scratch", |fields| fields.size("capacity", 1..=1 << 30).or(1 << 20)).unwrap_err();
//! assert_eq!(problems[0].to_string(), "1:1: connectors.scratch.colour: unknown key: known here is `capacity`");
//! ```

mod fields;
mod node;
mod problem;
mod quantity;
mod suggestion;

pub use fields::{Fields, Reading, decode};
pub use node::{Entry, Mark, Node, Scalar, Value};
pub use problem::{Problem, Problems};
pub use quantity::duration;
pub use suggestion::suggestion;

#[cfg(test)]
mod tests;
