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
