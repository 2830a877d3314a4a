//! Which requests are answered.
//!
//! A browser sends requests for any page that it shows, so being able to connect proves nothing.
//!
//! - The `Host` must be a literal IP address, `localhost` or a name of `--http-host`, with the
//!   port. A foreign name that resolves to this machine (DNS rebinding) is none of them.
//! - `Origin` and `Sec-Fetch-Site` must not be those of another site.
//! - The state of the tower needs the token. Beyond loopback, the metrics need it too.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue, ORIGIN};
use hyper::http::uri::Authority;

use super::token::Token;

/// The port that browsers leave out.
const DEFAULT_PORT: u16 = 80;

/// Decides which requests are answered.
#[derive(Debug)]
pub(crate) struct Access {
    port: u16,
    is_loopback: bool,
    hosts: Vec<String>,
    token: Token,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The `Host` is missing or not one of this tower.
    Host,
    /// Another site has caused the request.
    Site,
    /// The token is missing or wrong.
    Token,
}

impl Refusal {
    /// Returns a sentence for a person.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Host => {
                "Use the IP address of the tower, localhost or a name of --http-host, with the \
                 port.\n"
            }
            Self::Site => "Another site has caused this request. Type the address of the page.\n",
            Self::Token => {
                "Open the address that the tower prints at its start. It ends in the token.\n"
            }
        }
    }
}

impl Access {
    /// Returns the rules of a dashboard that listens on `address` and has the names `hosts`.
    pub(crate) fn new(address: SocketAddr, hosts: &[String], token: Token) -> Self {
        let is_loopback = address.ip().is_loopback();
        Self { port: address.port(), is_loopback, hosts: hosts.to_vec(), token }
    }

    /// Checks where a request comes from. All requests need this.
    pub(crate) fn check_site(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = only(headers, HOST.as_str()).ok().flatten().ok_or(Refusal::Host)?;
        if !self.is_own(host) {
            return Err(Refusal::Host);
        }
        let origin = only(headers, ORIGIN.as_str())?;
        let site = only(headers, "sec-fetch-site")?;
        let is_own_origin = origin.is_none_or(|origin| {
            let authority = ["http://", "https://"].iter().find_map(|it| origin.strip_prefix(it));
            authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
        });
        // `none` is an address that a person has typed.
        let is_own_site = site.is_none_or(|site| matches!(site, "same-origin" | "none"));
        if is_own_origin && is_own_site { Ok(()) } else { Err(Refusal::Site) }
    }

    /// Checks the token of a request for the state.
    pub(crate) fn check_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut values = headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
        let claimed = values.next().and_then(|value| value.strip_prefix(b"Bearer "));
        match claimed {
            Some(claimed) if values.next().is_none() && self.token.is(claimed) => Ok(()),
            _ => Err(Refusal::Token),
        }
    }

    /// Checks a request for the metrics.
    pub(crate) fn check_metrics(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.is_loopback { Ok(()) } else { self.check_token(headers) }
    }

    fn is_own(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        if host.contains('@') || authority.port_u16().unwrap_or(DEFAULT_PORT) != self.port {
            return false;
        }
        let name = authority.host();
        let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        bare.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
    }
}

/// Returns the value of a header that must not occur twice.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(value), None) => Ok(Some(value)),
        _ => Err(Refusal::Site),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(listen: &str, hosts: &[&str]) -> Access {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        Access::new(listen.parse().unwrap(), &hosts, Token::generate().unwrap())
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_host_is_an_address_localhost_or_a_chosen_name_with_the_port() {
        let access = access("127.0.0.1:9180", &["tower.example"]);
        let check = |host| access.check_site(&headers(&[("host", host)]));
        for own in [
            "127.0.0.1:9180",
            "192.0.2.7:9180",
            "[::1]:9180",
            "localhost:9180",
            "LocalHost:9180",
            "Tower.example:9180",
        ] {
            assert_eq!(check(own), Ok(()), "{own}");
        }
        for foreign in [
            "",
            "evil.example:9180",
            "evil.tower.example:9180",
            "localhost.evil.example:9180",
            "127.0.0.1.nip.io:9180",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.0.0.1:9181",
            "localhost",
            "localhost:9180@evil.example:9180",
            "evil@localhost:9180",
        ] {
            assert_eq!(check(foreign), Err(Refusal::Host), "{foreign}");
        }
        assert_eq!(access.check_site(&HeaderMap::new()), Err(Refusal::Host));
        let twice = [("host", "localhost:9180"), ("host", "localhost:9180")];
        assert_eq!(access.check_site(&headers(&twice)), Err(Refusal::Host));
    }

    #[test]
    fn browsers_leave_out_the_default_port() {
        let access = access("127.0.0.1:80", &[]);
        assert_eq!(access.check_site(&headers(&[("host", "localhost")])), Ok(()));
        assert_eq!(access.check_site(&headers(&[("host", "localhost:80")])), Ok(()));
    }

    #[test]
    fn requests_that_other_sites_cause_are_refused() {
        let access = access("127.0.0.1:9180", &[]);
        let check =
            |name, value| access.check_site(&headers(&[("host", "localhost:9180"), (name, value)]));
        assert_eq!(check("origin", "http://localhost:9180"), Ok(()));
        assert_eq!(check("sec-fetch-site", "same-origin"), Ok(()));
        assert_eq!(check("sec-fetch-site", "none"), Ok(()));
        for origin in ["null", "http://localhost", "http://127.0.0.1:9180", "http://evil.example"] {
            assert_eq!(check("origin", origin), Err(Refusal::Site), "{origin}");
        }
        for site in ["cross-site", "same-site", "new"] {
            assert_eq!(check("sec-fetch-site", site), Err(Refusal::Site), "{site}");
        }
    }

    #[test]
    fn the_token_is_checked_and_beyond_loopback_for_metrics_too() {
        let own = access("127.0.0.1:9180", &[]);
        let right = format!("Bearer {}", own.token.as_str());
        assert_eq!(own.check_token(&headers(&[("authorization", &right)])), Ok(()));
        for wrong in ["", "Bearer", "Bearer ", own.token.as_str(), &format!("{right}0")] {
            let check = own.check_token(&headers(&[("authorization", wrong)]));
            assert_eq!(check, Err(Refusal::Token), "{wrong}");
        }
        assert_eq!(own.check_metrics(&HeaderMap::new()), Ok(()));
        let open = access("0.0.0.0:9180", &["tower.example"]);
        assert_eq!(open.check_metrics(&HeaderMap::new()), Err(Refusal::Token));
    }
}
