//! The protocols that clients speak. None of them names a broker.

pub mod http;
mod websocket;
