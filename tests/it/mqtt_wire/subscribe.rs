//! SUBSCRIBE, UNSUBSCRIBE, and which topics a filter lets through.

use super::wire::{PUBACK, PUBLISH, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE, Wire, address, start};

#[tokio::test]
async fn each_filter_has_its_answer_in_their_order() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut client = Wire::connect(&at, 5, "many").await;
    client.put(SUBSCRIBE, "1234 00 <a> 00 <b> 01 <c> 02 <$SYS/#> 02 <$share/g/d> 01 <a> 02").await;
    let answer = client.next().await.expect("a SUBACK");
    assert_eq!((answer.first, &answer.body[..2]), (SUBACK, &[0x12, 0x34][..]));
    assert_eq!(answer.body[answer.body.len() - 6..], [0, 1, 2, 0x8F, 1, 2]);
    client.put(UNSUBSCRIBE, "1235 00 <c> <never> <$share/g/d> <A> <c>").await;
    client.expect(UNSUBACK, "1235 00 00 11 00 11 11").await;
    client.put(UNSUBSCRIBE, "1236 05 26 0000 0000 <c>").await;
    client.expect(UNSUBACK, "1236 00 11").await;
    let mut client = Wire::connect(&at, 4, "many-old").await;
    client.put(SUBSCRIBE, "0001 <a> 00 <b> 01 <c> 02 <$SYS/#> 02").await;
    client.expect(SUBACK, "0001 00 01 02 80").await;
    client.put(SUBSCRIBE, "0003 <$share/g> 00 <$share//a> 00 <$share/+/a> 00 <$share/g/> 00 <$share/g/a> 01").await;
    client.expect(SUBACK, "0003 80 80 80 80 01").await; // filters like others to 3.1.1, of topics that there are not
    client.put(UNSUBSCRIBE, "0002 <a> <never>").await;
    client.expect(UNSUBACK, "0002").await;
}

#[tokio::test]
async fn identifiers_of_all_that_matches_come_with_one_copy_of_the_highest_quality() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut client = Wire::connect(&at, 5, "ids").await;
    client.subscribe("ids/+", 0, "0b 01").await;
    client.subscribe("ids/a", 2, "0b ffffff7f").await;
    client.subscribe("ids/#", 1, "").await;
    client.subscribe("ids/b", 2, "0b 8001").await;
    client.put(PUBLISH | 4, "<ids/a> 0001 00").await;
    client.acknowledged(0x50, "0001").await;
    let got = client.delivered().await;
    assert_eq!((got.qos, got.properties.subscriptions()), (2, vec![1, 268_435_455]));
    client.nothing().await;
    client.subscribe("ids/a", 0, "0b 05").await; // in the place of the other
    client.put(PUBLISH | 2, "<ids/a> 0002 00").await;
    client.acknowledged(PUBACK, "0002").await;
    let got = client.delivered().await;
    assert_eq!((got.qos, got.properties.subscriptions()), (1, vec![1, 5]));
    client.nothing().await;
}

#[tokio::test]
async fn filters_let_through_what_the_standard_says() {
    let gateway = start("");
    let at = address(&gateway).await;
    let table: [(&str, &[&str], &[&str]); 12] = [
        (
            "sport/tennis/player1/#",
            &["sport/tennis/player1", "sport/tennis/player1/a/b"],
            &["sport/tennis/player2", "sport/tennis"],
        ),
        ("sport/#", &["sport", "sport/a"], &["sports", "sport1/a"]),
        ("#", &["a", "/", "a/b/c"], &[]),
        ("+", &["a", "finance"], &["/finance", "a/b"]),
        ("+/+", &["/finance", "a/b", "/"], &["a", "a/b/c"]),
        ("/+", &["/finance", "/"], &["finance", "/a/b"]),
        ("sport/+", &["sport/", "sport/a"], &["sport", "sport/a/b"]),
        ("sport/+/player1", &["sport/x/player1", "sport//player1"], &["sport/player1", "sport/x/y/player1"]),
        ("+/tennis/#", &["a/tennis", "/tennis/x"], &["tennis", "a/b/tennis"]),
        ("a//b", &["a//b"], &["a/b"]),
        ("A/b", &["A/b"], &["a/b", "A/B", "A/b/"]),
        ("é", &["é"], &["e\u{301}"]),
    ];
    let mut writer = Wire::connect(&at, 4, "writer").await;
    for (filter, through, not) in table {
        let mut reader = Wire::connect(&at, 5, "reader").await;
        reader.subscribe(filter, 0, "").await;
        for topic in not.iter().chain(through) {
            writer.publish(topic, topic).await;
        }
        for topic in through {
            let got = reader.delivered().await;
            assert_eq!((&*got.topic, &got.payload[..]), (*topic, topic.as_bytes()), "{filter}");
        }
        reader.nothing().await;
    }
}

#[tokio::test]
async fn a_subscription_stands_from_its_answer_until_it_is_given_up() {
    let gateway = start("");
    let at = address(&gateway).await;
    for version in [4, 5] {
        let mut writer = Wire::connect(&at, version, "writer").await;
        let mut reader = Wire::connect(&at, version, "reader").await;
        let topic = format!("stands/{version}");
        writer.publish(&topic, "before").await;
        reader.subscribe(&topic, 1, "").await;
        writer.publish(&topic, "while").await;
        assert_eq!(reader.delivered().await.payload, b"while");
        reader.subscribe(&topic, 0, "").await; // anew, and nothing is lost or comes twice
        writer.publish(&topic, "still").await;
        let got = reader.delivered().await;
        assert_eq!((got.qos, &got.payload[..]), (0, &b"still"[..]));
        let more = if version == 5 { "00" } else { "" };
        reader.put(UNSUBSCRIBE, &format!("0001 {more} <{topic}>")).await;
        reader.expect(UNSUBACK, if version == 5 { "0001 00 00" } else { "0001" }).await;
        writer.publish(&topic, "after").await;
        reader.nothing().await;
    }
}

#[tokio::test]
async fn who_wants_nothing_of_its_own_gets_nothing_of_its_own() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut client = Wire::connect(&at, 5, "deaf").await;
    let mut other = Wire::connect(&at, 5, "other").await;
    client.subscribe("local/#", 0x04, "0b 01").await;
    client.publish("local/a", "mine").await;
    other.publish("local/a", "theirs").await;
    assert_eq!(client.delivered().await.payload, b"theirs");
    client.subscribe("local/+", 0, "0b 02").await; // which wants all
    client.publish("local/a", "mine again").await;
    let got = client.delivered().await;
    assert_eq!((&got.payload[..], got.properties.subscriptions()), (&b"mine again"[..], vec![2]));
    client.nothing().await;
}

#[tokio::test]
async fn there_is_an_end_to_subscriptions() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut client = Wire::connect(&at, 5, "greedy").await;
    for batch in 0..8 {
        let filters: String = (0..128).map(|n| format!("<f/{batch}/{n}> 00 ")).collect();
        client.put(SUBSCRIBE, &format!("0001 00 {filters}")).await;
        let answer = client.next().await.expect("a SUBACK");
        assert_eq!(answer.body[3..], [0; 128], "{batch}");
    }
    client.put(SUBSCRIBE, "0002 00 <one/more> 00 <f/0/0> 01").await;
    let answer = client.next().await.expect("a SUBACK");
    assert_eq!(answer.body[answer.body.len() - 2..], [0x97, 1], "{answer:?}");
    client.put(UNSUBSCRIBE, "0003 00 <f/0/1>").await;
    client.expect(UNSUBACK, "0003 00 00").await;
    client.subscribe("one/more", 0, "").await;
    client.publish("one/more", "x").await;
    assert_eq!(client.delivered().await.topic, "one/more");
    let twice = "<d> 00 ".repeat(1025);
    client.put(SUBSCRIBE, &format!("0004 00 {twice}")).await;
    assert_eq!(client.next().await.expect("a SUBACK").body.last(), Some(&0x97));
    client.ping().await;
}
