//! What a route's destination may say to Pulsar alone: `compression`, and `batch` (specification, section 9).

use std::time::Duration;

use meshgate_api::{connector::Options, settings::Fields};
use pulsar::{ProducerOptions, compression::Compression, message::proto::Schema};

/// Bytes of messages that go into one batch; one more may go over it.
pub(crate) const BATCH_BYTES: usize = 128 << 10;

/// How the messages of one destination are sent. Another way needs another producer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Sending {
    compression: Option<Algorithm>,
    /// Messages in a batch, and how long the first may wait for the others.
    pub(crate) batch: Option<(u32, Duration)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Algorithm {
    Lz4,
    Zlib,
    Zstd,
}

/// Not Snappy: the crate writes it in frames, which no other client can read. They drop such messages.
const ALGORITHMS: [(&str, Algorithm); 3] =
    [("lz4", Algorithm::Lz4), ("zlib", Algorithm::Zlib), ("zstd", Algorithm::Zstd)];

impl Sending {
    /// Reads the keys of a destination; `None` if there are none.
    pub(crate) fn read(fields: &mut Fields<'_>) -> Option<Options> {
        let compression = fields.choice("compression", &ALGORITHMS).optional();
        let batch = fields.section("batch", Self::read_batch).optional();
        let sending = Self { compression, batch };
        (sending != Self::default()).then(|| Options::new(sending))
    }

    fn read_batch(fields: &mut Fields<'_>) -> Option<(u32, Duration)> {
        let events = fields.integer("events", 2..=10_000).or(1000);
        let delay = fields.duration("delay", Duration::from_millis(1)..=Duration::from_secs(1));
        Some((events?, delay.or(Duration::from_millis(1))?))
    }

    /// What the destination of an event says.
    pub(crate) fn of(options: Option<&Options>) -> Self {
        options.and_then(Options::get).copied().unwrap_or_default()
    }

    /// The same for the crate.
    pub(crate) fn producer(self, schema: Option<Schema>) -> ProducerOptions {
        let compression = self.compression.map(|algorithm| match algorithm {
            Algorithm::Lz4 => Compression::Lz4(Default::default()),
            Algorithm::Zlib => Compression::Zlib(Default::default()),
            Algorithm::Zstd => Compression::Zstd(Default::default()),
        });
        ProducerOptions {
            schema,
            compression,
            batch_size: self.batch.map(|(events, _)| events),
            batch_byte_size: self.batch.map(|_| BATCH_BYTES),
            batch_timeout: self.batch.map(|(_, delay)| delay),
            block_queue_if_full: true, // waits where the connection has too much to write, instead of refusing
            ..ProducerOptions::default()
        }
    }
}
