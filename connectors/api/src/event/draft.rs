//! An event whose attributes are still coming in.

use bytes::Bytes;
use smallvec::SmallVec;

use super::{Event, InvalidEvent, Value};
use crate::Str;

/// Takes attributes in any order, each once, and becomes an [`Event`] if they make a valid one.
///
/// It keeps the first fault and goes on, so that the error can name the event's `id` wherever that stands.
#[derive(Debug, Default)]
pub struct Draft {
    /// Behind a pointer: it is large, and a draft goes from hand to hand.
    event: Box<Event>,
    /// One bit for each name of [`CORE`] that was given, be it as unset.
    given: u8,
    /// The same for those that have a value.
    filled: u8,
    /// Extensions that were given as unset.
    unset: Vec<Str>,
    fault: Option<InvalidEvent>,
}

/// The attributes that the specification defines; the required ones first.
const CORE: [&str; 8] = ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"];
const REQUIRED: usize = 4;

impl Draft {
    /// Takes the attribute `name`; `None` is one that is there but unset. `own` makes an extension's name lasting.
    pub fn put(&mut self, name: &str, value: Option<Value>, own: impl FnOnce() -> Str) {
        let Some(at) = CORE.iter().position(|core| *core == name) else {
            return match value {
                Some(value) => self.event.extensions.push((own(), value)),
                None => self.unset.push(own()),
            };
        };
        if self.given & 1 << at != 0 {
            return self.fault(repeated(name));
        }
        self.given |= 1 << at;
        match value {
            None => {}
            Some(Value::String(version)) if name == "specversion" => {
                self.filled |= 1;
                self.check_version(&version);
            }
            Some(Value::String(text)) => {
                self.filled |= 1 << at;
                self.event.set(name, text);
            }
            Some(_) => self.fault(InvalidEvent::new(name, "must be a string")),
        }
    }

    /// What else is wrong; only the first fault counts.
    pub fn fault(&mut self, fault: InvalidEvent) {
        self.fault.get_or_insert(fault);
    }

    /// The media type so far.
    #[must_use]
    pub fn datacontenttype(&self) -> Option<&str> {
        self.event.datacontenttype.as_deref()
    }

    /// Sets the media type as something else than an attribute says it.
    pub fn set_datacontenttype(&mut self, media_type: Str) {
        self.event.datacontenttype = Some(media_type);
    }

    /// Whether each attribute that it has so far is one of `event`, with the same value.
    #[must_use]
    pub fn agrees_with(&self, event: &Event) -> bool {
        let mut agrees = self.fault.is_none();
        self.event.for_each_attribute(|name, value| {
            let given = CORE.iter().position(|core| *core == name).is_none_or(|at| self.filled & 1 << at != 0);
            agrees &= !given || event.attribute(name) == Some(value);
        });
        agrees
    }

    /// The required attributes that have no value; none after another fault, which is told first.
    #[must_use]
    pub fn missing(&self) -> SmallVec<[&'static str; REQUIRED]> {
        let required = CORE.iter().take(REQUIRED).enumerate();
        let missing = required.filter(|(at, _)| self.fault.is_none() && self.filled & 1 << at == 0);
        missing.map(|(_, name)| *name).collect()
    }

    /// The event with its data, if it is a valid one.
    pub fn finish(mut self, data: Option<Bytes>) -> Result<Box<Event>, InvalidEvent> {
        self.event.data = data;
        let fault = self.fault.take().or_else(|| self.repeated_extension()).or_else(|| is_missing(&self.missing()));
        match fault.map_or_else(|| self.event.check(), Err) {
            Ok(()) => Ok(self.event),
            Err(fault) => Err(InvalidEvent { id: Some(self.event.id).filter(|id| !id.is_empty()), ..fault }),
        }
    }

    /// Another version's attributes mean other things, so this fault comes before all others.
    fn check_version(&mut self, version: &str) {
        if version != "1.0" {
            self.fault = Some(InvalidEvent::new("specversion", "must be \"1.0\": no other version is understood"));
        }
    }

    /// Sorts instead of comparing each with each: a sender chooses how many there are.
    fn repeated_extension(&self) -> Option<InvalidEvent> {
        let named = self.event.extensions.iter().map(|(name, _)| name);
        let mut names: SmallVec<[&str; 16]> = named.chain(&self.unset).map(|name| &**name).collect();
        names.sort_unstable();
        names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| repeated(pair[0]))
    }
}

fn is_missing(names: &[&str]) -> Option<InvalidEvent> {
    let (first, others) = names.split_first()?;
    Some(InvalidEvent::new(*first, format!("is missing{}", also_missing(others, ""))))
}

/// How a sentence goes on that says what is missing first: ``; also missing: `source`, `type` ``, each name behind `prefix`.
#[must_use]
pub fn also_missing(others: &[&str], prefix: &str) -> String {
    let others: Vec<_> = others.iter().map(|other| format!("`{prefix}{other}`")).collect();
    if others.is_empty() { String::new() } else { format!("; also missing: {}", others.join(", ")) }
}

fn repeated(name: &str) -> InvalidEvent {
    InvalidEvent::new(name, "is given more than once")
}
