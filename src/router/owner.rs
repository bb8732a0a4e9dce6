//! Whose event a record is: the channel that it claims, if that can be, else what its topic and key say.

use meshgate_api::{
    Str,
    connector::{ContentMode, Record},
    message::Message,
};

use super::{
    Owned, Router,
    channel::Channel,
    index::Candidates,
    mould::Clues,
    route::{Destination, Route},
    shape::Fit,
    template::Scene,
};

impl Router {
    /// Whose event a record of the connector is; `None`: no route reads its topic. (Specification, section 4, "Whose event is it".)
    ///
    /// `wrap` is applied to what has not seen it yet: a wrapped event that was not published through this route, or one whose record
    /// keeps no attributes (`mode: raw`). What the wrap cannot render, or makes invalid, is left as it is.
    #[must_use]
    pub fn owner(&self, connector: usize, record: &Record) -> Option<Owned> {
        self.believed(connector, record).or_else(|| self.native(connector, record))
    }

    /// By the channel that the record claims: some route matches it, and would have put the event just there.
    fn believed(&self, connector: usize, record: &Record) -> Option<Owned> {
        let channel = record.message.channel.as_ref().filter(|channel| Channel::check(channel).is_ok())?;
        let candidates = self.index.readers_of(channel, connector, &record.topic);
        self.reading(candidates, connector).find_map(|(number, route, read)| {
            let fit = route.pattern.fit(channel)?;
            let scene = Scene { channel, fit: &fit, event: &record.message.event };
            if !read.topic.renders_to(&record.topic, &scene) {
                return None;
            }
            let wrapped = match read.mode {
                ContentMode::Raw => route.wrapped_if_possible(&record.message, channel, &fit),
                ContentMode::Binary | ContentMode::Structured => None,
            };
            Some(Owned { route: number, channel: channel.clone(), wrapped })
        })
    }

    /// By the first route that reads the topic.
    fn native(&self, connector: usize, record: &Record) -> Option<Owned> {
        let candidates = self.index.readers(connector, &record.topic);
        self.reading(candidates, connector).find_map(|(number, route, read)| {
            let channel = native_channel(route, read, record)?;
            let fit = route.pattern.fit(&channel);
            let wrapped = fit.and_then(|fit| route.wrapped_if_possible(&record.message, &channel, &fit));
            Some(Owned { route: number, channel, wrapped })
        })
    }

    /// Those of the candidates that are read at the connector.
    fn reading(
        &self,
        candidates: Candidates<'_>,
        connector: usize,
    ) -> impl Iterator<Item = (usize, &Route, &Destination)> {
        candidates.filter_map(move |number| {
            let route = &self.routes[number];
            let read = route.read().filter(|read| read.connector == connector)?;
            Some((number, route, read))
        })
    }
}

impl Route {
    fn wrapped_if_possible(&self, message: &Message, channel: &Str, fit: &Fit) -> Option<Box<Message>> {
        self.wrapped(message, channel, fit).ok().flatten().map(Box::new)
    }
}

/// The channel as topic and key tell it; `None`: the topic is not one of the destination's.
fn native_channel(route: &Route, read: &Destination, record: &Record) -> Option<Str> {
    let mut clues = Clues::none(&route.pattern);
    if !read.topic.read(&record.topic, &mut clues) {
        return None;
    }
    if let Some(key) = &read.key
        && let Some(text) = record.key.as_ref().and_then(|bytes| std::str::from_utf8(bytes).ok())
    {
        key.mould.read(text, &mut clues); // a foreign key may say nothing
    }
    Some(clues.channel(&route.pattern))
}

#[cfg(test)]
mod tests;
