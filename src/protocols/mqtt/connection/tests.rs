use tokio::net::TcpStream;

use super::*;

/// Thousands of devices are connected and say nothing: what each takes is bounded (`scripts/bench devices-idle`).
#[test]
fn what_a_connection_takes_is_small_and_is_there_once() {
    fn future<A, F>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }
    let connection = size_of::<Connection<TcpStream>>();
    assert!(connection <= 1280, "a connection: {connection} bytes");
    let serving = future(Connection::<TcpStream>::serve);
    assert!(serving <= 128, "the future that serves it: {serving} bytes");
}

#[test]
fn a_buffer_that_was_large_is_given_back_when_it_is_empty() {
    let mut buffer = BytesMut::new();
    buffer.extend_from_slice(&[0; 64 << 10]);
    buffer.advance(64 << 10);
    give_back(&mut buffer);
    assert!(!buffer.try_reclaim(1), "nothing is left of it");
    buffer.extend_from_slice(&[0; 100]);
    buffer.advance(100);
    give_back(&mut buffer);
    assert!(buffer.try_reclaim(100), "a small one is kept");
}
