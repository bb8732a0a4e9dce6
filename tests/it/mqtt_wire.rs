//! MQTT 3.1.1 and 5.0 as bytes: what each standard says of every packet, good and bad. `docs/mqtt-conformance.md` names these tests.

mod bad;
mod connect;
mod deliver;
mod exactly_once;
mod publish;
mod retained;
mod shared;
mod subscribe;
mod websocket;
mod wills;
pub mod wire;
