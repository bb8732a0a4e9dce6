//! Meshgate: a stateless event-mesh gateway.

pub mod router;
