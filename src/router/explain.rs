//! Why a message goes where it goes: the search of `publish.rs`, with every route asked aloud.

use std::sync::Arc;

use meshgate_api::{message::Message, outcome::Outcome};

use super::{
    Routed, Router,
    publish::{Answer, Refusal, ask, channel},
};

/// What the routes said to a message, and what came of it.
#[derive(Debug)]
pub struct Explained {
    /// Of each route, from the first up to the one that ended the search. Later ones are not asked.
    pub verdicts: Vec<Verdict>,
    /// What [`Router::route`] answers.
    pub outcome: Result<Routed, Outcome>,
}

/// What one route says to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its pattern does not match the channel.
    OtherChannel,
    /// A filter does not let the event through: which one, and why.
    Refuses(String),
    /// It matches, but its `wrap` makes no valid event: the message is rejected.
    Fails,
    /// It matches: a tap gets a copy, another route takes the message.
    Takes,
}

pub(super) fn explain(router: &Router, message: &Arc<Message>) -> Explained {
    let mut verdicts = Vec::new();
    let all = 0..router.routes.len();
    let outcome = channel(message)
        .and_then(|channel| ask(router, all, channel, message, |answer| verdicts.push(Verdict::from(answer))));
    Explained { verdicts, outcome }
}

impl From<Answer<'_>> for Verdict {
    fn from(answer: Answer<'_>) -> Self {
        match answer {
            Answer::OtherChannel => Self::OtherChannel,
            Answer::Fails => Self::Fails,
            Answer::Takes => Self::Takes,
            Answer::Refuses(Refusal { number: at, filter, event, .. }) => {
                let why = filter.refusal(event).unwrap_or_else(|| filter.to_string());
                Self::Refuses(format!("filters[{at}]: {why}"))
            }
        }
    }
}
