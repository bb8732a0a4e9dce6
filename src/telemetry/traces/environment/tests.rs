use super::*;

/// What `read` makes of these variables.
fn settings(variables: &[(&str, &str)]) -> Result<Option<Settings>, String> {
    read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
}

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

#[test]
fn spans_are_exported_where_they_are_asked_for() {
    let traces = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    for (variables, collector) in [
        (&[][..], None),
        (&[("OTEL_SERVICE_NAME", "mesh"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], None),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], None),
        (&[ENDPOINT], Some("http://collector:4318/v1/traces")),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector/otel/")], Some("http://collector/otel/v1/traces")),
        (&[ENDPOINT, (traces, "http://other/as/it/is")], Some("http://other/as/it/is")),
        (&[(traces, "http://other:1")], Some("http://other:1/")),
        (&[("OTEL_TRACES_EXPORTER", "otlp")], Some("http://localhost:4318/v1/traces")),
        (&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")], None),
        (&[ENDPOINT, ("OTEL_SDK_DISABLED", "True")], None),
        (&[ENDPOINT, ("OTEL_SDK_DISABLED", "false")], Some("http://collector:4318/v1/traces")),
    ] {
        let found = settings(variables).expect("good").map(|settings| settings.collector.to_string());
        assert_eq!(found.as_deref(), collector, "{variables:?}");
    }
}

#[test]
fn what_cannot_be_is_an_error_that_names_its_variable() {
    for (name, value, advice) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "only `http/protobuf` is built"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "only `http/protobuf` is built"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip", "only `none` is built"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://collector", "TLS is not built"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4318", "must begin with http://"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "//collector", "no URL"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "use milliseconds"),
        ("OTEL_TRACES_EXPORTER", "console", "use `otlp` or `none`"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "always_on"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many", "a number of spans"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "use 1 to"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "1000001", "use 1 to"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0", "use 1 to"),
        ("OTEL_BSP_SCHEDULE_DELAY", "5s", "use milliseconds"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0", "use 1 to"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "18446744073709551615", "use 1 to"),
    ] {
        let problem = settings(&[ENDPOINT, (name, value)]).expect_err(name);
        assert!(problem.starts_with(&format!("{name}={value}: ")) && problem.contains(advice), "{problem}");
    }
    for ratio in ["2", "-0.1", "NaN", "half"] {
        let sampler = [ENDPOINT, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", ratio)];
        let problem = settings(&sampler).expect_err(ratio);
        assert!(problem.contains("a number from 0 to 1"), "{problem}");
    }
    let problem = settings(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_HEADERS", "authorization secret")]).expect_err("no pair");
    assert!(problem.starts_with("OTEL_EXPORTER_OTLP_HEADERS") && !problem.contains("secret"), "{problem}");
}

#[test]
fn a_variable_for_traces_wins_over_the_one_for_all_signals() {
    let all = [
        ENDPOINT,
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=of-all"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=Bearer%20x%3D1 , tenant = mesh,"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2500"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "7"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ];
    let Settings { headers, timeout, batches, .. } = settings(&all).expect("good").expect("asked for");
    let pairs: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("text"))).collect();
    assert_eq!(pairs, [("authorization", "Bearer x=1"), ("tenant", "mesh")]);
    assert_eq!(timeout, Duration::from_millis(2500));
    assert_eq!(batches, Batches { queue: 7, most: 512, delay: Duration::from_millis(100) });
}

#[test]
fn samplers_have_the_names_of_the_specification() {
    let ratio = ("OTEL_TRACES_SAMPLER_ARG", "0.25");
    for (variables, expected) in [
        (&[ENDPOINT][..], "ParentBased(AlwaysOn)"),
        (&[ENDPOINT, ("OTEL_TRACES_SAMPLER", "always_off")], "AlwaysOff"),
        (&[ENDPOINT, ("OTEL_TRACES_SAMPLER", "parentbased_always_off")], "ParentBased(AlwaysOff)"),
        (&[ENDPOINT, ("OTEL_TRACES_SAMPLER", "traceidratio")], "TraceIdRatioBased(1.0)"),
        (&[ENDPOINT, ("OTEL_TRACES_SAMPLER", "traceidratio"), ratio], "TraceIdRatioBased(0.25)"),
        (
            &[ENDPOINT, ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ratio],
            "ParentBased(TraceIdRatioBased(0.25))",
        ),
    ] {
        let settings = settings(variables).expect("good").expect("asked for");
        assert_eq!(format!("{:?}", settings.sampler), expected, "{variables:?}");
    }
}
