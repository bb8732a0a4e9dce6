use super::*;

fn spot(offset: u64) -> Spot {
    Spot { connector: "c".into(), topic: "t".into(), partition: 0, place: Place::offset(offset) }
}

fn enter(window: &mut Window, offset: u64) -> Option<(u16, bool)> {
    window.enter(Origin::Log(spot(offset))).map(|(packet, is_again)| (packet.get(), is_again))
}

fn packet(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).expect("not 0")
}

#[test]
fn what_is_read_again_has_the_packet_identifier_that_it_had() {
    let mut window = Window::default();
    for offset in 1..=4 {
        assert_eq!(enter(&mut window, offset), Some((offset as u16, false)));
    }
    assert!(window.confirm(packet(2), &Settlement::Ack));
    assert!(window.release(packet(3)) && !window.release(packet(9)));
    let mut after = Cursor::new("");
    after.positions_mut(&"c".into()).set(Position { topic: "t".into(), partition: 0, place: Place::offset(5) });
    window.hold_back(&mut after);
    assert_eq!(after.positions("c").and_then(|positions| positions.get("t", 0)), Some(Place::offset(1)));

    assert_eq!(window.resume(), [(packet(3), None)], "the release is sent at once");
    assert!(window.awaits_earlier());
    assert_eq!(enter(&mut window, 1), Some((1, true)));
    assert_eq!((enter(&mut window, 2), enter(&mut window, 3)), (None, None), "the client has them");
    assert_eq!(enter(&mut window, 4), Some((4, true)));
    assert!(!window.awaits_earlier());
    assert_eq!(enter(&mut window, 5), Some((5, false)));
    for number in [1, 3, 4, 5] {
        assert!(window.confirm(packet(number), &Settlement::Ack));
    }
    assert_eq!((window.unconfirmed(), window.held()), (0, 0));
}

#[test]
fn what_the_client_has_it_does_not_get_however_often_it_is_read_again() {
    let mut window = Window::default();
    for offset in 1..=3 {
        assert_eq!(enter(&mut window, offset), Some((offset as u16, false)));
    }
    assert!(window.confirm(packet(2), &Settlement::Ack) && window.release(packet(3)));
    for _ in 0..3 {
        assert_eq!(window.resume(), [(packet(3), None)]);
        assert_eq!(enter(&mut window, 1), Some((1, true)));
        assert_eq!((enter(&mut window, 2), enter(&mut window, 3)), (None, None), "the client has them");
    }
    assert!(window.confirm(packet(3), &Settlement::Ack) && window.confirm(packet(1), &Settlement::Ack));
    assert_eq!((window.unconfirmed(), window.held()), (0, 0));
}

#[test]
fn what_is_here_alone_is_sent_again_at_once() {
    let mut window = Window::default();
    let publish = Publish { payload: "x".into(), ..Publish::default() };
    let (number, _) = window.enter(Origin::Kept(Box::new(publish.clone()))).expect("new");
    assert_eq!(window.resume(), [(number, Some(publish))]);
    assert!(window.confirm(number, &Settlement::Ack) && !window.confirm(number, &Settlement::Ack));
}
