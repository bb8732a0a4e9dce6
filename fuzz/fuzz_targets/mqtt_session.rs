//! The session machine of the MQTT listener: three clients over streams in memory, on the memory connector, who connect, subscribe,
//! publish, acknowledge, vanish, come back and at times send what is no MQTT; a witness that reads everything; and the clock set by hand.
//!
//! Held against the standards and the contract: every packet of the gateway is one that a server may send, then and there; a connection
//! ends for a cause and with the word for it; nothing hangs; packet identifiers in flight are unique and within the receive maximum; what
//! was confirmed is stored, and of QoS 2 once; what a session is to get it gets, in order, of QoS 2 once, also over connections; a
//! session is kept as long as it was said; wills are published if and only if they are due.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "mqtt_session/client.rs"]
mod client;
#[path = "mqtt_session/heard.rs"]
mod heard;
#[path = "mqtt_session/ledger.rs"]
mod ledger;
#[path = "mqtt_session/link.rs"]
mod link;
#[path = "mqtt_session/play.rs"]
mod play;
#[path = "mqtt_session/session.rs"]
mod session;
#[path = "mqtt_session/wire.rs"]
mod wire;
#[path = "mqtt_session/world.rs"]
mod world;

fuzz_target!(|input: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(play::play(input));
});
