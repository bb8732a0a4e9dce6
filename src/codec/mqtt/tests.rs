use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::*;

const FRAMING: Framing = Framing { maximum: 1 << 20 };

fn bytes(hex: &str) -> BytesMut {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex");
    digits.chunks(2).map(byte).collect()
}

/// A packet with the right remaining length.
fn packet(first: u8, body: &str) -> BytesMut {
    let body = bytes(body);
    assert!(body.len() < 128, "one byte of length");
    let mut whole = BytesMut::new();
    whole.put_slice(&[first, body.len() as u8]);
    whole.put_slice(&body);
    whole
}

fn frame(mut packet: BytesMut) -> Result<Frame, Fault> {
    let frame = FRAMING.next(&mut packet)?.expect("all of it is there");
    assert!(packet.is_empty(), "nothing is left");
    Ok(frame)
}

fn read(version: Version, packet: BytesMut) -> Result<Packet, Fault> {
    decode(version, frame(packet)?)
}

fn connect(body: &str) -> Result<Connect, (Option<Version>, Fault)> {
    decode_connect(frame(packet(0x10, body)).expect("a frame"))
}

const V3: &str = "0004 4d515454 04";
const V5: &str = "0004 4d515454 05";

#[test]
fn connects_are_read() {
    let plain = connect(&format!("{V3} 02 003c 0001 61")).expect("3.1.1");
    assert_eq!((plain.version, &*plain.client_id, plain.keep_alive, plain.clean_start), (Version::V3, "a", 60, true));
    assert_eq!((plain.receive_maximum, plain.session_expiry), (u16::MAX, None));
    let whole = connect(&format!(
        "{V5} ee 000a 10 11 00000078 21 0003 27 00000400 22 0005 0001 62 \
         0d 18 00000005 01 01 02 00000007 000003 772f74 0002 6869 0001 75 0002 7077"
    ));
    assert!(whole.is_err(), "its will's properties end within a text");
    let whole = connect(&format!(
        "{V5} ee 000a 10 11 00000078 21 0003 27 00000400 22 0005 0001 62 \
         0c 18 00000005 01 01 02 00000007 0003 772f74 0002 6869 0001 75 0002 7077"
    ))
    .expect("5.0");
    assert_eq!((whole.session_expiry, whole.receive_maximum), (Some(120), 3));
    assert_eq!((whole.maximum_packet, whole.topic_alias_maximum), (Some(1024), 5));
    assert_eq!((whole.username.as_deref(), whole.password.as_deref()), (Some("u"), Some(&b"pw"[..])));
    let will = whole.will.expect("a will");
    assert_eq!((&*will.topic, &will.payload[..], will.delay, will.retain), ("w/t", &b"hi"[..], 5, true));
    assert_eq!((will.qos, will.properties.is_text, will.properties.expiry), (Qos::AtLeastOnce, Some(true), Some(7)));
}

#[test]
fn what_is_no_connect_is_refused_in_its_own_version() {
    use Reason::{ClientIdInvalid, MalformedPacket, ProtocolError, TopicNameInvalid, UnsupportedVersion};
    let table = [
        ("0006 4d5149736470 03 02 003c 0001 61".to_owned(), Some(Version::V3), UnsupportedVersion, "MQTT 3.1"),
        ("0004 4d515454 03 02 003c 0001 61".to_owned(), Some(Version::V3), UnsupportedVersion, "level 3"),
        ("0004 4d515454 06 02 003c 00 0001 61".to_owned(), Some(Version::V5), UnsupportedVersion, "level 6"),
        ("0004 6d717474 04 02 003c 0001 61".to_owned(), None, UnsupportedVersion, "mqtt in small letters"),
        (format!("{V3} 03 003c 0001 61"), Some(Version::V3), MalformedPacket, "the reserved flag"),
        (format!("{V3} 1e 003c 0001 61 0001 74 0001 70"), Some(Version::V3), MalformedPacket, "a will of QoS 3"),
        (format!("{V3} 0a 003c 0001 61"), Some(Version::V3), MalformedPacket, "QoS without a will"),
        (format!("{V3} 22 003c 0001 61"), Some(Version::V3), MalformedPacket, "RETAIN without a will"),
        (format!("{V3} 42 003c 0001 61 0001 70"), Some(Version::V3), MalformedPacket, "a password alone"),
        (format!("{V3} 00 003c 0000"), Some(Version::V3), ClientIdInvalid, "no name and a session"),
        (format!("{V3} 02 003c 0001 61 00"), Some(Version::V3), MalformedPacket, "a byte too many"),
        (format!("{V3} 02 003c 0002 61"), Some(Version::V3), MalformedPacket, "a text that ends early"),
        (format!("{V3} 02 003c 0002 6100"), Some(Version::V3), MalformedPacket, "U+0000"),
        (format!("{V3} 02 003c 0003 eda080"), Some(Version::V3), MalformedPacket, "half a surrogate pair"),
        (
            format!("{V3} 06 003c 0001 61 0002 612b 0001 70"),
            Some(Version::V3),
            TopicNameInvalid,
            "a will with a wildcard",
        ),
        (format!("{V5} 02 003c 03 21 0000 0001 61"), Some(Version::V5), ProtocolError, "receive maximum 0"),
        (format!("{V5} 02 003c 05 27 00000000 0001 61"), Some(Version::V5), ProtocolError, "maximum packet size 0"),
        (
            format!("{V5} 02 003c 0a 11 00000001 11 00000001 0001 61"),
            Some(Version::V5),
            ProtocolError,
            "a property twice",
        ),
        (format!("{V5} 02 003c 02 24 01 0001 61"), Some(Version::V5), MalformedPacket, "a server's property"),
        (format!("{V5} 02 003c 02 7f 01 0001 61"), Some(Version::V5), MalformedPacket, "a property there is not"),
        (format!("{V5} 02 003c 02 17 02 0001 61"), Some(Version::V5), ProtocolError, "neither 0 nor 1"),
        (format!("{V5} 02 003c 04 16 0001 61 0001 61"), Some(Version::V5), ProtocolError, "data without a method"),
        (
            format!("{V5} 02 003c 05 11 000000 0001 61"),
            Some(Version::V5),
            MalformedPacket,
            "a property that ends early",
        ),
    ];
    for (body, version, reason, what) in table {
        let (told, fault) = connect(&body).expect_err(what);
        assert_eq!((told, fault.reason), (version, reason), "{what}: {fault}");
    }
    let ping = decode_connect(frame(packet(0xC0, "")).expect("a frame"));
    assert_eq!(ping.expect_err("not CONNECT").0, None);
    assert!(connect(&format!("{V5} 42 003c 00 0001 61 0001 70")).is_ok(), "5.0 has passwords without a name");
}

#[test]
fn frames_that_cannot_be_are_refused_at_once() {
    use Reason::{MalformedPacket, PacketTooLarge, ProtocolError};
    let table = [
        ("00 00", MalformedPacket, "type 0"),
        ("20 02 00 00", ProtocolError, "CONNACK"),
        ("90 03 00 01 00", ProtocolError, "SUBACK"),
        ("11 00", MalformedPacket, "CONNECT with flags"),
        ("60 02 00 01", MalformedPacket, "PUBREL without its flag"),
        ("80 02 00 01", MalformedPacket, "SUBSCRIBE without its flag"),
        ("a0 02 00 01", MalformedPacket, "UNSUBSCRIBE without its flag"),
        ("c1 00", MalformedPacket, "PINGREQ with flags"),
        ("30 ff ff ff ff", MalformedPacket, "a length of five bytes"),
        ("30 80 00", MalformedPacket, "a length in more bytes than it needs"),
        ("30 ff ff ff 7f", PacketTooLarge, "256 MiB"),
    ];
    for (hex, reason, what) in table {
        assert_eq!(FRAMING.next(&mut bytes(hex)).expect_err(what).reason, reason, "{what}");
    }
}

#[test]
fn a_packet_comes_in_any_pieces() {
    let whole = packet(0x32, "0001 61 0007 6869");
    for end in 0..whole.len() {
        let mut part = BytesMut::from(&whole[..end]);
        assert_eq!(FRAMING.next(&mut part), Ok(None));
        assert_eq!(part.len(), end, "nothing is taken");
        assert!((1..=whole.len() - end).contains(&FRAMING.missing(&part)), "{end}");
    }
    let mut two = whole.clone();
    two.put_slice(&whole);
    assert!(FRAMING.next(&mut two).expect("sound").is_some());
    assert_eq!(two, whole, "the second is left");
}

#[test]
fn publishes_are_read() {
    let Packet::Publish(publish) = read(Version::V3, packet(0x3D, "0003 612f62 0007 6869")).expect("3.1.1") else {
        panic!("a publish");
    };
    assert_eq!((publish.dup, publish.qos, publish.retain), (true, Qos::ExactlyOnce, true));
    assert_eq!((&*publish.topic, publish.packet.map(u16::from), &publish.payload[..]), ("a/b", Some(7), &b"hi"[..]));
    let body = "0000 19 01 01 02 00000000 23 0001 08 0001 72 09 0001 ff 26 0001 6b 0001 76 68";
    let Packet::Publish(publish) = read(Version::V5, packet(0x30, body)).expect("5.0") else { panic!("a publish") };
    let properties = publish.properties;
    assert_eq!((properties.expiry, properties.topic_alias.map(u16::from)), (Some(0), Some(1)), "expiry 0 is legal");
    assert_eq!(
        (properties.response_topic.as_deref(), properties.correlation.as_deref()),
        (Some("r"), Some(&[255][..]))
    );
    assert_eq!(properties.user, [("k".into(), "v".into())]);
}

#[test]
fn other_packets_are_read() {
    let subscribe = read(Version::V5, packet(0x82, "0001 03 0b ff01 0003 612f23 2d 0009 24736861 72652f67 2f 00"));
    assert!(subscribe.is_err(), "a shared filter without a filter");
    let body = "0001 03 0b ff01 0003 612f23 29 000a 2473686172652f672f2b 02";
    let Packet::Subscribe(subscribe) = read(Version::V5, packet(0x82, body)).expect("5.0") else { panic!("SUBSCRIBE") };
    assert_eq!((subscribe.identifier, subscribe.filters.len()), (Some(255), 2));
    let first = &subscribe.filters[0];
    assert_eq!((&*first.filter, first.qos, first.retain_as_published), ("a/#", Qos::AtLeastOnce, true));
    assert_eq!(first.retain_handling, RetainHandling::DoNotSend);
    let ack = |kind, reason| Packet::Ack(Ack { kind, packet: NonZeroU16::MIN, reason });
    assert_eq!(read(Version::V3, packet(0x40, "0001")), Ok(ack(AckKind::PubAck, Reason::Success)));
    assert_eq!(read(Version::V5, packet(0x62, "0001 92")), Ok(ack(AckKind::PubRel, Reason::PacketIdentifierNotFound)));
    assert_eq!(read(Version::V5, packet(0x50, "0001 83 00")), Ok(ack(AckKind::PubRec, Reason::ImplementationSpecific)));
    let gone = Disconnect { reason: Reason::DisconnectWithWill, session_expiry: Some(1) };
    assert_eq!(read(Version::V5, packet(0xE0, "04 05 11 00000001")), Ok(Packet::Disconnect(gone)));
    let gone = Disconnect { reason: Reason::Success, session_expiry: None };
    assert_eq!(read(Version::V3, packet(0xE0, "")), Ok(Packet::Disconnect(gone)));
    assert_eq!(read(Version::V3, packet(0xC0, "")), Ok(Packet::PingReq));
}

#[test]
fn what_the_standards_forbid_is_refused() {
    use Reason::{MalformedPacket, ProtocolError, TopicAliasInvalid, TopicFilterInvalid, TopicNameInvalid};
    use Version::{V3, V5};
    let table = [
        (V3, 0x36, "0001 61 0001", MalformedPacket, "QoS 3"),
        (V3, 0x38, "0001 61", MalformedPacket, "DUP with QoS 0"),
        (V3, 0x32, "0001 61 0000", ProtocolError, "packet identifier 0"),
        (V3, 0x32, "0001 61 00", MalformedPacket, "half a packet identifier"),
        (V3, 0x30, "0000", ProtocolError, "no topic"),
        (V3, 0x30, "0003 612f2b", TopicNameInvalid, "a wildcard in a topic"),
        (V3, 0x30, "0001 ff", MalformedPacket, "no UTF-8"),
        (V5, 0x30, "0000 00", ProtocolError, "neither topic nor alias"),
        (V5, 0x30, "0001 61 03 23 0000", TopicAliasInvalid, "alias 0"),
        (V5, 0x30, "0001 61 02 0b 01", ProtocolError, "a subscription identifier of a client"),
        (V5, 0x30, "0001 61 04 08 0001 23", ProtocolError, "a response topic with a wildcard"),
        (V5, 0x30, "0001 61 02 01 02", ProtocolError, "a payload format of 2"),
        (V5, 0x30, "0001 61 05 11 00000001", MalformedPacket, "a property of CONNECT"),
        (V5, 0x30, "0001 61 05 01 00", MalformedPacket, "properties longer than the packet"),
        (V5, 0x30, "0001 61 8000", MalformedPacket, "a length in more bytes than it needs"),
        (V3, 0x40, "0001 00", MalformedPacket, "a reason code in 3.1.1"),
        (V5, 0x40, "0001 92", ProtocolError, "a reason of PUBREL"),
        (V5, 0x62, "0001 80", ProtocolError, "a reason of PUBACK"),
        (V5, 0x40, "0001 00 00 00", MalformedPacket, "a byte too many"),
        (V3, 0x82, "0001", ProtocolError, "SUBSCRIBE of nothing"),
        (V3, 0x82, "0001 0001 61", MalformedPacket, "SUBSCRIBE without options"),
        (V3, 0x82, "0001 0001 61 03", ProtocolError, "SUBSCRIBE with QoS 3"),
        (V3, 0x82, "0001 0001 61 04", MalformedPacket, "options that 3.1.1 has not"),
        (V5, 0x82, "0001 00 0001 61 40", MalformedPacket, "reserved options"),
        (V5, 0x82, "0001 00 0001 61 30", ProtocolError, "retain handling 3"),
        (V5, 0x82, "0001 02 0b 00 0001 61 00", ProtocolError, "subscription identifier 0"),
        (V5, 0x82, "0001 04 0b 01 0b 02 0001 61 00", ProtocolError, "two subscription identifiers"),
        (V5, 0x82, "0001 00 000a 2473686172652f672f61 04", ProtocolError, "No Local with a shared subscription"),
        (V3, 0x82, "0001 0005 612f232f62 00", TopicFilterInvalid, "# before the end"),
        (V3, 0x82, "0001 0002 612b 00", TopicFilterInvalid, "+ beside a character"),
        (V3, 0x82, "0001 0000 00", TopicFilterInvalid, "an empty filter"),
        (V5, 0x82, "0001 00 0008 2473686172652f67 00", TopicFilterInvalid, "a share without a filter"),
        (V5, 0x82, "0001 00 0009 2473686172652f2f61 00", TopicFilterInvalid, "a share without a name"),
        (V3, 0xA2, "0001", ProtocolError, "UNSUBSCRIBE of nothing"),
        (V3, 0xC0, "00", MalformedPacket, "PINGREQ with a body"),
        (V3, 0xE0, "00", MalformedPacket, "DISCONNECT with a body in 3.1.1"),
        (V5, 0xE0, "01", ProtocolError, "DISCONNECT with a reason of SUBACK"),
        (V5, 0xE0, "8e", ProtocolError, "DISCONNECT with a server's reason"),
        (V5, 0xE0, "00 04 1c 0001 61", MalformedPacket, "a server reference of a client"),
        (V3, 0xF0, "", MalformedPacket, "AUTH in 3.1.1"),
        (V5, 0xF0, "80", ProtocolError, "AUTH with a reason of its own"),
        (V3, 0x10, "0004 4d515454 04 02 003c 0001 61", ProtocolError, "a second CONNECT"),
    ];
    for (version, first, body, reason, what) in table {
        let fault = read(version, packet(first, body)).expect_err(what);
        assert_eq!(fault.reason, reason, "{what}: {fault}");
    }
}

fn encoder(version: Version) -> Encoder {
    Encoder { version, maximum: 100, tells_problems: true }
}

fn written(write: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut out = BytesMut::new();
    write(&mut out);
    out
}

#[test]
fn answers_are_written_as_each_version_has_them() {
    let (v3, v5) = (encoder(Version::V3), encoder(Version::V5));
    let (packet, kind) = (NonZeroU16::new(258).expect("not 0"), AckKind::PubAck);
    let ack = |reason| Ack { kind, packet, reason };
    assert_eq!(written(|out| v3.ack(out, &ack(Reason::NotAuthorized), "no")), bytes("40 02 0102"));
    assert_eq!(written(|out| v5.ack(out, &ack(Reason::Success), "no")), bytes("40 02 0102"));
    assert_eq!(written(|out| v5.ack(out, &ack(Reason::NotAuthorized), "no")), bytes("40 09 0102 87 05 1f 0002 6e6f"));
    let quiet = Encoder { tells_problems: false, ..v5 };
    assert_eq!(written(|out| quiet.ack(out, &ack(Reason::NotAuthorized), "no")), bytes("40 03 0102 87"));
    let long = "x".repeat(100);
    assert_eq!(written(|out| v5.ack(out, &ack(Reason::NotAuthorized), &long)), bytes("40 03 0102 87"));
    let reasons = [Reason::GrantedQos1, Reason::TopicFilterInvalid];
    assert_eq!(written(|out| v3.sub_ack(out, packet, &reasons, "")), bytes("90 04 0102 01 80"));
    assert_eq!(written(|out| v5.sub_ack(out, packet, &reasons, "")), bytes("90 05 0102 00 01 8f"));
    assert_eq!(written(|out| v3.unsub_ack(out, packet, &[Reason::Success])), bytes("b0 02 0102"));
    assert_eq!(written(|out| v5.unsub_ack(out, packet, &[Reason::Success])), bytes("b0 04 0102 00 00"));
    assert_eq!(written(|out| v3.disconnect(out, Reason::ServerShuttingDown, "")), bytes(""));
    assert_eq!(written(|out| v5.disconnect(out, Reason::ServerShuttingDown, "")), bytes("e0 02 8b 00"));
    assert_eq!(written(|out| encode_refusal(Version::V3, Reason::ServerBusy, "", 99, out)), bytes("20 02 00 03"));
    assert_eq!(written(|out| encode_refusal(Version::V3, Reason::MalformedPacket, "", 99, out)), bytes(""));
    assert_eq!(
        written(|out| encode_refusal(Version::V5, Reason::Banned, "", 99, out)),
        bytes("20 06 00 8a 03 1f 0000")
    );
    let connack = ConnAck { receive_maximum: 10, maximum_packet: 256, session_present: true, ..ConnAck::default() };
    let let_in = |encoder: &Encoder| written(|out| encoder.conn_ack(out, &connack).expect("it fits"));
    assert_eq!(let_in(&v3), bytes("20 02 01 00"));
    assert_eq!(let_in(&v5), bytes("20 0b 01 00 08 21 000a 27 00000100"));
    assert_eq!(written(|out| v5.ping_resp(out)), bytes("d0 00"));
}

#[test]
fn nothing_is_written_that_is_larger_than_the_client_takes() {
    let mut out = BytesMut::new();
    let of = |maximum| Encoder { maximum, ..encoder(Version::V5) };
    let connack = ConnAck { receive_maximum: 10, maximum_packet: 256, ..ConnAck::default() };
    assert_eq!(of(12).conn_ack(&mut out, &connack), Err(TooLarge));
    of(12).disconnect(&mut out, Reason::Banned, "because of that");
    assert_eq!(out.split(), bytes("e0 02 8a 00"));
    let packet = NonZeroU16::MIN;
    of(7).sub_ack(&mut out, packet, &[Reason::Success; 3], "");
    assert_eq!(out, bytes(""));
    of(8).sub_ack(&mut out, packet, &[Reason::Success; 3], "");
    assert_eq!(out.split(), bytes("90 06 0001 00 00 00 00"));
    assert_eq!(of(13).conn_ack(&mut out, &connack), Ok(()));
    assert_eq!(out.split().len(), 13);
    encode_refusal(Version::V5, Reason::Banned, "why", 5, &mut out);
    assert_eq!(out.split(), bytes("20 03 00 8a 00"));
    encode_refusal(Version::V5, Reason::Banned, "why", 4, &mut out);
    assert_eq!(out, bytes(""));
}

#[test]
fn a_version_is_known_before_the_whole_of_a_connect_is_there() {
    assert_eq!(said_version(&bytes("10 ffffff7f 0004 4d515454 05")), Some(Version::V5));
    assert_eq!(said_version(&bytes("10 ff7f 0004 4d515454 04 02")), Some(Version::V3));
    for (hex, what) in [
        ("10 ffffff7f 0004 4d515454", "not there yet"),
        ("10 ffffff7f 0004 4d515455 05", "another protocol"),
        ("10 ffffffff 0004 4d515454 05", "no length"),
        ("10", "nothing"),
    ] {
        assert_eq!(said_version(&bytes(hex)), None, "{what}");
    }
}

fn text() -> impl Strategy<Value = Str> {
    "[^\0+#]{0,20}".prop_map(Str::from)
}

fn properties() -> impl Strategy<Value = PublishProperties> {
    let user = prop::collection::vec((text(), text()), 0..3);
    let times = (prop::option::of(any::<bool>()), prop::option::of(any::<u32>()));
    let rest = (prop::option::of("[^\0+#]{1,9}"), prop::option::of(prop::collection::vec(any::<u8>(), 0..9)));
    (times, rest, user, prop::option::of(text())).prop_map(
        |((is_text, expiry), (response, data), user, content_type)| {
            let (response_topic, correlation) = (response.map(Str::from), data.map(Bytes::from));
            PublishProperties { is_text, expiry, response_topic, correlation, user, content_type, ..Default::default() }
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        (topic, payload) in ("[^\0+#]{1,40}", prop::collection::vec(any::<u8>(), 0..6000)),
        (qos, dup, retain) in (0u8..3, any::<bool>(), any::<bool>()),
        (number, properties, is_v5) in (1u16.., properties(), any::<bool>()),
    ) {
        let qos = Qos::from_bits(qos).expect("0 to 2");
        let (version, properties) = if is_v5 { (Version::V5, properties) } else { (Version::V3, Default::default()) };
        let packet = (qos != Qos::AtMostOnce).then(|| NonZeroU16::new(number).expect("not 0"));
        let dup = dup && packet.is_some();
        let publish = Publish { dup, qos, retain, topic: topic.into(), packet, properties, payload: payload.into() };
        let encoder = Encoder { version, maximum: 1 << 20, tells_problems: true };
        let mut out = BytesMut::new();
        encoder.publish(&mut out, &publish).expect("it is small");
        let size = out.len();
        prop_assert_eq!(read(version, out), Ok(Packet::Publish(publish.clone())));
        let narrow = Encoder { maximum: size - 1, ..encoder };
        prop_assert_eq!(narrow.publish(&mut BytesMut::new(), &publish), Err(TooLarge));
    }

    #[test]
    fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), is_v5 in any::<bool>()) {
        let mut buffer = BytesMut::from(&bytes[..]);
        let version = if is_v5 { Version::V5 } else { Version::V3 };
        while let Ok(Some(frame)) = FRAMING.next(&mut buffer) {
            drop(decode_connect(frame.clone()));
            drop(decode(version, frame));
        }
    }
}
