//! Parsers for the values of options. An error is a sentence that says what to write instead.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use clacks_proto::{Address, AddressError, Name, Seed, SendRate};
use clacks_sim::parse_duration;
use tracing_subscriber::filter::Targets;

/// The longest duration that an option takes. The clock of a tower counts nanoseconds in 64 bits.
const LONGEST: Duration = Duration::from_nanos(u64::MAX);

/// Where to listen. Unlike an [`Address`] it may have port 0 (any free port) and an unspecified IP
/// address (every interface). Neither can be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listen {
    /// A DNS name or an IP address without brackets.
    pub(crate) host: String,
    /// The port; 0 for any free one.
    pub(crate) port: u16,
}

impl Listen {
    /// Returns whether this is every interface of the machine.
    pub(crate) fn is_unspecified(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_unspecified())
    }

    /// Returns what others dial once the listener has `port`.
    pub(crate) fn address(&self, port: u16) -> Result<Address, AddressError> {
        match self.host.parse::<IpAddr>() {
            Ok(ip) => Address::try_from(SocketAddr::from((ip, port))),
            Err(_) => Address::new(&self.host, port),
        }
    }
}

/// The value of `--heartbeat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heartbeat {
    /// The time between two heartbeats.
    Every(Duration),
    /// No heartbeats.
    Off,
}

/// Parses `HOST:PORT`. The port may be 0 and the host every interface.
pub(crate) fn listen(text: &str) -> Result<Listen, AddressError> {
    let (host, port) = text.rsplit_once(':').ok_or(AddressError::NoPort)?;
    if port.is_empty() {
        return Err(AddressError::NoPort);
    }
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| digits).ok_or(AddressError::Port)?;
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host = bare.unwrap_or(host);
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(_)) if bare.is_none() => return Err(AddressError::Brackets),
        Ok(IpAddr::V4(_)) if bare.is_some() => return Err(AddressError::Host),
        Ok(ip) if ip.is_multicast() => return Err(AddressError::Host),
        Ok(_) => {}
        Err(_) if bare.is_some() => return Err(AddressError::Host),
        Err(_) => drop(Name::new(host)?),
    }
    Ok(Listen { host: host.to_ascii_lowercase(), port })
}

/// Parses messages a second: `20`, `0.5` or `unlimited`.
pub(crate) fn send_rate(text: &str) -> Result<SendRate, String> {
    if text.eq_ignore_ascii_case("unlimited") {
        return Ok(SendRate::Unlimited);
    }
    let help = "write how many messages a second, for example 20 or 0.5, or unlimited";
    let rate: f64 = text.parse().map_err(|_| format!("not a number: {help}"))?;
    if !rate.is_finite() || rate <= 0.0 {
        return Err(format!("a rate must be more than 0: {help}"));
    }
    match Duration::try_from_secs_f64(1.0 / rate) {
        Ok(Duration::ZERO) => Err("that is faster than a clock can tell: write unlimited".into()),
        Ok(interval) if interval <= LONGEST => Ok(SendRate::Every(interval)),
        _ => Err(format!("that is slower than a clock can tell: {help}")),
    }
}

/// Parses a duration of more than zero.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    duration_or(text, "write a number and a unit, for example 1h, 90s or 250ms")
}

/// Parses the lifetime of a file: from 1 hour to 24 hours.
pub(crate) fn lifetime(text: &str) -> Result<Duration, String> {
    let help = "write a time from 1h to 24h, for example 6h";
    let lifetime = duration_or(text, help)?;
    let (shortest, longest) = (Duration::from_secs(3_600), Duration::from_secs(24 * 3_600));
    if lifetime > longest {
        return Err(
            "towers hold a file for at most 24h. To have it longer, run `clacks keep`".into()
        );
    }
    if lifetime < shortest { Err(help.into()) } else { Ok(lifetime) }
}

/// Parses a duration of more than zero, or `off`.
pub(crate) fn heartbeat(text: &str) -> Result<Heartbeat, String> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(Heartbeat::Off);
    }
    duration_or(text, "write a number and a unit, for example 60s, or off").map(Heartbeat::Every)
}

fn duration_or(text: &str, help: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Some(Duration::ZERO) => Err(format!("must be more than zero: {help}")),
        Some(duration) if duration <= LONGEST => Ok(duration),
        Some(_) => Err(format!("longer than a clock can measure, which is 584 years: {help}")),
        None => Err(format!("not a duration, or longer than 584 years: {help}")),
    }
}

/// Parses a number of bytes: `65536`, `64KiB`, `16MB`.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let help = "write a number of bytes, for example 65536, 64KiB or 16MiB";
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit: usize = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return Err(help.into()),
    };
    let number: usize = number.parse().map_err(|_| help.to_owned())?;
    number
        .checked_mul(unit)
        .filter(|size| *size > 0)
        .ok_or_else(|| format!("0, or more than this machine can count: {help}"))
}

/// Parses a number of messages.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("write a whole number from 2 to {}", u32::MAX - 2))
}

/// Parses which logs are written.
pub(crate) fn log(text: &str) -> Result<Targets, String> {
    let help = "write a level (error, warn, info, debug, trace, off), or a list of targets with \
                levels, for example warn,clacks_proto=debug";
    text.parse().map_err(|_| help.to_owned())
}

/// Parses the name of a network.
pub(crate) fn network(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("a network needs a name, for example clacks".into()),
        len if len > clacks_proto::wire::MAX_NETWORK => {
            Err(format!("{len} bytes are too long: at most {}", clacks_proto::wire::MAX_NETWORK))
        }
        _ => Ok(text.to_owned()),
    }
}

/// Parses where the dashboard listens.
pub(crate) fn http(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix("localhost:");
    let text = port.map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    text.parse().map_err(|_| "write an IP address and a port, for example 127.0.0.1:9180".into())
}

/// Parses a name of the dashboard in browsers: a name or an IP address, without a port.
pub(crate) fn http_host(text: &str) -> Result<String, String> {
    if let Ok(IpAddr::V6(ip)) = text.trim_matches(['[', ']']).parse() {
        return Ok(format!("[{ip}]"));
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if text.is_empty() || !text.bytes().all(is_allowed) {
        return Err("write the name alone, without a port, for example tower.example".into());
    }
    Ok(text.to_ascii_lowercase())
}

/// Parses a field of a scenario and its value.
pub(crate) fn setting(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(key, _)| !key.trim().is_empty());
    let (key, value) = parts.ok_or("write KEY=VALUE, for example link.latency=80ms")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

/// Parses the number of towers of a network. The scenario limits it further.
pub(crate) fn towers(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "write a whole number from 1 to 4000000".to_owned())
}

/// Parses the seed of a run.
pub(crate) fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("write a whole number from 0 to {}", u64::MAX))
}

/// Parses a range of seeds without its end.
pub(crate) fn seeds(text: &str) -> Result<Range<u64>, String> {
    let range =
        text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    let range: Range<u64> = range.ok_or("write FIRST..END, for example 0..1000")?;
    if range.is_empty() {
        Err("the end must be more than the first: it is excluded".to_owned())
    } else {
        Ok(range)
    }
}

/// Parses 64 hexadecimal digits.
pub(crate) fn seed(text: &str) -> Result<Seed, String> {
    let help = "a seed is 64 hexadecimal digits; leave it out for a fresh one";
    let mut seed = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(help.into());
    }
    for (byte, digits) in seed.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).map_err(|_| help)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| help)?;
    }
    Ok(Seed(seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dashboard_listens_on_an_ip_address() {
        assert_eq!(http("localhost:9180"), Ok("127.0.0.1:9180".parse().unwrap()));
        assert_eq!(http("[::1]:0"), Ok("[::1]:0".parse().unwrap()));
        for wrong in ["", "9180", ":9180", "127.0.0.1", "tower.example:9180", "127.0.0.1:99999"] {
            assert!(http(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_of_the_dashboard_has_no_port() {
        assert_eq!(http_host("Tower.example"), Ok("tower.example".into()));
        assert_eq!(http_host("192.0.2.7"), Ok("192.0.2.7".into()));
        assert_eq!(http_host("2001:db8::7"), Ok("[2001:db8::7]".into()));
        assert_eq!(http_host("[2001:db8::7]"), Ok("[2001:db8::7]".into()));
        for wrong in ["", "tower.example:9180", "http://tower.example", "tower.example/", "a b"] {
            assert!(http_host(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_listening_address_may_be_any_port_and_every_interface() {
        for (text, host, port) in [
            ("127.0.0.1:0", "127.0.0.1", 0),
            ("0.0.0.0:8001", "0.0.0.0", 8001),
            ("[::]:0", "::", 0),
            ("[::1]:8001", "::1", 8001),
            ("LocalHost:8001", "localhost", 8001),
        ] {
            assert_eq!(listen(text), Ok(Listen { host: host.into(), port }), "{text}");
        }
        for text in [
            "127.0.0.1",
            "127.0.0.1:",
            "::1:80",
            ":::80",
            "[0.0.0.0]:80",
            "a b:0",
            "x:+1",
            ":0",
            "x:65536",
            "0.0.0.0:x",
        ] {
            assert!(listen(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_interface_is_no_address() {
        for text in ["0.0.0.0:80", "[::]:80", "[::ffff:0.0.0.0]:80"] {
            assert!(listen(text).is_ok_and(|listen| listen.is_unspecified()), "{text}");
        }
        assert!(!listen("127.0.0.1:80").is_ok_and(|listen| listen.is_unspecified()));
        let localhost = listen("[::1]:0").ok().and_then(|listen| listen.address(9).ok());
        assert_eq!(localhost.map(|address| address.to_string()).as_deref(), Some("[::1]:9"));
    }

    #[test]
    fn a_rate_is_a_positive_number_or_unlimited() {
        let every = |milliseconds| Ok(SendRate::Every(Duration::from_millis(milliseconds)));
        assert_eq!(send_rate("20"), every(50));
        assert_eq!(send_rate("0.5"), every(2000));
        assert_eq!(send_rate("Unlimited"), Ok(SendRate::Unlimited));
        for text in ["0", "-1", "NaN", "inf", "1e300", "1e-300", "1e-11", "fast", ""] {
            assert!(send_rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in
            [("1", 1), ("64KiB", 65_536), ("64k", 65_536), ("2 MiB", 2 << 20), ("3MB", 3_000_000)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in
            ["0", "", "-1", "1.5k", "KiB", "1 light-year", "99999999999999999999", "99999999999GiB"]
        {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_words() {
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("584years"), Ok(Duration::from_secs(584 * 31_557_600)));
        for text in ["0s", "soon", "585years", "18446744073709551615s 1000000000ns"] {
            assert!(duration(text).is_err(), "{text}");
            assert!(heartbeat(text).is_err(), "{text}");
        }
        assert_eq!(heartbeat("off"), Ok(Heartbeat::Off));
        assert_eq!(heartbeat("2s"), Ok(Heartbeat::Every(Duration::from_secs(2))));
    }

    #[test]
    fn a_seed_is_64_digits() {
        assert_eq!(seed(&"0f".repeat(32)), Ok(Seed([15; 32])));
        for text in ["", "0f", &"0g".repeat(32), &"+f".repeat(32), &"é".repeat(32)] {
            assert!(seed(text).is_err(), "{text}");
        }
    }
}
