//! One folder a kind, in each the same verbs in the same order: observe → decide → apply → report.

mod gate;
pub mod images;
mod postponed;
mod ration;
pub mod schedule;
pub mod trigger;
