//! The task of one subscription: a member of its group that publishes what it gets.
//!
//! An event is settled when it is stored where it belongs, and not before. Of one key one event is on its way at a time. One that is tried
//! again goes back to the group, which parks its key; what was held of that key behind it goes back too, and comes again after it.

use std::{
    future::poll_fn,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{
    StreamExt,
    future::{BoxFuture, FutureExt},
    stream::FuturesUnordered,
};
use meshgate_api::connector::{Settlement, Start};
use tokio::{sync::watch, task::coop, time::sleep};

use super::{
    figures::{Figures, Phase},
    forward::{Forwarded, Verdict, forward},
    lanes::{LaneName, Lanes},
    tries::Tries,
};
use crate::{
    config::Subscription,
    deliver::{Begin, Delivered, Ended, Flow, GroupName, OpenError, Reading},
    gateway::Gateway,
    shutdown::Drain,
};

/// Before a group is joined again: the first time, and at most.
const RESTS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(10)];

pub(super) struct Bridge {
    pub(super) gateway: Arc<Gateway>,
    /// As it is now; the name and the channel stay.
    pub(super) settings: watch::Receiver<Arc<Subscription>>,
    pub(super) figures: Arc<Figures>,
    pub(super) stop: Drain,
}

/// An event that was on its way.
struct Done {
    lane: LaneName,
    event: Delivered,
    forwarded: Forwarded,
}

/// What the task holds of its group's events.
struct Hand {
    lanes: Lanes<LaneName, Delivered>,
    tries: Tries,
    under_way: FuturesUnordered<BoxFuture<'static, Done>>,
}

impl Bridge {
    /// Forwards until it is told to stop; what is on its way then is finished. Whatever is away is tried again.
    pub(super) async fn run(&self) {
        let mut stop = self.stop.clone();
        let mut rest = RESTS[0];
        loop {
            self.figures.enter(Phase::Opening);
            let opened = tokio::select! {
                biased;
                () = stop.begun() => return,
                opened = Box::pin(self.open()) => opened,
            };
            let begun = Instant::now();
            let trouble = match opened {
                Ok(flow) => {
                    self.figures.enter(Phase::Reading);
                    match Box::pin(self.serve(flow)).await {
                        Some(ended) => ended.to_string(),
                        None => return,
                    }
                }
                Err(problem) => problem.to_string(),
            };
            self.tell(&trouble);
            rest = if begun.elapsed() > RESTS[1] { RESTS[0] } else { rest };
            tokio::select! {
                biased;
                () = stop.begun() => return,
                () = sleep(rest) => {}
            }
            rest = (2 * rest).min(RESTS[1]);
        }
    }

    async fn open(&self) -> Result<Flow, OpenError> {
        let settings = self.settings();
        let from = match settings.from {
            Start::Latest => Begin::Latest,
            Start::At(time) => Begin::Time(time),
            Start::Earliest | Start::After(_) => Begin::Earliest,
        };
        let reading = Reading {
            channels: settings.channel.clone().into(),
            from,
            cursors: false,
            positions: false,
            group: Some(GroupName::OfSubscription(settings.name.clone())),
            events: None,
        };
        self.gateway.open(reading).await
    }

    /// `None`: it was told to stop.
    async fn serve(&self, mut flow: Flow) -> Option<Ended> {
        let mut stop = self.stop.clone();
        let mut hand = Hand { lanes: Lanes::new(), tries: Tries::default(), under_way: FuturesUnordered::new() };
        let end = loop {
            coop::consume_budget().await;
            let settings = self.settings();
            self.start(&settings, &mut hand);
            let most = self.gateway.now().limits.max_in_flight.max(settings.concurrency);
            let room = most.saturating_sub(hand.lanes.held()) as u64;
            tokio::select! {
                biased;
                () = stop.begun() => break None,
                Some(done) = hand.under_way.next() => self.settle(done, &mut hand),
                next = poll_fn(|cx| flow.poll_event(cx, room)), if room > 0 => match next {
                    // All that has come: nothing of a key must be left behind an event of it that goes back.
                    Ok(event) => {
                        self.enter(&settings, event, &mut hand);
                        while let Some(event) = flow.take() {
                            self.enter(&settings, event, &mut hand);
                        }
                    }
                    Err(ended) => break Some(ended),
                },
            }
        };
        hand.lanes = Lanes::new(); // what has not started goes back
        while let Some(done) = hand.under_way.next().await {
            self.finish(done, &mut hand.tries);
        }
        self.figures.hold(0, 0);
        end
    }

    /// Takes in an event, if it is wanted.
    fn enter(&self, settings: &Subscription, mut event: Delivered, hand: &mut Hand) {
        let mut has_erred = false;
        let wanted = settings.filters.iter().all(|filter| filter.judge(event.event(), &mut |_| has_erred = true));
        if has_erred {
            self.gateway.metrics.filter_errors.inc();
        }
        if wanted {
            hand.lanes.enter(LaneName::of(event.record()), event);
            return;
        }
        if let Some(confirmation) = event.confirmation() {
            confirmation.settle(&Settlement::Ack);
        }
        self.figures.counters.filtered();
    }

    /// Has as many events on their way as may be.
    fn start(&self, settings: &Arc<Subscription>, hand: &mut Hand) {
        while hand.under_way.len() < settings.concurrency {
            let Some((lane, event)) = hand.lanes.start() else { break };
            let (gateway, settings) = (self.gateway.clone(), settings.clone());
            let tried = hand.tries.of(event.record());
            event.count();
            let on_its_way = async move {
                let forwarded = forward(&gateway, &settings, event.message(), event.channel(), tried).await;
                Done { lane, event, forwarded }
            };
            hand.under_way.push(on_its_way.boxed());
        }
        self.figures.hold(hand.under_way.len(), hand.tries.waiting());
    }

    fn settle(&self, done: Done, hand: &mut Hand) {
        let lane = done.lane.clone();
        if self.finish(done, &mut hand.tries) {
            hand.lanes.go_on(lane);
        } else {
            drop(hand.lanes.let_go(&lane));
        }
    }

    /// Whether the event is done with. If not, it is back with its group, before those behind it.
    fn finish(&self, Done { mut event, forwarded, .. }: Done, tries: &mut Tries) -> bool {
        let Forwarded { verdict, hops_refused } = forwarded;
        let settlement = match &verdict {
            Verdict::Delivered | Verdict::DeadLettered { .. } => Settlement::Ack,
            Verdict::Again { after, .. } => Settlement::Retry { after: Some(*after) },
        };
        let is_done = settlement == Settlement::Ack;
        if let Some(confirmation) = event.confirmation() {
            confirmation.settle(&settlement);
        }
        // Counted after that: who sees the count sees what it means.
        let counters = &self.figures.counters;
        match verdict {
            Verdict::Delivered => counters.delivered(),
            Verdict::DeadLettered { reason } => {
                self.tell(&reason);
                counters.dead_lettered();
            }
            Verdict::Again { tried, detail, .. } => {
                self.tell(&detail);
                tries.note(event.record(), tried);
                counters.retried();
            }
        }
        if hops_refused {
            counters.hops_refused();
        }
        if is_done {
            tries.forget(event.record());
        }
        is_done
    }

    fn settings(&self) -> Arc<Subscription> {
        self.settings.borrow().clone()
    }

    /// Logs what is in the way, once for all events that it is in the way of.
    fn tell(&self, trouble: &str) {
        if self.figures.trouble(trouble) {
            tracing::warn!(subscription = &*self.settings().name, "{trouble}");
        }
    }
}
