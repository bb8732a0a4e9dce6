//! OTLP over HTTP (`http/protobuf`, OTLP specification 1.x): a batch is one POST, tried again while the collector asks for patience.
//! What is lost is counted; that it is lost is said once, and once more when it is over.

use std::{
    error::Error,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use opentelemetry_proto::{
    tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse},
    transform::{common::tonic::ResourceAttributesWithSchema, trace::tonic::group_spans_by_resource_and_scope},
};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{SpanData, SpanExporter},
};
use prost::Message;
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
    redirect::Policy,
};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout_at},
};

use super::queue::Room;
use crate::telemetry::EventCounter;

/// Before the second try; twice as long before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Bytes of an answer that are read.
const ANSWER: usize = 64 << 10;

/// Exports from the queue's thread, over the gateway's runtime.
#[derive(Debug)]
pub(super) struct Exporter {
    collector: Collector,
    resource: ResourceAttributesWithSchema,
    runtime: Handle,
    room: Room,
    dropped: EventCounter,
    /// The last batch was not taken as a whole, and this was said.
    is_failing: AtomicBool,
}

#[derive(Clone, Debug)]
struct Collector {
    client: Client,
    url: Url,
    timeout: Duration,
}

/// Why a batch was not taken.
struct Refusal {
    problem: String,
    /// Another try may succeed, after this time.
    again: Option<Duration>,
}

impl Exporter {
    pub(super) fn new(
        url: Url,
        mut headers: HeaderMap,
        timeout: Duration,
        room: Room,
        dropped: EventCounter,
    ) -> Result<Self, String> {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let client = Client::builder().default_headers(headers).redirect(Policy::none()).build();
        let client = client.map_err(|problem| format!("spans cannot be exported: {problem}"))?;
        Ok(Self {
            collector: Collector { client, url, timeout },
            resource: ResourceAttributesWithSchema::default(),
            runtime: Handle::current(),
            room,
            dropped,
            is_failing: AtomicBool::new(false),
        })
    }

    fn lose(&self, spans: u64, problem: &str) {
        self.dropped.inc_by(spans);
        if !self.is_failing.swap(true, Relaxed) {
            tracing::warn!(spans, problem, "trace spans are lost; from now on they are only counted");
        }
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.room.leave(spans);
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let body = Bytes::from(ExportTraceServiceRequest { resource_spans }.encode_to_vec());
        // The queue's thread is none of the runtime's.
        let sent = self.runtime.spawn(self.collector.clone().send(body)).await;
        let taken = sent.unwrap_or_else(|problem| Err(format!("the gateway ends: {problem}")));
        match taken {
            Ok(ExportTracePartialSuccess { rejected_spans, error_message }) if rejected_spans > 0 => {
                self.lose(rejected_spans.unsigned_abs(), &error_message);
            }
            Ok(_) => {
                if self.is_failing.swap(false, Relaxed) {
                    tracing::info!("trace spans reach the collector again");
                }
            }
            Err(problem) => {
                self.lose(spans as u64, &problem);
                return Err(OTelSdkError::InternalFailure(problem));
            }
        }
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}

impl Collector {
    /// Tries until it is taken, refused for good, or late; what the collector says of a part that it did not take.
    async fn send(self, body: Bytes) -> Result<ExportTracePartialSuccess, String> {
        let deadline = Instant::now() + self.timeout;
        let mut pause = FIRST_PAUSE;
        loop {
            let refused = match timeout_at(deadline, self.post(body.clone())).await {
                Ok(Ok(taken)) => return Ok(taken),
                Ok(Err(refused)) => refused,
                Err(_) => return Err(format!("the collector does not answer within {:?}", self.timeout)),
            };
            let spread = pause.mul_f64(rand::random_range(0.5..1.5));
            match refused.again.map(|again| again.max(spread)) {
                Some(wait) if Instant::now() + wait < deadline => sleep(wait).await,
                _ => return Err(refused.problem),
            }
            pause *= 2;
        }
    }

    async fn post(&self, body: Bytes) -> Result<ExportTracePartialSuccess, Refusal> {
        let answer = self.client.post(self.url.clone()).body(body).send().await.map_err(Refusal::of_transport)?;
        let status = answer.status();
        if !status.is_success() {
            return Err(Refusal::of_collector(status, answer.headers()));
        }
        let body = whole(answer).await?;
        let answer = ExportTraceServiceResponse::decode(body.as_slice()).map_err(|problem| Refusal {
            problem: format!("what the collector answers is not OTLP: {problem}"),
            again: None,
        })?;
        Ok(answer.partial_success.unwrap_or_default())
    }
}

async fn whole(mut answer: Response) -> Result<Vec<u8>, Refusal> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(Refusal::of_transport)? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER {
            return Err(Refusal { problem: format!("the collector's answer is over {ANSWER} bytes"), again: None });
        }
    }
    Ok(body)
}

impl Refusal {
    fn of_transport(problem: reqwest::Error) -> Self {
        let problem = problem.without_url(); // which may hold a password
        let mut text = problem.to_string();
        let mut cause = problem.source();
        while let Some(deeper) = cause {
            text = format!("{text}: {deeper}");
            cause = deeper.source();
        }
        Self { problem: text, again: Some(Duration::ZERO) }
    }

    fn of_collector(status: StatusCode, headers: &HeaderMap) -> Self {
        let asks_for_patience = matches!(status.as_u16(), 429 | 502 | 503 | 504);
        let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let again = asks_for_patience.then(|| Duration::from_secs(seconds.unwrap_or_default()));
        Self { problem: format!("the collector answers {status}"), again }
    }
}
