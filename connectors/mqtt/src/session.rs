//! A client that is there again after each connection that ends: one task, which connects, listens, and rests before the next try.

use std::{pin::pin, time::Duration};

use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use crate::client::{Client, Heard, Line, Welcome};

/// Before the broker is tried again: at first, and at most.
const RESTS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How often a duty is reminded.
const TICK: Duration = Duration::from_millis(100);

/// Who works with the connection. An error ends it, and says why.
pub(crate) trait Duty: Send {
    /// A client for the next connection; `None`: there is to be none now.
    fn open(&mut self) -> Option<(Client, Line)>;

    /// The connection stands.
    fn joined(&mut self, client: &Client, welcome: Welcome) -> Result<(), String>;

    /// The connection tells something else.
    fn heard(&mut self, heard: Heard) -> Result<(), String>;

    /// The bell was rung, or some time has passed.
    fn attend(&mut self) -> Result<(), String>;

    /// The connection has ended, or never stood.
    fn lost(&mut self, line: &mut Line, why: &str);

    /// Nothing is left to do.
    fn is_over(&self) -> bool;
}

/// Works until the duty is over.
pub(crate) async fn run(mut duty: impl Duty, bell: &Notify) {
    let (mut rest, longest) = RESTS;
    while !duty.is_over() {
        if let Some((client, mut line)) = duty.open() {
            let mut stood = None;
            let why = listen(&mut line, &client, bell, &mut duty, &mut stood).await;
            duty.lost(&mut line, &why);
            // Two clients of one name throw each other out again and again: not faster than that.
            let is_sound = stood.is_some_and(|since: Instant| since.elapsed() >= longest);
            rest = if is_sound { RESTS.0 } else { (rest * 2).min(longest) };
            drop(line);
            pause(spread(rest), bell, &mut duty).await;
        } else {
            pause(TICK, bell, &mut duty).await;
        }
    }
}

/// Replicas that have lost the same broker do not come back all at once.
fn spread(rest: Duration) -> Duration {
    rest.mul_f64(rand::random_range(0.5..1.0))
}

async fn pause(rest: Duration, bell: &Notify, duty: &mut impl Duty) {
    let mut rest = pin!(sleep(rest));
    loop {
        if duty.attend().is_err() || duty.is_over() {
            return;
        }
        tokio::select! {
            () = &mut rest => return,
            () = bell.notified() => {}
        }
    }
}

/// Until the connection ends; why it did. `stood`: since when it had.
async fn listen(
    line: &mut Line,
    client: &Client,
    bell: &Notify,
    duty: &mut impl Duty,
    stood: &mut Option<Instant>,
) -> String {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Asked once for each event, and never let go before: what it is writing would be lost.
        let mut next = pin!(line.next());
        let heard = loop {
            let attended = tokio::select! {
                biased;
                heard = &mut next => break heard,
                () = bell.notified() => duty.attend(),
                _ = ticks.tick() => duty.attend(),
            };
            if let Err(why) = attended {
                return why;
            }
        };
        let done = match heard {
            Ok(Heard::Welcome(welcome)) => {
                *stood = Some(Instant::now());
                duty.joined(client, welcome)
            }
            Ok(heard) => duty.heard(heard),
            Err(why) => Err(why),
        };
        if let Err(why) = done {
            return why;
        }
    }
}
