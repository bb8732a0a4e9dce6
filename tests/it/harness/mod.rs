//! Starts gateways and finds brokers.

pub mod broker;
pub mod collector;
pub mod connection;
pub mod gateway;
pub mod kafka;
pub mod mosquitto;
pub mod page;
pub mod sse;
pub mod terminal;
pub mod websocket;

use std::{
    fmt::Display,
    future::Future,
    io::Write,
    time::{Duration, Instant},
};

/// Longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Asks again until the answer is there.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Shows a figure also when the test succeeds.
pub fn tell(line: impl Display) {
    writeln!(std::io::stderr(), "{line}").expect("stderr takes it");
}
