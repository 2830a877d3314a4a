//! The plot library of the pages.

/// The script of uPlot.
pub const SCRIPT: &str = include_str!("page/uplot/uPlot.iife.min.js");

/// Its style.
pub const STYLE: &str = include_str!("page/uplot/uPlot.min.css");

/// Its licence, which pages must contain.
pub const LICENSE: &str = include_str!("page/uplot/LICENSE");
