//! What is kept of a run: its state over time, and for small networks the way of each message.

mod column;
mod message_trace;
mod series;
mod underway;

pub use column::{Column, Kept};
pub use message_trace::{Flight, Flights, Parting, State, Turn};
pub use series::{Gauges, Mark, QueueLengths, Sample, Series, Span};
