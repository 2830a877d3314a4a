//! The demo in words: sentences for people, JSON lines for programs.

use std::io::{self, Stdout, Write};
use std::time::{Duration, Instant};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use clacks_proto::{Address, Fingerprint, Report, Status};
use serde_json::{Value, json};

use super::stage::RATE;
use super::{Number, Outcome};
use crate::json;
use crate::output::Said;
use crate::plain::{BAD, GOOD, QUIET, STRONG, WARN, colour, quote};

/// How often the whereabouts of the message are told. It moves faster than anybody reads.
const WHEREABOUTS: Duration = Duration::from_millis(1500);

/// One colour for each tower.
const COLOURS: [Style; 4] = [
    AnsiColor::Cyan.on_default().bold(),
    AnsiColor::Magenta.on_default().bold(),
    AnsiColor::Yellow.on_default().bold(),
    AnsiColor::Blue.on_default().bold(),
];

/// Tells what happens, as it happens.
pub(super) struct Teller {
    voice: Voice,
    start: Instant,
    addresses: Vec<Address>,
    hand_overs: Journey,
}

enum Voice {
    Json,
    Plain(AutoStream<Stdout>),
}

/// How far the message has come.
struct Journey {
    /// How many times it was handed over.
    count: u64,
    /// Who has had it in its present life.
    had_by: [bool; 4],
    /// When its whereabouts were last told.
    told: Instant,
}

impl Teller {
    /// A teller that has said what there is to know beforehand.
    pub(super) fn new(json: bool, addresses: Vec<Address>) -> io::Result<Self> {
        let voice = if json { Voice::Json } else { Voice::Plain(anstream::stdout()) };
        let start = Instant::now();
        let hand_overs = Journey { count: 0, had_by: [false; 4], told: start };
        let mut teller = Self { voice, start, addresses, hand_overs };
        if let Voice::Plain(out) = &mut teller.voice {
            writeln!(
                out,
                "Four towers on this machine, speaking TLS with each other. A demo tower sends {RATE} messages a second"
            )?;
            writeln!(
                out,
                "and looks after its peers every second; the defaults are one a second and once a minute."
            )?;
        }
        Ok(teller)
    }

    /// A step begins.
    pub(super) fn step(&mut self, step: usize, title: &str) -> io::Result<()> {
        match &mut self.voice {
            Voice::Json => json::write(&json!({"event": "step", "step": step, "title": title})),
            Voice::Plain(out) => writeln!(out, "\n{STRONG}Step {step}: {title}{STRONG:#}"),
        }
    }

    /// A tower can be reached.
    pub(super) fn listening(&mut self, number: Number, own: Fingerprint) -> io::Result<()> {
        self.hand_overs.had_by[number.index()] = false;
        let address = self.addresses[number.index()].clone();
        if let Voice::Json = self.voice {
            let said = Said::Listening { address: &address, fingerprint: Some(own) };
            return self.event(number, json::event(&said));
        }
        self.line(number, &format!("listens on {address}"))
    }

    /// A tower does something because the play says so.
    pub(super) fn does(&mut self, number: Number, what: &str) -> io::Result<()> {
        if let Voice::Json = self.voice {
            return self.event(number, Some(json!({"event": "narration", "text": what})));
        }
        self.line(number, what)
    }

    /// Something happened to a tower.
    pub(super) fn report(&mut self, number: Number, report: &Report) -> io::Result<()> {
        if let Voice::Json = self.voice {
            return self.event(number, json::report(report));
        }
        match report {
            Report::TowerDiscovered { tower } => {
                let name = self.name(tower);
                self.line(number, &format!("has learned of {name} ({tower})"))
            }
            Report::StatusChanged { tower, from, to } => {
                let (name, style) = (self.name(tower), colour(*to));
                let found = match (from, to) {
                    (Status::Lost | Status::Dead, Status::Alive) => "alive again",
                    (_, Status::Alive) => "alive",
                    (_, Status::Lost) => "lost",
                    (_, other) => other.as_str(),
                };
                self.line(number, &format!("finds {name} {style}{found}{style:#}"))
            }
            Report::MessageReceived { from, message, .. } => {
                let from =
                    from.as_ref().map_or_else(|| "a stranger".into(), |from| self.name(from));
                self.hand_overs.count += 1;
                if !self.hand_overs.had_by[number.index()] {
                    self.hand_overs.had_by[number.index()] = true;
                    self.line(number, &format!("receives {} from {from}", quote(message)))
                } else if self.hand_overs.told.elapsed() >= WHEREABOUTS {
                    let count = self.hand_overs.count;
                    self.line(number, &format!("has the message now, after {count} hand-overs"))
                } else {
                    return Ok(());
                }?;
                self.hand_overs.told = Instant::now();
                Ok(())
            }
            Report::Announced { to } => {
                let name = self.name(to);
                self.line(number, &format!("is now known to {name}"))
            }
            Report::KeyChanged { tower, .. } => {
                let name = self.name(tower);
                self.line(number, &format!("{BAD}finds a stranger{BAD:#} at the address of {name}"))
            }
            Report::Missed { count } => self.line(
                number,
                &format!(
                    "{WARN}reports faster than can be told{WARN:#}: {count} reports are missing"
                ),
            ),
            // Queues and links are what carries the story, not the story.
            _ => Ok(()),
        }
    }

    /// One line for each step.
    pub(super) fn result(&mut self, outcomes: &[Outcome]) -> io::Result<()> {
        match &mut self.voice {
            Voice::Json => {
                let ok = outcomes.iter().all(|outcome| outcome.seen.is_ok());
                let steps: Vec<_> = outcomes.iter().map(Outcome::to_json).collect();
                json::write(&json!({"event": "result", "ok": ok, "steps": steps}))
            }
            Voice::Plain(out) => {
                writeln!(out, "\n{STRONG}What was seen{STRONG:#}")?;
                for Outcome { step, seen } in outcomes {
                    match seen {
                        Ok(seen) => writeln!(out, "  step {step}  {GOOD}yes{GOOD:#}  {seen}")?,
                        Err(unseen) => writeln!(out, "  step {step}  {BAD}no{BAD:#}   {unseen}")?,
                    }
                }
                Ok(())
            }
        }
    }

    fn event(&self, number: Number, event: Option<Value>) -> io::Result<()> {
        let Some(mut event) = event else { return Ok(()) };
        if let Some(fields) = event.as_object_mut() {
            let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
            fields.insert("tower_number".into(), number.0.into());
            fields.insert("elapsed_ms".into(), elapsed.into());
        }
        json::write(&event)
    }

    fn line(&mut self, number: Number, what: &str) -> io::Result<()> {
        let elapsed = self.start.elapsed().as_secs_f64();
        let style = COLOURS[number.index()];
        match &mut self.voice {
            Voice::Json => Ok(()),
            Voice::Plain(out) => writeln!(
                out,
                "  {QUIET}{elapsed:5.1}s{QUIET:#}  {style}tower {}{style:#} {what}",
                number.0
            ),
        }
    }

    /// What the audience calls the tower at `address`.
    fn name(&self, address: &Address) -> String {
        match self.addresses.iter().position(|known| known == address) {
            Some(index) => {
                let style = COLOURS[index];
                format!("{style}tower {}{style:#}", index + 1)
            }
            None => format!("the tower at {address}"),
        }
    }
}
