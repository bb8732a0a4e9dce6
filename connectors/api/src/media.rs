//! What a media type (RFC 2046) says about the bytes that it describes.

/// The media type of one event in the JSON event format.
pub const EVENT_JSON: &str = "application/cloudevents+json";
/// The media type of a batch of events in the JSON batch format.
pub const BATCH_JSON: &str = "application/cloudevents-batch+json";

/// `type/subtype` without its parameters.
#[must_use]
pub fn essence(media_type: &str) -> &str {
    let end = media_type.bytes().position(|byte| byte == b';').unwrap_or(media_type.len());
    media_type[..end].trim()
}

/// Whether the type without its parameters is `expected`, in whatever case.
#[must_use]
pub fn is(media_type: &str, expected: &str) -> bool {
    essence(media_type).eq_ignore_ascii_case(expected)
}

/// Whether it names an event format: one that begins with `application/cloudevents`.
#[must_use]
pub fn is_event_format(media_type: &str) -> bool {
    const PREFIX: &str = "application/cloudevents";
    media_type.trim_start().get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// Whether it declares JSON: `*/json` or `*/*+json`.
#[must_use]
pub fn is_json(media_type: &str) -> bool {
    is_of(media_type, "json")
}

/// Whether it declares text that is worth reading: `text/*`, XML, YAML and submitted forms.
#[must_use]
pub fn is_text(media_type: &str) -> bool {
    let essence = essence(media_type);
    let text = essence.split_once('/').is_some_and(|(kind, _)| kind.eq_ignore_ascii_case("text"));
    text || is_of(essence, "xml")
        || is_of(essence, "yaml")
        || essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Whether `text` in UTF-8 has the very bytes that the type's `charset` gives it.
#[must_use]
pub fn charset_holds(media_type: &str, text: &str) -> bool {
    let Some(charset) = charset(media_type) else { return true };
    let begins = |prefix: &str| charset.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    if begins("utf-8") || begins("utf8") {
        return true;
    }
    let wide = begins("utf-16") || begins("utf-32") || begins("utf-7") || begins("ucs-") || begins("iso-10646");
    !wide && text.is_ascii()
}

/// The value of the parameter `charset`.
#[must_use]
pub fn charset(media_type: &str) -> Option<&str> {
    media_type
        .split(';')
        .skip(1)
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .map(|(_, value)| value.trim().trim_matches('"'))
}

fn is_of(media_type: &str, format: &str) -> bool {
    let Some((_, subtype)) = essence(media_type).split_once('/') else { return false };
    let tail = subtype.rsplit_once('+').map_or(subtype, |(_, suffix)| suffix);
    tail.eq_ignore_ascii_case(format)
}

#[cfg(test)]
mod tests;
