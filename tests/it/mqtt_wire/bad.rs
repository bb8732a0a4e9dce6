//! What neither standard allows, and what the gateway answers: each line of the tables is one connection.

use crate::harness::gateway::Gateway;

use super::wire::{CONNACK, DISCONNECT, Properties, Wire, address, bytes, noted, packet, start};

/// What a client hears before the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// CONNACK with this code.
    ConnAck(u8),
    /// DISCONNECT with this code.
    Disconnect(u8),
    /// Not a byte.
    Silence,
}

use Answer::{ConnAck, Disconnect, Silence};

/// Sends all of it and compares what comes with the answer; what is wrong.
async fn fault(mut client: Wire, sent: &[u8], answer: Answer) -> Option<String> {
    client.send(sent).await;
    let got = client.next().await;
    let after = if got.is_some() { client.next().await } else { None };
    let told = match (&got, client.version) {
        (None, _) => Silence,
        (Some(got), 4) if got.first == CONNACK && got.body.len() == 2 && got.body[0] == 0 => ConnAck(got.body[1]),
        (Some(got), 5) if got.first == CONNACK && got.body[0] == 0 && says_why(&got.body[2..]) => ConnAck(got.body[1]),
        (Some(got), 5) if got.first == DISCONNECT && says_why(&got.body[1..]) => Disconnect(got.body[0]),
        (got, _) => return Some(format!("{got:?}")),
    };
    (told != answer || after.is_some()).then(|| format!("{got:?}, then {after:?}, is not {answer:?}"))
}

/// Whether properties are a reason string and nothing else.
fn says_why(properties: &[u8]) -> bool {
    let (properties, size) = Properties::read(properties);
    size == properties_size(&properties)
        && properties.0.len() == 1
        && properties.text(0x1F).is_some_and(|why| why.len() > 8)
}

fn properties_size(properties: &Properties) -> usize {
    let content: usize = properties.0.iter().map(|(_, value)| 1 + value.len()).sum();
    content + if content > 0x7F { 2 } else { 1 }
}

/// Whether the gateway goes on.
async fn goes_on(gateway: &Gateway) {
    let mut client = Wire::connect(&address(gateway).await, 5, "good").await;
    client.publish("good", "good").await;
    client.disconnect().await;
}

/// First packets: version of the answer, bytes in the notation, what is answered.
const FIRST: &[(&str, u8, u8, &str, Answer)] = &[
    ("PINGREQ first", 4, 0xC0, "", Silence),
    ("PUBLISH first", 4, 0x30, "<a> 00", Silence),
    ("DISCONNECT first", 5, 0xE0, "", Silence),
    ("CONNACK first", 5, 0x20, "00 00 00", Silence),
    ("AUTH first", 5, 0xF0, "18 00", Silence),
    ("type 0", 5, 0x00, "", Silence),
    ("flags of CONNECT", 5, 0x11, "<MQTT> 05 02 0000 00 <a>", Silence),
    ("flags of CONNECT", 4, 0x12, "<MQTT> 04 02 0000 <a>", Silence),
    ("another protocol", 5, 0x10, "<HTTP> 05 02 0000 00 <a>", Silence),
    ("small letters", 4, 0x10, "<mqtt> 04 02 0000 <a>", Silence),
    ("no protocol", 4, 0x10, "", Silence),
    ("an empty protocol name", 4, 0x10, "0000 04 02 0000 <a>", Silence),
    ("a protocol name that ends early", 4, 0x10, "0004 'MQT'", Silence),
    ("a bridge's version", 4, 0x10, "<MQTT> 84 02 0000 <a>", ConnAck(0x84)),
    ("version 3 of MQTT", 4, 0x10, "<MQTT> 03 02 0000 <a>", ConnAck(1)),
    ("version 0", 4, 0x10, "<MQTT> 00 02 0000 <a>", ConnAck(1)),
    ("MQTT 3.1", 4, 0x10, "<MQIsdp> 03 02 0000 <a>", ConnAck(1)),
    ("version 6", 5, 0x10, "<MQTT> 06 02 0000 00 <a>", ConnAck(0x84)),
    ("version 255", 5, 0x10, "<MQTT> ff 02 0000 00 <a>", ConnAck(0x84)),
    ("the reserved flag", 4, 0x10, "<MQTT> 04 03 0000 <a>", Silence),
    ("the reserved flag", 5, 0x10, "<MQTT> 05 03 0000 00 <a>", ConnAck(0x81)),
    ("a will's QoS without a will", 4, 0x10, "<MQTT> 04 0a 0000 <a>", Silence),
    ("a will's QoS without a will", 5, 0x10, "<MQTT> 05 0a 0000 00 <a>", ConnAck(0x81)),
    ("a will's RETAIN without a will", 4, 0x10, "<MQTT> 04 22 0000 <a>", Silence),
    ("a will's RETAIN without a will", 5, 0x10, "<MQTT> 05 22 0000 00 <a>", ConnAck(0x81)),
    ("a will of QoS 3", 4, 0x10, "<MQTT> 04 1e 0000 <a> <t> <p>", Silence),
    ("a will of QoS 3", 5, 0x10, "<MQTT> 05 1e 0000 00 <a> 00 <t> <p>", ConnAck(0x81)),
    ("a will that is not there", 4, 0x10, "<MQTT> 04 06 0000 <a>", Silence),
    ("a will that is not there", 5, 0x10, "<MQTT> 05 06 0000 00 <a>", ConnAck(0x81)),
    ("a will without a payload", 5, 0x10, "<MQTT> 05 06 0000 00 <a> 00 <t>", ConnAck(0x81)),
    ("a will that was not announced", 4, 0x10, "<MQTT> 04 02 0000 <a> <t> <p>", Silence),
    ("a will that was not announced", 5, 0x10, "<MQTT> 05 02 0000 00 <a> 00 <t> <p>", ConnAck(0x81)),
    ("a will's wildcard", 4, 0x10, "<MQTT> 04 06 0000 <a> <t/+> <p>", Silence),
    ("a will's wildcard", 5, 0x10, "<MQTT> 05 06 0000 00 <a> 00 <t/#> <p>", ConnAck(0x90)),
    ("a will to nothing", 5, 0x10, "<MQTT> 05 06 0000 00 <a> 00 0000 <p>", ConnAck(0x82)),
    ("a will to $SYS", 4, 0x10, "<MQTT> 04 06 0000 <a> <$SYS/x> <p>", Silence),
    ("a will to $SYS", 5, 0x10, "<MQTT> 05 06 0000 00 <a> 00 <$SYS/x> <p>", ConnAck(0x90)),
    ("a will that is no text", 5, 0x10, "<MQTT> 05 06 0000 00 <a> 02 0101 <t> 0001ff", ConnAck(0x99)),
    ("a will's delay twice", 5, 0x10, "<MQTT> 05 06 0000 00 <a> 0a 1800000001 1800000001 <t> <p>", ConnAck(0x82)),
    ("a will with a topic alias", 5, 0x10, "<MQTT> 05 06 0000 00 <a> 03 230001 <t> <p>", ConnAck(0x81)),
    ("a will with a subscription identifier", 5, 0x10, "<MQTT> 05 06 0000 00 <a> 02 0b01 <t> <p>", ConnAck(0x81)),
    ("a will's U+0000", 5, 0x10, "<MQTT> 05 06 0000 00 <a> 00 0002 't' 00 <p>", ConnAck(0x81)),
    ("a password alone", 4, 0x10, "<MQTT> 04 42 0000 <a> <p>", Silence),
    ("a user that is not there", 4, 0x10, "<MQTT> 04 82 0000 <a>", Silence),
    ("a user that is not there", 5, 0x10, "<MQTT> 05 82 0000 00 <a>", ConnAck(0x81)),
    ("a password that is not there", 4, 0x10, "<MQTT> 04 c2 0000 <a> <u>", Silence),
    ("a user that was not announced", 4, 0x10, "<MQTT> 04 02 0000 <a> <u>", Silence),
    ("a user that is no text", 5, 0x10, "<MQTT> 05 82 0000 00 <a> 0001ff", ConnAck(0x81)),
    ("no identifier", 4, 0x10, "<MQTT> 04 02 0000", Silence),
    ("no identifier", 5, 0x10, "<MQTT> 05 02 0000 00", ConnAck(0x81)),
    ("no flags", 4, 0x10, "<MQTT> 04", Silence),
    ("half a keep alive", 5, 0x10, "<MQTT> 05 02 00", ConnAck(0x81)),
    ("an identifier that ends early", 4, 0x10, "<MQTT> 04 02 0000 0009 'abc'", Silence),
    ("an identifier that ends early", 5, 0x10, "<MQTT> 05 02 0000 00 0009 'abc'", ConnAck(0x81)),
    ("an identifier that is no text", 4, 0x10, "<MQTT> 04 02 0000 0002 c328", Silence),
    ("an identifier that is no text", 5, 0x10, "<MQTT> 05 02 0000 00 0002 c328", ConnAck(0x81)),
    ("an overlong encoding", 5, 0x10, "<MQTT> 05 02 0000 00 0002 c0af", ConnAck(0x81)),
    ("half a surrogate pair", 4, 0x10, "<MQTT> 04 02 0000 0003 eda080", Silence),
    ("half a surrogate pair", 5, 0x10, "<MQTT> 05 02 0000 00 0003 eda080", ConnAck(0x81)),
    ("a surrogate pair", 5, 0x10, "<MQTT> 05 02 0000 00 0006 eda080edb080", ConnAck(0x81)),
    ("beyond U+10FFFF", 5, 0x10, "<MQTT> 05 02 0000 00 0004 f4908080", ConnAck(0x81)),
    ("U+0000 in the identifier", 4, 0x10, "<MQTT> 04 02 0000 0003 'a' 00 'b'", Silence),
    ("U+0000 in the identifier", 5, 0x10, "<MQTT> 05 02 0000 00 0003 'a' 00 'b'", ConnAck(0x81)),
    ("a session without an identifier", 4, 0x10, "<MQTT> 04 00 0000 0000", ConnAck(2)),
    ("a byte too many", 4, 0x10, "<MQTT> 04 02 0000 <a> 00", Silence),
    ("a byte too many", 5, 0x10, "<MQTT> 05 02 0000 00 <a> 00", ConnAck(0x81)),
    ("properties that are not there", 5, 0x10, "<MQTT> 05 02 0000 09 <a>", ConnAck(0x81)),
    ("a length of properties of five bytes", 5, 0x10, "<MQTT> 05 02 0000 8080808001 <a>", ConnAck(0x81)),
    ("a length of properties that is too long", 5, 0x10, "<MQTT> 05 02 0000 8000 <a>", ConnAck(0x81)),
    ("a property that there is not", 5, 0x10, "<MQTT> 05 02 0000 02 7f01 <a>", ConnAck(0x81)),
    ("property 0", 5, 0x10, "<MQTT> 05 02 0000 02 0001 <a>", ConnAck(0x81)),
    ("a property of two bytes", 5, 0x10, "<MQTT> 05 02 0000 03 810101 <a>", ConnAck(0x81)),
    ("a server's property", 5, 0x10, "<MQTT> 05 02 0000 02 2401 <a>", ConnAck(0x81)),
    ("a publish's property", 5, 0x10, "<MQTT> 05 02 0000 02 0101 <a>", ConnAck(0x81)),
    ("a property that ends early", 5, 0x10, "<MQTT> 05 02 0000 03 110000 <a>", ConnAck(0x81)),
    ("receive maximum 0", 5, 0x10, "<MQTT> 05 02 0000 03 210000 <a>", ConnAck(0x82)),
    ("receive maximum twice", 5, 0x10, "<MQTT> 05 02 0000 06 210001 210001 <a>", ConnAck(0x82)),
    ("maximum packet size 0", 5, 0x10, "<MQTT> 05 02 0000 05 2700000000 <a>", ConnAck(0x82)),
    ("maximum packet size twice", 5, 0x10, "<MQTT> 05 02 0000 0a 2700000100 2700000100 <a>", ConnAck(0x82)),
    ("session expiry twice", 5, 0x10, "<MQTT> 05 02 0000 0a 1100000001 1100000001 <a>", ConnAck(0x82)),
    ("topic alias maximum twice", 5, 0x10, "<MQTT> 05 02 0000 06 220001 220001 <a>", ConnAck(0x82)),
    ("request problem information 2", 5, 0x10, "<MQTT> 05 02 0000 02 1702 <a>", ConnAck(0x82)),
    ("request problem information twice", 5, 0x10, "<MQTT> 05 02 0000 04 1701 1701 <a>", ConnAck(0x82)),
    ("request response information 2", 5, 0x10, "<MQTT> 05 02 0000 02 1902 <a>", ConnAck(0x82)),
    ("request response information twice", 5, 0x10, "<MQTT> 05 02 0000 04 1901 1901 <a>", ConnAck(0x82)),
    ("a user property that is no text", 5, 0x10, "<MQTT> 05 02 0000 07 26 0001ff <v> <a>", ConnAck(0x81)),
    ("a user property without a value", 5, 0x10, "<MQTT> 05 02 0000 04 26 <n> <a>", ConnAck(0x81)),
    ("authentication data without a method", 5, 0x10, "<MQTT> 05 02 0000 04 16 <d> <a>", ConnAck(0x82)),
    ("an authentication method", 5, 0x10, "<MQTT> 05 02 0000 04 15 <m> <a>", ConnAck(0x8C)),
    ("authentication methods", 5, 0x10, "<MQTT> 05 02 0000 08 15 <m> 15 <m> <a>", ConnAck(0x82)),
];

#[tokio::test]
async fn first_packets() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut wrong = Vec::new();
    for (name, version, first, body, answer) in FIRST {
        let mut client = Wire::open(&at).await;
        // Whoever says that it speaks something newer is told so in the newest words that there are.
        client.version = if matches!(answer, ConnAck(0x80..)) { 5 } else { *version };
        let fault = fault(client, &noted(*first, body), *answer).await;
        wrong.extend(fault.map(|fault| format!("{name} ({version}): {fault}")));
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), FIRST.len(), wrong.join("\n"));
    goes_on(&gateway).await;
}

type Later = (&'static str, u8, Option<&'static str>, Option<&'static str>, u8);

/// Packets of a client that was let in: what it is called, its first byte, what follows in 3.1.1 and in 5.0, what 5.0 is told; 3.1.1 is
/// closed.
const LATER: &[Later] = &[
    ("a second CONNECT", 0x10, Some("<MQTT> 04 02 0000 <b>"), Some("<MQTT> 05 02 0000 00 <b>"), 0x82),
    ("type 0", 0x00, Some(""), Some(""), 0x81),
    ("CONNACK", 0x20, Some("0000"), Some("0000 00"), 0x82),
    ("SUBACK", 0x90, Some("0001 00"), Some("0001 00 00"), 0x82),
    ("UNSUBACK", 0xB0, Some("0001"), Some("0001 00 00"), 0x82),
    ("PINGRESP", 0xD0, Some(""), Some(""), 0x82),
    ("AUTH without a method", 0xF0, Some(""), Some(""), 0x82),
    ("AUTH 0x19 without a method", 0xF0, None, Some("19 00"), 0x82),
    ("AUTH with flags", 0xF1, None, Some("18 00"), 0x81),
    ("AUTH with a reason of its own", 0xF0, None, Some("87 00"), 0x82),
    // PUBLISH
    ("QoS 3", 0x36, Some("<t> 0001"), Some("<t> 0001 00"), 0x81),
    ("DUP of QoS 0", 0x38, Some("<t>"), Some("<t> 00"), 0x81),
    ("no topic", 0x30, Some(""), Some(""), 0x81),
    ("a topic that ends early", 0x30, Some("0005 'abc'"), Some("0005 'abc'"), 0x81),
    ("an empty topic", 0x30, Some("0000"), Some("0000 00"), 0x82),
    ("a topic with +", 0x30, Some("<a/+/b>"), Some("<a/+/b> 00"), 0x90),
    ("a topic with #", 0x30, Some("<a/#>"), Some("<a/#> 00"), 0x90),
    ("a topic with + in a level", 0x32, Some("<a+b> 0001"), Some("<a+b> 0001 00"), 0x90),
    ("U+0000 in the topic", 0x30, Some("0003 'a' 00 'b'"), Some("0003 'a' 00 'b' 00"), 0x81),
    ("a topic that is no text", 0x30, Some("0002 c328"), Some("0002 c328 00"), 0x81),
    ("half a surrogate pair in the topic", 0x30, Some("0003 eda080"), Some("0003 eda080 00"), 0x81),
    ("packet identifier 0 with QoS 1", 0x32, Some("<t> 0000"), Some("<t> 0000 00"), 0x82),
    ("packet identifier 0 with QoS 2", 0x34, Some("<t> 0000"), Some("<t> 0000 00"), 0x82),
    ("no packet identifier", 0x32, Some("<t>"), Some("<t>"), 0x81),
    ("no properties", 0x30, None, Some("<t>"), 0x81),
    ("properties that are not there", 0x30, None, Some("<t> 05 01"), 0x81),
    ("topic alias 0", 0x30, None, Some("<t> 03 230000"), 0x94),
    ("topic alias 11", 0x30, None, Some("<t> 03 23000b"), 0x94),
    ("topic alias 65535", 0x30, None, Some("<t> 03 23ffff"), 0x94),
    ("a topic alias that stands for nothing", 0x30, None, Some("0000 03 230001"), 0x82),
    ("topic alias twice", 0x30, None, Some("<t> 06 230001 230001"), 0x82),
    ("a subscription identifier", 0x30, None, Some("<t> 02 0b01"), 0x82),
    ("payload format indicator 2", 0x30, None, Some("<t> 02 0102"), 0x82),
    ("payload format indicator twice", 0x30, None, Some("<t> 04 0101 0101"), 0x82),
    ("message expiry twice", 0x30, None, Some("<t> 0a 0200000001 0200000001"), 0x82),
    ("content type twice", 0x30, None, Some("<t> 08 03 <a> 03 <a>"), 0x82),
    ("response topic twice", 0x30, None, Some("<t> 08 08 <a> 08 <a>"), 0x82),
    ("correlation data twice", 0x30, None, Some("<t> 08 09 <a> 09 <a>"), 0x82),
    ("response topic with +", 0x30, None, Some("<t> 04 08 <+>"), 0x82),
    ("response topic with #", 0x30, None, Some("<t> 06 08 <a/#>"), 0x82),
    ("U+0000 in the response topic", 0x30, None, Some("<t> 04 08 0001 00"), 0x81),
    ("a content type that is no text", 0x30, None, Some("<t> 04 03 0001 ff"), 0x81),
    ("a user property that is no text", 0x30, None, Some("<t> 07 26 <n> 0001 ff"), 0x81),
    ("half a user property", 0x30, None, Some("<t> 04 26 <n>"), 0x81),
    ("a session's property", 0x30, None, Some("<t> 05 1100000001"), 0x81),
    ("a property that there is not", 0x30, None, Some("<t> 02 7f00"), 0x81),
    ("a reason string", 0x30, None, Some("<t> 04 1f <a>"), 0x81),
    // Acknowledgements
    ("PUBACK with flags", 0x42, Some("0001"), Some("0001"), 0x81),
    ("PUBREC with flags", 0x51, Some("0001"), Some("0001"), 0x81),
    ("PUBREL without its flag", 0x60, Some("0001"), Some("0001"), 0x81),
    ("PUBREL with flags 3", 0x63, Some("0001"), Some("0001"), 0x81),
    ("PUBCOMP with flags", 0x72, Some("0001"), Some("0001"), 0x81),
    ("PUBACK of nothing", 0x40, Some(""), Some(""), 0x81),
    ("PUBACK with half an identifier", 0x40, Some("00"), Some("00"), 0x81),
    ("PUBACK of 0", 0x40, Some("0000"), Some("0000"), 0x82),
    ("PUBREL of 0", 0x62, Some("0000"), Some("0000"), 0x82),
    ("PUBACK with more", 0x40, Some("0001 00"), Some("0001 00 00 00"), 0x81),
    ("PUBACK with a reason that it has not", 0x40, None, Some("0001 01"), 0x82),
    ("PUBREC with a reason of PUBREL", 0x50, None, Some("0001 92"), 0x82),
    ("PUBREL with a reason of PUBREC", 0x62, None, Some("0001 10"), 0x82),
    ("PUBCOMP with a reason that there is not", 0x70, None, Some("0001 ff"), 0x82),
    ("PUBACK with two reason strings", 0x40, None, Some("0001 80 08 1f <a> 1f <a>"), 0x82),
    ("PUBACK with a publish's property", 0x40, None, Some("0001 80 02 0101"), 0x81),
    // SUBSCRIBE
    ("SUBSCRIBE without its flag", 0x80, Some("0001 <a> 00"), Some("0001 00 <a> 00"), 0x81),
    ("SUBSCRIBE with flags 3", 0x83, Some("0001 <a> 00"), Some("0001 00 <a> 00"), 0x81),
    ("SUBSCRIBE of nothing", 0x82, Some("0001"), Some("0001 00"), 0x82),
    ("SUBSCRIBE with identifier 0", 0x82, Some("0000 <a> 00"), Some("0000 00 <a> 00"), 0x82),
    ("SUBSCRIBE without options", 0x82, Some("0001 <a>"), Some("0001 00 <a>"), 0x81),
    ("SUBSCRIBE that ends within a filter", 0x82, Some("0001 <a> 00 0009 'a'"), Some("0001 00 <a> 00 0009 'a'"), 0x81),
    ("SUBSCRIBE with QoS 3", 0x82, Some("0001 <a> 03"), Some("0001 00 <a> 03"), 0x82),
    ("SUBSCRIBE with option bit 2 of 3.1.1", 0x82, Some("0001 <a> 04"), None, 0x81),
    ("SUBSCRIBE with reserved bit 6", 0x82, Some("0001 <a> 40"), Some("0001 00 <a> 40"), 0x81),
    ("SUBSCRIBE with reserved bit 7", 0x82, Some("0001 <a> 80"), Some("0001 00 <a> 80"), 0x81),
    ("SUBSCRIBE with retain handling 3", 0x82, None, Some("0001 00 <a> 30"), 0x82),
    ("a good filter and a bad one", 0x82, Some("0001 <a> 00 <a#> 00"), Some("0001 00 <a> 00 <a#> 00"), 0x8F),
    ("an empty filter", 0x82, Some("0001 0000 00"), Some("0001 00 0000 00"), 0x8F),
    ("# beside a character", 0x82, Some("0001 <a/b#> 00"), Some("0001 00 <a/b#> 00"), 0x8F),
    ("# before the end", 0x82, Some("0001 <a/#/b> 00"), Some("0001 00 <a/#/b> 00"), 0x8F),
    ("#/", 0x82, Some("0001 <#/> 00"), Some("0001 00 <#/> 00"), 0x8F),
    ("##", 0x82, Some("0001 <##> 00"), Some("0001 00 <##> 00"), 0x8F),
    ("+ beside a character", 0x82, Some("0001 <a+/b> 00"), Some("0001 00 <a+/b> 00"), 0x8F),
    ("++", 0x82, Some("0001 <++> 00"), Some("0001 00 <++> 00"), 0x8F),
    ("U+0000 in a filter", 0x82, Some("0001 0003 'a' 00 'b' 00"), Some("0001 00 0003 'a' 00 'b' 00"), 0x81),
    ("a filter that is no text", 0x82, Some("0001 0001 ff 00"), Some("0001 00 0001 ff 00"), 0x81),
    ("a share without a name", 0x82, None, Some("0001 00 <$share//a> 00"), 0x8F),
    ("a share with a wildcard", 0x82, None, Some("0001 00 <$share/+/a> 00"), 0x8F),
    ("a share with # in its name", 0x82, None, Some("0001 00 <$share/g#/a> 00"), 0x8F),
    ("a share without a filter", 0x82, None, Some("0001 00 <$share/g/> 00"), 0x8F),
    ("a share that ends", 0x82, None, Some("0001 00 <$share/g> 00"), 0x8F),
    ("a share with a bad filter", 0x82, None, Some("0001 00 <$share/g/a#> 00"), 0x8F),
    ("a share with No Local", 0x82, None, Some("0001 00 <$share/g/a> 05"), 0x82),
    ("subscription identifier 0", 0x82, None, Some("0001 02 0b00 <a> 00"), 0x82),
    ("two subscription identifiers", 0x82, None, Some("0001 04 0b01 0b02 <a> 00"), 0x82),
    ("a subscription identifier of five bytes", 0x82, None, Some("0001 06 0bffffffff01 <a> 00"), 0x81),
    ("a subscription identifier that is too long", 0x82, None, Some("0001 03 0b8100 <a> 00"), 0x81),
    ("SUBSCRIBE with a publish's property", 0x82, None, Some("0001 03 230001 <a> 00"), 0x81),
    // UNSUBSCRIBE
    ("UNSUBSCRIBE without its flag", 0xA0, Some("0001 <a>"), Some("0001 00 <a>"), 0x81),
    ("UNSUBSCRIBE of nothing", 0xA2, Some("0001"), Some("0001 00"), 0x82),
    ("UNSUBSCRIBE with identifier 0", 0xA2, Some("0000 <a>"), Some("0000 00 <a>"), 0x82),
    ("UNSUBSCRIBE that ends within a filter", 0xA2, Some("0001 0009 'a'"), Some("0001 00 0009 'a'"), 0x81),
    ("UNSUBSCRIBE from an empty filter", 0xA2, Some("0001 0000"), Some("0001 00 0000"), 0x8F),
    ("UNSUBSCRIBE from a bad filter", 0xA2, Some("0001 <a#>"), Some("0001 00 <a#>"), 0x8F),
    ("UNSUBSCRIBE with a subscription identifier", 0xA2, None, Some("0001 02 0b01 <a>"), 0x81),
    // PINGREQ and DISCONNECT
    ("PINGREQ with a body", 0xC0, Some("00"), Some("00"), 0x81),
    ("PINGREQ with flags", 0xC8, Some(""), Some(""), 0x81),
    ("DISCONNECT with flags", 0xE1, Some(""), Some(""), 0x81),
    ("DISCONNECT with a body", 0xE0, Some("00"), Some("00 00 00"), 0x81),
    ("DISCONNECT with a reason that there is not", 0xE0, None, Some("05"), 0x82),
    ("DISCONNECT with a server's reason", 0xE0, None, Some("8e"), 0x82),
    ("DISCONNECT with a reason of CONNACK", 0xE0, None, Some("85"), 0x82),
    ("DISCONNECT with session expiry twice", 0xE0, None, Some("00 0a 1100000001 1100000001"), 0x82),
    ("DISCONNECT that gives time to a session that has none", 0xE0, None, Some("00 05 1100000001"), 0x82),
    ("DISCONNECT with a server reference", 0xE0, None, Some("00 04 1c <a>"), 0x81),
    ("DISCONNECT with properties that are not there", 0xE0, None, Some("00 09"), 0x81),
];

#[tokio::test]
async fn later_packets() {
    let gateway = start("");
    let at = address(&gateway).await;
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (name, first, v3, v5, reason) in LATER {
        for (version, body, answer) in [(4, v3, Silence), (5, v5, Disconnect(*reason))] {
            let Some(body) = body else { continue };
            let client = Wire::connect(&at, version, "bad").await;
            let fault = fault(client, &noted(*first, body), answer).await;
            wrong.extend(fault.map(|fault| format!("{name} ({version}): {fault}")));
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 170, "only {count}");
    goes_on(&gateway).await;
}

/// What no packet can begin with: sent as it stands.
const LENGTHS: &[(&str, &str, u8)] = &[
    ("a length of five bytes", "30 ffffffff 01", 0x81),
    ("a length of four bytes that go on", "c0 80808080", 0x81),
    ("a length that is written too long", "c0 8000", 0x81),
    ("256 MiB", "30 ffffff7f", 0x95),
    ("one byte over what is taken", "30 fdff03", 0x95),
];

#[tokio::test]
async fn lengths() {
    let gateway = start("");
    let at = address(&gateway).await;
    for (name, sent, reason) in LENGTHS {
        for (version, answer) in [(4, Silence), (5, Disconnect(*reason))] {
            let client = Wire::connect(&at, version, "bad").await;
            assert_eq!(fault(client, &bytes(sent), answer).await, None, "{name} ({version})");
        }
    }
    goes_on(&gateway).await;
}

#[tokio::test]
async fn who_sends_too_much_hears_why() {
    let gateway = start("");
    let at = address(&gateway).await;
    let much = packet(0x30, [&bytes("<t> 00")[..], &vec![b'x'; 4 << 20]].concat());
    let mut client = Wire::connect(&at, 5, "bad").await;
    client.send(&much).await; // all of it can be sent, though none of it is taken
    client.ended(0x95).await;
    let name = vec![b'x'; 65_000];
    let connect = |version| packet(0x10, [&bytes(version)[..], &[0xFD, 0xE8], &name, &vec![b'y'; 1000]].concat());
    for (version, body, answer) in [(5, "<MQTT> 05 02 0000 00", ConnAck(0x95)), (4, "<MQTT> 04 02 0000", Silence)] {
        let mut client = Wire::open(&at).await;
        client.version = version;
        assert_eq!(fault(client, &connect(body), answer).await, None, "a CONNECT that is too large");
    }
    goes_on(&gateway).await;
}

#[tokio::test]
async fn what_follows_a_bad_packet_is_not_looked_at() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut watcher = Wire::connect(&at, 5, "watcher").await;
    watcher.subscribe("after/#", 0, "").await;
    for version in [4, 5] {
        let mut client = Wire::connect(&at, version, "bad").await;
        let publish = if version == 5 { "<after/it> 00 'x'" } else { "<after/it> 'x'" };
        client.send([noted(0xC0, "00"), noted(0x30, publish)].concat()).await;
        client.ended(0x81).await;
        let mut client = Wire::open(&at).await;
        client.version = version;
        let refused = format!("<MQTT> {version:02x} 03 0000 {} <a>", if version == 5 { "00" } else { "" });
        client.send([noted(0x10, &refused), noted(0x30, publish)].concat()).await;
        if version == 5 {
            assert_eq!(client.next().await.expect("a CONNACK").body[1], 0x81);
        }
        client.closed().await;
    }
    watcher.nothing().await;
}

#[tokio::test]
#[cfg(target_os = "linux")] // only there a process shows its files
async fn nothing_is_left_behind() {
    const GROWTH: usize = 16 << 20;
    let gateway = start("");
    let at = address(&gateway).await;
    let files = || std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).expect("it lives").count();
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
    };
    goes_on(&gateway).await;
    let (before, mut first) = (files(), 0);
    for round in 0..3 {
        for (_, version, kind, body, answer) in FIRST {
            let mut client = Wire::open(&at).await;
            client.version = *version;
            drop(fault(client, &noted(*kind, body), *answer).await);
        }
        for (_, kind, _, body, reason) in LATER {
            let Some(body) = body else { continue };
            let client = Wire::connect(&at, 5, "bad").await;
            drop(fault(client, &noted(*kind, body), Disconnect(*reason)).await);
        }
        if round == 0 {
            first = resident();
        }
    }
    let grown = resident().saturating_sub(first);
    assert!(grown < GROWTH, "{grown} bytes more than after the first round");
    crate::harness::eventually("every connection is closed", async || (files() <= before).then_some(())).await;
    goes_on(&gateway).await;
}
