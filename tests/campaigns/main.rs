//! Campaigns: the stories' world, disturbed at every point where a disturbance could matter.
//!
//! | module | what is disturbed |
//! | --- | --- |
//! | [`crash`] | the operator dies just before and just after each of its effects |
//! | [`faults`] | each request to GitLab meets each fault; a POST and its follow-up meet pairs of them |
//! | [`panics`] | the work on one object panics, again and again |
//! | [`canary`] | nothing; what was told meanwhile is searched for tokens |
//!
//! In the ordinary test command a sample runs; `cargo xtask crash` runs all. `docs/campaigns.md` tells more.
#![cfg(feature = "crash-points")]
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests too")]
#![allow(
    clippy::disallowed_methods,
    reason = "deadlines of waits are real time; no decision depends on them"
)]

use std::time::Duration;

#[path = "../stories/harness/mod.rs"]
#[allow(dead_code, reason = "the harness is the stories'; campaigns use a part of it")]
#[allow(unused_imports, reason = "as above")]
mod harness;

mod canary;
mod crash;
mod faults;
mod panics;
mod plan;

/// Stories that run at the same time. A run whose operator died mostly waits: 12 s until its intent is given up.
const AT_ONCE: usize = 20;
/// A story here may wait several times for an intent to be given up, among many others.
const DEADLINE: Duration = Duration::from_secs(400);
/// The shortest that the protocol allows in a test: what is lost is then known to be lost after some 13 s.
const FLAGS: [&str; 4] = ["--request-deadline", "2s", "--gitlab-request-limit", "1s"];
