//! An event as the headers of a binary request.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use meshgate_api::event::{Event, InvalidEvent};

use super::value;

/// Adds the headers of the event in binary mode; its data is the body. Headers of the same names are replaced.
///
/// Empty data without `datacontenttype` cannot be told from no data there. The error names an attribute that no header can hold:
/// none that [`Event::check`] accepts.
pub fn encode_headers(event: &Event, headers: &mut HeaderMap) -> Result<(), InvalidEvent> {
    put(headers, HeaderName::from_static("ce-specversion"), "1.0", "specversion")?;
    let mut result = Ok(());
    event.for_each_attribute(|name, value| {
        if result.is_ok() {
            result = match name {
                "datacontenttype" => put(headers, CONTENT_TYPE, &value, name),
                name => header_name(name).and_then(|header| put(headers, header, &value::encode(&value), name)),
            };
        }
    });
    result
}

fn header_name(attribute: &str) -> Result<HeaderName, InvalidEvent> {
    Ok(match attribute {
        "id" => HeaderName::from_static("ce-id"),
        "source" => HeaderName::from_static("ce-source"),
        "type" => HeaderName::from_static("ce-type"),
        "subject" => HeaderName::from_static("ce-subject"),
        "time" => HeaderName::from_static("ce-time"),
        "dataschema" => HeaderName::from_static("ce-dataschema"),
        extension => HeaderName::try_from(format!("ce-{extension}"))
            .map_err(|_| InvalidEvent::new(extension, "is no name that a header can have"))?,
    })
}

fn put(headers: &mut HeaderMap, header: HeaderName, value: &str, attribute: &str) -> Result<(), InvalidEvent> {
    let unfit = || InvalidEvent::new(attribute, "has a value that no header can hold");
    let value = HeaderValue::try_from(value).map_err(|_| unfit())?;
    headers.try_insert(header, value).map(drop).map_err(|_| unfit())
}
