//! Pipekick kicks off GitLab CI pipelines: once, on time, and it tells you how it went.

pub mod clock;
pub mod gitlab;
pub mod runtime;
pub mod server;
