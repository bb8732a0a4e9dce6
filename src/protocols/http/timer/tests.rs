use futures::FutureExt;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn timer() -> HeadTimer {
    HeadTimer::new(10 * SECOND)
}

/// Waits for a deadline that hyper sets; the time from `begun` on. The clock stands until all wait, and then jumps.
async fn fired(head: Pin<Box<dyn Sleep>>, begun: Instant) -> u64 {
    head.await;
    begun.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn the_first_head_must_be_there_after_the_connection_begins() {
    let (begun, timer) = (Instant::now(), timer());
    time::sleep(4 * SECOND).await;
    timer.received(30);
    assert_eq!(fired(timer.sleep(10 * SECOND), begun).await, 10);
}

#[tokio::test(start_paused = true)]
async fn later_an_idle_connection_lives_longer() {
    let (begun, timer) = (Instant::now(), timer());
    timer.received(30);
    assert!(timer.sleep(10 * SECOND).now_or_never().is_none());
    time::sleep(5 * SECOND).await;
    for seconds in [5 + 75, 5 + 2 * 75] {
        assert_eq!(fired(timer.sleep(10 * SECOND), begun).await, seconds);
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_has_begun_must_be_there_soon() {
    let (begun, timer) = (Instant::now(), timer());
    assert!(timer.sleep(10 * SECOND).now_or_never().is_none());
    for (idle, seconds) in [(20, 30), (3, 43), (70, 123)] {
        let mut head = timer.sleep(10 * SECOND);
        assert!((&mut head).now_or_never().is_none());
        time::sleep(idle * SECOND).await;
        timer.received(1);
        assert!((&mut head).now_or_never().is_none());
        timer.received(1); // one byte after the other wins no time
        assert_eq!(fired(head, begun).await, seconds);
    }
}

#[tokio::test(start_paused = true)]
async fn heads_that_came_in_time_leave_no_alarm_behind() {
    let timer = timer();
    for _ in 0..100 {
        let mut head = timer.sleep(10 * SECOND);
        assert!((&mut head).now_or_never().is_none());
        time::sleep(9 * SECOND).await;
        timer.received(50);
    }
}
