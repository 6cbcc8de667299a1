//! What an error of GitLab's means, and what to do about it: one table.
//!
//! Status and route are looked at first; the text only where nothing else tells two causes apart, and then by its
//! distinctive words in any case, for GitLab rewords its messages every few releases. What the table does not
//! know is quoted.

mod table;
#[cfg(test)]
mod tests;

use std::time::Duration;

use pipekick_core::domain::Reason;

use super::ResponseMeta;
use super::budget::UNNAMED_WAIT;
use super::wire::{GitLabSays, Shape};
use table::{Row, TABLE, Then};

/// Which request an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    FireTrigger,
    FireAccess,
    Pipelines,
    Pipeline,
    Variables,
    Jobs,
    Bridges,
    TestSummary,
    Cancel,
    RetryPipeline,
    DeletePipeline,
    NamePipeline,
    Branches,
    Schedules,
    Schedule,
    CreateSchedule,
    UpdateSchedule,
    TakeSchedule,
    DeleteSchedule,
    AddScheduleVariable,
    SetScheduleVariable,
    RemoveScheduleVariable,
    Version,
    User,
}

impl Call {
    /// The route as it stands in logs and metrics.
    pub(super) const fn route(self) -> &'static str {
        match self {
            Self::FireTrigger => "/projects/:id/trigger/pipeline",
            Self::FireAccess => "/projects/:id/pipeline",
            Self::Pipelines => "/projects/:id/pipelines",
            Self::Pipeline | Self::DeletePipeline => "/projects/:id/pipelines/:pipeline_id",
            Self::Variables => "/projects/:id/pipelines/:pipeline_id/variables",
            Self::Jobs => "/projects/:id/pipelines/:pipeline_id/jobs",
            Self::Bridges => "/projects/:id/pipelines/:pipeline_id/bridges",
            Self::TestSummary => "/projects/:id/pipelines/:pipeline_id/test_report_summary",
            Self::Cancel => "/projects/:id/pipelines/:pipeline_id/cancel",
            Self::RetryPipeline => "/projects/:id/pipelines/:pipeline_id/retry",
            Self::NamePipeline => "/projects/:id/pipelines/:pipeline_id/metadata",
            Self::Branches => "/projects/:id/repository/branches",
            Self::Schedules | Self::CreateSchedule => "/projects/:id/pipeline_schedules",
            Self::Schedule | Self::UpdateSchedule | Self::DeleteSchedule => {
                "/projects/:id/pipeline_schedules/:schedule_id"
            }
            Self::TakeSchedule => "/projects/:id/pipeline_schedules/:schedule_id/take_ownership",
            Self::AddScheduleVariable => "/projects/:id/pipeline_schedules/:schedule_id/variables",
            Self::SetScheduleVariable | Self::RemoveScheduleVariable => {
                "/projects/:id/pipeline_schedules/:schedule_id/variables/:key"
            }
            Self::Version => "/version",
            Self::User => "/user",
        }
    }
}

/// What was asked for, as far as a message names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) call: Call,
    pub(super) project: &'a str,
    pub(super) git_ref: &'a str,
}

/// What an answer that is no success means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// GitLab did nothing, and will not until something is changed.
    Refused { reason: Reason, message: String },
    /// GitLab did nothing, and asks to come back.
    Throttled { reason: Reason, message: String, wait: Duration },
    /// GitLab stored a pipeline that failed before any job ran.
    FailedAtBirth { message: String },
    /// It says nothing of what was done.
    Unclear { message: String },
}

/// Reads an answer that is no success. `body` is GitLab's words, or what the body is instead of them.
pub(super) fn explain(
    about: About<'_>,
    status: u16,
    meta: &ResponseMeta,
    body: Result<&GitLabSays, &str>,
) -> Meaning {
    let answer = match body {
        Ok(GitLabSays { text, .. }) if text.is_empty() => {
            format!("GitLab answered {status} without a reason")
        }
        Ok(GitLabSays { text, .. }) => format!("GitLab answered {status} \"{text}\""),
        Err(instead) => format!("{status} with {instead}"),
    };
    match (status, body) {
        (429, _) => {
            // Turned away before anything was done; the plain text that comes with it is GitLab's too.
            let wait = meta.asked_wait().unwrap_or(UNNAMED_WAIT).max(Duration::from_secs(1));
            let message = match body.map(|said| said.shape) {
                Ok(Shape::Limiter) => format!("{answer}: a limit of this one route is used up."),
                _ => "GitLab answered 429: the rate limit is used up.".to_owned(),
            };
            Meaning::Throttled { reason: Reason::RateLimited, message, wait }
        }
        (400 | 401 | 403 | 404 | 405, Ok(said)) => by_table(about, status, meta, said, &answer),
        // The other create route stores nothing that failed, so there a 422 is not understood.
        (422, Ok(said)) if about.call == Call::FireTrigger => {
            Meaning::FailedAtBirth { message: if said.text.is_empty() { answer } else { said.text.clone() } }
        }
        _ => Meaning::Unclear { message: answer },
    }
}

fn by_table(about: About<'_>, status: u16, meta: &ResponseMeta, said: &GitLabSays, answer: &str) -> Meaning {
    let text = said.text.to_lowercase();
    let fits = |row: &&Row| {
        row.status == status
            && row.calls.contains(&about.call)
            && (row.words.is_empty()
                || row.words.iter().any(|all| all.iter().all(|word| text.contains(word))))
    };
    let Some(row) = TABLE.iter().find(fits) else {
        return Meaning::Refused { reason: Reason::Refused, message: format!("{answer}.") };
    };
    let message = row
        .says
        .replace("{project}", about.project)
        .replace("{ref}", about.git_ref)
        .replace("{answer}", answer);
    let wait = match row.then {
        Then::Refuse => return Meaning::Refused { reason: row.reason, message },
        Then::Minute => Duration::from_secs(60),
        Then::NextMinute => to_next_minute(meta),
    };
    Meaning::Throttled { reason: row.reason, message, wait }
}

/// Two seconds into the next minute of GitLab's clock, which its `Date` tells to the second.
fn to_next_minute(meta: &ResponseMeta) -> Duration {
    let left = meta.date.map_or(60, |date| 60 - date.as_second().rem_euclid(60));
    Duration::from_secs(left.unsigned_abs() + 2)
}
