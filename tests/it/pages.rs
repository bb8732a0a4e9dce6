//! Reading page by page, on memory.

use std::time::Instant;

use reqwest::StatusCode;
use serde_json::json;

use crate::harness::{
    PATIENCE,
    gateway::{Gateway, problem},
    page::{Page, ask},
    sse::Stream,
};

async fn store(gateway: &Gateway, channel: &str, ids: std::ops::Range<usize>) {
    let events: Vec<_> =
        ids.map(|id| json!({ "specversion": "1.0", "id": id.to_string(), "source": "/s", "type": "t" })).collect();
    let request = gateway.client.post(gateway.channel_url(channel));
    let request = request.header("content-type", "application/cloudevents-batch+json").body(json!(events).to_string());
    assert_eq!(request.send().await.expect("an answer").status(), 202);
}

fn ids(ids: std::ops::Range<usize>) -> Vec<String> {
    ids.map(|id| id.to_string()).collect()
}

#[tokio::test]
async fn follow_each_other_without_gap_or_repetition() {
    let gateway = Gateway::memory();
    for at in 0..25 {
        store(&gateway, "a/b", at * 10..at * 10 + 10).await;
        store(&gateway, "elsewhere", 0..3).await;
    }
    let first = Page::read(&gateway, "a/*").await;
    assert_eq!((first.ids(), first.is_end), (ids(0..100).iter().map(String::as_str).collect(), false));
    let pages = first.until_the_end(&gateway).await;
    assert_eq!(pages.iter().map(|page| page.events.len()).collect::<Vec<_>>(), [100, 100, 50]);
    assert_eq!(pages.iter().flat_map(Page::ids).collect::<Vec<_>>(), ids(0..250));

    let small = Page::read(&gateway, "a/b?from=earliest&limit=125").await.until_the_end(&gateway).await;
    assert_eq!(small.iter().map(|page| page.events.len()).collect::<Vec<_>>(), [125, 125], "the last one knows");
    let whole = Page::read(&gateway, "?channel=a/b&limit=1000").await;
    assert_eq!((whole.events.len(), whole.is_end), (250, true));
    assert!(whole.next.as_deref().is_some_and(|next| next.starts_with("/channels?channel=a/b&limit=1000&after=")));
    let none = whole.following(&gateway).await;
    assert_eq!((none.events.len(), none.is_end), (0, true));
    store(&gateway, "a/b", 250..251).await;
    assert_eq!(none.following(&gateway).await.ids(), ["250"]);
}

#[tokio::test]
async fn an_empty_page_has_a_cursor() {
    let gateway = Gateway::memory();
    store(&gateway, "a", 0..3).await;
    for filter in ["a?from=latest", "nothing/**"] {
        let empty = Page::read(&gateway, filter).await;
        assert!(empty.events.is_empty() && empty.is_end && empty.cursor.is_some(), "{filter}: {empty:?}");
    }
    let latest = Page::read(&gateway, "a?from=latest").await;
    store(&gateway, "a", 3..4).await;
    assert_eq!(latest.following(&gateway).await.ids(), ["3"]);
}

#[tokio::test]
async fn an_empty_page_waits_for_the_first_event() {
    let gateway = Gateway::memory();
    let begun = Instant::now();
    let (page, ()) = tokio::join!(Page::read(&gateway, "a?wait=50s"), async {
        // Somebody reads: one more connection than ours alone.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        store(&gateway, "b", 0..1).await;
        store(&gateway, "a", 0..2).await;
    });
    assert_eq!((page.ids(), page.is_end), (vec!["0", "1"], true));
    assert!(begun.elapsed() < PATIENCE, "it does not wait to the end");
    let cursor = page.cursor.expect("a cursor");
    for wait in ["wait=100ms", "wait=0", "wait=0s", "limit=1"] {
        let none = Page::read(&gateway, &format!("a?after={cursor}&{wait}")).await;
        assert!(none.is_end && none.events.is_empty(), "{wait}");
    }
}

#[tokio::test]
async fn a_waiting_page_ends_with_the_gateway() {
    let mut gateway = Gateway::memory();
    let url = gateway.channel_url("a?wait=60s");
    let (page, ()) = tokio::join!(ask(&gateway, &url), async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        gateway.signal("TERM");
    });
    assert!(Page::of(page).await.events.is_empty());
    assert!(gateway.ended().await.success());
}

#[tokio::test]
async fn are_no_longer_than_4_mib() {
    const MIB: usize = 1 << 20;
    let gateway = Gateway::memory();
    for n in 0..9 {
        let answer = gateway.event("a", &n.to_string()).header("content-type", "text/plain");
        let answer = answer.body("x".repeat(MIB - 64)).send().await.expect("an answer");
        assert_eq!(answer.status(), 202);
    }
    let pages = Page::read(&gateway, "a").await.until_the_end(&gateway).await;
    assert!(pages.iter().all(|page| page.size <= 4 * MIB), "{:?}", pages.iter().map(|page| page.size).max());
    assert_eq!(pages.iter().map(|page| page.events.len()).collect::<Vec<_>>(), [3, 3, 3]);
    assert_eq!(pages.iter().flat_map(Page::ids).collect::<Vec<_>>(), ids(0..9));
}

#[tokio::test]
async fn keep_their_filter() {
    let gateway = Gateway::memory();
    store(&gateway, "a", 0..40).await;
    let first = Page::read(&gateway, "a?limit=3&filter=id+LIKE+'%255'").await;
    assert_eq!((first.ids(), first.is_end), (vec!["5", "15", "25"], false));
    let next = first.following(&gateway).await;
    assert_eq!((next.ids(), next.is_end), (vec!["35"], true));
    let none = Page::read(&gateway, "a?filter=subject+%3D+'x'&wait=100ms").await;
    assert!(none.events.is_empty() && none.is_end, "{none:?}");
    assert!(none.following(&gateway).await.events.is_empty());
}

#[tokio::test]
async fn meta_and_no_cursors() {
    let gateway = Gateway::memory();
    store(&gateway, "a/b", 0..5).await;
    let page = Page::read(&gateway, "a/*?meta=true&limit=3").await;
    assert_eq!(page.events[1]["meshgatechannel"], "a/b");
    let cursor = page.events[1]["meshgatecursor"].as_str().expect("a cursor");
    assert_eq!(Page::read(&gateway, &format!("a/*?after={cursor}")).await.ids(), ["2", "3", "4"]);
    assert_eq!(page.events[2]["meshgatecursor"].as_str(), page.cursor.as_deref());
    let without = Page::read(&gateway, "a/*?resume=no&meta=true").await;
    assert_eq!((without.cursor, without.next, without.events.len()), (None, None, 5));
    assert!(without.events.iter().all(|event| event.get("meshgatecursor").is_none()));
}

#[tokio::test]
async fn share_their_cursors_with_streams() {
    let gateway = Gateway::memory();
    store(&gateway, "a", 0..6).await;
    let page = Page::read(&gateway, "a?limit=2").await;
    let mut stream = Stream::try_open(&gateway, "a", page.cursor.as_deref()).await.expect("a stream");
    assert_eq!(stream.ids(2).await, ["2", "3"]);
    let request = gateway.client.get(gateway.channel_url("a")).header("accept", "application/cloudevents-batch+json");
    let answer = request.header("last-event-id", stream.last_id.expect("an id")).send().await.expect("an answer");
    assert_eq!(Page::of(answer).await.ids(), ["4", "5"]);
}

#[tokio::test]
async fn what_is_gone_is_410_with_where_to_go_on() {
    let small = r##"
connectors: { memory: { kind: memory, capacity: 4MiB } }
routes: [{ name: all, channel: "#", to: [{ connector: memory, topic: "{channel}" }] }]
"##;
    let gateway = Gateway::start(small);
    store(&gateway, "a", 0..2).await;
    let first = Page::read(&gateway, "a?limit=1").await;
    for n in 0..20 {
        let answer = gateway.event("a", &format!("large {n}")).body(vec![b'x'; 512 << 10]).send().await;
        assert_eq!(answer.expect("an answer").status(), 202);
    }
    let gone = problem(ask(&gateway, &format!("{}{}", gateway.url, first.next.expect("a link"))).await).await;
    assert_eq!(gone["status"], 410, "{gone}");
    let pages = Page::read(&gateway, &format!("a?after={}", gone["cursor"].as_str().expect("a cursor"))).await;
    let pages = pages.until_the_end(&gateway).await;
    assert_eq!(pages.last().and_then(|last| last.ids().last().copied()), Some("large 19"));
}

#[tokio::test]
async fn head_has_the_headers_alone() {
    let gateway = Gateway::memory();
    store(&gateway, "a", 0..2).await;
    let request = gateway.client.head(gateway.channel_url("a")).header("accept", "application/cloudevents-batch+json");
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["meshgate-end"], "true");
    assert_eq!(answer.text().await.expect("no body"), "");
}
