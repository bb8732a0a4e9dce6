//! From the first byte to CONNACK.

use std::time::Duration;

use bytes::BytesMut;
use meshgate_api::Str;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use uuid::Uuid;

use super::{
    Mqtt, RECEIVE_MAXIMUM, TOPIC_ALIASES,
    farewell::linger,
    pending::Pending,
    sessions::{Claim, Unclaimed},
};
use crate::{
    codec::mqtt::{
        ConnAck, Connect, Encoder, Fault, Reason, TooLarge, Version, decode_connect, encode_refusal, said_version,
    },
    router::Channel,
};

/// The type of the packet that must come first.
const CONNECT: u8 = 1;

/// What a connection comes over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// A client that was let in.
pub(super) struct Greeting {
    pub(super) connect: Box<Connect>,
    pub(super) claim: Claim,
    /// What it is told first.
    pub(super) connack: BytesMut,
    /// What came behind its CONNECT.
    pub(super) rest: BytesMut,
}

/// Reads CONNECT within `patience`, and answers it if the client is refused. `None`: the connection is to be closed, and whatever there
/// was to say is said.
pub(super) async fn greet<S: Stream>(mqtt: &Mqtt, stream: &mut S, patience: Duration) -> Option<Greeting> {
    let mut buffer = BytesMut::new();
    let read = timeout(patience, connect(mqtt, stream, &mut buffer)).await.ok()?;
    let connect = match read {
        Ok(connect) => connect?,
        Err((version, fault)) => {
            tracing::debug!("an MQTT client is refused: {fault}");
            if let Some(version) = version {
                refuse(stream, version, usize::MAX, &fault).await;
            }
            linger(stream).await;
            return None;
        }
    };
    match let_in(mqtt, &connect).await {
        Ok((claim, connack)) => Some(Greeting { connect: Box::new(connect), claim, connack, rest: buffer }),
        Err(fault) => {
            tracing::debug!("an MQTT client is refused: {fault}");
            refuse(stream, connect.version, encoder(&connect).maximum, &fault).await;
            linger(stream).await;
            None
        }
    }
}

/// The session of a client that is let in, and what it is told.
async fn let_in(mqtt: &Mqtt, connect: &Connect) -> Result<(Claim, BytesMut), Fault> {
    if let Some(method) = &connect.authentication_method {
        let detail = format!("the authentication method `{method}` is not known here");
        return Err(Fault::new(Reason::BadAuthenticationMethod, detail));
    }
    check_will(mqtt, connect)?;
    let assigned = connect.client_id.is_empty().then(|| Str::from(format!("auto-{}", Uuid::now_v7().simple())));
    let client_id = assigned.clone().unwrap_or_else(|| connect.client_id.clone());
    let mut connack = ConnAck {
        session_present: false,
        receive_maximum: RECEIVE_MAXIMUM,
        maximum_packet: u32::try_from(mqtt.settings.max_packet).unwrap_or(u32::MAX),
        topic_alias_maximum: TOPIC_ALIASES,
        assigned_client_id: assigned,
        ..ConnAck::default()
    };
    let encoder = encoder(connect);
    let mut out = BytesMut::new();
    let too_large =
        |TooLarge| Fault::new(Reason::PacketTooLarge, "CONNACK is larger than the client's maximum packet size");
    encoder.conn_ack(&mut out, &connack).map_err(too_large)?; // before there is a session
    let is_assigned = connack.assigned_client_id.is_some();
    let claim = mqtt.sessions.claim(client_id, connect, is_assigned).await.map_err(|problem| {
        tracing::warn!("an MQTT client is refused: {problem}");
        let reason = match problem {
            Unclaimed::Full => Reason::QuotaExceeded,
            Unclaimed::Unstored(_) | Unclaimed::Contended => Reason::ServerUnavailable,
        };
        Fault::new(reason, problem.to_string())
    })?;
    connack.session_present = claim.earlier.is_some();
    out.clear();
    encoder.conn_ack(&mut out, &connack).map_err(too_large)?;
    Ok((claim, out))
}

/// A will that can never be published is refused while its client is there to be told.
fn check_will(mqtt: &Mqtt, connect: &Connect) -> Result<(), Fault> {
    let Some(will) = &connect.will else { return Ok(()) };
    if connect.version == Version::V3 && mqtt.settings.acknowledge_rejected {
        return Ok(());
    }
    if let Err(problem) = Channel::check(&will.topic) {
        return Err(Fault::new(Reason::TopicNameInvalid, format!("the will's topic: {problem}")));
    }
    if !will.properties.is_sound(&will.payload) {
        return Err(Fault::new(Reason::PayloadFormatInvalid, "the will's payload is no UTF-8, as it is said to be"));
    }
    Ok(())
}

/// Who writes to this client.
pub(super) fn encoder(connect: &Connect) -> Encoder {
    let maximum = connect.maximum_packet.map_or(usize::MAX, |bytes| bytes as usize);
    Encoder { version: connect.version, maximum, tells_problems: connect.request_problem_information }
}

type Refusal = (Option<Version>, Fault);

async fn connect<S: Stream>(mqtt: &Mqtt, stream: &mut S, buffer: &mut BytesMut) -> Result<Option<Connect>, Refusal> {
    let mut pending = Pending::new(mqtt.in_flight.clone());
    loop {
        pending.account(buffer.len()).map_err(|fault| (said_version(buffer), fault))?;
        if buffer.first().is_some_and(|first| first >> 4 != CONNECT) {
            return Err((None, Fault::protocol("the first packet is no CONNECT"))); // not waited for
        }
        match mqtt.framing().next(buffer) {
            Ok(Some(frame)) => return decode_connect(frame).map(Some),
            Ok(None) => {}
            Err(fault) if fault.reason == Reason::PacketTooLarge => return Err((said_version(buffer), fault)),
            Err(fault) => return Err((None, fault)),
        }
        match stream.read_buf(buffer).await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
    }
}

async fn refuse<S: Stream>(stream: &mut S, version: Version, maximum: usize, fault: &Fault) {
    let mut out = BytesMut::new();
    encode_refusal(version, fault.reason, &fault.detail, maximum, &mut out);
    if stream.write_all(&out).await.is_ok() {
        drop(stream.shutdown().await); // it has gone
    }
}
