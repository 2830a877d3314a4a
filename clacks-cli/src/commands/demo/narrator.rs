//! Narrates the demo: text for people, JSON lines for programs.

use std::io::{self, Stdout, Write};
use std::time::{Duration, Instant};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use clacks_proto::{Address, Fingerprint, Notice, Status};
use serde::Serialize;
use serde_json::json;

use super::network::SEND_RATE;
use super::{Number, Outcome};
use crate::output::text::{BAD, GOOD, QUIET, STRONG, WARN, explain, quote, status_style};
use crate::output::wrap::{self, Wrapped};
use crate::output::{Output, json};

/// The time between two lines that say where the message is. It moves faster than a person reads.
const POSITION_INTERVAL: Duration = Duration::from_millis(1500);

/// One colour for each tower.
const COLOURS: [Style; 4] = [
    AnsiColor::Cyan.on_default().bold(),
    AnsiColor::Magenta.on_default().bold(),
    AnsiColor::Yellow.on_default().bold(),
    AnsiColor::Blue.on_default().bold(),
];

/// Writes what happens when it happens.
pub(super) struct Narrator {
    /// Where text goes. `None` if JSON lines are written.
    text: Option<Wrapped<AutoStream<Stdout>>>,
    start: Instant,
    addresses: Vec<Address>,
    journey: Journey,
}

/// How far the message has come.
struct Journey {
    /// How many times it was handed over.
    hand_overs: u64,
    /// The towers that have received it since they were started.
    had_by: [bool; 4],
    /// When its position was last written.
    written_at: Instant,
}

/// An event of a tower.
#[derive(Serialize)]
struct TowerEvent<E> {
    #[serde(flatten)]
    event: E,
    tower_number: usize,
    elapsed_ms: u64,
}

impl Narrator {
    /// Returns a narrator that has written the introduction.
    pub(super) fn new(json: bool, addresses: Vec<Address>) -> io::Result<Self> {
        let text = (!json).then(wrap::stdout);
        let start = Instant::now();
        let journey = Journey { hand_overs: 0, had_by: [false; 4], written_at: start };
        let mut narrator = Self { text, start, addresses, journey };
        if let Some(out) = &mut narrator.text {
            writeln!(
                out,
                "Four towers on this machine speak TLS with each other. A demo tower sends \
                 {SEND_RATE} messages a second and a heartbeat every second. The defaults are one \
                 a second and one a minute."
            )?;
        }
        Ok(narrator)
    }

    /// A step begins.
    pub(super) fn step(&mut self, step: usize, title: &str) -> io::Result<()> {
        match &mut self.text {
            None => json::write(&json!({"event": "step", "step": step, "title": title})),
            Some(out) => writeln!(out, "\n{STRONG}Step {step}: {title}{STRONG:#}"),
        }
    }

    /// A tower listens.
    pub(super) fn listening(&mut self, number: Number, own: Fingerprint) -> io::Result<()> {
        self.journey.had_by[number.index()] = false;
        let address = self.addresses[number.index()].clone();
        let text = format!("listens on {address}");
        let output = Output::Listening { address, fingerprint: Some(own), control: None };
        self.write(number, output, &text)
    }

    /// The demo waits until a person opens the dashboard.
    pub(super) fn dashboard(&mut self, dashboard: &Output, limit: Duration) -> io::Result<()> {
        let Some(out) = &mut self.text else { return json::write(dashboard) };
        let Output::Dashboard { url, token_file } = dashboard else { return Ok(()) };
        writeln!(out, "Open {STRONG}{url}{STRONG:#}")?;
        if !url.contains('#') {
            writeln!(out, "with #token= and the content of {} at its end", token_file.display())?;
        }
        let limit = limit.as_secs();
        writeln!(
            out,
            "to watch tower 1. The demo goes on when the page is open, or in {limit} seconds."
        )
    }

    /// The demo does something with a tower.
    pub(super) fn action(&mut self, number: Number, what: &str) -> io::Result<()> {
        self.write(number, json!({"event": "narration", "text": what}), what)
    }

    /// A tower has notified its application.
    pub(super) fn notice(&mut self, number: Number, notice: &Notice) -> io::Result<()> {
        if self.text.is_none() {
            return self.write_event(number, notice);
        }
        match self.describe(number, notice) {
            Some(what) => self.write_line(number, &what),
            None => Ok(()),
        }
    }

    /// Returns a notice in words if it is part of the story.
    fn describe(&mut self, number: Number, notice: &Notice) -> Option<String> {
        Some(match notice {
            Notice::TowerDiscovered { peer } => {
                format!("has learned of {} ({peer})", self.name(peer))
            }
            Notice::StatusChanged { peer, from, to, reason, .. } => {
                let (name, style) = (self.name(peer), status_style(*to));
                let found = match (from, to) {
                    (Status::Lost | Status::Dead, Status::Alive) => "alive again",
                    (_, other) => other.as_str(),
                };
                format!("finds {name} {style}{found}{style:#}{}", explain(*reason))
            }
            Notice::MessageReceived { from, message, .. } => {
                let from =
                    from.as_ref().map_or_else(|| "a stranger".into(), |from| self.name(from));
                let journey = &mut self.journey;
                journey.hand_overs += 1;
                let is_first = !std::mem::replace(&mut journey.had_by[number.index()], true);
                if !is_first && journey.written_at.elapsed() < POSITION_INTERVAL {
                    return None;
                }
                journey.written_at = Instant::now();
                match journey.hand_overs {
                    _ if is_first => format!("receives {} from {from}", quote(message)),
                    count => format!("has the message now, after {count} hand-overs"),
                }
            }
            Notice::Announced { to } => format!("is now known to {}", self.name(to)),
            Notice::KeyChanged { peer, .. } => {
                let name = self.name(peer);
                format!("{BAD}finds a stranger{BAD:#} at the address of {name}")
            }
            Notice::Missed { count } => {
                format!("{WARN}notifies faster than is read{WARN:#}: {count} notices are missing")
            }
            // Queues and links are not part of the story.
            _ => return None,
        })
    }

    /// Writes one line for each step.
    pub(super) fn result(&mut self, outcomes: &[Outcome]) -> io::Result<()> {
        match &mut self.text {
            None => {
                let ok = outcomes.iter().all(|outcome| outcome.seen.is_ok());
                let steps: Vec<_> = outcomes.iter().map(Outcome::to_json).collect();
                json::write(&json!({"event": "result", "ok": ok, "steps": steps}))
            }
            Some(out) => {
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

    /// Writes the event as JSON, or else the text.
    fn write(&mut self, number: Number, event: impl Serialize, text: &str) -> io::Result<()> {
        match self.text {
            None => self.write_event(number, event),
            Some(_) => self.write_line(number, text),
        }
    }

    fn write_event(&self, number: Number, event: impl Serialize) -> io::Result<()> {
        let elapsed_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        json::write(&TowerEvent { event, tower_number: number.0, elapsed_ms })
    }

    fn write_line(&mut self, number: Number, text: &str) -> io::Result<()> {
        let Some(out) = &mut self.text else { return Ok(()) };
        let (elapsed, name) = (self.start.elapsed().as_secs_f64(), name(number.index()));
        writeln!(out, "  {QUIET}{elapsed:5.1}s{QUIET:#}  {name} {text}")
    }

    /// Returns what the tower at an address is called.
    fn name(&self, address: &Address) -> String {
        match self.addresses.iter().position(|known| known == address) {
            Some(index) => name(index),
            None => format!("the tower at {address}"),
        }
    }
}

fn name(index: usize) -> String {
    let style = COLOURS[index];
    format!("{style}tower {}{style:#}", index + 1)
}
