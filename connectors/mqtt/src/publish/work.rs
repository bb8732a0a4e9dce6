//! A lane's task: it keeps a connection, and ends each event's ticket with what the broker or the connection says of it.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::lane::{Fate, Lane, Standing};
use crate::{
    client::{Client, Heard, IN_FLIGHT, Line, Purpose, Verdict, Welcome},
    session::Duty,
};

/// The task's side.
pub(super) struct Work {
    lane: Arc<Lane>,
    purpose: Purpose,
    /// Since when the connection stands, while it is not told.
    untold: Option<Instant>,
}

/// How long a connection that stands waits for the connector's groups.
const COURTESY: Duration = Duration::from_secs(3);

impl Work {
    pub(super) fn new(lane: Arc<Lane>) -> Self {
        let purpose = lane.common.purpose(lane.number);
        Self { lane, purpose, untold: None }
    }

    /// Tells that the broker answers, once groups are there again: a broker that was started anew may have forgotten them.
    fn tell(&mut self, now: Instant) {
        let common = &self.lane.common;
        if self.untold.is_some_and(|since| (common.ready)() || now >= since + COURTESY) {
            self.untold = None;
            common.answered(self.lane.number);
        }
    }

    /// Whoever waits for the first connection waits no longer.
    fn tried(&self) {
        drop(self.lane.tried.set(())); // an error: that was before
    }
}

impl Duty for Work {
    fn open(&mut self) -> Option<(Client, Line)> {
        Some(self.lane.common.opener.open(&self.purpose))
    }

    fn joined(&mut self, client: &Client, welcome: Welcome) -> Result<(), String> {
        if !welcome.confirms {
            return Err("the MQTT broker has only quality of service 0, which confirms nothing".into());
        }
        self.lane.state.lock().standing = Some(Standing {
            client: client.clone(),
            window: usize::from(IN_FLIGHT.min(welcome.receive)),
            largest: welcome.largest,
            retains: welcome.retains,
            handed: VecDeque::new(),
            sent: HashMap::new(),
            order: VecDeque::new(),
        });
        self.tried();
        let now = Instant::now();
        self.untold = Some(now);
        self.tell(now);
        Ok(())
    }

    fn heard(&mut self, heard: Heard) -> Result<(), String> {
        let lane = &self.lane;
        let mut state = lane.state.lock();
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
                let outcome = lane.common.outcome(&ticket.topic, verdict);
                ticket.answer(outcome);
                if verdict == Verdict::Confused {
                    return Err("the broker has confused packet identifiers".into());
                }
                state.hand_over(&lane.common)?;
                if state.under_way() == 0 {
                    drop(state);
                    lane.idle.notify_waiters();
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
        let common = &self.lane.common;
        let mut state = self.lane.state.lock();
        state.expire(common, now);
        let leaving = state.leaving;
        let Some(standing) = &mut state.standing else {
            return if leaving { Err("the connector is closed".into()) } else { Ok(()) };
        };
        if standing.is_late(now) {
            return Err(format!("the broker has confirmed nothing for {:?}", common.patience));
        }
        if leaving && standing.client.disconnect().is_err() {
            return Err("it cannot be told that the gateway leaves".into());
        }
        state.hand_over(common)
    }

    fn lost(&mut self, line: &mut Line, why: &str) {
        self.untold = None;
        let common = &self.lane.common;
        let mut state = self.lane.state.lock();
        if !state.leaving {
            common.lost(self.lane.number, why); // first: nobody is to wait for a connection that has ended
        }
        let unsent = line.unsent(); // under the lock, so that nothing more is handed over after it
        if state.under_way() > 0 {
            tracing::warn!(
                connector = %common.connector, unanswered = state.under_way(), "the connection to the broker ended: {why}"
            );
        }
        state.give_up(common, &Fate::Lost(why.to_owned()), unsent);
        drop(state);
        self.tried();
        self.lane.idle.notify_waiters();
    }

    fn is_over(&self) -> bool {
        let state = self.lane.state.lock();
        state.leaving && state.standing.is_none()
    }
}

/// Also with a runtime that ends before the connector is closed.
impl Drop for Work {
    fn drop(&mut self) {
        let (lane, common) = (&self.lane, &self.lane.common);
        let mut state = lane.state.lock();
        state.ended = true;
        state.give_up(common, &Fate::Lost("the thread that kept the connection has ended".into()), 0);
        drop(state);
        common.lost.lock().remove(&lane.number); // others say whether the broker answers
        self.tried();
        lane.idle.notify_waiters();
    }
}
