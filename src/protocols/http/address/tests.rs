use super::*;

fn uri(text: &str) -> Uri {
    text.parse().expect("a URI")
}

#[test]
fn channels() {
    for (path, expected) in [
        ("/channels/a", "a"),
        ("/channels/a/b%20c", "a/b c"),
        ("/channels/a//b", "a//b"),
        ("/channels//a/", "/a/"),
        ("/channels/caf%C3%A9", "café"),
        ("/channels/100%25", "100%"),
        ("/channels/a%2A", "a*"),
        ("/channels/*", "*"),
        ("/channels?channel=a/b", "a/b"),
        ("/channels?channel=a%2Fb+c", "a/b c"),
        ("/channels?x=1&channel=a", "a"),
    ] {
        assert_eq!(channel(&uri(path)).ok().as_deref(), Some(expected), "{path}");
    }
}

#[test]
fn filters() {
    for (path, expected) in [
        ("/channels/a/*/c", "a/+/c"),
        ("/channels/a/**", "a/#"),
        ("/channels/**/a", "**/a"),
        ("/channels/a%2A", "a*"),
        ("/channels/%2A", "*"),
        ("/channels/+/%23", "+/#"),
        ("/channels?channel=a/*/**", "a/+/#"),
        ("/channels?channel=a%2F%2A", "a/*"),
        ("/channels?channel=%2B", "+"),
    ] {
        assert_eq!(filter(&uri(path)).ok().as_ref().map(ChannelFilter::as_str), Some(expected), "{path}");
    }
}

#[test]
fn what_names_no_channel_is_refused() {
    for path in [
        "/channels/a%2Fb",
        "/channels/a%",
        "/channels/a%4",
        "/channels/a%GG",
        "/channels/%FF",
        "/channels/%C0%AF",
        "/channels/a/../b",
        "/channels/.",
        "/channels/$SYS",
        "/channels/a%00",
        "/channels?x=a",
        "/channels?channel=",
        "/channels?channel=a&channel=b",
    ] {
        assert!(channel(&uri(path)).is_err(), "{path}");
        assert!(filter(&uri(path)).is_err(), "{path}");
    }
    for path in ["/channels/+", "/channels/%23", "/channels/a+"] {
        assert!(channel(&uri(path)).is_err(), "{path}");
    }
    for path in ["/channels/a+", "/channels/%23/a"] {
        assert!(filter(&uri(path)).is_err(), "{path}");
    }
}
