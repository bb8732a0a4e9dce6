#[test]
fn dump() {
    let cases: Vec<String> = serde_json::from_str(&std::fs::read_to_string("/tmp/cases.json").unwrap()).unwrap();
    let out: Vec<_> = cases.iter().map(|case| super::bad::outcome(case)).collect();
    std::fs::write("/tmp/out.json", serde_json::to_string(&out).unwrap()).unwrap();
}
