//! Measurements of a run: its metrics over time, and the paths of its messages in a small network.

mod message_trace;
mod metric;
mod series;

pub use message_trace::{
    HandOver, HandOverEnd, HeldChange, HeldChangeKind, MessageTrace, Partition, State, StateChange,
    TowerSample,
};
pub use metric::{Aggregate, Metric};
pub use series::{FileGauges, Gauges, Mark, QueueLengths, RoleCounts, Sample, Series, Span};
