//! What spans several parts of the configuration.

use std::collections::HashMap;

use super::{AdminListener, HttpListener};
use crate::router::spec::{ConnectorSpec, RouteSpec};

/// Takes the path of a value and what is wrong with it.
type Report<'r> = dyn Fn(&str, String) + 'r;

/// Names of routes are unique, and those of connectors exist.
pub(super) fn routes(routes: &[RouteSpec], connectors: &[ConnectorSpec], report: &Report<'_>) {
    let mut places = HashMap::new();
    for (at, route) in routes.iter().enumerate() {
        // One without a name or channel is refused already.
        let earlier = places.insert(&route.name, at).filter(|_| !route.name.is_empty());
        if let Some(first) = earlier {
            let message = format!("routes[{first}] is called `{}` too: a route's name, its channel unless given, is unique", route.name);
            report(&format!("routes[{at}].name"), message);
        }
        for (number, destination) in route.to.iter().enumerate() {
            if !connectors.iter().any(|connector| connector.name == destination.connector) {
                let message = format!("there is no connector `{}`: {}", destination.connector, named(connectors));
                report(&format!("routes[{at}].to[{number}].connector"), message);
            }
        }
    }
}

/// Two listeners cannot share an address.
pub(super) fn addresses(http: &HttpListener, admin: &AdminListener, report: &Report<'_>) {
    let (ours, others) = (admin.address, http.address);
    let same_host = ours.ip() == others.ip() || ours.ip().is_unspecified() || others.ip().is_unspecified();
    if ours.port() != 0 && ours.port() == others.port() && same_host {
        report("listeners.admin.address", format!("{ours} is taken by `listeners.http` ({others}): use another port"));
    }
}

fn named(connectors: &[ConnectorSpec]) -> String {
    match connectors {
        [] => "`connectors` is empty".into(),
        _ => {
            let names: Vec<_> = connectors.iter().map(|connector| format!("`{}`", connector.name)).collect();
            format!("`connectors` has {}", names.join(", "))
        }
    }
}
