use serde_json::value::to_raw_value;
use tokio::time;

use super::*;

const HERE: &str = "here";
const THERE: &str = "there";

/// A record of a client's session, whose content is a word.
fn record(epoch: u64, owner: &str, content: &str) -> Envelope {
    Envelope::new(epoch, owner.into(), 60, Some(to_raw_value(content).expect("JSON")))
}

fn parked(epoch: u64, owner: &str, content: &str, expires: u64) -> Envelope {
    Envelope { is_connected: false, expires: Some(expires), ..record(epoch, owner, content) }
}

fn claim(epoch: u64, owner: &str) -> Envelope {
    Envelope { is_claim: true, ..record(epoch, owner, "what its writer knew") }
}

fn owned(known: &mut Known) -> Arc<Ownership> {
    let ownership = Arc::<Ownership>::default();
    known.owned.insert("c".into(), ownership.clone());
    ownership
}

/// Epoch, owner and content.
fn present(known: &Known) -> Option<(u64, &str, &str)> {
    known.get("c").map(|kept| (kept.epoch, &*kept.owner, kept.session.get()))
}

fn is_set(flag: &std::sync::atomic::AtomicBool) -> bool {
    flag.load(std::sync::atomic::Ordering::Acquire)
}

#[tokio::test]
async fn a_claim_takes_the_session_and_not_what_its_writer_knew_of_it() {
    let mut known = Known::default();
    known.apply(HERE, "c", record(1, THERE, "newer"));
    known.apply(HERE, "c", claim(2, HERE));
    assert_eq!(present(&known), Some((2, HERE, "\"newer\"")));
    let before = known.get("c").and_then(|kept| kept.before.clone()).expect("an owner before");
    assert_eq!((&*before.owner, before.is_connected), (THERE, true));
}

#[tokio::test]
async fn of_two_who_take_it_at_once_the_earlier_has_it() {
    let mut known = Known::default();
    let ownership = owned(&mut known);
    known.apply(HERE, "c", claim(1, HERE));
    known.apply(HERE, "c", claim(1, THERE));
    assert_eq!(present(&known).map(|(epoch, owner, _)| (epoch, owner)), Some((1, HERE)));
    assert!(is_set(&ownership.is_overwritten), "the later one is the last in the log");
    assert!(!is_set(&ownership.is_wanted));
    known.apply(HERE, "c", claim(2, THERE));
    assert!(is_set(&ownership.is_wanted), "now it is taken");
}

#[tokio::test]
async fn the_owner_before_hands_over_where_it_stood_in_the_end_and_nothing_else() {
    let mut known = Known::default();
    let ownership = owned(&mut known);
    known.apply(HERE, "c", record(1, THERE, "old"));
    known.apply(HERE, "c", claim(2, HERE));
    known.apply(HERE, "c", record(1, THERE, "on its way"));
    assert_eq!(present(&known), Some((2, HERE, "\"old\"")));
    assert!(is_set(&ownership.is_overwritten) && !*ownership.handed_over.borrow());
    known.apply(HERE, "c", parked(1, "somebody", "else", 1));
    assert_eq!(present(&known), Some((2, HERE, "\"old\"")));
    known.apply(HERE, "c", parked(1, THERE, "last", 1));
    assert_eq!(present(&known), Some((2, HERE, "\"last\"")));
    assert!(*ownership.handed_over.borrow());
}

#[tokio::test]
async fn whoever_has_a_session_that_somebody_removes_writes_it_again() {
    let mut known = Known::default();
    let ownership = owned(&mut known);
    known.apply(HERE, "c", record(1, HERE, "mine"));
    known.remove("c");
    assert!(is_set(&ownership.is_overwritten));
    assert_eq!(present(&known), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_due_is_done_by_its_own_replica_or_by_others_once_that_is_gone() {
    let mut known = Known::default();
    known.hear(HERE, true);
    known.apply(HERE, "mine", parked(1, HERE, "", 100));
    known.apply(HERE, "theirs", parked(1, THERE, "", 100));
    known.apply(HERE, "connected", record(1, THERE, ""));
    let due = |known: &Known, now| known.due(HERE, now, now, Instant::now());
    assert_eq!(due(&known, 99), Vec::<Str>::new());
    assert_eq!(due(&known, 100), ["mine"]);
    assert_eq!(known.abandoned(HERE, Instant::now()), Vec::<Str>::new(), "it has just written");
    time::advance(SILENCE).await;
    known.hear(HERE, true);
    assert_eq!(due(&known, 100), ["mine", "theirs"]);
    assert_eq!(known.abandoned(HERE, Instant::now()), ["connected"]);
    assert_eq!(known.gone(Instant::now()), [THERE]);
    known.apply(HERE, "mine", record(1, HERE, "its client is back"));
    assert_eq!(due(&known, 1000), ["theirs"]);
    assert_eq!(known.figures(), (0, 1));
}
