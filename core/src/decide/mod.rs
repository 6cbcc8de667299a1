//! Decisions: pure and total. Bad input is a status with a reason, never a `Result`.

mod action;
pub mod gitlab_schedule;
pub mod image_update;
pub mod lease;
pub mod schedule;
pub mod span;
pub mod summary;
pub mod trigger;
pub mod wait;
