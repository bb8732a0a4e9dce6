//! The protocols that clients speak. None of them names a broker.

pub mod accept;
pub mod http;
pub mod mqtt;
mod websocket;
