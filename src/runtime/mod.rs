//! The runtime.

pub mod queue;
pub mod timers;
