//! Standard output of a tower: its events, and answers to the commands of the console.

use std::io;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use clacks_proto::Notice;

use super::Check;
use crate::error::Failure;
use crate::output::text::Text;
use crate::output::writer::{Printer, Target, Writer};
use crate::output::{Entry, Output, json, wrap};

/// How long the end of the command waits for an output that is not read. The value is a guess.
const FINISH_LIMIT: Duration = Duration::from_secs(2);

/// Writes entries to standard output. No method waits for the output, except
/// [`finish`](Self::finish).
pub(crate) struct Screen {
    format: Format,
    writer: Writer,
    events: Events,
}

/// Which events are written. Answers and errors always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Events {
    /// All.
    All,
    /// The start and the end of the tower.
    StartAndEnd,
}

/// How entries are written.
enum Format {
    /// One JSON object a line.
    Json,
    /// Text, in colour on a terminal.
    Text(Text, ColorChoice),
}

impl Screen {
    /// Starts the writer of standard output.
    pub(crate) fn start(json: bool, events: Events) -> Result<Self, Failure> {
        let (format, missed): (_, fn(u64) -> Vec<u8>) = if json {
            (Format::Json, missed_json)
        } else {
            (Format::Text(Text::default(), AutoStream::choice(&io::stdout())), missed_text)
        };
        let writer = Writer::start(Target::Stdout, missed).map_err(|error| {
            Failure::failed(format_args!(
                "No thread can be started ({error}): raise the limit of processes."
            ))
        })?;
        Ok(Self { format, writer, events })
    }

    /// Returns a check whether lines are dropped now.
    pub(crate) fn check(&self) -> Check {
        let writer = self.writer.clone();
        Box::new(move || match writer.dropped() {
            0 => None,
            lines => Some((
                format!("standard output is not read, and {lines} lines of it were dropped"),
                "Read it, send it to a file, or start the tower with --quiet.",
            )),
        })
    }

    /// Passes lines to a printer from now on.
    pub(crate) fn print_with(&self, printer: Printer) {
        self.writer.print_with(printer);
    }

    /// Writes an event, if it is to be shown.
    pub(crate) fn event(&mut self, entry: &Entry) {
        let is_shown = self.events == Events::All
            || matches!(
                &entry.output,
                Output::Listening { .. }
                    | Output::Reloaded { .. }
                    | Output::ShuttingDown { .. }
                    | Output::Notice(Notice::ShutDown { .. })
            );
        if is_shown {
            self.write(entry);
        }
    }

    /// Writes the answer to a command. Some answers are left out if an event has the same content.
    pub(crate) fn answer(&mut self, entry: &Entry) {
        let is_event_shown = match &entry.output {
            Output::Enqueued { .. } => self.events == Events::All,
            Output::Stopping => true,
            _ => false,
        };
        if !is_event_shown {
            self.write(entry);
        }
    }

    fn write(&mut self, entry: &Entry) {
        match (&mut self.format, &entry.output) {
            (Format::Json, Output::Note(note)) => tracing::info!("{note}"),
            (Format::Json, _) => match json::line(entry) {
                Ok(line) => self.writer.push(line),
                Err(error) => tracing::error!("an event cannot be serialized: {error}"),
            },
            (Format::Text(text, colours), _) => {
                let lines = wrap::for_stdout(&text.render(entry));
                let lines = match colours {
                    ColorChoice::Never => anstream::adapter::strip_str(&lines).to_string(),
                    _ => lines,
                };
                if !lines.is_empty() {
                    self.writer.push(lines.into_bytes());
                }
            }
        }
    }

    /// Waits until the reader of standard output is gone.
    pub(crate) async fn closed(&self) {
        self.writer.closed().await;
    }

    /// Waits until everything is written, for a short time at most.
    pub(crate) fn finish(&self) -> Result<(), Failure> {
        self.writer.finish(FINISH_LIMIT).map_err(|unwritten| {
            // Not as an event: standard output is what fails.
            tracing::error!("{unwritten}");
            Failure::Reported
        })
    }
}

/// The line in the place of dropped ones. It has no number, because it is no event of the tower.
fn missed_json(count: u64) -> Vec<u8> {
    format!("{{\"event\":\"missed\",\"count\":{count}}}\n").into_bytes()
}

fn missed_text(count: u64) -> Vec<u8> {
    format!("missed      {count} lines that came faster than they were read\n").into_bytes()
}
