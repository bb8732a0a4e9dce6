//! Groups: while a group is present, one task reads the log for all its members, and what they have not confirmed is held in the log.
//! It stays present for a while after its last member has left, but not longer than there is room. An absent group is a few numbers,
//! and the log forgets what it waits for; that is counted.

use std::{
    collections::HashMap,
    future::poll_fn,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use meshgate_api::{
    Str,
    connector::{Context as ConnectorContext, GroupFigures, ReadError, Record, SubscribeRequest},
    group::{Bounds, Group, Keeper, Member, Resume},
    log::{Hold, Holder, LaneState, Log, Records},
    position::{Place, Position},
    topic::TopicSet,
};
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval},
};

/// After all records.
const END: Place = Place { generation: u64::MAX, offset: u64::MAX, index: u32::MAX };
/// Groups that one connector remembers.
const GROUPS: usize = 10_000;
/// Records that the task takes out of the log at once.
const READ_RECORDS: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");
/// How often members are reminded, and it is looked whether there are any.
const REMINDER: Duration = Duration::from_secs(1);
/// How long a group without members stays present.
const LINGER: Duration = Duration::from_secs(30);

/// All groups of one connector, by name.
#[derive(Debug)]
pub(crate) struct Groups {
    connector: Str,
    log: Arc<Log>,
    bounds: Bounds,
    by_name: Mutex<HashMap<Str, State>>,
    /// Records that were forgotten before their groups came back.
    skipped: AtomicU64,
    /// The same over all connectors.
    skipped_total: Arc<AtomicU64>,
    /// Records that were set aside by groups that are absent now.
    rejected: AtomicU64,
}

#[derive(Debug)]
enum State {
    Present(Arc<Present>),
    Absent(Absent),
}

/// A group that nobody reads for.
#[derive(Debug)]
struct Absent {
    topics: TopicSet,
    /// By topic.
    left: HashMap<Str, Left>,
    /// How many of the log's lanes were looked at for new topics.
    lanes_seen: usize,
}

/// Where an absent group stands in a topic.
#[derive(Debug)]
struct Left {
    resume: Resume,
    /// How many records the topic had before it, less those settled above it that are forgotten.
    ordinal: u64,
}

/// A group that is read for.
#[derive(Debug)]
struct Present {
    group: Arc<Group>,
    door: Arc<Door>,
    /// Until the group is absent.
    holder: Mutex<Option<Holder>>,
}

/// Where members tell that something has changed.
#[derive(Debug)]
struct Door {
    hold: Arc<Hold>,
    bell: Notify,
}

impl Keeper for Door {
    fn attend(&self) {
        self.bell.notify_one();
    }

    fn settled(&self, record: &Record) {
        self.hold.release(record.position.place.offset);
    }
}

impl Groups {
    pub(crate) fn new(context: &ConnectorContext, log: Arc<Log>, bounds: Bounds) -> Self {
        Self {
            connector: context.name.clone(),
            log,
            bounds,
            by_name: Mutex::default(),
            skipped: AtomicU64::new(0),
            skipped_total: context.skipped.clone(),
            rejected: AtomicU64::new(0),
        }
    }

    /// A new member of the group `name`. A group that is new begins where `start` says.
    pub(crate) fn join(
        self: &Arc<Self>,
        name: Str,
        request: SubscribeRequest,
        start: impl Fn(LaneState<'_>) -> Place,
    ) -> Result<Member, ReadError> {
        let mut by_name = self.by_name.lock();
        if by_name.len() >= GROUPS && !by_name.contains_key(&name) {
            return Err(ReadError::Busy { detail: format!("the connector remembers {GROUPS} groups already") });
        }
        let present = match by_name.remove(&name) {
            Some(State::Present(present)) => {
                present.turn_to(request.topics);
                present
            }
            Some(State::Absent(mut absent)) => {
                self.look_around(&mut absent);
                self.count_skipped(&name, &absent.left);
                self.begin(&name, request.topics, |lane| returned(&absent.left, &lane), &absent.left)
            }
            None => self.begin(&name, request.topics, start, &HashMap::new()),
        };
        let member = present.group.join();
        by_name.insert(name, State::Present(present));
        Ok(member)
    }

    /// Stands a group in the log.
    fn begin(
        self: &Arc<Self>,
        name: &Str,
        topics: TopicSet,
        start: impl Fn(LaneState<'_>) -> Place,
        left: &HashMap<Str, Left>,
    ) -> Arc<Present> {
        let mut lanes = Vec::new();
        let holder = self.log.hold(topics, |lane| {
            let place = start(lane).max(lane.floor);
            lanes.push((lane.topic.clone(), place));
            place
        });
        let door = Arc::new(Door { hold: holder.hold(), bell: Notify::new() });
        let group = Group::new(self.bounds, door.clone());
        for (topic, place) in lanes {
            let settled = left.get(&topic).map(|left| left.resume.settled.range(place..).copied().collect());
            let at = Position { topic, partition: 0, place };
            group.open(Resume { at, settled: settled.unwrap_or_default() });
        }
        let present = Arc::new(Present { group, door, holder: Mutex::new(Some(holder)) });
        tokio::spawn(self.clone().serve(name.clone(), present.clone()));
        present
    }

    /// Feeds the members until the group is absent.
    async fn serve(self: Arc<Self>, name: Str, present: Arc<Present>) {
        let mut ticks = interval(REMINDER);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_seen = Instant::now();
        while present.holder.lock().is_some() {
            tokio::select! {
                records = poll_fn(|cx| present.poll_read(cx)) => present.feed(records),
                () = present.door.bell.notified() => {}
                _ = ticks.tick() => {
                    present.group.remind();
                    if present.group.members() > 0 {
                        last_seen = Instant::now();
                    } else if last_seen.elapsed() >= LINGER {
                        self.depart(&mut self.by_name.lock(), &name, &present);
                    }
                }
            }
        }
    }

    /// Groups without members give up what they hold: somebody needs the room.
    pub(crate) fn make_room(&self) {
        let mut by_name = self.by_name.lock();
        let lingering = by_name.iter().filter_map(|(name, state)| match state {
            State::Present(present) => Some((name.clone(), present.clone())),
            State::Absent(_) => None,
        });
        for (name, present) in lingering.collect::<Vec<_>>() {
            self.depart(&mut by_name, &name, &present);
        }
    }

    /// Leaves a group without members as numbers.
    fn depart(&self, by_name: &mut HashMap<Str, State>, name: &Str, present: &Present) {
        if present.group.members() > 0 {
            return; // somebody has joined after all
        }
        let Some(holder) = present.holder.lock().take() else { return }; // it is absent already
        let (lanes_seen, topics) = self.log.opened_since(0, holder.topics());
        let unread = topics.into_iter().filter(|topic| !present.group.is_open(topic, 0)).map(beginning);
        let resumes = present.group.resumes().into_iter().chain(unread);
        let left = resumes.map(|resume| (resume.at.topic.clone(), self.left(resume))).collect();
        let absent = Absent { topics: holder.topics().clone(), left, lanes_seen };
        by_name.insert(name.clone(), State::Absent(absent));
        self.rejected.fetch_add(present.group.rejected(), Relaxed);
        drop(holder);
        present.door.attend();
    }

    /// Topics that have appeared while the group is absent are its own from their beginning.
    fn look_around(&self, absent: &mut Absent) {
        let (lanes_seen, topics) = self.log.opened_since(absent.lanes_seen, &absent.topics);
        absent.lanes_seen = lanes_seen;
        for topic in topics {
            let fresh = Left { resume: beginning(topic.clone()), ordinal: 0 };
            absent.left.entry(topic).or_insert(fresh);
        }
    }

    fn left(&self, resume: Resume) -> Left {
        let Position { topic, place, .. } = &resume.at;
        let floor = self.log.floor(topic, 0).map_or(*place, |(floor, _)| floor);
        let forgotten_and_settled = resume.settled.range(..floor).count() as u64;
        let ordinal = self.log.ordinal(topic, 0, *place).saturating_sub(forgotten_and_settled);
        Left { resume, ordinal }
    }

    fn count_skipped(&self, name: &Str, left: &HashMap<Str, Left>) {
        let skipped = self.skipped_of(left);
        if skipped > 0 {
            self.skipped.fetch_add(skipped, Relaxed);
            self.skipped_total.fetch_add(skipped, Relaxed);
            tracing::error!(
                connector = %self.connector, group = %name, skipped,
                "the group's position is gone, newer events needed the room: it goes on from the oldest"
            );
        }
    }

    /// How many records an absent group can no longer get.
    fn skipped_of(&self, left: &HashMap<Str, Left>) -> u64 {
        let skipped = left.iter().filter_map(|(topic, left)| {
            let (floor, forgotten) = self.log.floor(topic, 0)?;
            let settled = left.resume.settled.range(..floor).count() as u64;
            Some(forgotten.saturating_sub(left.ordinal).saturating_sub(settled))
        });
        skipped.sum()
    }

    /// All that are remembered.
    pub(crate) fn each(&self) -> Vec<GroupFigures> {
        let mut by_name = self.by_name.lock();
        let each = by_name.iter_mut().map(|(name, state)| match state {
            State::Present(present) => GroupFigures {
                name: name.clone(),
                members: present.group.members() as u64,
                unsettled: present.group.unsettled() as u64,
                lag: present.group.resumes().into_iter().map(|resume| self.lag_of(&self.left(resume))).sum(),
                skipped: 0,
            },
            State::Absent(absent) => {
                self.look_around(absent);
                GroupFigures {
                    name: name.clone(),
                    members: 0,
                    unsettled: 0,
                    lag: absent.left.values().map(|left| self.lag_of(left)).sum(),
                    skipped: self.skipped_of(&absent.left),
                }
            }
        });
        each.collect()
    }

    /// How many records of the topic are not settled, also if they are gone.
    fn lag_of(&self, left: &Left) -> u64 {
        let end = self.log.ordinal(&left.resume.at.topic, 0, END);
        end.saturating_sub(left.ordinal).saturating_sub(left.resume.settled.len() as u64)
    }

    /// Groups with members, their members, records that they have not settled, that they set aside, and that groups could not get.
    pub(crate) fn figures(&self) -> [(&'static str, u64); 5] {
        let each = self.each();
        let (mut rejected, mut groups) = (self.rejected.load(Relaxed), 0);
        for state in self.by_name.lock().values() {
            if let State::Present(present) = state {
                groups += 1;
                rejected += present.group.rejected();
            }
        }
        [
            ("groups", groups),
            ("group_members", each.iter().map(|group| group.members).sum()),
            ("group_unsettled", each.iter().map(|group| group.unsettled).sum()),
            ("group_rejected", rejected),
            ("group_skipped", self.skipped.load(Relaxed) + each.iter().map(|group| group.skipped).sum::<u64>()),
        ]
    }
}

impl Present {
    /// The routes may have changed since others joined.
    fn turn_to(&self, topics: TopicSet) {
        let mut holder = self.holder.lock();
        let Some(holder) = holder.as_mut().filter(|holder| *holder.topics() != topics) else { return };
        for left in self.group.resumes().into_iter().filter(|resume| !topics.contains(&resume.at.topic)) {
            self.group.close(&left.at.topic, 0);
        }
        holder.turn_to(topics);
        self.door.attend();
    }

    fn poll_read(&self, cx: &mut Context<'_>) -> Poll<Records> {
        match &mut *self.holder.lock() {
            Some(holder) if self.group.has_room() => {
                holder.poll_read(cx, READ_RECORDS, |topic, partition| self.group.room_in(topic, partition))
            }
            _ => Poll::Pending,
        }
    }

    /// Hands records to the members; the first of a topic opens it.
    fn feed(&self, records: Records) {
        for record in &records {
            if !self.group.is_open(&record.topic, 0) {
                self.group.open(Position { topic: record.topic.clone(), ..record.position.clone() }.into());
            }
        }
        self.group.push(records);
    }
}

/// Where a group that comes back goes on.
fn returned(left: &HashMap<Str, Left>, lane: &LaneState<'_>) -> Place {
    left.get(lane.topic).map_or(lane.floor, |left| left.resume.at.place)
}

fn beginning(topic: Str) -> Resume {
    Position { topic, partition: 0, place: Place::default() }.into()
}
