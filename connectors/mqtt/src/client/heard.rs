//! What a connection tells, in words that fit both versions of MQTT.

use bytes::Bytes;
use meshgate_api::{
    Str,
    binding::mqtt::{Properties, Rare},
};
use rumqttc::{
    Outgoing,
    v5::{
        self, ConnectionError, StateError,
        mqttbytes::v5::{ConnectReturnCode, PubAckReason, PublishProperties, SubscribeReasonCode},
    },
};

/// What a connection tells.
#[derive(Debug)]
pub(crate) enum Heard {
    /// It stands.
    Welcome(Welcome),
    /// The publish that the client took next is on the wire, under this packet identifier.
    Sent(u16),
    /// The broker's word on it.
    Confirmed(u16, Verdict),
    /// The subscription that was asked for stands, or why it does not.
    Subscribed(Result<(), String>),
    Unsubscribed,
    Arrived(Arrival),
    /// rumqttc holds a publish back because another one has its packet identifier: it may hold it for ever.
    Stuck,
    /// Nothing that matters.
    Other,
}

/// What the broker says when a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Welcome {
    /// It had kept the session.
    pub(crate) resumed: bool,
    /// Publishes that may be unconfirmed.
    pub(crate) receive: u16,
    /// Bytes of the largest packet that it takes.
    pub(crate) largest: Option<usize>,
    /// Quality of service 1 is there.
    pub(crate) confirms: bool,
    pub(crate) retains: bool,
    pub(crate) shares: bool,
    /// It tells of which subscription a packet is.
    pub(crate) identifies: bool,
}

/// What the broker makes of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Taken,
    NotAuthorized,
    TopicInvalid,
    PayloadInvalid,
    QuotaExceeded,
    /// For a reason of its own.
    Refused,
    /// It takes the packet identifier for another publish's.
    Confused,
}

/// A publish that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// 0 if it is not to be confirmed.
    pub(crate) packet: u16,
    pub(crate) topic: Bytes,
    pub(crate) payload: Bytes,
    /// With MQTT 5.
    pub(crate) properties: Option<Properties>,
    /// Of which subscriptions it is, where the broker tells.
    pub(crate) subscriptions: Vec<usize>,
    /// It is one that the broker had kept, not a new one.
    pub(crate) retained: bool,
}

pub(super) fn of_v4(event: rumqttc::Event) -> Heard {
    use rumqttc::{Event, Packet, SubscribeReasonCode as Code};
    match event {
        Event::Outgoing(outgoing) => of_outgoing(&outgoing),
        Event::Incoming(Packet::ConnAck(ack)) => Heard::Welcome(Welcome {
            resumed: ack.session_present,
            receive: u16::MAX,
            largest: None,
            confirms: true,
            retains: true,
            shares: false,
            identifies: false,
        }),
        Event::Incoming(Packet::PubAck(ack)) => Heard::Confirmed(ack.pkid, Verdict::Taken),
        Event::Incoming(Packet::SubAck(ack)) => {
            let stands = matches!(&ack.return_codes[..], [Code::Success(qos)] if *qos as u8 >= 1);
            Heard::Subscribed(if stands { Ok(()) } else { Err(format!("{:?}", ack.return_codes)) })
        }
        Event::Incoming(Packet::UnsubAck(_)) => Heard::Unsubscribed,
        Event::Incoming(Packet::Publish(publish)) => Heard::Arrived(Arrival {
            packet: publish.pkid,
            topic: publish.topic.into(),
            payload: publish.payload,
            properties: None,
            subscriptions: Vec::new(),
            retained: publish.retain,
        }),
        Event::Incoming(_) => Heard::Other,
    }
}

pub(super) fn of_v5(event: v5::Event) -> Heard {
    use v5::{Event, mqttbytes::v5::Packet};
    match event {
        Event::Outgoing(outgoing) => of_outgoing(&outgoing),
        Event::Incoming(Packet::ConnAck(ack)) => {
            let says = ack.properties.as_ref();
            let has = |value: Option<u8>| value != Some(0);
            Heard::Welcome(Welcome {
                resumed: ack.session_present,
                receive: says.and_then(|says| says.receive_max).unwrap_or(u16::MAX),
                largest: says.and_then(|says| says.max_packet_size).map(|size| size as usize),
                confirms: has(says.and_then(|says| says.max_qos)),
                retains: has(says.and_then(|says| says.retain_available)),
                shares: has(says.and_then(|says| says.shared_subscription_available)),
                identifies: has(says.and_then(|says| says.subscription_identifiers_available)),
            })
        }
        Event::Incoming(Packet::PubAck(ack)) => Heard::Confirmed(ack.pkid, verdict(ack.reason)),
        Event::Incoming(Packet::SubAck(ack)) => {
            let stands = matches!(&ack.return_codes[..], [SubscribeReasonCode::Success(qos)] if *qos as u8 >= 1);
            Heard::Subscribed(if stands { Ok(()) } else { Err(format!("{:?}", ack.return_codes)) })
        }
        Event::Incoming(Packet::UnsubAck(_)) => Heard::Unsubscribed,
        Event::Incoming(Packet::Publish(publish)) => {
            let mut says = publish.properties.unwrap_or_default();
            Heard::Arrived(Arrival {
                packet: publish.pkid,
                topic: publish.topic,
                payload: publish.payload,
                subscriptions: std::mem::take(&mut says.subscription_identifiers),
                properties: Some(own(says)),
                retained: publish.retain,
            })
        }
        Event::Incoming(_) => Heard::Other,
    }
}

fn of_outgoing(outgoing: &Outgoing) -> Heard {
    match outgoing {
        Outgoing::Publish(packet) => Heard::Sent(*packet),
        Outgoing::AwaitAck(_) => Heard::Stuck,
        _ => Heard::Other,
    }
}

fn verdict(reason: PubAckReason) -> Verdict {
    match reason {
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Verdict::Taken,
        PubAckReason::NotAuthorized => Verdict::NotAuthorized,
        PubAckReason::TopicNameInvalid => Verdict::TopicInvalid,
        PubAckReason::PayloadFormatInvalid => Verdict::PayloadInvalid,
        PubAckReason::QuotaExceeded => Verdict::QuotaExceeded,
        PubAckReason::UnspecifiedError | PubAckReason::ImplementationSpecificError => Verdict::Refused,
        PubAckReason::PacketIdentifierInUse => Verdict::Confused,
    }
}

/// Why the connection ended, for a person.
pub(super) fn problem_v4(error: &rumqttc::ConnectionError) -> String {
    use rumqttc::{ConnectReturnCode as Code, ConnectionError};
    match error {
        ConnectionError::ConnectionRefused(code @ (Code::BadUserNamePassword | Code::NotAuthorized)) => {
            format!("the broker refuses the connection: {code:?}; look at `username` and `password`")
        }
        ConnectionError::ConnectionRefused(code) => format!("the broker refuses the connection: {code:?}"),
        ConnectionError::Tls(problem) => tls(problem),
        other => other.to_string(),
    }
}

/// The same where TLS is at fault.
fn tls(problem: &rumqttc::TlsError) -> String {
    let text = problem.to_string();
    let hint =
        if text.contains("UnknownIssuer") { ": `tls.ca` does not vouch for the broker's certificate" } else { "" };
    format!("TLS: {text}{hint}")
}

/// The same of MQTT 5.
pub(super) fn problem(error: &ConnectionError) -> String {
    match error {
        ConnectionError::Tls(problem) => tls(problem),
        ConnectionError::ConnectionRefused(code) => format!("the broker refuses the connection: {}", refusal(*code)),
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
            let more = reason_string.as_ref().map_or_else(String::new, |text| format!(" ({text})"));
            format!("the broker ended the connection: {reason_code:?}{more}")
        }
        other => other.to_string(),
    }
}

fn refusal(code: ConnectReturnCode) -> String {
    match code {
        ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => {
            format!("{code:?}; look at `username` and `password`")
        }
        ConnectReturnCode::UnsupportedProtocolVersion | ConnectReturnCode::RefusedProtocolVersion => {
            format!("{code:?}; it may speak MQTT 3.1.1 alone: `version: 4`")
        }
        other => format!("{other:?}"),
    }
}

/// As rumqttc writes them.
pub(super) fn properties(own: Properties) -> PublishProperties {
    let text = |text: Str| String::from(&*text);
    let Rare { response_topic, correlation, is_text } = own.rare.map(|rare| *rare).unwrap_or_default();
    PublishProperties {
        content_type: own.content_type.map(text),
        user_properties: own.user.into_iter().map(|(name, value)| (text(name), text(value))).collect(),
        message_expiry_interval: own.expiry,
        response_topic: response_topic.map(text),
        correlation_data: correlation,
        payload_format_indicator: is_text.map(u8::from),
        ..PublishProperties::default()
    }
}

fn own(theirs: PublishProperties) -> Properties {
    let rare = Rare {
        response_topic: theirs.response_topic.map(Str::from),
        correlation: theirs.correlation_data,
        is_text: theirs.payload_format_indicator.map(|format| format == 1),
    };
    Properties {
        content_type: theirs.content_type.map(Str::from),
        user: theirs.user_properties.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        expiry: theirs.message_expiry_interval,
        rare: (rare != Rare::default()).then(|| rare.into()),
    }
}
