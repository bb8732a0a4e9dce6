//! Which broker topic a channel lives on: an immutable snapshot of the routes.

pub mod spec;
