use super::*;

#[test]
fn of_each_lane_one_is_on_its_way() {
    let mut lanes = Lanes::new();
    for (lane, event) in [("a", 1), ("a", 2), ("b", 3), ("a", 4), ("b", 5)] {
        lanes.enter(lane, event);
    }
    assert_eq!([lanes.start(), lanes.start(), lanes.start()], [Some(("a", 1)), Some(("b", 3)), None]);
    lanes.enter("b", 6);
    assert_eq!(lanes.start(), None, "the lane has one on its way");
    lanes.go_on("b");
    assert_eq!([lanes.start(), lanes.start()], [Some(("b", 5)), None]);
    lanes.go_on("a");
    assert_eq!(lanes.start(), Some(("a", 2)));
    assert_eq!(lanes.held(), 4, "two on their way, two behind them");
}

#[test]
fn what_was_behind_one_that_comes_again_is_let_go() {
    let mut lanes = Lanes::new();
    for (lane, event) in [("a", 1), ("b", 2), ("a", 3), ("a", 4)] {
        lanes.enter(lane, event);
    }
    assert_eq!([lanes.start(), lanes.start()], [Some(("a", 1)), Some(("b", 2))]);
    assert_eq!(lanes.let_go(&"a"), [3, 4]);
    assert_eq!((lanes.held(), lanes.start()), (1, None));
    lanes.go_on("b");
    assert_eq!((lanes.held(), lanes.lanes.len(), lanes.ready.len()), (0, 0, 0), "nothing is kept");
    lanes.enter("a", 1);
    assert_eq!(lanes.start(), Some(("a", 1)), "it comes again");
}
