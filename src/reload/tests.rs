use super::*;
use crate::telemetry::Metrics;

const MEMORY: &str =
    "connectors: { memory: { kind: memory } }\nroutes: [{ channel: a, to: [{ connector: memory, topic: t }] }]";

#[tokio::test]
async fn what_was_read_when_the_gateway_ends_is_not_taken_over() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("meshgate.yaml");
    std::fs::write(&path, MEMORY).expect("a file");
    let (source, config) = Source::open(path);
    let metrics = Arc::new(Metrics::default());
    let (assembly, snapshot) = Assembly::start(config.expect("it is good"), metrics.clone()).expect("it starts");
    let gateway = Arc::new(Gateway::new(snapshot, metrics));
    let mut reload = Reload::new(gateway.clone(), source, assembly, Outcome::default(), Leaving::default());
    for (is_over, edition) in [(false, 1), (true, 1)] {
        *reload.is_over.lock() = is_over;
        reload.reload().await;
        assert_eq!(gateway.now().edition, edition, "{is_over}");
    }
}
