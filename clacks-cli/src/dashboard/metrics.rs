//! The metrics of a tower in the text format of Prometheus.

use std::fmt;

use clacks_proto::Stats;
use clacks_store::StoreStats;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, prometheus_text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;
use serde::Serialize;
use serde_json::Value;

use crate::control::TowerStatus;
use crate::output::counters::{COUNTERS, STORE_COUNTERS};

pub(super) use prometheus_text::CONTENT_TYPE;

/// The values of one answer.
#[derive(Debug)]
pub(super) struct Metrics {
    pub(super) status: TowerStatus,
    /// The number of the last event.
    pub(super) seq: u64,
    /// The pages that are open.
    pub(super) readers: usize,
}

impl Metrics {
    /// Returns the text.
    pub(super) fn text(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("clacks");
        registry.register_collector(Box::new(self));
        let mut of_process = Registry::with_prefix("process");
        of_process.register_collector(Box::new(Process));
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry)?;
        prometheus_text::encode(&mut text, &of_process)?;
        Ok(text)
    }
}

/// No metric names a peer or has a text of a stranger, since no token is needed to read them.
impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self { status, seq, readers } = self;
        for (name, meaning, count) in counters(&status.stats) {
            encode(&mut encoder, name, meaning, &ConstCounter::new(count))?;
        }
        for (name, meaning, count) in store(status.store) {
            let name = format!("store_{name}");
            match name.as_str() {
                "store_held" => encode(&mut encoder, &name, meaning, &ConstGauge::new(count))?,
                name => encode(&mut encoder, name, meaning, &ConstCounter::new(count))?,
            }
        }
        encode(&mut encoder, "events", "events of the tower", &ConstCounter::new(*seq))?;
        let peers = [
            ("new", status.peers.new),
            ("alive", status.peers.alive),
            ("lost", status.peers.lost),
            ("dead", status.peers.dead),
            ("ignored", status.peers.ignored),
        ];
        let mut of_peers = encoder.encode_descriptor(
            "peers",
            "Known towers by status.",
            None,
            MetricType::Gauge,
        )?;
        for (status, count) in peers {
            let labels = [("status", status)];
            ConstGauge::new(count).encode(of_peers.encode_family(&labels)?)?;
        }
        let queue = &status.queue;
        for (name, meaning, value) in [
            ("queue_messages", "messages held", queue.messages),
            ("queue_messages_max", "the most messages that are held", queue.max_messages),
            ("queue_bytes", "bytes of the bodies of the messages held", queue.bytes),
            ("queue_bytes_max", "the most bytes that are held", queue.max_bytes),
            ("links", "open links", status.links),
            ("links_max", "the most links", status.max_links),
            ("dashboard_readers", "open pages of the dashboard", *readers),
        ] {
            encode(&mut encoder, name, meaning, &ConstGauge::new(value))?;
        }
        let uptime = ConstGauge::new(status.uptime_ms / 1_000);
        encode(&mut encoder, "uptime_seconds", "seconds since the start of the tower", &uptime)
    }
}

/// The metrics of the process, with the names that all programs use.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(bytes) = resident_bytes() else { return Ok(()) };
        let meaning = "resident memory of the process in bytes";
        encode(&mut encoder, "resident_memory_bytes", meaning, &ConstGauge::new(bytes))
    }
}

/// Returns the resident memory of this process, where the system shows it in a file.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

/// A counter with its name, its meaning and its value.
type Counter = (&'static str, &'static str, u64);

fn counters(stats: &Stats) -> Vec<Counter> {
    with_values(&COUNTERS, stats)
}

fn store(stats: Option<StoreStats>) -> Vec<Counter> {
    stats.map_or_else(Vec::new, |stats| with_values(&STORE_COUNTERS, &stats))
}

fn with_values(counters: &[(&'static str, &'static str)], stats: &impl Serialize) -> Vec<Counter> {
    let Ok(Value::Object(values)) = serde_json::to_value(stats) else { return Vec::new() };
    let counter = |(name, meaning): &(&'static str, &'static str)| {
        Some((*name, *meaning, values.get(*name)?.as_u64()?))
    };
    counters.iter().filter_map(counter).collect()
}

fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    meaning: &str,
    metric: &(impl EncodeMetric + TypedMetric),
) -> fmt::Result {
    let encoder =
        encoder.encode_descriptor(name, &sentence(meaning), None, metric.metric_type())?;
    metric.encode(encoder)
}

/// Returns a text with a capital first letter and a full stop.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).chain(['.']).collect()
}
