//! Meshgate: a stateless event-mesh gateway.

pub mod config;
pub mod router;
