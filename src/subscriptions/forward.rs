//! One event on its way to the sink, and what is to be said of it then.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use meshgate_api::{
    Str,
    event::timestamp,
    message::{HOPS_HEADER, Headers, Message},
    outcome::{Outcome, Unavailability},
};
use smallvec::SmallVec;

use super::tries::{Tried, rest};
use crate::{
    config::Subscription,
    gateway::{Gateway, Listener},
    router::Channel,
};

/// So many times an event is forwarded.
const MAX_HOPS: u8 = 8;
/// Bytes of the longest `deadletterreason`.
const MAX_REASON: usize = 1 << 10;
/// What a publish occupies besides the message.
const OVERHEAD: usize = 2 << 10;

/// What became of one event.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// It is stored where the sink leads.
    Delivered,
    /// It is stored as a dead letter.
    DeadLettered {
        /// Why.
        reason: Arc<str>,
    },
    /// It is tried again.
    Again {
        /// Not before.
        after: Duration,
        /// What has been tried so far.
        tried: Tried,
        /// What went wrong.
        detail: String,
    },
}

/// A verdict, and whether the event was refused because it was forwarded as often as may be.
#[derive(Debug)]
pub(super) struct Forwarded {
    pub(super) verdict: Verdict,
    pub(super) hops_refused: bool,
}

/// Publishes the event of `channel` to the sink, or as a dead letter if it is given up. Nothing is *delivered* that is not stored.
pub(super) async fn forward(
    gateway: &Arc<Gateway>,
    to: &Subscription,
    message: &Message,
    channel: &str,
    tried: Tried,
) -> Forwarded {
    let forwarded = |verdict, hops_refused| Forwarded { verdict, hops_refused };
    if let Some(reason) = tried.given_up.clone() {
        return forwarded(dead_letter(gateway, to, message, channel, tried.times, reason).await, false);
    }
    let Some(headers) = next_hop(&message.headers) else {
        let detail = format!("it was forwarded {MAX_HOPS} times already: subscriptions may lead in a circle");
        return forwarded(reject(gateway, to, message, channel, tried.times, detail).await, true);
    };
    let copy = Message { channel: Some(channel_of(&to.sink)), headers, ..message.clone() };
    let verdict = match publish(gateway, copy).await {
        Outcome::Stored(_) => Verdict::Delivered,
        Outcome::Rejected { detail, .. } => reject(gateway, to, message, channel, tried.times, detail).await,
        failed @ (Outcome::Unavailable { .. } | Outcome::Unknown { .. }) => {
            let times = tried.times.saturating_add(1);
            let detail = format!("{}: {}", failed.name(), failed.detail());
            if to.dead_letter.is_some() && to.retry.attempts.is_some_and(|attempts| times >= attempts) {
                let reason = reason(&format!("tried {times} times; {detail}"));
                dead_letter(gateway, to, message, channel, times, reason).await
            } else {
                again(to, times, None, detail)
            }
        }
    };
    forwarded(verdict, false)
}

/// What will never be stored goes to the dead letters at once. Without them it waits: another configuration may take it.
async fn reject(
    gateway: &Arc<Gateway>,
    to: &Subscription,
    message: &Message,
    channel: &str,
    times: u32,
    detail: String,
) -> Verdict {
    let detail = format!("rejected: {detail}");
    if to.dead_letter.is_some() {
        return dead_letter(gateway, to, message, channel, times, reason(&detail)).await;
    }
    let tried = Tried { times: times.saturating_add(1), given_up: None };
    Verdict::Again { after: to.retry.max, tried, detail }
}

async fn dead_letter(
    gateway: &Arc<Gateway>,
    to: &Subscription,
    message: &Message,
    channel: &str,
    times: u32,
    reason: Arc<str>,
) -> Verdict {
    let Some(dead_letter) = &to.dead_letter else {
        return again(to, times, None, reason.to_string()); // there was one before a reload
    };
    let mut letter = Message { channel: Some(channel_of(dead_letter)), ..message.clone() };
    let time = timestamp(SystemTime::now()).unwrap_or_default();
    let marks =
        [("deadletterreason", Str::from(&*reason)), ("deadletterfrom", channel.into()), ("deadlettertime", time)];
    for (name, value) in marks.into_iter().filter(|(_, value)| !value.is_empty()) {
        letter.event.set(name, value);
    }
    match publish(gateway, letter).await {
        Outcome::Stored(_) => Verdict::DeadLettered { reason },
        failed => {
            let detail = format!("as a dead letter {}: {}", failed.name(), failed.detail());
            again(to, times, Some(reason), detail)
        }
    }
}

fn again(to: &Subscription, times: u32, given_up: Option<Arc<str>>, detail: String) -> Verdict {
    // A dead letter that cannot be stored waits longer each time, too.
    let times = if given_up.is_some() { times.saturating_add(1) } else { times };
    let after = rest(&to.retry, times, rand::random());
    Verdict::Again { after, tried: Tried { times, given_up }, detail }
}

async fn publish(gateway: &Arc<Gateway>, message: Message) -> Outcome {
    let Some(share) = Share::of(gateway, OVERHEAD + message.size()) else {
        let detail = "as much as `limits.in_flight` allows is being published already";
        return Outcome::unavailable(Unavailability::GatewayLimit, detail);
    };
    let submissions = SmallVec::from_iter([Ok(Arc::new(message))]);
    let receipts = Box::pin(gateway.publish(Listener::Subscription, submissions, share)).await;
    match &receipts[..] {
        [receipt] => receipt.outcome.clone(),
        _ => Outcome::unknown("the event has no outcome of its own"),
    }
}

/// The headers of the next forwarding; `None`: there was one too many already.
fn next_hop(headers: &Headers) -> Option<Headers> {
    let hops = |(name, value): &(Str, Bytes)| match **value {
        [digit @ b'1'..=b'9'] if *name == HOPS_HEADER => Some(digit - b'0'),
        _ => None,
    };
    let before = headers.iter().filter_map(hops).max().unwrap_or(0);
    if before >= MAX_HOPS {
        return None;
    }
    let others = headers.iter().filter(|(name, _)| *name != HOPS_HEADER).cloned();
    let count = (Str::from_static(HOPS_HEADER), Bytes::from((before + 1).to_string()));
    Some(others.chain([count]).collect())
}

/// A text as an attribute may hold it.
fn reason(detail: &str) -> Arc<str> {
    let detail = &detail[..detail.floor_char_boundary(MAX_REASON)];
    detail.replace(char::is_control, " ").into()
}

fn channel_of(channel: &Channel) -> Str {
    channel.clone().into_str()
}

/// Bytes of `limits.in_flight`, until they are dropped.
struct Share {
    taken: Arc<AtomicUsize>,
    bytes: usize,
}

impl Share {
    /// `None`: so much is not left. One event always fits.
    fn of(gateway: &Gateway, bytes: usize) -> Option<Self> {
        let limit = gateway.now().limits.connectors.in_flight;
        let share = Self { taken: gateway.in_flight.clone(), bytes };
        let before = share.taken.fetch_add(bytes, Relaxed);
        (before == 0 || before + bytes <= limit).then_some(share)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests;
