use std::time::Duration;

use super::*;

#[derive(Debug, Default)]
struct Bell;

impl Keeper for Bell {
    fn attend(&self) {}
}

const BOUNDS: Bounds = Bounds { window: 10, bytes: 1000 };

/// A member of the group, which counts as standing at once.
async fn join(served: &Served<Bell>, name: &str, topic: &str) -> Result<Member, ReadError> {
    let stand = |local: &Arc<Local<Bell>>| {
        local.turn(Phase::Standing);
        Ok(())
    };
    served.join(name.into(), TopicSet::one(topic), BOUNDS, Bell::default, stand).await
}

fn local(served: &Served<Bell>, name: &str) -> Arc<Local<Bell>> {
    served.by_name.lock().get(name).cloned().expect("it is served")
}

#[tokio::test]
async fn who_joins_what_is_served_is_another_member() {
    let served = Served::new(1);
    let first = join(&served, "g", "a").await.expect("room");
    let second = join(&served, "g", "b").await.expect("the same group");
    assert_eq!(served.figures()[..2], [("groups", 1), ("group_members", 2)]);
    let group = local(&served, "g");
    assert!(group.reads("b") && !group.reads("a"), "the routes have changed");
    let full = join(&served, "h", "a").await.expect_err("there is one already");
    assert!(matches!(full, ReadError::Busy { .. }), "{full:?}");
    assert!(!served.leave(&group), "it has members");
    drop((first, second));
    assert!(served.leave(&group));
    join(&served, "h", "a").await.expect("room again");
}

#[tokio::test]
async fn what_is_refused_or_over_is_told_to_who_waits() {
    let served = Served::new(9);
    let refuse = |local: &Arc<Local<Bell>>| {
        local.turn(Phase::Refused("no such group".into()));
        Ok(())
    };
    let refused = served.join("g".into(), TopicSet::one("a"), BOUNDS, Bell::default, refuse).await;
    assert_eq!(refused.expect_err("refused"), ReadError::Down { detail: "no such group".into() });
    let waiting = served.join("h".into(), TopicSet::one("a"), BOUNDS, Bell::default, |_| Ok(()));
    let ended = async { served.end(&local(&served, "h")) };
    let (waiting, ()) = tokio::join!(waiting, ended);
    assert_eq!(waiting.expect_err("it is over"), closing());
    let failed = |_: &Arc<Local<Bell>>| Err(closing());
    served.join("i".into(), TopicSet::one("a"), BOUNDS, Bell::default, failed).await.expect_err("not served");
    assert!(!served.by_name.lock().contains_key("i"));
}

#[tokio::test]
async fn other_topics_stand_anew_where_the_broker_confirms_them() {
    let served = Served::confirmed_by_broker(9);
    let _first = join(&served, "g", "a").await.expect("room");
    let _same = join(&served, "g", "a").await.expect("it stands");
    let waiting = join(&served, "g", "b");
    let confirmed = async {
        let group = local(&served, "g");
        assert!(!served.stand(), "not confirmed yet");
        group.turn(Phase::Standing);
    };
    let (joined, ()) = tokio::join!(waiting, confirmed);
    joined.expect("confirmed");
}

#[tokio::test]
async fn closing_waits_for_the_last_confirmations_but_not_for_ever() {
    let served = Served::new(9);
    let _members = (join(&served, "g", "a").await, join(&served, "late", "a").await);
    let group = local(&served, "g");
    let deadline = Instant::now() + Duration::from_millis(200);
    let ends = async {
        while !group.is_closing() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        served.end(&group);
    };
    let name = Str::from("broker");
    tokio::join!(ends, served.close(&name, deadline));
    assert!(Instant::now() >= deadline, "the other does not end");
    assert_eq!(group.phase(), Phase::Over);
}
