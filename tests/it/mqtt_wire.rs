//! MQTT 3.1.1 and 5.0 as bytes: what each standard says of every packet, good and bad. `docs/mqtt-conformance.md` names these tests.

mod bad;
mod connect;
mod deliver;
mod exactly_once;
mod publish;
mod retained;
mod shared;
mod subscribe;
mod websocket;
mod wills;
pub mod wire;

#[test]
fn the_tests_that_the_table_names_are_there() {
    let table = std::fs::read_to_string("docs/mqtt-conformance.md").expect("the table");
    let mut named = 0;
    for name in table.split('`').skip(1).step_by(2) {
        let Some((module, test)) = name.split_once("::") else { continue };
        if module == "codec" {
            continue;
        }
        let file = if module == "devices" {
            "tests/it/devices.rs".to_owned()
        } else {
            format!("tests/it/mqtt_wire/{module}.rs")
        };
        let source = std::fs::read_to_string(&file).unwrap_or_else(|problem| panic!("{file}: {problem}"));
        let is_there =
            if module == "devices" { source.contains(test) } else { source.contains(&format!("async fn {test}()")) };
        assert!(is_there, "{name} is not in {file}");
        named += 1;
    }
    assert!(named > 300, "only {named}");
    let mut numbers: Vec<_> = table.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()).collect();
    numbers.retain(|number| number.starts_with(|first: char| first.is_ascii_digit()));
    let both = numbers.len();
    assert_eq!(both, 251 + 141, "every statement of both versions has its row");
}
