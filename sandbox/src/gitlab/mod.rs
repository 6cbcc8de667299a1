//! The GitLab simulator: GitLab's API where the operator uses it, over real HTTP, with a ledger of what
//! really happened. Tests believe the ledger, not the operator.
//!
//! ```text
//! server → receive (dates, records, faults) → routes → auth, chain, … → rows → wire
//!                       └─ ledger                          └─ state (projects, pipelines, tokens)
//! ```
//!
//! | file | noun |
//! | --- | --- |
//! | `handle`, `control` | what tests and people steer it with, in process and under `/-/sim/` |
//! | `seed`, `script`, `plant` | what there is at the start, how pipelines will go, and from names to ids |
//! | `server`, `call`, `params`, `receive` | the wire, one call, its parameters, what becomes of it |
//! | `routes/`, `auth`, `chain`, `inputs`, `page`, `entity`, `reports` | GitLab's part |
//! | `row`, `rows` | the table of answers, each with the fact it rests on |
//! | `state`, `pipeline`, `progress`, `bridges`, `tokens`, `clock`, `version` | what is stored, and what time does to it |
//! | `act` | what is done to a pipeline that exists |
//! | `git`, `repositories`, `clone` | real repositories: git's plumbing, what a push does, and `git clone` |
//! | `merge_requests` | merge requests, and merging |
//! | `schedules`, `cron` | pipeline schedules, and when they run |
//! | `limits`, `faults` | refusals and trouble |
//! | `ledger` | the truth |

mod act;
mod auth;
mod bridges;
mod call;
mod chain;
mod clock;
mod clone;
mod control;
mod cron;
mod entity;
mod faults;
mod git;
mod handle;
mod inputs;
mod ledger;
mod limits;
mod merge_requests;
mod page;
mod params;
mod pipeline;
mod plant;
mod progress;
mod receive;
mod reports;
mod repositories;
mod routes;
mod row;
pub mod rows;
mod schedules;
mod script;
mod seed;
mod server;
mod state;
mod tokens;
mod version;

pub use clock::ClockSeed;
pub use faults::{Fault, FaultRule, Strike, UnknownRoute};
pub use git::GitError;
pub use handle::{GitlabSim, Handle, StartError};
pub use inputs::{InputKind, InputSpec};
pub use ledger::{
    CallRecord, CommitRecord, Credential, CredentialKind, Ledger, MergeRequestRecord, PipelineRecord,
    ScheduleRun,
};
pub use limits::{Limits, Throttle};
pub use merge_requests::{MergeRequest, MergeRequestState};
pub use pipeline::{Source, Status, Variable, VariableType};
pub use plant::SeedError;
pub use row::{Body, Mark, Row};
pub use schedules::{Schedule, ScheduleSettings};
pub use script::{JobPlay, Opening, Outcome, Play, Tests, Triggers, When};
pub use seed::{
    AccessTokenSeed, Ci, JobState, JobTokenSeed, PipelineSeed, ProjectSeed, Protection, RepositorySeed, Role,
    ScheduleSeed, Scope, Seed, TriggerSeed, UserSeed, VariablesRole, Visibility,
};
pub use tokens::UnknownToken;
pub use version::{UnknownVersion, Version};
