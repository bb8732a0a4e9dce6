use std::sync::Arc;

use meshgate_api::{
    Str,
    connector::{ContentMode, Order, Outbound},
    message::Message,
};

use super::{choose, murmur2};

/// The values of Apache Kafka's own `UtilsTest.testMurmur2`.
#[test]
fn hashes_as_java_does() {
    let table: [(&[u8], i32); 6] = [
        (b"21", -973_932_308),
        (b"foobar", -790_332_482),
        (b"a-little-bit-long-string", -985_981_536),
        (b"a-little-bit-longer-string", -1_486_304_829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        (b"abc", 479_470_107),
    ];
    for (bytes, hash) in table {
        assert_eq!(murmur2(bytes) as i32, hash, "{}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn keyed_by_key_unkeyed_by_channel_free_by_nobody() {
    let outbound = |key: Option<&str>, order| Outbound {
        message: Arc::new(Message { channel: Some(Str::from_static("foobar")), ..Message::default() }),
        topic: Str::from_static("t"),
        key: key.map(Str::from),
        order,
        mode: ContentMode::Binary,
        options: None,
    };
    let place = |hash: i32| Some((hash as u32 & 0x7fff_ffff) % 12);
    assert_eq!(choose(&outbound(Some("21"), Order::Kept), 12), place(-973_932_308));
    assert_eq!(choose(&outbound(None, Order::Kept), 12), place(-790_332_482));
    assert_eq!(choose(&outbound(Some("21"), Order::Free), 12), None);
    assert_eq!(choose(&outbound(Some("21"), Order::Kept), 1), Some(0));
}
