//! Which of the forms of a reading a client wants (RFC 9110, section 12.5.1).

use axum::http::{HeaderMap, StatusCode, header};

use crate::protocols::http::problem::Problem;

/// How events are written to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `text/event-stream`: for as long as the reader stays.
    Stream,
    /// `application/cloudevents-batch+json`: those that there are, and where to go on.
    Page,
}

impl Form {
    /// The first is preferred if a client likes several alike.
    const ALL: [Self; 2] = [Self::Stream, Self::Page];

    /// The type and the subtype.
    pub(super) const fn media_type(self) -> (&'static str, &'static str) {
        match self {
            Self::Stream => ("text", "event-stream"),
            Self::Page => ("application", "cloudevents-batch+json"),
        }
    }
}

/// What the client likes best of what there is; everything alike if it does not say.
pub(super) fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    if !headers.contains_key(header::ACCEPT) {
        return Ok(Form::Stream);
    }
    let mut best = (0, None);
    for form in Form::ALL {
        let weight = weight(headers, form);
        if weight > best.0 {
            best = (weight, Some(form));
        }
    }
    best.1.ok_or_else(|| {
        let detail =
            "what `accept` names is not served: accept text/event-stream or application/cloudevents-batch+json";
        Problem::new(StatusCode::NOT_ACCEPTABLE, detail)
    })
}

/// The weight, in thousandths, that the most specific range gives the form; 0: it is not wanted.
fn weight(headers: &HeaderMap, form: Form) -> u32 {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    let ranges = accepts.flat_map(|accept| accept.split(',')).filter_map(|range| Range::parse(range, form));
    ranges.max_by_key(|range| range.precision).map_or(0, |range| range.weight)
}

/// A media range that the form is in.
struct Range {
    /// How much of the type it names.
    precision: u32,
    weight: u32,
}

impl Range {
    /// `None` if the form is not in it, or it cannot be read.
    fn parse(range: &str, form: Form) -> Option<Self> {
        let mut parameters = range.split(';').map(str::trim);
        let (kind, subtype) = parameters.next()?.split_once('/')?;
        let (own_kind, own_subtype) = form.media_type();
        let is = |range: &str, own: &str| range.eq_ignore_ascii_case(own);
        let precision = match (kind, subtype) {
            ("*", "*") => 0,
            (kind, "*") if is(kind, own_kind) => 1,
            (kind, subtype) if is(kind, own_kind) && is(subtype, own_subtype) => 2,
            _ => return None,
        };
        let quality = parameters.filter_map(|parameter| parameter.split_once('=')).find(|(name, _)| is(name, "q"));
        Some(Self { precision, weight: quality.map_or(Some(1000), |(_, value)| thousandths(value))? })
    }
}

/// `0.5` → 500: between 0 and 1, with at most three digits after the point.
fn thousandths(quality: &str) -> Option<u32> {
    let (whole, digits) = quality.split_once('.').unwrap_or((quality, ""));
    if digits.len() > 3 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let part = format!("{digits:0<3}").parse::<u32>().ok()?;
    match whole {
        "0" => Some(part),
        "1" if part == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
