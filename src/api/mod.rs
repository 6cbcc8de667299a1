//! The kinds that users write, and their CRDs.

pub mod crd;
mod image_updates;
pub mod in_gitlab;
pub mod json;
mod merge_request;
pub mod names;
pub mod schedule;
mod size;
pub mod trigger;
pub mod variables;

use std::fmt::Write as _;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pipekick_core::domain::{ObjectKey, Reason};

pub use schedule::{PipelineSchedule, PipelineScheduleSpec};
pub use trigger::{PipelineTrigger, PipelineTriggerSpec};

/// Where an object stands.
#[must_use]
pub fn key_of(metadata: &ObjectMeta) -> ObjectKey {
    ObjectKey {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

/// The reasons of conditions and Events, as the documentation shows them.
#[must_use]
pub fn reasons_table() -> String {
    let mut table = String::from("| reason | meaning |\n| --- | --- |\n");
    for (reason, meaning) in Reason::ALL {
        let _ = writeln!(table, "| `{reason}` | {} |", meaning.replace('|', "\\|"));
    }
    table
}
