//! `clacks send`: a message for the queue of a running tower.

use std::fs::File;
use std::io::{self, Read};

use clacks_proto::Message;

use super::ask::Printer;
use crate::args::{KindArg, SendArgs};
use crate::control::Request;
use crate::control::socket::client::Client;
use crate::error::Failure;

/// The longest message that any tower takes, in bytes.
const MAX_MESSAGE: u64 = 16 * 1024 * 1024;

/// Sends the message, and writes the answer.
pub(crate) fn run(args: &SendArgs) -> Result<(), Failure> {
    let message = message(&body(args)?, args.kind)?;
    let mut client = Client::connect(args.reach.control.as_deref())?;
    if args.wait {
        client.wait_for_ever()?;
    }
    let lifetime = args.lifetime.map(|lifetime| lifetime.as_millis());
    let lifetime_ms = lifetime.map(|millis| u64::try_from(millis).unwrap_or(u64::MAX).max(1));
    let answer = client.request(&Request::Enqueue { message, lifetime_ms, wait: args.wait })?;
    Printer::new(args.reach.json).write(&answer)
}

fn body(args: &SendArgs) -> Result<Vec<u8>, Failure> {
    match (&args.file, args.text.as_deref()) {
        (Some(file), _) => {
            let name = file.display().to_string();
            let opened = File::open(file).map_err(|error| not_read(&name, &error))?;
            read(opened, &name)
        }
        (None, Some("-")) => read(io::stdin().lock(), "standard input"),
        (None, None) => Err(Failure::usage(
            "There is no message: give TEXT, `-f FILE`, or `-` for standard input.",
        )),
        (None, Some(text)) => Ok(text.into()),
    }
}

fn read(from: impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    from.take(MAX_MESSAGE + 1).read_to_end(&mut body).map_err(|error| not_read(name, &error))?;
    if body.len() as u64 > MAX_MESSAGE {
        return Err(Failure::failed(format_args!(
            "{name} is too long for a message, which has 16 MiB at most: send it in parts."
        )));
    }
    Ok(body)
}

fn not_read(name: &str, error: &io::Error) -> Failure {
    Failure::failed(format_args!("{name} cannot be read ({error}): check the path."))
}

fn message(body: &[u8], kind: Option<KindArg>) -> Result<Message, Failure> {
    let text = std::str::from_utf8(body);
    match (kind, text) {
        (Some(KindArg::Bytes), _) | (None, Err(_)) => Ok(Message::bytes(body)),
        (Some(KindArg::Text) | None, Ok(text)) => Ok(Message::text(text)),
        (Some(KindArg::Text), Err(_)) => {
            Err(Failure::usage("The message is not text in UTF-8: send it with --type bytes."))
        }
        (Some(KindArg::Json), text) => {
            let parsed = serde_json::from_slice::<serde::de::IgnoredAny>(body);
            match (parsed, text) {
                (Ok(_), Ok(text)) => Ok(Message::json(text)),
                (Err(error), _) => {
                    Err(Failure::usage(format_args!("The message is not JSON: {error}.")))
                }
                (_, Err(_)) => Err(Failure::usage("The message is not JSON, which is in UTF-8.")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clacks_proto::Kind;

    #[test]
    fn the_kind_follows_from_the_bytes_or_the_option() {
        let kind = |body: &[u8], kind| message(body, kind).map(|it| it.kind());
        assert_eq!(kind(b"x", None).unwrap(), Kind::Text);
        assert_eq!(kind(b"\xff", None).unwrap(), Kind::Bytes);
        assert_eq!(kind(b"x", Some(KindArg::Bytes)).unwrap(), Kind::Bytes);
        assert_eq!(kind(b"[1]", Some(KindArg::Json)).unwrap(), Kind::Json);
        for (body, option) in [(&b"\xff"[..], KindArg::Text), (b"{", KindArg::Json)] {
            assert!(matches!(kind(body, Some(option)), Err(Failure::Usage(_))));
        }
    }

    #[test]
    fn a_file_that_is_too_long_is_not_kept() {
        assert!(read(io::repeat(0), "/dev/zero").is_err());
    }
}
