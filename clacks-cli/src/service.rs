//! Messages to the service manager that has started the tower (systemd, by `$NOTIFY_SOCKET`).

use std::io;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use clacks_proto::StateMachine;
use clacks_proto::driver::Handle;
use sd_notify::NotifyState;
use smol::{Task, Timer};

/// Messages that wait for the service manager (guess). Further ones are dropped.
const WAITING: usize = 16;

/// Watchdog messages per time limit of the watchdog. systemd recommends two.
const PER_LIMIT: u32 = 3;

/// How long the end of a tower waits for a service manager that does not read (guess).
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// The shortest time between two watchdog messages, for time limits near zero (guess).
const SHORTEST: Duration = Duration::from_millis(10);

/// A message.
#[derive(Debug)]
enum Message {
    Ready(String),
    Reloading,
    Stopping(String),
    /// Nothing for the service manager: dropping the sender reports that all messages before it are
    /// sent.
    Flush(#[allow(dead_code, reason = "only dropped")] mpsc::Sender<()>),
}

/// The service manager. A thread of its own sends the messages, so that a service manager that does
/// not read them holds up nothing. Without a service manager, all methods do nothing.
#[derive(Debug)]
pub(crate) struct ServiceManager(Option<SyncSender<Message>>);

impl ServiceManager {
    /// Starts the thread if there is a service manager.
    pub(crate) fn start() -> io::Result<Self> {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(Self(None));
        }
        let (sender, messages) = mpsc::sync_channel(WAITING);
        thread::Builder::new().name("service".into()).spawn(move || send(&messages))?;
        Ok(Self(Some(sender)))
    }

    /// Reports that the tower listens, or that it has finished reloading.
    pub(crate) fn ready(&self, status: String) {
        self.push(Message::Ready(status));
    }

    /// Reports that the tower reads its configuration again. [`ready`](Self::ready) must follow.
    pub(crate) fn reloading(&self) {
        self.push(Message::Reloading);
    }

    /// Reports that the tower hands its queue over.
    pub(crate) fn stopping(&self, status: String) {
        self.push(Message::Stopping(status));
    }

    /// Waits until the messages are sent. A service manager that does not read is not waited for
    /// any longer than a limit.
    pub(crate) fn flush(&self) {
        let (sender, sent) = mpsc::channel();
        self.push(Message::Flush(sender));
        let _ = sent.recv_timeout(FLUSH_LIMIT);
    }

    /// Sends watchdog messages as long as the driver of the tower makes progress. Returns `None` if
    /// no watchdog waits for them. Dropping the task ends it.
    pub(crate) fn watchdog<M: StateMachine + Send + 'static>(
        tower: &Handle<M>,
    ) -> Option<Task<()>> {
        let limit = sd_notify::watchdog_enabled()?;
        let pause = (limit / PER_LIMIT).max(SHORTEST);
        let tower = tower.clone();
        Some(smol::spawn(async move {
            while tower.next_turn().await {
                // Not from the thread of the other messages, which must not wait behind these.
                let _ = smol::unblock(|| sd_notify::notify(&[NotifyState::Watchdog])).await;
                Timer::after(pause).await;
            }
        }))
    }

    fn push(&self, message: Message) {
        if let Some(sender) = &self.0 {
            // Fails if the service manager does not read.
            let _ = sender.try_send(message);
        }
    }
}

/// Sends messages until the last sender is dropped.
fn send(messages: &Receiver<Message>) {
    let mut has_failed = false;
    for message in messages {
        let sent = match message {
            Message::Ready(status) => {
                sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&status)])
            }
            // systemd requires the time for units of the type `notify-reload`.
            Message::Reloading => NotifyState::monotonic_usec_now()
                .and_then(|time| sd_notify::notify(&[NotifyState::Reloading, time])),
            Message::Stopping(status) => {
                sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status(&status)])
            }
            Message::Flush(_) => Ok(()),
        };
        match sent {
            Err(error) if !has_failed => {
                has_failed = true;
                tracing::warn!("the service manager cannot be reached ({error})");
            }
            _ => {}
        }
    }
}
