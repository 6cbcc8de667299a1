//! The kinds that users write, and their CRDs.

pub mod crd;
pub mod trigger;

pub use trigger::{PipelineTrigger, PipelineTriggerSpec};
