//! Web pages of other origins, and the description of the listener.

use super::{
    Case,
    wire::{EVENT, post, request},
};

pub(super) fn cases() -> Vec<Case> {
    [origins(), description()].into_iter().flatten().collect()
}

fn origins() -> Vec<Case> {
    let foreign: [&[u8]; 12] = [
        b"https://evil.example",
        b"http://gateway.evil.example",
        b"http://gateway:8080",
        b"http://gateway/",
        b"http://user@gateway",
        b"ftp://gateway",
        b"//gateway",
        b"gateway",
        b"null",
        b"*",
        b"",
        b"http://\xFF",
    ];
    let mut cases = Vec::new();
    for origin in foreign {
        let header = [b"origin: ", origin, b"\r\n"].concat();
        let name = |method: &str| format!("{method} of origin {}", origin.escape_ascii());
        let says = "may not use this gateway: list it in `listeners.http.origins`";
        let publish = post([EVENT.as_bytes(), &header].concat(), "data");
        cases.push(Case::refused(name("POST"), publish, 403, says));
        cases.push(Case::refused(name("GET"), request("GET /channels/a", &header, ""), 403, says));
        let asked = [&header[..], b"access-control-request-method: POST\r\n"].concat();
        cases.push(Case::refused(name("OPTIONS"), request("OPTIONS /channels/a", asked, ""), 403, says));
    }
    let twice = format!("{EVENT}origin: http://gateway\r\norigin: http://gateway\r\n");
    cases.push(Case::refused("two origins", post(twice, "data"), 403, "may not use this gateway"));
    for own in ["http://gateway", "https://GATEWAY"] {
        cases.push(Case::stored(format!("its own page {own}"), post(format!("{EVENT}origin: {own}\r\n"), "data")));
    }
    let asked = "origin: http://gateway\r\naccess-control-request-method: POST\r\n";
    let own = request("OPTIONS /channels/a", asked, "");
    cases.push(Case::refused("its own page asks first", own, 405, "OPTIONS is not served here"));
    cases
}

fn description() -> Vec<Case> {
    let get = |target: &str| request(format!("GET {target}"), "", "");
    vec![
        Case::refused(
            "a query of the description",
            get("/openapi.json?version=3"),
            400,
            "query `version` is not known",
        ),
        Case::refused("a channel of it", get("/openapi.json?channel=a"), 400, "query `channel` is not known"),
        Case::refused("below it", get("/openapi.json/"), 404, "nothing at /openapi.json/"),
        Case::refused("in YAML", get("/openapi.yaml"), 404, "nothing at /openapi.yaml"),
        Case::refused("published to", request("POST /openapi.json", "content-length: 1\r\n", "x"), 405, "use GET"),
        Case::refused("deleted", request("DELETE /openapi.json", "", ""), 405, "use GET"),
    ]
}
