//! Schedules as values: what a cron expression, a time zone and a `PipelineSchedule` mean once they were parsed.
//!
//! | file | noun |
//! | --- | --- |
//! | `field.rs` | one of the five fields, as a set of numbers |
//! | `pattern.rs` | a whole expression: which minutes of the calendar it names |
//! | `month.rs` | the days of one month that a pattern names |
//! | `zone.rs` | a time zone, and the stretches of time in which its offset stays the same |
//! | `clock.rs` | patterns in a zone: the instants at which they tick, forwards and backwards |
//! | `gitlab_cron.rs` | a pattern as GitLab has to be given it |
//! | `in_gitlab.rs` | a `PipelineSchedule` that GitLab runs, and its counterpart there |
//! | `object.rs`, `child.rs` | a `PipelineSchedule` and its children as the decision sees them |
//! | `status.rs` | what is written about it |
//!
//! What becomes of a tick is not here: [`crate::decide::schedule`].

pub mod child;
pub mod clock;
mod field;
mod gitlab_cron;
pub mod in_gitlab;
mod month;
pub mod object;
pub mod pattern;
pub mod status;
#[cfg(test)]
mod tests;
pub mod zone;

pub use child::{Child, ChildOwner, Course};
pub use clock::{Clock, Dst, Fold, Gap};
pub use in_gitlab::{ClusterId, Kept, Marker, RunBy, ScheduleDeletion};
pub use object::{ConcurrencyPolicy, DEFAULT_CATCH_UP, MissedRuns, Schedule, ScheduleSpec};
pub use pattern::{HashKey, Pattern, PatternError};
pub use status::ScheduleStatus;
pub use zone::{Zone, ZoneError};
