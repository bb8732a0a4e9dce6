//! Channel filters, queries, cursors and headers of a read.

use std::io::{BufRead, BufReader, Write};

use super::{
    Case,
    wire::{connect, request},
};

fn get(target: &str, headers: impl AsRef<[u8]>) -> Vec<u8> {
    request(format!("GET {target}"), headers, "")
}

/// A good cursor of the filter `a`.
pub(super) fn cursor(address: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(&get("/channels/a", "")).expect("it is open");
    let mut lines = BufReader::new(stream).lines().map(|line| line.expect("a line"));
    lines.find_map(|line| line.strip_prefix("id: ").map(str::to_owned)).expect("a stream begins with its cursor")
}

/// `cursor`: a good one of the filter `a`.
pub(super) fn cases(cursor: &str) -> Vec<Case> {
    [queries(), filters(), pages(cursor), cursors(cursor), headers()].into_iter().flatten().collect()
}

fn queries() -> Vec<Case> {
    let refused = [
        ("/channels/", "at least one character"),
        ("/channels/a+b", "wildcard in the level `a+b` must be the whole level"),
        ("/channels/%23/a", "wildcard `#` must be the last level"),
        ("/channels/a/%2E", "no level of a channel is `.` or `..`"),
        ("/channels/$SYS/**", "does not begin with `$`"),
        ("/channels/a%2Fb", "write the levels as path segments"),
        ("/channels/%FF", "`%FF` does not decode to UTF-8"),
        ("/channels/a?frm=latest", "query `frm` is not known"),
        ("/channels/a?FROM=latest", "query `FROM` is not known"),
        ("/channels/a?=latest", "query `` is not known"),
        ("/channels/a?from=latest&from=earliest", "query `from` is given more than once"),
        ("/channels/a?limit=1&%6Cimit=1", "query `limit` is given more than once"),
        ("/channels/a?from=", "`from=`: use latest, earliest"),
        ("/channels/a?from=LATEST", "`from=LATEST`"),
        ("/channels/a?from=2026-13-01T00:00:00Z", "`from=2026-13-01T00:00:00Z`"),
        ("/channels/a?from=1769860800", "`from=1769860800`"),
        ("/channels/a?from=%zz", "`%zz` is not percent-encoded"),
        ("/channels/a?from=%FF", "query `%FF` does not decode to UTF-8"),
        ("/channels/a?limit=0", "`limit=0`"),
        ("/channels/a?limit=-1", "`limit=-1`"),
        ("/channels/a?limit=1.5", "`limit=1.5`"),
        ("/channels/a?limit=18446744073709551616", "`limit=18446744073709551616`"),
        ("/channels/a?limit", "`limit=`"),
        ("/channels/a?meta=1", "`meta=1`: use true or false"),
        ("/channels/a?resume=never", "`resume=never`: use no or yes"),
        ("/channels/a?group=g", "`group` is for WebSocket, not for streams and pages"),
        ("/channels/a?wait=5s", "`wait` is for pages"),
        ("/channels/a?filter=", "`filter=`"),
        ("/channels/a?filter=amount+%3E", "`filter=amount >`"),
        ("/channels/a?filter=NOPE(1)", "NOPE"),
    ];
    refused.into_iter().map(|(target, says)| Case::refused(target, get(target, ""), 400, says)).collect()
}

/// Expressions in CloudEvents SQL that are none.
fn filters() -> Vec<Case> {
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(15_000), close.repeat(15_000));
    let refused = [
        "'".to_owned(),
        "%22open".into(),
        "id+%3D".into(),
        "%3D+1".into(),
        "id+%3D+'1'+AND".into(),
        "id+LIKE+1".into(),
        "id+LIKE+type".into(),
        "id+IN+()".into(),
        "id+IN+('a'".into(),
        "EXISTS".into(),
        "ABS()".into(),
        "ABS(1,2)".into(),
        "ABS(1".into(),
        "1+2".into(),
        "1%2B".into(),
        "99999999999999999999".into(),
        "2147483648".into(),
        "ID+%3D+'a%00'%00".into(),
        "%F0%9F%92%A9".into(),
        "data.amount+%3E+1".into(),
        "id%3B+DROP+TABLE+events".into(),
        "+".into(),
        "%2B".repeat(10_000),
        deep("(", ")"),
        deep("ABS(", ")").chars().take(60_000).collect(),
        "NOT+".repeat(12_000),
        deep("-", ""),
    ];
    let named = |filter: &str| format!("filter: {filter:.40}");
    let mut cases: Vec<_> = refused
        .iter()
        .map(|filter| Case::refused(named(filter), get(&format!("/channels/a?filter={filter}"), ""), 400, "`filter="))
        .collect();
    let undecodable = [("filter=%FF", "does not decode to UTF-8"), ("filter=%", "not percent-encoded")];
    let twice = ("filter=true&filter=true", "query `filter` is given more than once");
    let queries = undecodable.into_iter().chain([twice]);
    cases
        .extend(queries.map(|(query, says)| Case::refused(query, get(&format!("/channels/a?{query}"), ""), 400, says)));
    cases
}

/// The same resource as a page.
fn pages(cursor: &str) -> Vec<Case> {
    let refused = [
        ("limit=0", "`limit=0`: use a whole number of events"),
        ("limit=1001", "`limit=1001`: a page has at most 1000 events"),
        ("limit=99999999999999999999", "`limit=99999999999999999999`"),
        ("limit=ten", "`limit=ten`"),
        ("limit=%FF", "query `%FF` does not decode to UTF-8"),
        ("wait=61s", "`wait=61s`: use a time such as 500ms or 30s, at most 60s"),
        ("wait=61", "`wait=61`"),
        ("wait=60001ms", "`wait=60001ms`"),
        ("wait=1h", "`wait=1h`"),
        ("wait=-1s", "`wait=-1s`"),
        ("wait=1.5s", "`wait=1.5s`"),
        ("wait=s", "`wait=s`"),
        ("wait=", "`wait=`"),
        ("wait", "`wait=`"),
        ("wait=18446744073709551615", "`wait=18446744073709551615`"),
        ("wait=18446744073709551615h", "`wait=18446744073709551615h`"),
        ("wait=1s&wait=1s", "query `wait` is given more than once"),
        ("from=page", "`from=page`: use latest, earliest"),
        ("meta=yes", "`meta=yes`: use true or false"),
        ("resume=false", "`resume=false`: use no or yes"),
        ("group=g", "`group` is for WebSocket, not for streams and pages"),
        ("page=2", "query `page` is not known"),
        ("after=", "damaged"),
    ];
    let get = |filter: &str, query: &str| {
        get(&format!("/channels/{filter}?{query}"), "accept: application/cloudevents-batch+json\r\n")
    };
    let mut cases: Vec<_> = refused
        .into_iter()
        .map(|(query, says)| Case::refused(format!("page: {query}"), get("a", query), 400, says))
        .collect();
    let other = get("b", &format!("after={cursor}"));
    cases.push(Case::refused("page: a cursor of another filter", other, 400, "belongs to another channel filter"));
    cases
}

fn cursors(good: &str) -> Vec<Case> {
    let cut = &good[..good.len() - 2];
    let longer = format!("{good}AAAA");
    // The first six bits of the version stay zero; the next two make it 2.
    let other_version = format!("Ag{}", &good[2..]);
    let long = format!("{good}{}", "A".repeat(8 << 10));
    let after = [
        ("no cursor", "a", "", "damaged"),
        ("no base64", "a", "!!!", "damaged"),
        ("padded", "a", "AAA=", "damaged"),
        ("cut off", "a", cut, "damaged"),
        ("more than a cursor", "a", &longer, "damaged"),
        ("much more than a cursor", "a", &long, "damaged"),
        ("of another version", "a", &other_version, "format version is not known"),
        ("of another filter", "b", good, "belongs to another channel filter"),
    ];
    let mut cases = Vec::new();
    for (name, filter, cursor, says) in after {
        let query = get(&format!("/channels/{filter}?after={cursor}"), "");
        cases.push(Case::refused(format!("after: {name}"), query, 400, says));
        if !cursor.is_empty() {
            let header = get(&format!("/channels/{filter}"), format!("last-event-id: {cursor}\r\n"));
            cases.push(Case::refused(format!("last-event-id: {name}"), header, 400, says));
        }
    }
    cases.push(Case::refused(
        "last-event-id: no ASCII",
        get("/channels/a", b"last-event-id: \xFF\r\n"),
        400,
        "last-event-id",
    ));
    cases
}

fn headers() -> Vec<Case> {
    let accepts: [&[u8]; 8] = [
        b"application/json",
        b"image/*, text/html",
        b"text/event-stream;q=0",
        b"*/*; q=0.0, text/html",
        b"\xFF",
        b"application/cloudevents-batch+json;q=0",
        b"application/cloudevents-batch+json;q=1.1",
        b"*/*;q=1000",
    ];
    let mut cases: Vec<_> = accepts
        .into_iter()
        .map(|accept| {
            let headers = [b"accept: ", accept, b"\r\n"].concat();
            Case::refused(
                format!("accept: {}", accept.escape_ascii()),
                get("/channels/a", headers),
                406,
                "accept text/event-stream",
            )
        })
        .collect();
    let version = "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 12\r\n";
    cases.push(Case::refused(
        "an old WebSocket",
        get("/channels/a", version),
        426,
        "`sec-websocket-version` must be 13",
    ));
    let key = "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAA\r\n";
    cases.push(Case::refused("a WebSocket's short key", get("/channels/a", key), 400, "must be 16 bytes in base64"));
    cases.push(Case { status: 200, ..Case::unread("HEAD", request("HEAD /channels/a", "", ""), 200) });
    cases
}
