//! What the environment says of exporting spans, by the names of the OpenTelemetry specification ("Environment Variable Specification",
//! "OpenTelemetry Protocol Exporter"). What the gateway cannot do is an error, never left out silently.

use std::{ops::RangeInclusive, str::FromStr, time::Duration};

use opentelemetry_sdk::trace::Sampler;
use percent_encoding::percent_decode_str;
use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};

/// Names the service in what is exported.
pub(super) const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
/// Where a collector on the same machine listens.
const LOCAL: &str = "http://localhost:4318";
/// Below the endpoint of all signals.
const PATH: &str = "v1/traces";
/// In milliseconds.
const TIMEOUT: u64 = 10_000;
/// Spans.
const QUEUE: usize = 2048;
/// Spans.
const BATCH: usize = 512;
/// Up to an hour.
const MILLISECONDS: RangeInclusive<u64> = 1..=3_600_000;
/// The queue has its memory from the start.
const SPANS: RangeInclusive<usize> = 1..=1_000_000;
/// In milliseconds.
const DELAY: u64 = 5_000;

/// How spans are exported.
#[derive(Debug)]
pub(super) struct Settings {
    /// Where they are posted.
    pub(super) collector: Url,
    /// What goes with each post.
    pub(super) headers: HeaderMap,
    /// Within it a batch is sent, tries included.
    pub(super) timeout: Duration,
    /// Which traces are exported.
    pub(super) sampler: Sampler,
    /// When and how many.
    pub(super) batches: Batches,
}

/// How spans wait until they are exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batches {
    /// Spans that may wait.
    pub(super) queue: usize,
    /// So many are exported at once, and as soon as there are so many.
    pub(super) most: usize,
    /// Fewer are exported after this time.
    pub(super) delay: Duration,
}

/// The settings; `None` where nobody asks for spans.
pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Settings>, String> {
    let environment = Environment(variable);
    if !environment.asks_for_spans()? {
        return Ok(None);
    }
    environment.insist_on("PROTOCOL", "http/protobuf")?;
    environment.insist_on("COMPRESSION", "none")?;
    Ok(Some(Settings {
        collector: environment.collector()?,
        headers: environment.headers()?,
        timeout: environment.of_traces("TIMEOUT").milliseconds(TIMEOUT)?,
        sampler: environment.sampler()?,
        batches: Batches {
            queue: environment.get("OTEL_BSP_MAX_QUEUE_SIZE").spans(QUEUE)?,
            most: environment.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE").spans(BATCH)?,
            delay: environment.get("OTEL_BSP_SCHEDULE_DELAY").milliseconds(DELAY)?,
        },
    }))
}

/// Looks a variable up by its name.
struct Environment<F>(F);

/// A variable that is perhaps not set.
struct Variable {
    name: String,
    value: Option<String>,
}

impl<F: Fn(&str) -> Option<String>> Environment<F> {
    /// To be empty is not to be set.
    fn get(&self, name: impl Into<String>) -> Variable {
        let name = name.into();
        let value = (self.0)(&name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        Variable { name, value }
    }

    /// The exporter's variable for traces, else that for all signals.
    fn of_traces(&self, what: &str) -> Variable {
        let own = self.get(format!("OTEL_EXPORTER_OTLP_TRACES_{what}"));
        if own.value.is_some() { own } else { self.get(format!("OTEL_EXPORTER_OTLP_{what}")) }
    }

    fn asks_for_spans(&self) -> Result<bool, String> {
        if self.get("OTEL_SDK_DISABLED").value.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(false);
        }
        let exporter = self.get("OTEL_TRACES_EXPORTER");
        match exporter.value.as_deref() {
            None => Ok(self.of_traces("ENDPOINT").value.is_some()),
            Some("none") => Ok(false),
            Some("otlp") => Ok(true),
            Some(_) => Err(exporter.refused("use `otlp` or `none`")),
        }
    }

    fn insist_on(&self, what: &str, only: &str) -> Result<(), String> {
        let variable = self.of_traces(what);
        match variable.value.as_deref() {
            Some(other) if other != only => Err(variable.refused(&format!("only `{only}` is built"))),
            _ => Ok(()),
        }
    }

    /// The endpoint of traces is the address as it is; that of all signals is what the path is added to.
    fn collector(&self) -> Result<Url, String> {
        let own = self.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        let (variable, address) = match &own.value {
            Some(address) => {
                let address = address.clone();
                (own, address)
            }
            None => {
                let shared = self.get("OTEL_EXPORTER_OTLP_ENDPOINT");
                let base = shared.value.as_deref().unwrap_or(LOCAL).trim_end_matches('/').to_owned();
                (shared, format!("{base}/{PATH}"))
            }
        };
        let url = Url::parse(&address).map_err(|problem| variable.refused(&format!("it is no URL: {problem}")))?;
        match url.scheme() {
            "http" => Ok(url),
            "https" => Err(variable.refused("TLS is not built: send to a collector nearby, which sends on")),
            _ => Err(variable.refused("it must begin with http://")),
        }
    }

    /// `name=value,name=value`, values percent-encoded. They may be secret: an error does not show them.
    fn headers(&self) -> Result<HeaderMap, String> {
        let variable = self.of_traces("HEADERS");
        let pairs = variable.value.iter().flat_map(|value| value.split(',')).filter(|pair| !pair.trim().is_empty());
        pairs.map(|pair| header(pair).ok_or_else(|| format!("{}: use name=value,name=value", variable.name))).collect()
    }

    fn sampler(&self) -> Result<Sampler, String> {
        let variable = self.get("OTEL_TRACES_SAMPLER");
        let name = variable.value.as_deref().unwrap_or("parentbased_always_on");
        let of_roots = name.strip_prefix("parentbased_");
        let sampler = match of_roots.unwrap_or(name) {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => Sampler::TraceIdRatioBased(self.ratio()?),
            _ => {
                return Err(variable.refused(
                    "use always_on, always_off or traceidratio, or one of them with `parentbased_` before it",
                ));
            }
        };
        Ok(if of_roots.is_some() { Sampler::ParentBased(Box::new(sampler)) } else { sampler })
    }

    fn ratio(&self) -> Result<f64, String> {
        let variable = self.get("OTEL_TRACES_SAMPLER_ARG");
        let ratio = variable.parsed("a number from 0 to 1")?.unwrap_or(1.0);
        let within = (0.0..=1.0).contains(&ratio).then_some(ratio);
        within.ok_or_else(|| variable.refused("use a number from 0 to 1"))
    }
}

impl Variable {
    fn parsed<T: FromStr>(&self, unit: &str) -> Result<Option<T>, String> {
        let parsed = self.value.as_deref().map(T::from_str).transpose();
        parsed.map_err(|_| self.refused(&format!("use {unit}")))
    }

    fn milliseconds(&self, default: u64) -> Result<Duration, String> {
        let time = self.parsed("milliseconds")?.unwrap_or(default);
        let within = MILLISECONDS.contains(&time).then_some(Duration::from_millis(time));
        within.ok_or_else(|| self.refused("use 1 to 3600000 milliseconds"))
    }

    fn spans(&self, default: usize) -> Result<usize, String> {
        let spans = self.parsed("a number of spans")?.unwrap_or(default);
        SPANS.contains(&spans).then_some(spans).ok_or_else(|| self.refused("use 1 to 1000000 spans"))
    }

    fn refused(&self, advice: &str) -> String {
        format!("{}={}: {advice}", self.name, self.value.as_deref().unwrap_or_default())
    }
}

fn header(pair: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = pair.split_once('=')?;
    let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
    Some((HeaderName::from_str(name.trim()).ok()?, HeaderValue::from_str(&value).ok()?))
}

#[cfg(test)]
mod tests;
