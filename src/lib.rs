//! Meshgate: a stateless event-mesh gateway. ARCHITECTURE.md is the map.
//!
//! In reading order: [`publish`] and [`deliver`] are the two things that the gateway does; [`router`] says where; [`codec`] and
//! [`protocols`] face the clients; [`subscriptions`] go from channel to channel; `connectors/` (crates of their own) face the brokers, and [`registry`] names them; [`config`],
//! [`app`], [`workers`], [`admin`], [`shutdown`], [`telemetry`] and [`cli`] make a program of it.

pub mod admin;
pub mod app;
pub mod assembly;
pub mod cesql;
pub mod cli;
pub mod codec;
pub mod config;
pub mod deliver;
pub mod explain;
pub mod gateway;
pub mod protocols;
pub mod publish;
pub mod registry;
pub mod reload;
pub mod router;
pub mod shutdown;
pub mod state;
pub mod subscriptions;
pub mod telemetry;
pub mod workers;
