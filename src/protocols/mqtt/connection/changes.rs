//! SUBSCRIBE and UNSUBSCRIBE: what is read changes, one after the other, and the client is answered when it stands and is stored.

use std::{
    num::NonZeroU16,
    task::{Context, Poll},
};

use bytes::BytesMut;
use futures::FutureExt;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    super::{
        outbound::{Flows, refusal},
        session::{Subscription, sends_retained},
    },
    Connection,
};
use crate::{
    codec::mqtt::{Qos, Reason, Subscribe, Unsubscribe},
    deliver::OpenError,
};

/// Subscriptions of one client, and filters of one SUBSCRIBE.
const SUBSCRIPTIONS: usize = 1024;

/// What has become of a change of what is read.
pub(super) enum Change {
    Resumed,
    Subscribed(Subscribe, Vec<Result<Subscription, (Reason, String)>>),
    Unsubscribed(NonZeroU16, Vec<Reason>),
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    pub(super) fn subscribe(&mut self, subscribe: Subscribe) {
        let mut flows = self.take_flows();
        let (gateway, mut present) = (self.mqtt.gateway.clone(), self.session.subscriptions.clone());
        let changing = async move {
            let mut results = Vec::with_capacity(subscribe.filters.len());
            for asked in &subscribe.filters {
                let is_known = || present.iter().any(|known| known.text == asked.filter);
                let result = match Subscription::new(asked, subscribe.identifier) {
                    Err(problem) => Err((Reason::TopicFilterInvalid, problem.to_string())),
                    Ok(_) if results.len() >= SUBSCRIPTIONS || present.len() >= SUBSCRIPTIONS && !is_known() => {
                        Err((Reason::QuotaExceeded, format!("a client has at most {SUBSCRIPTIONS} subscriptions")))
                    }
                    Ok(new) => {
                        let opened = flows.subscribe(&gateway, &present, &new).await;
                        opened.map(|()| new).map_err(|problem: OpenError| (refusal(&problem), problem.to_string()))
                    }
                };
                if let Ok(new) = &result {
                    present.retain(|known: &Subscription| known.text != new.text);
                    present.push(new.clone());
                }
                results.push(result);
            }
            (flows, Change::Subscribed(subscribe, results))
        };
        self.changing = Some(changing.boxed());
    }

    pub(super) fn unsubscribe(&mut self, unsubscribe: &Unsubscribe) {
        let subscriptions = &mut self.session.subscriptions;
        let reasons = unsubscribe.filters.iter().map(|filter| {
            let before = subscriptions.len();
            subscriptions.retain(|subscription| subscription.text != *filter);
            if subscriptions.len() < before { Reason::Success } else { Reason::NoSubscriptionExisted }
        });
        let change = Change::Unsubscribed(unsubscribe.packet, reasons.collect());
        let left = subscriptions.clone();
        let mut flows = self.take_flows();
        let changing = async move {
            flows.keep(&left).await;
            (flows, change)
        };
        self.changing = Some(changing.boxed());
    }

    /// Takes them away to change them; where they stood is known meanwhile.
    fn take_flows(&mut self) -> Flows {
        let positions = self.outbound.flows.positions();
        self.session.after = positions.or(self.session.after.take());
        std::mem::take(&mut self.outbound.flows)
    }

    /// Takes the flows back once they have changed, and says so.
    pub(super) fn finish_change(&mut self, cx: &mut Context<'_>) {
        let Some(Poll::Ready((flows, change))) = self.changing.as_mut().map(|changing| changing.poll_unpin(cx)) else {
            return;
        };
        self.changing = None;
        self.outbound.flows = flows;
        match change {
            Change::Resumed => {}
            Change::Unsubscribed(packet, reasons) => {
                let mut answer = BytesMut::new();
                self.encoder.unsub_ack(&mut answer, packet, &reasons);
                self.answer(answer);
            }
            Change::Subscribed(subscribe, results) => {
                let (mut reasons, mut details) = (Vec::new(), Vec::new());
                for (asked, result) in subscribe.filters.iter().zip(results) {
                    match result {
                        Err((reason, detail)) => {
                            reasons.push(reason);
                            details.push(format!("{}: {detail}", asked.filter));
                        }
                        Ok(subscription) => {
                            reasons.push(granted(subscription.qos));
                            let was_there = self.session.put(subscription.clone());
                            if subscription.group.is_none() && sends_retained(asked, was_there) {
                                self.outbound.want_retained(&mut self.session, &subscription.text);
                            }
                        }
                    }
                }
                let mut answer = BytesMut::new();
                self.encoder.sub_ack(&mut answer, subscribe.packet, &reasons, &details.join("; "));
                self.answer(answer);
            }
        }
    }

    /// Answers a change: of a session that lasts once it is stored.
    fn answer(&mut self, answer: BytesMut) {
        if self.claim.lasts() {
            self.recording.answer_later(answer);
        } else {
            self.output.extend_from_slice(&answer);
        }
    }
}

fn granted(qos: Qos) -> Reason {
    match qos {
        Qos::AtMostOnce => Reason::Success,
        Qos::AtLeastOnce => Reason::GrantedQos1,
        Qos::ExactlyOnce => Reason::GrantedQos2,
    }
}
