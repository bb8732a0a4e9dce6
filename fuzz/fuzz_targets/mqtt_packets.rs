//! A connection of an MQTT client: its CONNECT, then any packets. What is read as a PUBLISH can be written, and is then read again as
//! what it was; what it holds as an event a client gets again.
#![no_main]

use std::time::SystemTime;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use meshgate::codec::mqtt::{
    Encoder, Framing, Packet, Publish, Sender, Version, decode, decode_connect, decode_event, encode_event,
};

const FRAMING: Framing = Framing { maximum: 1 << 20 };

fuzz_target!(|input: &[u8]| {
    let mut buffer = BytesMut::from(input);
    let Ok(Some(frame)) = FRAMING.next(&mut buffer) else { return };
    let version = match decode_connect(frame) {
        Ok(connect) => connect.version,
        Err((version, _)) => version.unwrap_or(Version::V5),
    };
    while let Ok(Some(frame)) = FRAMING.next(&mut buffer) {
        if let Ok(Packet::Publish(publish)) = decode(version, frame) {
            check(version, publish);
        }
    }
});

fn check(version: Version, publish: Publish) {
    let encoder = Encoder { version, maximum: usize::MAX, tells_problems: true };
    let mut out = BytesMut::new();
    encoder.publish(&mut out, &publish).expect("there is no limit");
    let frame = FRAMING.next(&mut out).expect("sound").expect("whole");
    assert_eq!(decode(version, frame), Ok(Packet::Publish(publish.clone())));
    let (channel, source) = (publish.topic.clone(), "/mqtt/fuzz".into());
    let sender = Sender { version, source: &source, publisher: None };
    let now = SystemTime::UNIX_EPOCH;
    if let Ok(message) = decode_event(&sender, publish, &channel, now)
        && let Ok(encoded) = encode_event(version, &message, now)
    {
        let Publish { properties, payload, .. } = Publish {
            topic: channel.clone(),
            properties: encoded.properties,
            payload: encoded.payload,
            ..Publish::default()
        };
        let again = Publish { topic: channel.clone(), properties, payload, ..Publish::default() };
        decode_event(&sender, again, &channel, now).expect("what a client gets it can publish");
    }
}
