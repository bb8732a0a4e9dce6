use proptest::prelude::*;

use super::*;

fn cursor() -> Cursor {
    let mut cursor = Cursor::new("orders/#");
    let positions = cursor.positions_mut(&"kafka".into());
    for (topic, partition, offset) in [("a", 0, 5), ("a", 300, 1 << 40), ("b", 1, 0)] {
        positions.set(Position { topic: topic.into(), partition, place: Place::offset(offset) });
    }
    let place = Place { generation: u64::MAX, offset: u64::MAX, index: u32::MAX };
    cursor.positions_mut(&"memory".into()).set(Position { topic: Str::new(), partition: 0, place });
    cursor
}

#[test]
fn survives_its_text() {
    assert_eq!(Cursor::decode(&cursor().encode(), "orders/#"), Ok(cursor()));
    assert_eq!(Cursor::decode(&Cursor::new("x").encode(), "x"), Ok(Cursor::new("x")));
}

#[test]
fn belongs_to_its_filter() {
    assert_eq!(Cursor::decode(&cursor().encode(), "orders/+"), Err(CursorError::Filter));
}

/// Stored cursors must be readable for ever: this text must never have to change.
#[test]
fn format_is_frozen() {
    let mut cursor = Cursor::new("orders");
    cursor.positions_mut(&"k".into()).set(Position { topic: "orders".into(), partition: 2, place: Place::offset(300) });
    assert_eq!(cursor.encode(), "ARwWitsA0gjkAWsBBm9yZGVycwisAg");
}

#[test]
fn refuses_what_it_did_not_write() {
    let good = URL_SAFE_NO_PAD.decode(cursor().encode()).unwrap_or_default();
    assert_eq!(Cursor::decode("", "orders/#"), Err(CursorError::Damaged));
    assert_eq!(Cursor::decode("not base64!", "orders/#"), Err(CursorError::Damaged));
    let padded = [&good[..], &[0; 4]].concat();
    assert_eq!(Cursor::decode(&URL_SAFE_NO_PAD.encode(padded), "orders/#"), Err(CursorError::Damaged));
    let newer = [&[9], &good[1..]].concat();
    assert_eq!(Cursor::decode(&URL_SAFE_NO_PAD.encode(newer), "orders/#"), Err(CursorError::Version));
    let whole_connectors = [good.len(), 9, 9 + 1 + 5 + 1 + 4 + 2 + 9 + 5]; // lengths at which a shorter text happens to be complete
    for length in (1..good.len()).filter(|length| !whole_connectors.contains(length)) {
        let cut = Cursor::decode(&URL_SAFE_NO_PAD.encode(&good[..length]), "orders/#");
        assert!(
            cut.as_ref().is_err_and(|error| *error == CursorError::Damaged) || cut.is_ok_and(|cut| cut != cursor())
        );
    }
}

proptest! {
    #[test]
    fn never_panics_on_foreign_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut text = vec![VERSION];
        text.extend(filter_hash("f"));
        text.extend(bytes);
        if let Ok(cursor) = Cursor::decode(&URL_SAFE_NO_PAD.encode(text), "f") {
            prop_assert_eq!(Cursor::decode(&cursor.encode(), "f"), Ok(cursor));
        }
    }
}
