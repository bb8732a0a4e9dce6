use http_body_util::BodyExt;

use super::*;
use crate::protocols::http::body::Budget;

const TIME: Duration = Duration::from_secs(30);

fn page(budget: &Arc<Budget>, length: usize) -> Body {
    body(vec![b'x'; length], Share::of(budget, length).expect("there is room"), TIME)
}

#[tokio::test(start_paused = true)]
async fn who_reads_gets_all_of_it() {
    let budget = Budget::of(1 << 20);
    for length in [2, PIECE, PIECE + 1, 10 * PIECE - 1] {
        let page = page(&budget, length);
        assert_eq!(hyper::body::Body::size_hint(&page).exact(), Some(length as u64));
        assert_eq!(page.collect().await.expect("all of it").to_bytes().len(), length);
        assert!(Share::of(&budget, 1 << 20).is_some(), "given back");
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_holds_it_for_a_while() {
    let budget = Budget::of(1 << 20);
    let mut page = page(&budget, 1 << 20);
    let first = page.frame().await.expect("a frame").expect("no error");
    assert_eq!(first.into_data().expect("data").len(), PIECE);
    sleep(TIME - Duration::from_secs(1)).await;
    assert!(Share::of(&budget, 1).is_none(), "still held");
    sleep(Duration::from_secs(2)).await;
    assert!(Share::of(&budget, 1 << 20).is_some(), "given back");
    assert!(page.frame().await.expect("an end").is_err(), "and not taken for whole");
}
