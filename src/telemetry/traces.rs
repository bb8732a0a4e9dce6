//! Trace spans of publishes: one for each event, sent to a collector by OTLP where the environment asks for it.
//!
//! A span continues the W3C trace that its event arrived with; what travels on with the event is the span's own context, so that who
//! reads the event can continue from there. An event whose trace is not sampled has no span, and its headers travel on as they came.
//! Names and attributes are those of OpenTelemetry's conventions for messaging and for CloudEvents.

use std::{fmt, sync::Arc, time::Duration};

use meshgate_api::{message::Message, outcome::Outcome};
use opentelemetry::{
    Context, InstrumentationScope, KeyValue,
    trace::{Span as _, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer, TracerProvider},
};
use opentelemetry_sdk::{
    Resource,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::{SdkTracer, SdkTracerProvider, Span},
};
use tokio::time::Instant;

use super::EventCounter;
use crate::{
    gateway::Listener,
    publish::{Receipt, Submission},
    router::Router,
};

mod context;
mod environment;
mod export;
mod queue;

use environment::{SERVICE_NAME, Settings};
use export::Exporter;
use queue::{Queue, Room};

/// What the gateway calls itself where nobody else has named it.
const SERVICE: &str = env!("CARGO_PKG_NAME");
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Bytes that a span keeps of each text: what clients send may be long, and thousands of spans may wait.
const TEXT: usize = 1024;
/// What the gateway's end waits for the collector, at most: events are all stored by then.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where spans are made. By default nowhere: then a publish asks once, and that is all.
#[derive(Clone, Default)]
pub struct Traces(Option<Tracing>);

#[derive(Clone)]
struct Tracing {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// The spans of one publish, in the order of its events.
#[derive(Default)]
pub struct Spans(Vec<Option<Span>>);

impl Traces {
    /// What the environment asks for (`OTEL_EXPORTER_OTLP_ENDPOINT` and others of the OpenTelemetry specification), or what is wrong
    /// with it. Spans that are lost are counted in `dropped`. Within a tokio runtime, which then does the sending.
    pub fn from_environment(dropped: EventCounter) -> Result<Self, String> {
        let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let Some(Settings { collector, headers, timeout, sampler, batches }) = environment::read(variable)? else {
            return Ok(Self::default());
        };
        tracing::info!(collector = collector.origin().ascii_serialization(), "trace spans are exported");
        let resource = resource(variable(SERVICE_NAME).filter(|name| !name.is_empty()));
        let room = Room::new(batches.queue, dropped.clone());
        let exporter = Exporter::new(collector, headers, timeout, room.clone(), dropped)?;
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(sampler)
            .with_span_processor(Queue::new(exporter, room, batches))
            .build();
        Ok(Self::over(provider))
    }

    fn over(provider: SdkTracerProvider) -> Self {
        let scope = InstrumentationScope::builder(SERVICE).with_version(VERSION).build();
        let tracer = provider.tracer_with_scope(scope);
        Self(Some(Tracing { provider, tracer }))
    }

    /// Begins a span for each event whose trace is sampled, and lets its context travel on with the event.
    pub fn open(&self, listener: Listener, submissions: &mut [Submission]) -> Spans {
        let Some(Tracing { tracer, .. }) = &self.0 else { return Spans::default() };
        Spans(submissions.iter_mut().map(|submission| begin(tracer, listener, submission)).collect())
    }

    /// Sends what waits, as far as that is done before `deadline` and within 5 s. From then on nothing is traced.
    pub async fn close(&self, deadline: Instant) {
        let Some(Tracing { provider, .. }) = self.0.clone() else { return };
        let left = deadline.saturating_duration_since(Instant::now()).min(PATIENCE);
        match tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(left)).await {
            Ok(Ok(())) => {}
            Ok(Err(problem)) => {
                tracing::warn!(%problem, "the collector has not taken the last trace spans: they are lost");
            }
            Err(problem) => tracing::error!(%problem, "the last trace spans could not be sent: a bug"),
        }
    }
}

/// `None`: the event's trace is not sampled.
fn begin(tracer: &SdkTracer, listener: Listener, submission: &mut Submission) -> Option<Span> {
    let message = match submission {
        Ok(message) => &**message,
        Err(refused) => &refused.known,
    };
    let parent = match context::read(&message.headers) {
        Some(arrived) => Context::new().with_remote_span_context(arrived),
        None => Context::new(),
    };
    let builder = SpanBuilder::from_name("publish").with_kind(SpanKind::Producer);
    let mut span = tracer.build_with_context(builder, &parent);
    if !span.is_recording() {
        return None;
    }
    span.set_attributes(attributes(listener, message));
    if let Ok(message) = submission {
        context::write(&mut Arc::make_mut(message).headers, span.span_context());
    }
    Some(span)
}

/// What is known of an event before any route is asked; of one that is refused, what could be read.
fn attributes(listener: Listener, Message { channel, event, .. }: &Message) -> Vec<KeyValue> {
    let texts = [
        ("messaging.destination.name", channel.as_ref()),
        ("cloudevents.event_id", Some(&event.id)),
        ("cloudevents.event_source", Some(&event.source)),
        ("cloudevents.event_type", Some(&event.kind)),
        ("cloudevents.event_subject", event.subject.as_ref()),
    ];
    let mut attributes = Vec::with_capacity(16); // with those that the outcome adds
    attributes.extend([
        KeyValue::new("messaging.system", SERVICE),
        KeyValue::new("messaging.operation.name", "publish"),
        KeyValue::new("messaging.operation.type", "send"),
        KeyValue::new("meshgate.listener", listener.name()),
    ]);
    let known = texts.into_iter().filter_map(|(name, text)| Some((name, text.filter(|text| !text.is_empty())?)));
    attributes.extend(known.map(|(name, text)| KeyValue::new(name, kept(text).to_owned())));
    if let Some(data) = &event.data {
        let bytes = i64::try_from(data.len()).unwrap_or(i64::MAX);
        attributes.push(KeyValue::new("messaging.message.body.size", bytes));
    }
    attributes
}

impl Spans {
    /// Ends each with what became of its event. `router` is the one that the receipts' numbers belong to.
    pub fn close(self, router: &Router, receipts: &[Receipt]) {
        for (span, receipt) in self.0.into_iter().zip(receipts) {
            let Some(mut span) = span else { continue };
            if let Some(route) = receipt.route.map(|number| &router.routes()[number]) {
                // A channel would make a name of its own for each device: a span's name is for what they have in common.
                span.update_name(format!("publish {}", route.pattern()));
                span.set_attribute(KeyValue::new("messaging.destination.template", route.pattern().to_owned()));
                span.set_attribute(KeyValue::new("meshgate.route", route.name().to_string()));
            }
            end(span, &receipt.outcome);
        }
    }
}

fn end(mut span: Span, outcome: &Outcome) {
    span.set_attribute(KeyValue::new("meshgate.outcome", outcome.name()));
    if !matches!(outcome, Outcome::Stored(_)) {
        span.set_attribute(KeyValue::new("error.type", outcome.name()));
        span.set_status(Status::error(kept(outcome.detail()).to_owned()));
    }
    span.end();
}

fn kept(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT)]
}

/// Who the spans are from: `OTEL_SERVICE_NAME`, else what `OTEL_RESOURCE_ATTRIBUTES` say, else the gateway's own name.
fn resource(service_name: Option<String>) -> Resource {
    let own = [KeyValue::new("service.name", SERVICE), KeyValue::new("service.version", VERSION)];
    let described = Resource::builder_empty()
        .with_attributes(own)
        .with_detectors(&[Box::new(TelemetryResourceDetector), Box::<EnvResourceDetector>::default()]);
    match service_name {
        Some(name) => described.with_service_name(name),
        None => described,
    }
    .build()
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Traces").field(&self.0.is_some()).finish()
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Spans").field(&self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests;
