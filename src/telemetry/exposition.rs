//! Metrics as text: OpenMetrics 1.0 for who asks for it, else the Prometheus format 0.0.4, in which a counter's whole name is declared.

/// The media type of the format that `accept` asks for, and `text`, which is OpenMetrics, in it.
pub(crate) fn negotiate(accept: &str, text: String) -> (&'static str, String) {
    if accept.contains("application/openmetrics-text") {
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", text)
    } else {
        ("text/plain; version=0.0.4; charset=utf-8", plain(&text))
    }
}

fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let kind = if kind == "unknown" { "untyped" } else { kind };
            if let Some((_, help)) = help.take().filter(|(of, _)| *of == name) {
                plain.extend(["# HELP ", name, suffix, " ", help, "\n"]);
            }
            plain.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            plain.extend([line, "\n"]);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a Things done.\n# TYPE a counter\na_total{b=\"# c\"} 1\n\
                        # HELP d_seconds Time.\n# TYPE d_seconds histogram\n# UNIT d_seconds seconds\nd_seconds_sum 0.5\n\
                        # TYPE e unknown\ne 2\n# EOF\n";

    #[test]
    fn counters_are_declared_by_their_whole_names() {
        let plain = "# HELP a_total Things done.\n# TYPE a_total counter\na_total{b=\"# c\"} 1\n\
                     # HELP d_seconds Time.\n# TYPE d_seconds histogram\nd_seconds_sum 0.5\n# TYPE e untyped\ne 2\n";
        for accept in ["", "*/*", "text/plain;version=0.0.4"] {
            assert_eq!(negotiate(accept, TEXT.into()), ("text/plain; version=0.0.4; charset=utf-8", plain.into()));
        }
    }

    #[test]
    fn who_asks_for_openmetrics_gets_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
        let (kind, text) = negotiate(prometheus, TEXT.into());
        assert_eq!((kind, &*text), ("application/openmetrics-text; version=1.0.0; charset=utf-8", TEXT));
    }
}
