//! Channels, queries and methods of a publish.

use super::{
    Case,
    wire::{EVENT, request},
};

fn post_to(target: &str) -> Vec<u8> {
    request(format!("POST {target}"), format!("{EVENT}content-length: 0\r\n"), "")
}

pub(super) fn cases() -> Vec<Case> {
    [channels(), methods()].into_iter().flatten().collect()
}

fn channels() -> Vec<Case> {
    let long = format!("/channels/{}", "a".repeat(1_025));
    let far_too_long = format!("/channels/{}", "a".repeat(60_000));
    let refused = [
        ("/channels", "no channel"),
        ("/channels/", "at least one character"),
        ("/channels?channel=", "at least one character"),
        ("/channels?chanel=a", "no channel"),
        ("/channels?channel=a&channel=b", "`channel` more than once"),
        ("/channels/a?channel=b", "query `channel` is not known"),
        ("/channels/a?from=latest", "query `from` is not known"),
        ("/channels/a?%zz=1", "`%zz` is not percent-encoded"),
        ("/channels/a/+", "holds no `+` and no `#`"),
        ("/channels/a/%2B", "holds no `+` and no `#`"),
        ("/channels/a/%23", "holds no `+` and no `#`"),
        ("/channels/a%23b", "holds no `+` and no `#`"),
        ("/channels/.", "no level of a channel is `.` or `..`"),
        ("/channels/..", "no level of a channel is `.` or `..`"),
        ("/channels/a/../b", "no level of a channel is `.` or `..`"),
        ("/channels/a/%2e%2E", "no level of a channel is `.` or `..`"),
        ("/channels?channel=a/..", "no level of a channel is `.` or `..`"),
        ("/channels/$SYS/x", "does not begin with `$`"),
        ("/channels/%24SYS", "does not begin with `$`"),
        ("/channels/a%2Fb", "`a%2Fb` decodes to one with `/` in it"),
        ("/channels/a%00", "no control characters"),
        ("/channels/a%0D%0Ab", "no control characters"),
        ("/channels/%C2%85", "no control characters"),
        ("/channels/a%", "`a%` is not percent-encoded"),
        ("/channels/a%4", "`a%4` is not percent-encoded"),
        ("/channels/a%G0", "`a%G0` is not percent-encoded"),
        ("/channels?channel=a%zz", "`a%zz` is not percent-encoded"),
        ("/channels/%FF", "`%FF` does not decode to UTF-8"),
        ("/channels/%C0%AF", "`%C0%AF` does not decode to UTF-8"),
        ("/channels/%ED%A0%80", "`%ED%A0%80` does not decode to UTF-8"),
        ("/channels?channel=%FF", "`%FF` does not decode to UTF-8"),
        (&*long, "at most 1024 bytes of UTF-8, this one has 1025"),
        (&*far_too_long, "this one has 60000"),
    ];
    let unread = ["channels/a", "", "/channels/a b", "/channels/a\u{1}b", "/channels/a\0b"];
    let mut cases: Vec<_> =
        refused.into_iter().map(|(target, says)| Case::refused(format!("{target:.60}"), post_to(target), 400, says)).collect();
    cases.extend(unread.map(|target| Case::unread(target.escape_debug().to_string(), post_to(target), 400)));
    cases.push(Case::refused("POST / without a default channel", post_to("/"), 404, "`listeners.http.default_channel`"));
    cases.push(Case::refused("another resource", post_to("/channel/a"), 404, "nothing at /channel/a"));
    // A URL's fragment is not part of a request; hyper takes it off.
    cases.push(Case::stored("a fragment", post_to("/channels/a#b")));
    cases.push(Case::stored("a request target in absolute form", post_to("http://elsewhere/channels/a")));
    cases
}

fn methods() -> Vec<Case> {
    let mut cases = Vec::new();
    for method in ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "BREW", "post"] {
        let request = request(format!("{method} /channels/a"), format!("{EVENT}content-length: 0\r\n"), "");
        cases.push(Case::refused(method, request, 405, "takes POST to publish"));
    }
    cases.push(Case::refused("GET /", request("GET /", "", ""), 405, "takes POST to publish"));
    cases.push(Case::refused("CONNECT", request("CONNECT elsewhere:80", "", ""), 404, "there is nothing"));
    cases.push(Case::refused("OPTIONS *", request("OPTIONS *", "", ""), 404, "there is nothing at *"));
    cases.push(Case::unread("a method that is none", request("P@ST /channels/a", "", ""), 400));
    cases
}
