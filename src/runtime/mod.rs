//! The runtime.

pub mod lenient;
pub mod queue;
pub mod store;
pub mod timers;
