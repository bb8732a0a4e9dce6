//! The publisher's task: it keeps a connection, and ends each event's ticket with what the broker or the connection says of it.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{Fate, Shared, Standing};
use crate::{
    client::{Client, Heard, IN_FLIGHT, Line, Opener, Purpose, Verdict, Welcome},
    session::Duty,
};

/// The task's side.
pub(super) struct Work {
    pub(super) opener: Opener,
    pub(super) purpose: Purpose,
    pub(super) shared: Arc<Shared>,
    /// The connector's groups have their subscriptions: what is published now they get.
    pub(super) ready: Box<dyn Fn() -> bool + Send>,
    /// Since when the connection stands, while it is not told.
    pub(super) untold: Option<Instant>,
}

/// How long a connection that stands waits for the connector's groups.
const COURTESY: Duration = Duration::from_secs(3);

impl Work {
    /// Tells that the broker answers, once groups are there again: a broker that was started anew may have forgotten them.
    fn tell(&mut self, now: Instant) {
        if self.untold.is_some_and(|since| (self.ready)() || now >= since + COURTESY) {
            self.untold = None;
            self.shared.link.answered();
        }
    }
}

impl Duty for Work {
    fn open(&mut self) -> Option<(Client, Line)> {
        Some(self.opener.open(&self.purpose))
    }

    fn joined(&mut self, client: &Client, welcome: Welcome) -> Result<(), String> {
        if !welcome.confirms {
            return Err("the MQTT broker has only quality of service 0, which confirms nothing".into());
        }
        self.shared.state.lock().standing = Some(Standing {
            client: client.clone(),
            window: usize::from(IN_FLIGHT.min(welcome.receive)),
            largest: welcome.largest,
            retains: welcome.retains,
            handed: VecDeque::new(),
            sent: HashMap::new(),
            order: VecDeque::new(),
        });
        let now = Instant::now();
        self.untold = Some(now);
        self.tell(now);
        Ok(())
    }

    fn heard(&mut self, heard: Heard) -> Result<(), String> {
        let shared = &self.shared;
        let mut state = shared.state.lock();
        let Some(standing) = &mut state.standing else { return Err("it speaks before it has begun".into()) };
        match heard {
            Heard::Sent(packet) => {
                let Some(ticket) = standing.handed.pop_front() else {
                    return Err("it sends what nobody gave it".into());
                };
                standing.order.push_back(packet);
                if standing.sent.insert(packet, ticket).is_some() {
                    return Err("two publishes have the same packet identifier".into());
                }
            }
            Heard::Confirmed(packet, verdict) => {
                let Some(ticket) = standing.sent.remove(&packet) else {
                    return Err("the broker confirms what was not sent".into());
                };
                let outcome = shared.outcome(&ticket.topic, verdict);
                ticket.answer(outcome);
                if verdict == Verdict::Confused {
                    return Err("the broker has confused packet identifiers".into());
                }
                state.hand_over()?;
                if state.under_way() == 0 {
                    drop(state);
                    shared.idle.notify_waiters();
                }
            }
            Heard::Stuck => return Err("the broker does not confirm in the order of sending".into()),
            _ => {}
        }
        Ok(())
    }

    fn attend(&mut self) -> Result<(), String> {
        let now = Instant::now();
        self.tell(now);
        let mut state = self.shared.state.lock();
        while state.queue.front().is_some_and(|waiting| waiting.ticket.deadline <= now) {
            if let Some(waiting) = state.queue.pop_front() {
                state.queued_bytes -= waiting.size;
                waiting.ticket.never_left("its turn did not come in time");
            }
        }
        let leaving = state.leaving;
        let Some(standing) = &mut state.standing else {
            return if leaving { Err("the connector is closed".into()) } else { Ok(()) };
        };
        if standing.is_late(now) {
            return Err(format!("the broker has confirmed nothing for {:?}", self.shared.patience));
        }
        if leaving && standing.client.disconnect().is_err() {
            return Err("it cannot be told that the gateway leaves".into());
        }
        state.hand_over()
    }

    fn lost(&mut self, line: &mut Line, why: &str) {
        self.untold = None;
        let mut state = self.shared.state.lock();
        if !state.leaving {
            self.shared.link.lost(why); // first: nobody is to wait for a connection that has ended
        }
        let unsent = line.unsent(); // under the lock, so that nothing more is handed over after it
        if state.under_way() > 0 {
            tracing::warn!(
                connector = %self.shared.connector, unanswered = state.under_way(), "the connection to the broker ended: {why}"
            );
        }
        state.give_up(&Fate::Lost(why.to_owned()), unsent);
        drop(state);
        self.shared.idle.notify_waiters();
    }

    fn is_over(&self) -> bool {
        self.shared.state.lock().leaving && self.shared.state.lock().standing.is_none()
    }
}
