//! After the last words to a client: what it is still sending is read away for a moment. A connection that is closed with unread bytes is
//! reset, and then the client may never see why it ended.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

/// How much is read away, and for how long.
const BYTES: u64 = 8 << 20;
const TIME: Duration = Duration::from_secs(1);

/// Waits until the client has closed, too, within bounds.
pub(super) async fn linger<S: AsyncRead + Unpin>(stream: &mut S) {
    let mut rest = stream.take(BYTES);
    let mut scratch = vec![0; 8 << 10];
    let read_away = async { while matches!(rest.read(&mut scratch).await, Ok(1..)) {} };
    drop(timeout(TIME, read_away).await); // who sends on is reset
}
