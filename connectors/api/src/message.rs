//! An event on its way: with the channel that it was published to and the transport headers that travel along.

use bytes::Bytes;

use crate::{
    Str,
    event::{Event, Value},
};

/// The transport header that keeps the channel.
pub const CHANNEL_HEADER: &str = "meshgate-channel";
/// The transport header of an event that the gateway made of something that is no CloudEvent.
pub const WRAPPED_HEADER: &str = "meshgate-wrapped";
/// The transport header that counts forwardings.
pub const HOPS_HEADER: &str = "meshgate-hops";

/// Transport headers of the gateway's own that keep what an MQTT client has published with an event: where answers go, what they carry,
/// whether the payload calls itself text, and that it is to be retained.
pub const RESPONSE_HEADER: &str = "meshgate-response-topic";
/// See [`RESPONSE_HEADER`].
pub const CORRELATION_HEADER: &str = "meshgate-correlation";
/// See [`RESPONSE_HEADER`].
pub const FORMAT_HEADER: &str = "meshgate-payload-format";
/// See [`RESPONSE_HEADER`].
pub const RETAIN_HEADER: &str = "meshgate-retain";
/// A content type that is no media type, and so none of an event. See [`RESPONSE_HEADER`].
pub const CONTENT_TYPE_HEADER: &str = "meshgate-content-type";
/// The quality of service that a client of MQTT published with, where that is not 2. See [`RESPONSE_HEADER`].
pub const QOS_HEADER: &str = "meshgate-qos";
/// The client of MQTT that published it, where it does not want its own events back. See [`RESPONSE_HEADER`].
pub const PUBLISHER_HEADER: &str = "meshgate-publisher";

/// Transport headers: ordered, a name may repeat, values are bytes.
pub type Headers = Vec<(Str, Bytes)>;

/// An event, and what travels with it.
///
/// Its texts and the values of its headers are slices of buffers of about their own size: who makes a message out of a larger one calls
/// [`own_texts`](Self::own_texts). Its data may be a slice of a large network buffer: who keeps it for long calls
/// [`own_data`](Self::own_data).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// The channel that it was published to. `None`: another program wrote it, or the record does not say.
    pub channel: Option<Str>,
    /// The event. Behind a pointer: it is large, and messages go from hand to hand.
    pub event: Box<Event>,
    /// Transport headers without the gateway's own names and without the event's attributes.
    pub headers: Headers,
    /// The gateway made this event of bytes that were no CloudEvent.
    pub wrapped: bool,
}

impl Message {
    /// Bytes of the structs, without what they refer to.
    const OWN: usize = size_of::<Self>() + size_of::<Event>();

    /// About the bytes that the message occupies in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        Self::OWN + self.channel.as_ref().map_or(0, |channel| channel.len()) + headers + self.event.size()
    }

    /// Moves the data into a buffer of its own.
    pub fn own_data(&mut self) {
        if let Some(data) = &mut self.event.data {
            *data = Bytes::copy_from_slice(data);
        }
    }

    /// Moves all texts into one buffer of just their size.
    pub fn own_texts(&mut self) {
        let mut all = String::with_capacity(self.size() - Self::OWN);
        self.for_each_text(|text| all.push_str(text));
        all.shrink_to_fit();
        let all = Str::from(all);
        let mut unread: &str = &all;
        self.for_each_text(|text| {
            let (own, others) = unread.split_at(text.len());
            *text = all.slice_ref(own);
            unread = others;
        });
    }

    fn for_each_text(&mut self, mut each: impl FnMut(&mut Str)) {
        let Event { id, source, kind, subject, time, datacontenttype, dataschema, extensions, data: _ } =
            &mut *self.event;
        let optional = [subject, time, datacontenttype, dataschema, &mut self.channel];
        [id, source, kind].into_iter().chain(optional.into_iter().flatten()).for_each(&mut each);
        for (name, value) in extensions {
            each(name);
            if let Value::String(text) | Value::Uri(text) | Value::UriReference(text) | Value::Timestamp(text) = value {
                each(text);
            }
        }
        self.headers.iter_mut().for_each(|(name, _)| each(name));
    }
}

/// Whether a name from outside must not travel as a transport header: it belongs to the gateway or to a CloudEvents binding.
#[must_use]
pub fn is_reserved_header(name: &str) -> bool {
    let starts = |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    starts("meshgate-")
        || starts("ce_")
        || starts("ce-")
        || starts("cloudEvents")
        || name.eq_ignore_ascii_case("content-type")
}

/// Whether a header of the gateway's own travels from connector to listener like any other.
#[must_use]
pub fn is_own_header(name: &str, value: &[u8]) -> bool {
    match name {
        HOPS_HEADER => is_hop_count(value),
        RESPONSE_HEADER | CORRELATION_HEADER | FORMAT_HEADER | CONTENT_TYPE_HEADER | RETAIN_HEADER | QOS_HEADER
        | PUBLISHER_HEADER => true,
        _ => false,
    }
}

/// Whether a value of [`HOPS_HEADER`] counts, wherever it comes from: what does not is no header.
#[must_use]
pub fn is_hop_count(value: &[u8]) -> bool {
    matches!(value, [b'1'..=b'8'])
}

#[cfg(test)]
mod tests;
