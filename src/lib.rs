//! Pipekick kicks off GitLab CI pipelines: once, on time, and it tells you how it went.

pub mod api;
pub mod clock;
pub mod cluster;
pub mod gitlab;
pub mod runtime;
