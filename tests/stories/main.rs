//! Stories: the whole operator, as its users meet it. A real kube-apiserver and etcd, the operator's real binary
//! with the rights of `deploy/rbac.yaml`, and the GitLab simulator over real HTTP.
//!
//! ```text
//! story ── applies, edits, deletes ──▶ kube-apiserver ◀── watches, writes status ── operator (a process)
//!   └──── reads the ledger ──────────▶ GitLab simulator ◀────────── fires, follows ──────┘
//! ```
//!
//! What happened is judged by the simulator's **ledger**; what the operator says about it is only compared with
//! that. Each story has a namespace, a simulator and operator processes of its own; they share one control plane.
//! What every story must keep (no fire id twice, no token told, no operator dead) is checked at its end.
//!
//! On a machine with few cores `cargo test --test stories -- --test-threads=4` is faster: stories mostly wait.
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests too")]
#![allow(
    clippy::disallowed_methods,
    reason = "deadlines of waits are real time; no decision depends on them"
)]

use std::time::Duration;

#[allow(dead_code, reason = "parts of it are used by the campaigns alone")]
mod harness;

mod after_creation;
mod apiserver;
mod asking;
mod ca_bundle;
mod cancelling;
mod check;
mod clocks;
mod crashes;
mod credentials;
mod crowds;
mod documented;
mod edits;
mod endings;
mod faults;
mod firing;
mod gitops;
mod image_recipes;
mod images;
mod images_together;
mod inputs;
mod large;
mod late;
mod leading;
mod leaving;
mod log_lines;
mod merge_requests;
mod merge_requests_together;
mod modes;
mod namespaces;
mod neighbours;
mod not_gitlab;
mod quiet;
mod recreation;
mod refused_at_apply;
mod refused_by_gitlab;
mod release;
mod replacing;
mod restoring;
mod schedule_children;
mod schedule_clock;
mod schedules;
mod schedules_in_gitlab;
mod stored;
mod suspension;
mod tracing;
mod unknown;
mod variables;
mod wait;

/// Stories that run at the same time: most of their time they wait.
const AT_ONCE: usize = 4;
/// Longest wait for something that should take a second or two: the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(120);
