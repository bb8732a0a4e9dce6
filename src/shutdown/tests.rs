use futures::FutureExt;

use super::*;

#[tokio::test]
async fn all_who_wait_are_woken_and_who_comes_later_need_not_wait() {
    let (switch, drain) = drain();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut drain = drain.clone();
        assert!(drain.begun().now_or_never().is_none());
        waiting.push(tokio::spawn(async move { drain.begun().await }));
    }
    tokio::task::yield_now().await;
    switch.begin();
    for waiting in waiting {
        waiting.await.expect("no panic");
    }
    assert!(drain.clone().begun().now_or_never().is_some());
}

#[test]
fn who_goes_away_leaves_nothing_behind() {
    let (_switch, drain) = drain();
    let mut one = drain.clone();
    assert!(one.begun().now_or_never().is_none());
    assert!(one.begun().now_or_never().is_none());
    assert_eq!(drain.shared.waiting.lock().wakers.len(), 1);
    drop(one);
    assert_eq!(drain.shared.waiting.lock().wakers.len(), 0);
}

#[test]
fn without_its_switch_it_has_begun() {
    let (switch, drain) = drain();
    assert!(!drain.has_begun());
    drop(switch);
    assert!(drain.has_begun());
}
