//! How a message becomes a record with headers and a value, and back.
