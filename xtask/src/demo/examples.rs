//! What each file of `examples/` is meant to reach, and whether it has: by its status and by GitLab's ledger.

use jiff::Timestamp;
use pipekick_core::domain::status::Answered;
use pipekick_core::domain::{Phase, Reason, Run, TriggerStatus};
use pipekick_sandbox::gitlab::Status as GitLabStatus;

/// An example and the end that it is meant to reach.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// Its object, and its file in `examples/`.
    pub name: &'static str,
    /// Its project; no other example has the same.
    pub project: &'static str,
    pub phase: Phase,
    pub reason: Reason,
    /// What its message tells, among other things.
    pub says: &'static str,
    /// In GitLab, at the end.
    pub pipelines: usize,
    /// The value of `pipekick.dev/fire` that it is asked with after its first success.
    pub asked: Option<&'static str>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        name: "succeeds",
        project: "shop/checkout",
        phase: Phase::Succeeded,
        reason: Reason::PipelineSucceeded,
        says: "succeeded in 5s",
        pipelines: 1,
        asked: None,
    },
    Example {
        name: "job-fails",
        project: "shop/payments",
        phase: Phase::Failed,
        reason: Reason::PipelineFailed,
        says: "job unit-tests (test) failed: script_failure",
        pipelines: 1,
        asked: None,
    },
    Example {
        name: "wrong-token",
        project: "shop/cart",
        phase: Phase::Rejected,
        reason: Reason::NotFoundByTrigger,
        says: "the trigger token is not known to project shop/cart",
        pipelines: 0,
        asked: None,
    },
    Example {
        name: "bad-ref",
        project: "shop/search",
        phase: Phase::Rejected,
        reason: Reason::RefNotFound,
        says: r#"no branch or tag "relaese/2026.11" in project shop/search"#,
        pipelines: 0,
        asked: None,
    },
    Example {
        name: "slow-gitlab",
        project: "shop/catalog",
        phase: Phase::Succeeded,
        reason: Reason::PipelineSucceeded,
        says: "succeeded in 2s",
        pipelines: 1,
        asked: None,
    },
    Example {
        name: "lost-reply",
        project: "shop/invoices",
        phase: Phase::Succeeded,
        reason: Reason::PipelineSucceeded,
        says: "succeeded in 2s",
        pipelines: 1,
        asked: None,
    },
    Example {
        name: "asked-again",
        project: "shop/reports",
        phase: Phase::Succeeded,
        reason: Reason::PipelineSucceeded,
        says: "succeeded in 2s",
        pipelines: 2,
        asked: Some("again"),
    },
    Example {
        name: "image-update",
        project: "shop/storefront",
        phase: Phase::Succeeded,
        reason: Reason::PipelineSucceeded,
        says: "on main of platform/gitops",
        pipelines: 1,
        asked: None,
    },
];

/// A pipeline that GitLab made, by its ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    pub id: u64,
    pub project: String,
    pub fire_id: Option<String>,
    /// Now; none if it was deleted.
    pub status: Option<GitLabStatus>,
    /// The tick it was made for, by the request that made it.
    pub tick: Option<Timestamp>,
}

/// Where an example stands on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Reached,
    /// It can still get there; where it is.
    Underway(String),
    /// It ended elsewhere; where, and what was meant.
    Missed(String),
    /// A person has taken it over; it is judged no more.
    Yours,
}

impl Example {
    /// Judges by `status` and by everything that GitLab `made`, in its order.
    pub fn judge(&self, status: Option<&TriggerStatus>, made: &[Made]) -> Verdict {
        let made: Vec<&Made> = made.iter().filter(|pipeline| pipeline.project == self.project).collect();
        if made.len() > self.pipelines {
            return Verdict::Missed(format!(
                "GitLab made {} pipelines for it, and {} were meant",
                made.len(),
                self.pipelines
            ));
        }
        let Some((status, phase)) = status.and_then(|status| Some((status, status.phase?))) else {
            return Verdict::Underway("the operator has not looked at it".into());
        };
        let message = status.message.as_deref().unwrap_or_default();
        if phase.is_active() {
            return Verdict::Underway(format!("{phase:?}: {message}"));
        }
        if phase != self.phase {
            return Verdict::Missed(format!("{phase:?} and not {:?}: {message}", self.phase));
        }
        if let Some(value) = self.asked {
            match status.last_handled.fire.as_ref().filter(|handled| handled.value == value) {
                None => return Verdict::Underway(format!("was not asked again yet: {message}")),
                Some(handled) if handled.answer != Answered::Fired => {
                    return Verdict::Missed(format!("was asked again, and answered {:?}", handled.answer));
                }
                Some(_) => {}
            }
        }
        match &status.run {
            None => Verdict::Missed(format!("{phase:?} without a run")),
            Some(run) => self.judge_end(run, message, &made),
        }
    }

    /// The end, in its details.
    fn judge_end(&self, run: &Run, message: &str, made: &[&Made]) -> Verdict {
        let problem = if run.reason != Some(self.reason) {
            Some(format!("reason {:?} and not {}: {message}", run.reason, self.reason))
        } else if !message.contains(self.says) {
            Some(format!("its message does not tell \"{}\": {message}", self.says))
        } else if run.request.as_deref() != self.asked {
            Some(format!("its last run was asked with {:?} and not {:?}", run.request, self.asked))
        } else if made.len() != self.pipelines {
            Some(format!("GitLab made {} pipelines for it, and {} were meant", made.len(), self.pipelines))
        } else {
            disagreement(run, made.last().copied())
        };
        problem.map_or(Verdict::Reached, Verdict::Missed)
    }
}

/// What status says of the last pipeline and GitLab does not.
fn disagreement(run: &Run, last: Option<&Made>) -> Option<String> {
    let (known, made) = match (&run.pipeline, last) {
        (None, None) => return None,
        (Some(known), Some(made)) => (known, made),
        (Some(known), None) => return Some(format!("pipeline {} is in status and not in GitLab", known.id)),
        (None, Some(made)) => return Some(format!("pipeline {} is in GitLab and not in status", made.id)),
    };
    let status = made.status.map(GitLabStatus::as_str);
    if known.id != made.id {
        Some(format!("its pipeline is {} in status and {} in GitLab", known.id, made.id))
    } else if made.fire_id.as_deref() != Some(run.fire_id.as_str()) {
        Some(format!("pipeline {} carries the fire id {:?} and not {}", made.id, made.fire_id, run.fire_id))
    } else if status != Some(known.status.as_str()) {
        Some(format!("pipeline {} is {} in status and {status:?} in GitLab", made.id, known.status))
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
