//! JSON lines.

use std::io::{self, Write};

use serde::{Serialize, Serializer};

/// Writes a value as one line, and flushes it: a program that reads a pipe needs each event at
/// once.
pub(crate) fn write(value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_string(value)?;
    line.push('\n');
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.flush()
}

/// Serializes pairs as an object, in their order.
pub(super) fn pairs_as_object<S: Serializer>(
    pairs: &[(&'static str, &'static str)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::super::Output;
    use clacks_proto::{Address, CloseReason, IoCause, Notice, Stats, Status, StatusReason};

    fn line(output: &Output<'_>) -> String {
        serde_json::to_string(output).unwrap()
    }

    #[test]
    fn a_line_begins_with_the_name_of_the_event() {
        let peer: Address = "tower.example:8001".parse().unwrap();
        let done = Output::Done { verb: "expand", tower: &peer };
        assert_eq!(line(&done), r#"{"event":"done","verb":"expand","tower":"tower.example:8001"}"#);
        let listening = Output::Listening { address: &peer, fingerprint: None };
        assert_eq!(
            line(&listening),
            r#"{"event":"listening","address":"tower.example:8001","fingerprint":null}"#
        );
        let within = std::time::Duration::from_secs(10);
        let shutting_down = Output::ShuttingDown { messages: 2, within };
        assert_eq!(line(&shutting_down), r#"{"event":"shutting_down","messages":2}"#);
        let stats = Output::Stats { held_messages: 1, held_bytes: 6, stats: &Stats::default() };
        let expected = r#"{"event":"stats","held_messages":1,"held_bytes":6,"enqueued":0,"#;
        assert!(line(&stats).starts_with(expected), "{}", line(&stats));
        let help = Output::Help { commands: &[("peek", "b"), ("enqueue TEXT", "a")] };
        assert_eq!(line(&help), r#"{"event":"help","commands":{"peek":"b","enqueue TEXT":"a"}}"#);
    }

    #[test]
    fn a_notice_is_written_as_the_library_serializes_it() {
        let reason = StatusReason::LinkClosed(CloseReason::Io(IoCause::Refused));
        let peer = "tower.example:8001".parse().unwrap();
        let (from, to) = (Status::Alive, Status::Lost);
        let notice = Notice::StatusChanged { peer, from, to, reason, retry_in: None };
        let line = line(&Output::Notice(&notice));
        assert_eq!(line, serde_json::to_string(&notice).unwrap());
        assert!(line.starts_with(r#"{"event":"status_changed","peer":"tower.example:8001","#));
    }

    #[test]
    fn an_event_is_one_line() {
        assert_eq!(line(&Output::Error { message: "two\nlines" }).lines().count(), 1);
    }
}
