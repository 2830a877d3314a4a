use std::io::{Error, ErrorKind};

use super::super::AcceptBackoff;
use core::time::Duration;

#[test]
fn only_errors_of_the_listener_delay_the_next_accept() {
    let mut backoff = AcceptBackoff::default();
    for kind in [ErrorKind::Interrupted, ErrorKind::ConnectionAborted] {
        assert_eq!(backoff.on_error(&kind.into()), Duration::ZERO);
    }
    for _ in 0..2 {
        assert_eq!(backoff.on_error(&Error::from_raw_os_error(24)), Duration::from_millis(100));
    }
    backoff.on_accepted();
    assert!(!backoff.on_error(&ErrorKind::OutOfMemory.into()).is_zero());
}
