//! A group's client: its subscriptions at the broker, and its end.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use meshgate_api::Str;
use tokio::time::Instant;

use super::{
    LINGER, Local, Losses, Phase, Served,
    held::{Held, Taken},
};
use crate::{
    client::{Arrival, Client, Heard, Line, Opener, Purpose, Welcome},
    naming,
    session::Duty,
};

/// How often members are reminded. More often is too often: it has the keeper look again for room.
const REMINDER: Duration = Duration::from_secs(1);

/// What the connector says of all its groups.
pub(super) struct Own {
    pub(super) connector: Str,
    /// Sessions outlive this process.
    pub(super) lasts: bool,
    /// Bytes of records that a group holds, settled ones not counted; what a broker sends at once may go over it.
    pub(super) most: usize,
}

/// What the task of one group knows.
pub(super) struct Work {
    opener: Opener,
    purpose: Purpose,
    connector: Str,
    local: Arc<Local>,
    served: Arc<Served>,
    losses: Arc<Losses>,
    lasts: bool,
    held: Held,
    standing: Option<Standing>,
    /// Subscribed in the session.
    subscribed: BTreeSet<String>,
    /// The broker has had the session.
    has_stood: bool,
    /// Since when there have been no members.
    empty_since: Option<Instant>,
    reminded: Instant,
    over: bool,
}

/// A connection that stands.
struct Standing {
    client: Client,
    asked: Option<Asked>,
    /// Subscribed since it stands. Also what the broker has kept is subscribed anew: not every broker that keeps a session keeps the
    /// shared subscriptions in it.
    confirmed: BTreeSet<String>,
    is_leaving: bool,
    /// It ends, and another one begins.
    is_turning: bool,
}

enum Asked {
    Subscribe(String),
    Unsubscribe(String),
}

impl Work {
    pub(super) fn new(
        opener: Opener,
        purpose: Purpose,
        own: Own,
        local: Arc<Local>,
        served: Arc<Served>,
        losses: Arc<Losses>,
    ) -> Self {
        let Own { connector, lasts, most } = own;
        Self {
            opener,
            purpose,
            held: Held::new(connector.clone(), local.clone(), most),
            connector,
            local,
            served,
            losses,
            lasts,
            standing: None,
            subscribed: BTreeSet::new(),
            has_stood: false,
            empty_since: None,
            reminded: Instant::now(),
            over: false,
        }
    }

    fn wanted(&self) -> BTreeSet<String> {
        let share = format!("$share/{}/", naming::share_name(&self.local.name));
        let filters = naming::filters(&self.local.topics()).unwrap_or_default(); // who joined had them checked
        filters.into_iter().map(|filter| format!("{share}{filter}")).collect()
    }

    /// Asks the broker for the next thing that is missing, or too much; then the group stands.
    fn ask(&mut self) -> Result<(), String> {
        let wanted = self.wanted();
        let Some(standing) = self.standing.as_mut().filter(|standing| standing.asked.is_none()) else { return Ok(()) };
        if self.local.phase() != Phase::Beginning {
            return Ok(());
        }
        let asked = if let Some(filter) = wanted.difference(&standing.confirmed).next() {
            standing.asked = Some(Asked::Subscribe(filter.clone()));
            standing.client.subscribe(filter, None)
        } else if let Some(filter) = self.subscribed.difference(&wanted).next() {
            standing.asked = Some(Asked::Unsubscribe(filter.clone()));
            standing.client.unsubscribe(filter)
        } else {
            self.local.turn(Phase::Standing);
            Ok(())
        };
        asked.map_err(|_| "the client takes no more requests".into())
    }

    fn arrived(&mut self, arrival: Arrival) -> Result<(), String> {
        if self.standing.is_none() {
            return Ok(());
        }
        if self.held.arrived(arrival) == Taken::Last {
            self.narrow();
        }
        self.confirm()
    }

    /// Larger events than were expected: over the next connection the broker may send fewer at once. Not every broker keeps to that when a
    /// session goes on, so this connection stays until what was taken is confirmed: each one gets further.
    fn narrow(&mut self) {
        let fewer = u16::try_from(self.held.unconfirmed() / 2).unwrap_or(u16::MAX).max(1);
        self.purpose.receive = self.purpose.receive.min(fewer);
        tracing::warn!(
            connector = %self.connector, group = %self.local.name, receive = self.purpose.receive,
            "the broker sends more at once than a group may hold (twice `limits.ring`): the rest comes after that"
        );
    }

    /// Confirms at the broker what is settled.
    fn confirm(&mut self) -> Result<(), String> {
        let Some(standing) = &self.standing else { return Ok(()) };
        while let Some(packet) = self.held.next_settled() {
            standing.client.confirm(packet).map_err(|_| "the client takes no more confirmations")?;
        }
        Ok(())
    }

    /// Ends the connection: the session stays if somebody may come back to it.
    fn leave(&mut self) -> Result<(), String> {
        let (lasts, subscribed) = (self.lasts, &self.subscribed);
        let Some(standing) = self.standing.as_mut().filter(|standing| !standing.is_leaving) else { return Ok(()) };
        standing.is_leaving = true;
        let client = &standing.client;
        let rest = if lasts { Ok(()) } else { subscribed.iter().try_for_each(|filter| client.unsubscribe(filter)) };
        rest.and_then(|()| client.disconnect()).map_err(|_| "the connection cannot be ended in order".into())
    }

    /// Ends the connection behind all confirmations, so that the broker sends over the next one what was not taken.
    fn turn(&mut self) -> Result<(), String> {
        let is_due = self.held.wants_the_rest();
        let Some(standing) = self.standing.as_mut().filter(|standing| is_due && !standing.is_turning) else {
            return Ok(());
        };
        standing.is_turning = true;
        standing.client.disconnect().map_err(|_| "the connection cannot be ended in order".into())
    }

    /// Whether the group is to end: the connector closes, or nobody has come back for long.
    fn is_to_end(&mut self) -> bool {
        if self.over || self.local.is_closing() {
            return true;
        }
        if self.local.group.members() > 0 {
            self.empty_since = None;
            return false;
        }
        let since = *self.empty_since.get_or_insert_with(Instant::now);
        since.elapsed() >= LINGER && self.served.leave(&self.local)
    }

    /// Nothing more comes of this group here.
    fn end(&mut self) {
        self.over = true;
        self.served.end(&self.local);
        let unsettled = self.held.unsettled();
        if unsettled > 0 && !self.lasts {
            self.losses.skipped.fetch_add(unsettled, Relaxed);
            self.losses.skipped_total.fetch_add(unsettled, Relaxed);
            tracing::error!(
                connector = %self.connector, group = %self.local.name, skipped = unsettled,
                "the group ends and what it has not confirmed is lost: with a `client_id` the broker would keep it"
            );
        }
    }

    /// The broker has a session of that name no more: what it had kept is gone, what is held here still goes to members.
    fn begin_anew(&mut self) {
        self.subscribed.clear();
        self.held.forget_packets();
        if self.has_stood {
            self.losses.gaps.fetch_add(1, Relaxed);
            tracing::error!(
                connector = %self.connector, group = %self.local.name,
                "the broker has not kept the group's session: what arrived meanwhile is lost"
            );
        }
    }
}

impl Duty for Work {
    fn open(&mut self) -> Option<(Client, Line)> {
        Some(self.opener.open(&self.purpose))
    }

    fn joined(&mut self, client: &Client, welcome: Welcome) -> Result<(), String> {
        self.held.begin();
        self.standing = Some(Standing {
            client: client.clone(),
            asked: None,
            confirmed: BTreeSet::new(),
            is_leaving: false,
            is_turning: false,
        });
        if !welcome.shares {
            let detail = "the MQTT broker has no shared subscriptions, which groups are made of".to_owned();
            self.local.turn(Phase::Refused(detail));
            return Ok(());
        }
        if !welcome.resumed {
            self.begin_anew();
        }
        self.has_stood = true;
        self.local.turn(Phase::Beginning);
        self.ask()
    }

    fn heard(&mut self, heard: Heard) -> Result<(), String> {
        match heard {
            Heard::Arrived(arrival) => self.arrived(arrival),
            Heard::Subscribed(answer) => {
                let asked = self.standing.as_mut().and_then(|standing| standing.asked.take());
                let Some(Asked::Subscribe(filter)) = asked else {
                    return Err("the broker answers a subscription that nobody asked for".into());
                };
                match answer {
                    Ok(()) => {
                        self.subscribed.insert(filter.clone());
                        if let Some(standing) = &mut self.standing {
                            standing.confirmed.insert(filter);
                        }
                    }
                    Err(problem) => {
                        let detail = format!("the MQTT broker refuses the subscription to `{filter}`: {problem}");
                        tracing::warn!(connector = %self.connector, group = %self.local.name, "{detail}");
                        self.local.turn(Phase::Refused(detail));
                    }
                }
                self.ask()
            }
            Heard::Unsubscribed => {
                let asked = self.standing.as_mut().and_then(|standing| standing.asked.take());
                if let Some(Asked::Unsubscribe(filter)) = asked {
                    self.subscribed.remove(&filter);
                    if let Some(standing) = &mut self.standing {
                        standing.confirmed.remove(&filter);
                    }
                }
                self.ask()
            }
            _ => Ok(()),
        }
    }

    fn attend(&mut self) -> Result<(), String> {
        if self.reminded.elapsed() >= REMINDER {
            self.local.group.remind();
            self.reminded = Instant::now();
        }
        self.held.settle();
        self.confirm()?;
        if self.is_to_end() {
            if self.standing.is_none() {
                self.end();
                return Err("the group is closed".into());
            }
            return self.leave();
        }
        self.turn()?;
        self.ask()
    }

    fn lost(&mut self, _: &mut Line, why: &str) {
        let standing = self.standing.take();
        if standing.as_ref().is_some_and(|standing| standing.is_leaving) || self.over {
            return self.end();
        }
        if !standing.is_some_and(|standing| standing.is_turning) {
            tracing::warn!(connector = %self.connector, group = %self.local.name, "no connection for the group: {why}");
        }
        self.local.turn(Phase::Beginning);
    }

    fn is_over(&self) -> bool {
        self.over
    }
}
