//! The commands that are one request and one answer: `peek`, `survey`, `status`, `stats`,
//! `announce`, `expand`, `ignore`, `unignore`, `forget` and `stop`.

use std::io::{self, Write};

use anstream::AutoStream;

use crate::args::ReachArgs;
use crate::control::Request;
use crate::control::socket::client::{Client, Received};
use crate::error::Failure;
use crate::output::text::Text;
use crate::output::wrap;
use crate::output::writer::write_to_stdout;

/// Sends a request to the running tower, and writes the answer.
pub(crate) fn run(reach: &ReachArgs, request: &Request) -> Result<(), Failure> {
    let mut client = Client::connect(reach.control.as_deref())?;
    if let Request::Announce { wait: true, .. } = request {
        client.wait_for_ever()?;
    }
    let answer = client.request(request)?;
    Printer::new(reach.json).write(&answer)
}

/// Stops the running tower, and waits for its end.
pub(crate) fn stop(reach: &ReachArgs) -> Result<(), Failure> {
    let mut client = Client::connect(reach.control.as_deref())?;
    let mut printer = Printer::new(reach.json);
    printer.write(&client.request(&Request::Stop)?)?;
    client.wait_for_ever()?;
    let end = client.next()?;
    let end =
        end.ok_or_else(|| Failure::failed("The tower ended without a report: look at its log."))?;
    printer.write(&end)
}

/// Writes answers and events to standard output: as the tower sent them, or as text.
pub(crate) struct Printer {
    text: Option<Text>,
}

impl Printer {
    /// Returns a printer for the option `--json`.
    pub(crate) fn new(json: bool) -> Self {
        Self { text: (!json).then(Text::default) }
    }

    /// Writes and flushes an entry.
    pub(crate) fn write(&mut self, received: &Received) -> Result<(), Failure> {
        match &mut self.text {
            None => {
                write_to_stdout(format!("{}\n", received.line).as_bytes())?;
            }
            Some(text) => {
                let Some(entry) = &received.entry else { return Ok(()) };
                let text = wrap::for_stdout(&text.render(entry));
                let mut plain = AutoStream::new(Vec::new(), AutoStream::choice(&io::stdout()));
                plain.write_all(text.as_bytes())?;
                write_to_stdout(&plain.into_inner())?;
            }
        }
        Ok(())
    }
}
