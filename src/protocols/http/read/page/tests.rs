use super::*;

#[test]
fn the_next_page_keeps_the_other_queries() {
    for (asked, expected) in [
        ("/channels/a/+", "/channels/a/+?after=C"),
        ("/channels/a//*?limit=5&meta=true", "/channels/a//*?limit=5&meta=true&after=C"),
        ("/channels/a?after=B&wait=5s", "/channels/a?wait=5s&after=C"),
        ("/channels/a?limit=5&%61fter=B", "/channels/a?limit=5&after=C"),
        ("/channels?channel=a/**&from=earliest", "/channels?channel=a/**&from=earliest&after=C"),
        ("/channels/caf%C3%A9%2A", "/channels/caf%C3%A9%2A?after=C"),
        ("/channels/{a}|\"b\"", "/channels/%7Ba%7D%7C%22b%22?after=C"),
        ("/channels/a?filter=id%3D'x'&&", "/channels/a?filter=id%3D'x'&after=C"),
    ] {
        assert_eq!(next(&asked.parse().expect("a URI"), "C"), expected);
    }
}
