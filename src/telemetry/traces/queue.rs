//! Ended spans on their way to the thread that exports them. There is room for so many; what comes over that is dropped and counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor},
};

use super::environment::Batches;
use crate::telemetry::EventCounter;

/// How many spans may wait, and how many do.
#[derive(Clone, Debug)]
pub(super) struct Room {
    spans: usize,
    taken: Arc<AtomicUsize>,
    dropped: EventCounter,
}

/// The SDK's own queue, thread and batches. That queue drops in silence, so that its bound is kept here.
#[derive(Debug)]
pub(super) struct Queue {
    room: Room,
    batches: BatchSpanProcessor,
}

impl Room {
    pub(super) fn new(spans: usize, dropped: EventCounter) -> Self {
        Self { spans, taken: Arc::default(), dropped }
    }

    fn take(&self) -> bool {
        let one_more = |taken: usize| (taken < self.spans).then_some(taken + 1);
        self.taken.fetch_update(Relaxed, Relaxed, one_more).is_ok()
    }

    /// These have left the queue.
    pub(super) fn leave(&self, spans: usize) {
        self.taken.fetch_sub(spans, Relaxed);
    }
}

impl Queue {
    /// `exporter` says when spans have left the `room`.
    pub(super) fn new(
        exporter: impl SpanExporter + 'static,
        room: Room,
        Batches { queue, most, delay }: Batches,
    ) -> Self {
        let bounds = BatchConfigBuilder::default()
            .with_max_queue_size(queue)
            .with_max_export_batch_size(most)
            .with_scheduled_delay(delay);
        Self { room, batches: BatchSpanProcessor::new(exporter, bounds.build()) }
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.room.take() {
            self.batches.on_end(span);
        } else {
            self.room.dropped.inc();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}
