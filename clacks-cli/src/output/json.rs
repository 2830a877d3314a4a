//! JSON lines.

use std::io;

use clacks_store::is_invisible;
use serde::{Serialize, Serializer};

use super::writer::write_to_stdout;

/// Returns a value as one line, with its end. Characters that could act on a terminal are escaped.
pub(crate) fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_string(value)?;
    if line.chars().any(is_invisible) {
        let mut escaped = String::with_capacity(line.len());
        for c in line.chars() {
            if is_invisible(c) {
                // Such characters are part of strings only. JSON escapes the units of UTF-16.
                let mut units = [0; 2];
                let units = c.encode_utf16(&mut units).iter();
                escaped.extend(units.map(|unit| format!("\\u{unit:04x}")));
            } else {
                escaped.push(c);
            }
        }
        line = escaped;
    }
    line.push('\n');
    Ok(line.into_bytes())
}

/// Writes a value as one line, and flushes it: a program that reads a pipe needs each event at
/// once.
pub(crate) fn write(value: &impl Serialize) -> io::Result<()> {
    write_to_stdout(&line(value)?)
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
    use std::time::{Duration, SystemTime};

    use super::super::{Entry, Output};
    use clacks_proto::{Address, CloseReason, IoCause, Notice, Stats, Status, StatusReason};

    /// Returns the line of an entry without the number and the time, which end every line.
    fn line(output: Output) -> String {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
        let line =
            String::from_utf8(super::line(&Entry { output, seq: 7, time }).unwrap()).unwrap();
        assert_eq!(line.lines().count(), 1);
        let end = ",\"seq\":7,\"time\":\"1970-01-01T00:00:01.500Z\"}\n";
        format!("{}}}", line.strip_suffix(end).unwrap())
    }

    #[test]
    fn a_line_begins_with_the_name_of_the_event_and_ends_with_its_number_and_time() {
        let peer: Address = "tower.example:8001".parse().unwrap();
        let done = Output::Done { verb: "expand".into(), tower: peer.clone() };
        assert_eq!(line(done), r#"{"event":"done","verb":"expand","tower":"tower.example:8001"}"#);
        let listening = Output::Listening { address: peer, fingerprint: None, control: None };
        assert_eq!(
            line(listening),
            r#"{"event":"listening","address":"tower.example:8001","fingerprint":null}"#
        );
        let stats =
            Output::Stats { held_messages: 1, held_bytes: 6, stats: Box::new(Stats::default()) };
        let expected = r#"{"event":"stats","held_messages":1,"held_bytes":6,"enqueued":0,"#;
        assert!(line(stats).starts_with(expected));
        let help = Output::Help { commands: &[("peek", "b"), ("enqueue TEXT", "a")] };
        assert_eq!(line(help), r#"{"event":"help","commands":{"peek":"b","enqueue TEXT":"a"}}"#);
    }

    #[test]
    fn a_notice_is_written_as_the_library_serializes_it() {
        let reason = StatusReason::LinkClosed(CloseReason::Io(IoCause::Refused));
        let peer = "tower.example:8001".parse().unwrap();
        let (from, to) = (Status::Alive, Status::Lost);
        let notice = Notice::StatusChanged { peer, from, to, reason, retry_in: None };
        let line = line(Output::Notice(notice.clone()));
        assert_eq!(line, serde_json::to_string(&notice).unwrap());
        assert!(line.starts_with(r#"{"event":"tower_updated","peer":"tower.example:8001","#));
    }

    #[test]
    fn a_line_cannot_act_on_a_terminal() {
        let line = super::line(&Output::error("a\u{9b}2J\u{7f}\u{202e}é\u{1b}\u{e0041}")).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert!(line.contains(r"a\u009b2J\u007f\u202eé\u001b\udb40\udc41"), "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["message"], "a\u{9b}2J\u{7f}\u{202e}é\u{1b}\u{e0041}");
    }

    #[test]
    fn an_entry_can_be_read_back() {
        for output in [
            Output::Notice(Notice::Missed { count: 3 }),
            Output::Stats { held_messages: 1, held_bytes: 6, stats: Box::new(Stats::default()) },
            Output::error("two\nlines"),
        ] {
            let line = super::line(&Entry::now(output, 7)).unwrap();
            let entry: Entry = serde_json::from_slice(&line).unwrap();
            assert_eq!(super::line(&entry).unwrap(), line);
        }
    }
}
