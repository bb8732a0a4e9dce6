use futures::FutureExt;

use super::*;

/// Lets the clock stand until all wait, and then jump.
#[tokio::test(start_paused = true)]
async fn each_deadline_is_kept_although_the_alarm_is_set_for_another() {
    let begun = time::Instant::now();
    let timer = LazyTimer::default();
    let second = Duration::from_secs(1);
    let mut unused = timer.sleep_until((begun + second).into_std());
    assert!((&mut unused).now_or_never().is_none());
    drop(unused);
    for (seconds, takes) in [(3, 3), (2, 3), (4, 4)] {
        timer.sleep_until((begun + seconds * second).into_std()).await;
        assert_eq!(begun.elapsed().as_secs(), takes, "{seconds}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_earlier_deadline_sets_the_alarm_back() {
    let begun = time::Instant::now();
    let timer = LazyTimer::default();
    let second = Duration::from_secs(1);
    assert!(timer.sleep_until((begun + 9 * second).into_std()).now_or_never().is_none());
    timer.sleep_until((begun + second).into_std()).await;
    assert_eq!(begun.elapsed().as_secs(), 1);
}
