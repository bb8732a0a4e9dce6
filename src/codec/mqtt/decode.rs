//! Packets of clients, read.

use bytes::Bytes;
use meshgate_api::Str;

use super::{
    Ack, AckKind, Connect, Disconnect, Fault, Filter, Frame, Packet, PacketType, Publish, Qos, Reason, RetainHandling,
    Subscribe, Unsubscribe, Version, Will,
    properties::{Of, Properties},
    reader::Reader,
};

/// Bytes of a CONNECT's body up to its protocol version.
const SAYS_VERSION: usize = 7;

/// Reads the first packet of a connection, which is CONNECT [MQTT-3.1.0-1]. With the fault comes the version in which it is to be told,
/// if the client has said one: else the connection is closed without a word.
pub fn decode_connect(frame: Frame) -> Result<Connect, (Option<Version>, Fault)> {
    if frame.kind != PacketType::Connect {
        return Err((None, Fault::protocol(format!("the first packet is {:?}, it must be CONNECT", frame.kind))));
    }
    let mut reader = Reader::new(frame.body);
    let version = version(&mut reader)?;
    connect(version, reader).map_err(|fault| (Some(version), fault))
}

/// The version that a CONNECT says which is not all there, as far as it is: in it a fault of the whole packet can be told.
#[must_use]
pub fn said_version(connect: &[u8]) -> Option<Version> {
    let length = connect.get(1..)?.iter().take(4).position(|byte| byte & 0x80 == 0)? + 1;
    let start = connect.get(1 + length..)?;
    version(&mut Reader::new(Bytes::copy_from_slice(&start[..start.len().min(SAYS_VERSION)]))).ok()
}

/// Reads any later packet.
pub fn decode(version: Version, frame: Frame) -> Result<Packet, Fault> {
    let Frame { kind, flags, body } = frame;
    let reader = Reader::new(body);
    match kind {
        PacketType::Connect => Err(Fault::protocol("a second CONNECT")), // [MQTT-3.1.0-2]
        PacketType::Publish => publish(version, flags, reader).map(Packet::Publish),
        PacketType::PubAck => ack(version, AckKind::PubAck, reader),
        PacketType::PubRec => ack(version, AckKind::PubRec, reader),
        PacketType::PubRel => ack(version, AckKind::PubRel, reader),
        PacketType::PubComp => ack(version, AckKind::PubComp, reader),
        PacketType::Subscribe => subscribe(version, reader).map(Packet::Subscribe),
        PacketType::Unsubscribe => unsubscribe(version, reader).map(Packet::Unsubscribe),
        PacketType::PingReq => reader.end("PINGREQ").map(|()| Packet::PingReq),
        PacketType::Disconnect => disconnect(version, reader).map(Packet::Disconnect),
        PacketType::Auth => auth(version, reader).map(Packet::Auth),
    }
}

/// Sections 3.1.2.1 and 3.1.2.2.
fn version(reader: &mut Reader) -> Result<Version, (Option<Version>, Fault)> {
    let silent = |fault| (None, fault);
    let name = reader.text("the protocol name").map_err(silent)?;
    let level = reader.u8("the protocol version").map_err(silent)?;
    let unsupported = |detail: String| Fault::new(Reason::UnsupportedVersion, detail);
    match (&*name, level) {
        ("MQTT", 4) => Ok(Version::V3),
        ("MQTT", 5) => Ok(Version::V5),
        ("MQTT", other) => {
            let told = if other > 5 { Version::V5 } else { Version::V3 };
            Err((Some(told), unsupported(format!("MQTT of protocol version {other}: 4 (3.1.1) and 5 are spoken here"))))
        }
        ("MQIsdp", _) => Err((Some(Version::V3), unsupported("MQTT 3.1: 3.1.1 and 5.0 are spoken here".to_owned()))),
        _ => Err((None, unsupported("the protocol name is not MQTT".to_owned()))),
    }
}

/// Sections 3.1.2.3 to 3.1.3.
fn connect(version: Version, mut reader: Reader) -> Result<Connect, Fault> {
    let flags = reader.u8("the connect flags")?;
    let has = |bit: u8| flags & bit != 0;
    if has(0x01) {
        return Err(Fault::malformed("the reserved connect flag is set")); // [MQTT-3.1.2-3]
    }
    let will_qos = Qos::from_bits((flags >> 3) & 3).ok_or_else(|| Fault::malformed("the will's QoS is 3"))?;
    if !has(0x04) && (will_qos != Qos::AtMostOnce || has(0x20)) {
        return Err(Fault::malformed("a will's QoS or RETAIN without a will")); // [MQTT-3.1.2-11], [MQTT-3.1.2-13]
    }
    if version == Version::V3 && has(0x40) && !has(0x80) {
        return Err(Fault::malformed("a password without a user name")); // 3.1.1 [MQTT-3.1.2-22]
    }
    let keep_alive = reader.u16("the keep alive")?;
    let properties = read_properties(version, &mut reader, Of::Connect)?;
    let client_id = reader.text("the client identifier")?;
    let clean_start = has(0x02);
    if version == Version::V3 && client_id.is_empty() && !clean_start {
        // 3.1.1 [MQTT-3.1.3-8]
        return Err(Fault::new(Reason::ClientIdInvalid, "a client without an identifier has no session to keep"));
    }
    let will = has(0x04).then(|| will(version, &mut reader, will_qos, has(0x20))).transpose()?;
    let username = has(0x80).then(|| reader.text("the user name")).transpose()?;
    let password = has(0x40).then(|| reader.binary("the password")).transpose()?;
    reader.end("CONNECT")?;
    Ok(Connect {
        version,
        clean_start,
        keep_alive,
        client_id,
        will,
        username,
        password,
        session_expiry: properties.session_expiry,
        receive_maximum: properties.receive_maximum.map_or(u16::MAX, Into::into),
        maximum_packet: properties.maximum_packet,
        topic_alias_maximum: properties.topic_alias_maximum.unwrap_or(0),
        request_response_information: properties.request_response_information.unwrap_or(false),
        request_problem_information: properties.request_problem_information.unwrap_or(true),
        authentication_method: properties.authentication_method,
        user: properties.publish.user,
    })
}

fn will(version: Version, reader: &mut Reader, qos: Qos, retain: bool) -> Result<Will, Fault> {
    let properties = read_properties(version, reader, Of::Will)?;
    let topic = reader.text("the will's topic")?;
    check_topic(&topic)?;
    let payload = reader.binary("the will's payload")?;
    let delay = properties.will_delay.unwrap_or(0);
    Ok(Will { topic, payload, qos, retain, delay, properties: properties.publish })
}

/// Section 3.3.
fn publish(version: Version, flags: u8, mut reader: Reader) -> Result<Publish, Fault> {
    let qos = Qos::from_bits((flags >> 1) & 3).ok_or_else(|| Fault::malformed("the QoS is 3"))?; // [MQTT-3.3.1-4]
    let (dup, retain) = (flags & 8 != 0, flags & 1 != 0);
    if dup && qos == Qos::AtMostOnce {
        return Err(Fault::malformed("DUP with QoS 0")); // [MQTT-3.3.1-2]
    }
    let topic = reader.text("the topic name")?;
    let packet = (qos != Qos::AtMostOnce).then(|| reader.packet_identifier()).transpose()?;
    let properties = read_properties(version, &mut reader, Of::Publish)?.publish;
    if !topic.is_empty() {
        check_topic(&topic)?;
    } else if properties.topic_alias.is_none() {
        return Err(Fault::protocol("the topic name is empty, and there is no topic alias")); // [MQTT-4.7.3-1]
    }
    Ok(Publish { dup, qos, retain, topic, packet, properties, payload: reader.rest() })
}

/// A topic name has no wildcards [MQTT-3.3.2-2] and at least one character [MQTT-4.7.3-1].
fn check_topic(topic: &Str) -> Result<(), Fault> {
    if topic.is_empty() {
        return Err(Fault::protocol("a topic name is not empty"));
    }
    if topic.contains(['+', '#']) {
        return Err(Fault::new(Reason::TopicNameInvalid, "a topic name holds no wildcards"));
    }
    Ok(())
}

/// Sections 3.4 to 3.7.
fn ack(version: Version, kind: AckKind, mut reader: Reader) -> Result<Packet, Fault> {
    let packet = reader.packet_identifier()?;
    let mut reason = Reason::Success;
    if version == Version::V5 && !reader.is_empty() {
        reason = self::reason(&mut reader, |reason| may_acknowledge(kind, reason))?;
        if !reader.is_empty() {
            Properties::read(&mut reader, Of::Ack)?;
        }
    }
    reader.end("an acknowledgement")?;
    Ok(Packet::Ack(Ack { kind, packet, reason }))
}

fn may_acknowledge(kind: AckKind, reason: Reason) -> bool {
    use Reason::{
        ImplementationSpecific, NoMatchingSubscribers, NotAuthorized, PacketIdentifierInUse, PacketIdentifierNotFound,
        PayloadFormatInvalid, QuotaExceeded, Success, TopicNameInvalid, Unspecified,
    };
    match kind {
        AckKind::PubAck | AckKind::PubRec => matches!(
            reason,
            Success
                | NoMatchingSubscribers
                | Unspecified
                | ImplementationSpecific
                | NotAuthorized
                | TopicNameInvalid
                | PacketIdentifierInUse
                | QuotaExceeded
                | PayloadFormatInvalid
        ),
        AckKind::PubRel | AckKind::PubComp => matches!(reason, Success | PacketIdentifierNotFound),
    }
}

/// Section 3.8.
fn subscribe(version: Version, mut reader: Reader) -> Result<Subscribe, Fault> {
    let packet = reader.packet_identifier()?;
    let properties = read_properties(version, &mut reader, Of::Subscribe)?;
    let mut filters = Vec::new();
    while !reader.is_empty() {
        let filter = reader.text("a topic filter")?;
        let options = reader.u8("subscription options")?;
        filters.push(subscription(version, filter, options)?);
    }
    if filters.is_empty() {
        return Err(Fault::protocol("SUBSCRIBE without a topic filter")); // [MQTT-3.8.3-2]
    }
    Ok(Subscribe { packet, identifier: properties.publish.subscriptions.first().copied(), filters })
}

fn subscription(version: Version, filter: Str, options: u8) -> Result<Filter, Fault> {
    let reserved = if version == Version::V3 { 0xFC } else { 0xC0 };
    if options & reserved != 0 {
        return Err(Fault::malformed("reserved subscription options are set")); // [MQTT-3.8.3-5]
    }
    let qos = Qos::from_bits(options & 3).ok_or_else(|| Fault::protocol("the maximum QoS is 3"))?;
    let retain_handling = match (options >> 4) & 3 {
        0 => RetainHandling::Send,
        1 => RetainHandling::SendIfNew,
        2 => RetainHandling::DoNotSend,
        _ => return Err(Fault::protocol("the retain handling is 3")),
    };
    let no_local = options & 4 != 0;
    check_filter(version, &filter)?;
    if no_local && filter.starts_with("$share/") {
        return Err(Fault::protocol("No Local with a shared subscription")); // [MQTT-3.8.3-4]
    }
    Ok(Filter { filter, qos, no_local, retain_as_published: options & 8 != 0, retain_handling })
}

/// Section 4.7.1: where wildcards may stand; and 4.8.2 of 5.0: what a shared subscription looks like. To 3.1.1 it is a filter like others.
fn check_filter(version: Version, filter: &str) -> Result<(), Fault> {
    let invalid =
        |detail: &str| Err(Fault::new(Reason::TopicFilterInvalid, format!("the topic filter {filter:?}: {detail}")));
    let plain = match filter.strip_prefix("$share/").filter(|_| version == Version::V5) {
        None => filter,
        Some(shared) => match shared.split_once('/') {
            Some((group, _)) if group.is_empty() || group.contains(['+', '#']) => {
                return invalid("a share name has at least one character, and no wildcards");
            }
            Some((_, filter)) => filter,
            None => return invalid("a shared subscription is $share/, a name, / and a filter"),
        },
    };
    if plain.is_empty() {
        return invalid("it is not empty");
    }
    let mut levels = plain.split('/').peekable();
    while let Some(level) = levels.next() {
        match level {
            "+" => {}
            "#" if levels.peek().is_none() => {}
            "#" => return invalid("# is the last level"),
            other if other.contains(['+', '#']) => return invalid("a wildcard is a whole level"),
            _ => {}
        }
    }
    Ok(())
}

/// Section 3.10.
fn unsubscribe(version: Version, mut reader: Reader) -> Result<Unsubscribe, Fault> {
    let packet = reader.packet_identifier()?;
    read_properties(version, &mut reader, Of::Unsubscribe)?;
    let mut filters = Vec::new();
    while !reader.is_empty() {
        let filter = reader.text("a topic filter")?;
        check_filter(version, &filter)?;
        filters.push(filter);
    }
    if filters.is_empty() {
        return Err(Fault::protocol("UNSUBSCRIBE without a topic filter")); // [MQTT-3.10.3-2]
    }
    Ok(Unsubscribe { packet, filters })
}

/// Section 3.14.
fn disconnect(version: Version, mut reader: Reader) -> Result<Disconnect, Fault> {
    let (mut reason, mut session_expiry) = (Reason::Success, None);
    if version == Version::V5 && !reader.is_empty() {
        reason = self::reason(&mut reader, may_disconnect)?;
        if !reader.is_empty() {
            session_expiry = Properties::read(&mut reader, Of::Disconnect)?.session_expiry;
        }
    }
    reader.end("DISCONNECT")?;
    Ok(Disconnect { reason, session_expiry })
}

/// Table 3-10: what clients may say; the other codes are for servers.
fn may_disconnect(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Success
            | Reason::DisconnectWithWill
            | Reason::Unspecified
            | Reason::MalformedPacket
            | Reason::ProtocolError
            | Reason::ImplementationSpecific
            | Reason::TopicNameInvalid
            | Reason::ReceiveMaximumExceeded
            | Reason::TopicAliasInvalid
            | Reason::PacketTooLarge
            | Reason::MessageRateTooHigh
            | Reason::QuotaExceeded
            | Reason::AdministrativeAction
            | Reason::PayloadFormatInvalid
    )
}

/// Section 3.15.
fn auth(version: Version, mut reader: Reader) -> Result<Reason, Fault> {
    if version == Version::V3 {
        return Err(Fault::malformed("AUTH, which MQTT 3.1.1 has not"));
    }
    let mut reason = Reason::Success;
    if !reader.is_empty() {
        let may_be =
            |reason| matches!(reason, Reason::Success | Reason::ContinueAuthentication | Reason::ReAuthenticate);
        reason = self::reason(&mut reader, may_be)?;
        if !reader.is_empty() {
            Properties::read(&mut reader, Of::Auth)?;
        }
    }
    reader.end("AUTH")?;
    Ok(reason)
}

fn read_properties(version: Version, reader: &mut Reader, of: Of) -> Result<Properties, Fault> {
    match version {
        Version::V3 => Ok(Properties::default()),
        Version::V5 => Properties::read(reader, of),
    }
}

/// A reason code that this packet may have.
fn reason(reader: &mut Reader, may_be: impl Fn(Reason) -> bool) -> Result<Reason, Fault> {
    let code = reader.u8("the reason code")?;
    let known = Reason::from_code(code).filter(|reason| may_be(*reason));
    known.ok_or_else(|| Fault::protocol(format!("the reason code {code:#04x}, which this packet has not")))
}
