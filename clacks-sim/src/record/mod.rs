//! What is kept of a run: its state over time, and for small networks the way of each message.

mod column;
mod flights;
mod series;
mod underway;

pub use column::{Column, Kept};
pub use flights::{Flight, Flights, Parting, State, Turn};
pub use series::{Gauges, Mark, QueueLengths, Sample, Series, Span};
