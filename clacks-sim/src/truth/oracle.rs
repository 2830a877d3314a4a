//! stub
/// a
#[derive(Debug)]
pub struct Average;
/// a
#[derive(Debug)]
pub struct Capacity;
/// a
#[derive(Debug)]
pub struct Network;
/// a
#[derive(Debug)]
pub struct Ticks;
