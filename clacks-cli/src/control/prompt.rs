//! The prompt of a tower in a terminal: lines with history, which output does not run into.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{Config, Context, Editor, Helper};
use signal_hook::consts::SIGINT;
use smol::channel::Sender;

use super::ControlledTower;
use super::console::{Command, parse};
use crate::output::writer::Printer;

/// The number of lines that the history keeps. It lives in memory only: lines are messages, too.
const HISTORY: usize = 1_000;

/// The room that is left for a line beside the prompt. A longer prompt is left out.
const LINE_COLUMNS: usize = 20;

/// How long the end of the tower waits for a terminal that is stopped (Ctrl-S).
const END_LIMIT: Duration = Duration::from_secs(1);

/// The modes of the terminal before the first prompt.
static TERMINAL: Mutex<Option<Termios>> = Mutex::new(None);

type LineEditor = Editor<Observer, MemHistory>;

/// A prompt on a thread of its own.
pub(crate) struct Prompt(Arc<Terminal>);

/// What the terminal shows, for the printers.
#[derive(Default)]
struct Terminal {
    line: Mutex<Line>,
    changed: Condvar,
}

/// The last line of the terminal.
#[derive(Default)]
enum Line {
    /// There is no prompt.
    #[default]
    None,
    /// The prompt, without further characters.
    Prompt(String),
    /// A line is being typed. Output waits until it is sent or deleted.
    Typed,
    /// There will be no prompt any more.
    Ended,
}

impl Prompt {
    /// Returns whether a person can use a prompt: standard input and output are a terminal that can
    /// move its cursor.
    pub(crate) fn is_possible() -> bool {
        let term = std::env::var_os("TERM");
        let is_simple = term.is_none_or(|term| term.is_empty() || term == "dumb");
        io::stdin().is_terminal() && io::stdout().is_terminal() && !is_simple
    }

    /// Starts the thread that reads lines.
    pub(crate) fn start(
        commands: Sender<Result<Command, String>>,
        control: Arc<ControlledTower>,
    ) -> io::Result<Self> {
        *lock(&TERMINAL) = Some(tcgetattr(io::stdin().as_fd())?);
        let config = Config::builder().max_history_size(HISTORY).map_err(io::Error::other)?;
        // Lines of a paste are lines.
        let config = config.bracketed_paste(false).build();
        let history = MemHistory::with_config(&config);
        let mut editor = LineEditor::with_history(config, history).map_err(io::Error::other)?;
        let terminal = Arc::new(Terminal::default());
        editor.set_helper(Some(Observer { terminal: terminal.clone(), prompt: String::new() }));
        let thread = terminal.clone();
        thread::Builder::new().name("console".into()).spawn(move || {
            read_lines(&mut editor, &thread, &commands, &control);
            thread.end();
        })?;
        Ok(Self(terminal))
    }

    /// Returns a printer for lines above the prompt. It waits while a line is being typed.
    pub(crate) fn printer(&self) -> Printer {
        let terminal = self.0.clone();
        Box::new(move |lines| terminal.print(&lines))
    }

    /// Removes the prompt, and restores the terminal. Waits for a stopped terminal for a short time
    /// only.
    pub(crate) fn end(&self) {
        restore_modes();
        let (done, ended) = mpsc::channel();
        let terminal = self.0.clone();
        let end = move || {
            terminal.end();
            let _ = done.send(());
        };
        if thread::Builder::new().name("terminal".into()).spawn(end).is_ok() {
            let _ = ended.recv_timeout(END_LIMIT);
        }
    }
}

impl Terminal {
    fn print(&self, lines: &str) -> io::Result<()> {
        let mut line = lock(&self.line);
        while matches!(*line, Line::Typed) {
            line = self.changed.wait(line).unwrap_or_else(PoisonError::into_inner);
        }
        // The lock is held, so that the first character that is typed is drawn after the prompt.
        match &*line {
            Line::Prompt(prompt) => write(&format!("\r\x1b[K{lines}{prompt}")),
            Line::None | Line::Typed | Line::Ended => write(lines),
        }
    }

    /// Changes the last line, unless the prompt has ended.
    fn set(&self, line: Line) {
        let mut current = lock(&self.line);
        if !matches!(*current, Line::Ended) {
            *current = line;
            self.changed.notify_all();
        }
    }

    fn has_ended(&self) -> bool {
        matches!(*lock(&self.line), Line::Ended)
    }

    fn end(&self) {
        let mut line = lock(&self.line);
        if !matches!(std::mem::replace(&mut *line, Line::Ended), Line::Ended) {
            restore_modes();
            // Clear the prompt.
            let _ = write("\r\x1b[J");
            self.changed.notify_all();
        }
    }
}

/// Observes what is typed. The editor asks for a hint before it draws a changed line.
struct Observer {
    terminal: Arc<Terminal>,
    prompt: String,
}

impl Hinter for Observer {
    type Hint = String;

    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<String> {
        self.terminal.set(match line {
            "" => Line::Prompt(self.prompt.clone()),
            _ => Line::Typed,
        });
        None
    }
}

impl Completer for Observer {
    type Candidate = String;
}

impl Highlighter for Observer {}
impl Validator for Observer {}
impl Helper for Observer {}

/// Reads lines until Ctrl-C, Ctrl-D or the end of the tower.
fn read_lines(
    editor: &mut LineEditor,
    terminal: &Terminal,
    commands: &Sender<Result<Command, String>>,
    control: &ControlledTower,
) {
    loop {
        let columns = editor.dimensions().map_or(80, |(columns, _)| usize::from(columns));
        let summary = control.summary();
        let prompt = match summary.chars().count() + LINE_COLUMNS {
            room if room > columns => "> ".to_owned(),
            _ => format!("{summary} > "),
        };
        if let Some(observer) = editor.helper_mut() {
            observer.prompt.clone_from(&prompt);
        }
        if terminal.has_ended() {
            return;
        }
        let line = editor.readline(&prompt);
        terminal.set(Line::None);
        match line {
            Ok(line) => {
                // A line that can't be kept is no loss.
                let _ = editor.add_history_entry(line.as_str());
                let command = match parse(line.as_bytes()) {
                    Ok(None) => continue,
                    Ok(Some(command)) => Ok(command),
                    Err(sentence) => Err(sentence),
                };
                if commands.send_blocking(command).is_err() {
                    return;
                }
            }
            Err(ReadlineError::Interrupted) => {
                // The terminal sends no signal while a line is edited. From now on it does.
                terminal.end();
                let _ = signal_hook::low_level::raise(SIGINT);
                return;
            }
            Err(ReadlineError::Eof) => {
                return tracing::info!("the tower runs on: Ctrl-C stops it");
            }
            Err(error) => return tracing::warn!("the terminal cannot be read any more: {error}"),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Returns the terminal to its modes before the first prompt. Must be called before the process
/// ends, because the thread that reads lines may be in the middle of one. Does not block.
pub(crate) fn restore_modes() {
    if let Some(terminal) = &*lock(&TERMINAL) {
        let _ = tcsetattr(io::stdin().as_fd(), SetArg::TCSANOW, terminal);
    }
}
