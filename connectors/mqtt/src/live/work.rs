//! The task of live reading: it keeps a connection while somebody reads, and asks the broker for one thing at a time.

use std::{collections::VecDeque, sync::Arc};

use tokio::time::Instant;

use super::{Answer, Shared, Wishes};
use crate::{
    client::{Arrival, Client, Heard, Line, Opener, Purpose, Welcome},
    session::Duty,
};

/// The task's side.
pub(super) struct Work {
    opener: Opener,
    purpose: Purpose,
    shared: Arc<Shared>,
    standing: Option<Standing>,
    /// A connection stood before: readers may have relied on it.
    has_stood: bool,
}

struct Standing {
    client: Client,
    identifies: bool,
    /// What the broker has not answered yet. One request at a time: rumqttc does not look whether a packet identifier is in use.
    asked: Option<Asked>,
    /// What is to be subscribed once more, over this connection.
    again: VecDeque<String>,
}

enum Asked {
    Subscribe { filter: String, answers: Vec<Answer> },
    Unsubscribe { filter: String },
}

impl Standing {
    /// Asks the broker for the next thing that is due.
    fn ask(&mut self, wishes: &mut Wishes) -> Result<(), String> {
        if self.asked.is_some() {
            return Ok(());
        }
        let again = self.again.pop_front().filter(|filter| wishes.filters.contains_key(filter));
        let due = again.or_else(|| wishes.filters.iter().find(|(_, wish)| wish.due).map(|(filter, _)| filter.clone()));
        if let Some(filter) = due {
            let Some(wish) = wishes.filters.get_mut(&filter) else { return Ok(()) };
            wish.due = false;
            let answers = std::mem::take(&mut wish.asking);
            let id = self.identifies.then_some(wish.id);
            let asked = self.client.subscribe(&filter, id);
            self.asked = Some(Asked::Subscribe { filter, answers });
            return asked.map_err(|_| "the client takes no more requests".into());
        }
        let now = Instant::now();
        let over = wishes.filters.keys().find(|filter| wishes.is_to_end(filter, now)).cloned();
        let Some(filter) = over else { return Ok(()) };
        let asked = self.client.unsubscribe(&filter);
        self.asked = Some(Asked::Unsubscribe { filter });
        asked.map_err(|_| "the client takes no more requests".into())
    }
}

impl Work {
    pub(super) fn new(opener: Opener, purpose: Purpose, shared: Arc<Shared>) -> Self {
        Self { opener, purpose, shared, standing: None, has_stood: false }
    }

    fn subscribed(&mut self, answer: Result<(), String>) -> Result<(), String> {
        let asked = self.standing.as_mut().and_then(|standing| standing.asked.take());
        let Some(Asked::Subscribe { filter, answers }) = asked else {
            return Err("the broker answers a subscription that nobody asked for".into());
        };
        if let Err(problem) = &answer {
            tracing::warn!(connector = %self.shared.connector, filter, "the broker refuses a subscription: {problem}");
        } else if let Some(wish) = self.shared.wishes.lock().filters.get_mut(&filter) {
            wish.stands = true;
        }
        let answer =
            answer.map_err(|problem| format!("the MQTT broker refuses the subscription to `{filter}`: {problem}"));
        answers.into_iter().for_each(|waiting| drop(waiting.send(answer.clone()))); // some have gone away
        Ok(())
    }

    fn arrived(&self, arrival: Arrival) -> Result<(), String> {
        let packet = arrival.packet;
        let is_own = arrival.retained || {
            let topic = std::str::from_utf8(&arrival.topic).unwrap_or_default();
            let owner = self.shared.wishes.lock().owner(topic);
            arrival.subscriptions.is_empty() || owner.is_none_or(|owner| arrival.subscriptions.contains(&owner))
        };
        if is_own && !arrival.retained {
            self.shared.append(arrival);
        }
        match &self.standing {
            Some(standing) if packet != 0 => {
                standing.client.confirm(packet).map_err(|_| "the client takes no more confirmations".into())
            }
            _ => Ok(()),
        }
    }
}

impl Duty for Work {
    fn open(&mut self) -> Option<(Client, Line)> {
        // With a connection goes a session, which would fill while nobody reads.
        self.shared.wishes.lock().is_wanted().then(|| self.opener.open(&self.purpose))
    }

    fn joined(&mut self, client: &Client, welcome: Welcome) -> Result<(), String> {
        let mut is_missed = false;
        let mut again = VecDeque::new();
        for (filter, wish) in &mut self.shared.wishes.lock().filters {
            is_missed |= !welcome.resumed && std::mem::take(&mut wish.stands);
            again.push_back(filter.clone()); // also where the broker should have kept it
        }
        if is_missed && self.has_stood {
            tracing::warn!(
                connector = %self.shared.connector,
                "the broker has not kept the session: readers are told that their position is gone"
            );
            self.shared.gap();
        }
        self.purpose.anew = false;
        self.has_stood = true;
        self.standing = Some(Standing { client: client.clone(), identifies: welcome.identifies, asked: None, again });
        self.attend()
    }

    fn heard(&mut self, heard: Heard) -> Result<(), String> {
        match heard {
            Heard::Subscribed(answer) => self.subscribed(answer)?,
            Heard::Unsubscribed => {
                let asked = self.standing.as_mut().and_then(|standing| standing.asked.take());
                if let Some(Asked::Unsubscribe { filter }) = asked {
                    let mut wishes = self.shared.wishes.lock();
                    match wishes.filters.get_mut(&filter) {
                        Some(wish) if wish.readers > 0 => wish.due = true, // somebody came meanwhile
                        _ => drop(wishes.filters.remove(&filter)),
                    }
                }
            }
            Heard::Arrived(arrival) => self.arrived(arrival)?,
            _ => return Ok(()),
        }
        self.attend()
    }

    fn attend(&mut self) -> Result<(), String> {
        let mut wishes = self.shared.wishes.lock();
        let Some(standing) = &mut self.standing else {
            return if wishes.closed { Err("the connector is closed".into()) } else { Ok(()) };
        };
        if wishes.closed {
            // What the broker would keep is of no use to anybody.
            let filters = std::mem::take(&mut wishes.filters);
            let left = filters.keys().try_for_each(|filter| standing.client.unsubscribe(filter));
            return left.and_then(|()| standing.client.disconnect()).map_err(|_| "the connector is closed".into());
        }
        standing.ask(&mut wishes)
    }

    fn lost(&mut self, _: &mut Line, why: &str) {
        let standing = self.standing.take();
        let mut wishes = self.shared.wishes.lock();
        if wishes.closed {
            return;
        }
        tracing::warn!(connector = %self.shared.connector, "no connection for reading: {why}");
        if let Some(Standing { asked: Some(Asked::Subscribe { filter, answers }), .. }) = standing
            && let Some(wish) = wishes.filters.get_mut(&filter)
        {
            wish.due = true; // they still wait
            wish.asking.extend(answers);
        }
    }

    fn is_over(&self) -> bool {
        self.shared.wishes.lock().closed && self.standing.is_none()
    }
}
