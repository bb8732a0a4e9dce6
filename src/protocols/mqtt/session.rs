//! What of a client outlives its connection.

use std::collections::HashSet;

use meshgate_api::{Str, cursor::Cursor};
use serde::{Deserialize, Serialize};

use super::window::Window;
use crate::{
    codec::mqtt::{Filter, Qos, RetainHandling},
    router::{ChannelError, ChannelFilter, ChannelFilters},
};

/// A client's session.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) subscriptions: Vec<Subscription>,
    /// Where reading goes on in what can be read again.
    pub(super) after: Option<Cursor>,
    /// What was delivered and is not confirmed.
    pub(super) window: Window,
    /// QoS 2 publishes that were taken, and not released by the client.
    pub(super) unreleased: HashSet<u16>,
    /// Subscriptions whose retained messages are not all sent.
    pub(super) wanted: Vec<Wanted>,
}

/// Retained messages that are to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wanted {
    /// The subscription's text.
    pub(super) subscription: Str,
    /// The topic of the one that was sent last; they are sent in the order of their topics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<Str>,
}

/// One subscription.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    /// As it was asked for, with `$share/…`.
    pub(super) text: Str,
    pub(super) filter: ChannelFilter,
    pub(super) group: Option<Str>,
    pub(super) qos: Qos,
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
    pub(super) identifier: Option<u32>,
}

impl Subscription {
    pub(super) fn new(asked: &Filter, identifier: Option<u32>) -> Result<Self, ChannelError> {
        let shared = asked.filter.strip_prefix("$share/").and_then(|shared| shared.split_once('/'));
        let shared = shared.filter(|(group, _)| !group.is_empty() && !group.contains(['+', '#'])); // else refused as other `$…`
        let (group, filter) = match shared {
            Some((group, filter)) => (Some(Str::from(group)), filter),
            None => (None, &*asked.filter),
        };
        Ok(Self {
            text: asked.filter.clone(),
            filter: ChannelFilter::parse(filter)?,
            group,
            qos: asked.qos,
            no_local: asked.no_local,
            retain_as_published: asked.retain_as_published,
            identifier,
        })
    }
}

impl Session {
    /// What is read for the client alone.
    pub(super) fn own_filters(&self) -> ChannelFilters {
        let own = self.subscriptions.iter().filter(|subscription| subscription.group.is_none());
        own.map(|subscription| subscription.filter.clone()).collect()
    }

    /// Some subscription does not want what the client itself publishes.
    pub(super) fn is_deaf_to_itself(&self) -> bool {
        self.subscriptions.iter().any(|subscription| subscription.no_local)
    }

    /// Adds a subscription, or puts it in the place of the one to the same filter; whether there was one.
    pub(super) fn put(&mut self, subscription: Subscription) -> bool {
        match self.subscriptions.iter_mut().find(|known| known.text == subscription.text) {
            Some(known) => {
                *known = subscription;
                true
            }
            None => {
                self.subscriptions.push(subscription);
                false
            }
        }
    }
}

/// Whether what is retained is to be sent for a subscription.
pub(super) fn sends_retained(asked: &Filter, was_there: bool) -> bool {
    match asked.retain_handling {
        RetainHandling::Send => true,
        RetainHandling::SendIfNew => !was_there,
        RetainHandling::DoNotSend => false,
    }
}
