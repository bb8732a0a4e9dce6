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
    pending::Pending,
    sessions::{Claim, Unclaimed},
};
use crate::codec::mqtt::{ConnAck, Connect, Encoder, Fault, Reason, Version, decode_connect, encode_refusal};

/// What a connection comes over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// A client that was let in.
pub(super) struct Greeting {
    pub(super) connect: Box<Connect>,
    pub(super) claim: Claim,
    /// What came behind its CONNECT.
    pub(super) rest: BytesMut,
}

/// Reads CONNECT within `patience` and answers it. `None`: the connection is to be closed, and whatever there was to say is said.
pub(super) async fn greet<S: Stream>(mqtt: &Mqtt, stream: &mut S, patience: Duration) -> Option<Greeting> {
    let mut buffer = BytesMut::new();
    let read = timeout(patience, connect(mqtt, stream, &mut buffer)).await.ok()?;
    let connect = match read {
        Ok(connect) => connect?,
        Err((version, fault)) => {
            tracing::debug!("an MQTT client is refused: {fault}");
            if let Some(version) = version {
                refuse(stream, version, &fault).await;
            }
            return None;
        }
    };
    let version = connect.version;
    if let Some(method) = &connect.authentication_method {
        let detail = format!("the authentication method `{method}` is not known here");
        refuse(stream, version, &Fault::new(Reason::BadAuthenticationMethod, detail)).await;
        return None;
    }
    let assigned = connect.client_id.is_empty().then(|| Str::from(format!("auto-{}", Uuid::now_v7().simple())));
    let client_id = assigned.clone().unwrap_or_else(|| connect.client_id.clone());
    let claim = match mqtt.sessions.claim(client_id, &connect, assigned.is_some()).await {
        Ok(claim) => claim,
        Err(problem) => {
            tracing::warn!("an MQTT client is refused: {problem}");
            let reason = match problem {
                Unclaimed::Full => Reason::QuotaExceeded,
                Unclaimed::Unstored(_) | Unclaimed::Contended => Reason::ServerUnavailable,
            };
            refuse(stream, version, &Fault::new(reason, problem.to_string())).await;
            return None;
        }
    };
    let connack = ConnAck {
        session_present: claim.earlier.is_some(),
        receive_maximum: RECEIVE_MAXIMUM,
        maximum_packet: u32::try_from(mqtt.settings.max_packet).unwrap_or(u32::MAX),
        topic_alias_maximum: TOPIC_ALIASES,
        assigned_client_id: assigned,
        ..ConnAck::default()
    };
    let mut out = BytesMut::new();
    encoder(&connect).conn_ack(&mut out, &connack);
    if stream.write_all(&out).await.is_err() || stream.flush().await.is_err() {
        tracing::debug!("an MQTT client has gone before it was let in"); // the connection finds that, too, and leaves the session in order
    }
    Some(Greeting { connect: Box::new(connect), claim, rest: buffer })
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
        pending.account(buffer.len()).map_err(|fault| (None, fault))?;
        match mqtt.framing().next(buffer) {
            Ok(Some(frame)) => return decode_connect(frame).map(Some),
            Ok(None) => {}
            Err(fault) => return Err((None, fault)),
        }
        match stream.read_buf(buffer).await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
    }
}

async fn refuse<S: Stream>(stream: &mut S, version: Version, fault: &Fault) {
    let mut out = BytesMut::new();
    encode_refusal(version, fault.reason, &fault.detail, &mut out);
    if stream.write_all(&out).await.is_ok() {
        drop(stream.shutdown().await); // it has gone
    }
}
