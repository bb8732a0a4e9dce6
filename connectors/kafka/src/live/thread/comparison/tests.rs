use super::{Lane, STALLS};

fn lane() -> Lane {
    Lane { at: 10, stirred: true, explained: 10, stalls: 0 }
}

/// How many comparisons with these ends find the lane stuck.
fn stuck(lane: &mut Lane, ends: impl IntoIterator<Item = u64>) -> usize {
    ends.into_iter().filter(|end| lane.is_stuck(*end)).count()
}

#[test]
fn a_lane_that_gets_everything_is_not_stuck() {
    assert_eq!(stuck(&mut lane(), [10; 9]), 0);
}

#[test]
fn what_remains_after_an_end_was_seen_is_no_record() {
    let mut lane = lane();
    assert_eq!(stuck(&mut lane, [12; 9]), 0, "markers up to 12");
    lane.stirred = true;
    assert_eq!(stuck(&mut lane, [14; 9]), 0, "markers up to 14");
}

#[test]
fn records_that_do_not_come_are_noticed_each_time() {
    let mut lane = lane();
    assert_eq!(stuck(&mut lane, [10]), 0);
    assert_eq!(stuck(&mut lane, (0..u64::from(STALLS) - 1).map(|more| 11 + more)), 0);
    lane.stirred = true;
    assert_eq!(stuck(&mut lane, [30]), 0, "something came after all");
    assert_eq!(stuck(&mut lane, [40; 2 * STALLS as usize]), 2);
}
