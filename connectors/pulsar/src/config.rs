//! `kind: pulsar` in the configuration (specification, sections 9 and 11).

use std::{fmt, fs, path::PathBuf};

use meshgate_api::settings::Fields;

const TLS: &str = "pulsar+ssl://";
/// What the crate says of any connection that it need not try again.
const REFUSED: &str = "fatal error when connecting";

/// The settings of one Pulsar connector.
#[derive(Clone, PartialEq, Eq)]
pub struct PulsarConfig {
    /// `pulsar://host:port`, or `pulsar+ssl://` for TLS.
    pub url: String,
    /// A JSON Web Token that says who the gateway is.
    pub token: Option<String>,
    /// Certificates, in PEM, of who may vouch for the broker; without any, the well-known ones.
    pub ca: Option<Vec<u8>>,
}

impl PulsarConfig {
    /// What the crate says of a connection that could not be made, and what to look at: of a broker that refuses one it does not tell why.
    pub(crate) fn explain(&self, problem: &str) -> String {
        if !problem.contains(REFUSED) {
            return problem.to_owned();
        }
        let token = if self.token.is_some() { "it does not take the `token`" } else { "it wants a `token`" };
        let vouches = if self.ca.is_some() { "`tls.ca` does" } else { "the well-known authorities do" };
        let certificate = format!("{vouches} not vouch for its certificate, or ");
        let certificate = if self.url.starts_with(TLS) { &*certificate } else { "" };
        format!("{} refuses the connection: {certificate}{token}", self.url)
    }

    /// Reads the settings, collecting every problem in `fields`; `None` if there was any.
    pub(crate) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let url = fields.text("url").required();
        let url = url.and_then(|url| match check_url(url) {
            Ok(()) => Some(url.to_owned()),
            Err(problem) => {
                fields.refuse_value("url", problem);
                None
            }
        });
        let token = fields.text("token").optional().map(str::to_owned);
        let ca = fields.section("tls", read_ca).optional();
        let url = url?;
        if ca.is_some() && !url.starts_with(TLS) {
            fields.refuse_value("tls", "needs a `url` that begins with `pulsar+ssl://`");
            return None;
        }
        Some(Self { url, token, ca: ca.flatten() })
    }
}

fn read_ca(fields: &mut Fields<'_>) -> Option<Option<Vec<u8>>> {
    let Some(path) = fields.text("ca").optional().map(PathBuf::from) else { return Some(None) };
    match fs::read(&path) {
        Ok(pem) => Some(Some(pem)),
        Err(problem) => {
            fields.refuse_value("ca", format!("`{}` cannot be read: {problem}", path.display()));
            None
        }
    }
}

/// What is wrong with the broker's address, if anything, for a person.
fn check_url(url: &str) -> Result<(), String> {
    let wrong = || format!("`{url}`: expected `pulsar://host:port` or `pulsar+ssl://host:port`");
    let address = url.strip_prefix("pulsar://").or_else(|| url.strip_prefix(TLS)).ok_or_else(wrong)?;
    let (host, port) = address.trim_end_matches('/').rsplit_once(':').ok_or_else(wrong)?;
    let is_bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    if host.is_empty() || is_bare_v6 || host.contains(['/', ',', ' ', '@', '?', '#']) {
        return Err(wrong());
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(()),
        _ => Err(format!("`{port}` is no port: expected 1 to 65535")),
    }
}

/// Without the token.
impl fmt::Debug for PulsarConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (url, has_token) = (&self.url, self.token.is_some());
        f.debug_struct("PulsarConfig").field("url", url).field("has_token", &has_token).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use meshgate_api::settings::{Node, decode};

    use super::*;

    fn read<const N: usize>(settings: &[(&str, &str); N]) -> Result<PulsarConfig, String> {
        decode(&Node::from(settings), "p", PulsarConfig::read).map_err(|problems| format!("{problems:?}"))
    }

    #[test]
    fn a_refused_connection_is_explained() {
        let plain = PulsarConfig { url: "pulsar://h:1".into(), token: None, ca: None };
        assert_eq!(plain.explain("Connection error: no route"), "Connection error: no route");
        let refused = "Connection error: fatal error when connecting to the Pulsar server";
        assert_eq!(plain.explain(refused), "pulsar://h:1 refuses the connection: it wants a `token`");
        let all = PulsarConfig { url: "pulsar+ssl://h:1".into(), token: Some("t".into()), ca: Some(Vec::new()) };
        let says = "`tls.ca` does not vouch for its certificate, or it does not take the `token`";
        assert_eq!(all.explain(refused), format!("pulsar+ssl://h:1 refuses the connection: {says}"));
    }

    #[test]
    fn settings_are_read_and_problems_told() {
        let read_url = read(&[("url", "pulsar://h:6650"), ("token", "secret")]).expect("they are sound");
        assert_eq!((&*read_url.url, read_url.token.as_deref()), ("pulsar://h:6650", Some("secret")));
        assert!(!format!("{read_url:?}").contains("secret"));
        for (url, problem) in [
            ("http://h:1", "expected `pulsar://host:port`"),
            ("pulsar://h", "expected"),
            ("pulsar://h:0", "is no port"),
            ("pulsar://a,b:1", "expected"),
            ("pulsar://::1:6650", "expected"),
        ] {
            let found = read(&[("url", url)]).expect_err("it is refused");
            assert!(found.contains(problem), "{url}: {found}");
        }
        assert!(read(&[("url", "pulsar+ssl://[::1]:6651/")]).is_ok());
        assert!(read(&[]).expect_err("there is no url").contains("url"));
    }
}
