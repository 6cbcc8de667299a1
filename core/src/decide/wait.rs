//! What `pipekick wait` makes of a trigger, or of a schedule's child: what is waited for has come, may still come, or comes no more.
//!
//! The status of a trigger speaks of the version that was looked at last. An edit or a request that came since is no
//! part of it, and who has just made one must not be given the end of the run before:
//!
//! ```text
//! not looked at yet, a request not answered yet, a newer cause waits ──▶ Waits
//! the run under way ───────────────────────────────────────────────────▶ Waits (Reached, if a pipeline is enough)
//! its end ─────────────────────────────────────────────────────────────▶ Reached or Missed
//! ```

use super::action::{told_apart, unanswered};
use super::schedule::request_name;
use crate::domain::schedule::ScheduleStatus;
use crate::domain::status::{Answered, Condition, Handled, Truth};
use crate::domain::{Phase, Reason, Run, TriggerStatus, UpdateState};

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The pipeline succeeded, and the image updates that follow it are done.
    Succeeded,
    /// A pipeline exists.
    Fired,
}

/// The annotations that ask for something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// `pipekick.dev/fire`
    pub fire: Option<String>,
    /// `pipekick.dev/retry`
    pub retry: Option<String>,
    /// `pipekick.dev/cancel`
    pub cancel: Option<String>,
    /// `pipekick.dev/resolve`
    pub resolve: Option<String>,
}

/// Everything one decision looks at.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// The generation of its spec.
    pub generation: i64,
    /// What is asked of it.
    pub asked: &'a Asked,
    /// Its status.
    pub status: &'a TriggerStatus,
    /// What is waited for.
    pub goal: Goal,
    /// The run waited for is the one that this value of `pipekick.dev/fire` asked for.
    pub request: Option<&'a str>,
}

/// Where the matter stands, in a sentence for the one who waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may still come.
    Waits(String),
    /// The request collapsed into this newer one; one run answers both.
    Joined(String),
    /// It has come.
    Reached(String),
    /// It comes no more, unless somebody does something.
    Missed(String),
}

/// Where the matter stands.
#[must_use]
pub fn decide(observed: &Observed<'_>) -> Verdict {
    match observed.request {
        Some(value) => requested(observed, &told_apart(value)),
        None => newest(observed),
    }
}

/// The newest run, or the one that is about to begin.
fn newest(observed: &Observed<'_>) -> Verdict {
    let Observed { generation, asked, status, goal, request: _ } = observed;
    let Some(phase) = status.phase.filter(|_| status.observed_generation == Some(*generation)) else {
        return Verdict::Waits("the operator has not looked at this version of it yet".into());
    };
    let message = status.message.clone().unwrap_or_default();
    // No request is answered before the spec is mended.
    if ready(status).is_some_and(|ready| ready.reason == Reason::InvalidSpec.as_str()) {
        return Verdict::Missed(told(phase, &message));
    }
    if let Some(pending) = pending(asked, status) {
        return Verdict::Waits(pending);
    }
    if phase != Phase::Suspended && status.waiting.is_some() {
        return Verdict::Waits(told(phase, &message));
    }
    let run = status.run.as_deref();
    let refused = ready(status).is_some_and(|ready| ready.status == Truth::False);
    at(*goal, phase, run.is_some_and(|run| run.pipeline.is_some()), refused, &message)
}

/// The run of a request, wherever it is by now.
fn requested(observed: &Observed<'_>, value: &str) -> Verdict {
    let Observed { generation: _, asked, status, goal, request: _ } = observed;
    let is_its = |request: &Option<String>| request.as_deref() == Some(value);
    if let Some(run) = status.run.as_deref().filter(|run| is_its(&run.request)) {
        return of_run(*goal, run, status);
    }
    if let Some(entry) = status.history.iter().find(|entry| is_its(&entry.request)) {
        let which = match entry.pipeline_id {
            Some(id) => format!("run {}, pipeline {id}", entry.seq),
            None => format!("run {}", entry.seq),
        };
        return at(*goal, entry.phase, entry.pipeline_id.is_some(), false, &which);
    }
    match &status.last_handled.fire {
        Some(Handled { value: handled, answer }) if handled == value => {
            let newer = status.waiting.as_ref().and_then(|waiting| waiting.request.clone());
            match (answer, newer) {
                (Answered::Collapsed, Some(newer)) => Verdict::Joined(newer),
                _ => Verdict::Missed(dropped(value, *answer)),
            }
        }
        _ => Verdict::Waits(match &asked.fire {
            Some(stands) if told_apart(stands) == value => {
                format!("pipekick.dev/fire {value:?} is not answered yet")
            }
            Some(stands) => format!("nobody asked yet: pipekick.dev/fire is {stands:?}, not {value:?}"),
            None => format!("nobody asked yet: pipekick.dev/fire is not set to {value:?}"),
        }),
    }
}

fn of_run(goal: Goal, run: &Run, status: &TriggerStatus) -> Verdict {
    let message = run.message.as_deref().unwrap_or_default();
    if run.is_updating() {
        // Its own phase is an end already; what is said of the updates stands in the object's.
        let message = status.message.as_deref().unwrap_or(message);
        return at(goal, Phase::Running, run.pipeline.is_some(), false, message);
    }
    let refused = run.image_updates.iter().any(|update| update.state == UpdateState::Refused);
    at(goal, run.phase, run.pipeline.is_some(), refused, message)
}

/// A run in this phase. `refused`: what follows a success was refused.
fn at(goal: Goal, phase: Phase, has_pipeline: bool, refused: bool, message: &str) -> Verdict {
    let said = told(phase, message);
    let there = goal == Goal::Fired && has_pipeline;
    match phase {
        Phase::Pending | Phase::Firing | Phase::Unknown | Phase::Running | Phase::Retrying => {
            if there {
                Verdict::Reached(said)
            } else {
                Verdict::Waits(said)
            }
        }
        Phase::Succeeded => {
            if refused && !there {
                Verdict::Missed(said)
            } else {
                Verdict::Reached(said)
            }
        }
        // GitLab said yes, and may have kept the id to itself.
        Phase::Fired => match goal {
            Goal::Fired => Verdict::Reached(said),
            Goal::Succeeded => Verdict::Missed(format!(
                "{said}; whether it succeeds cannot be known without spec.gitlab.accessTokenRef: set that, or wait --for fired"
            )),
        },
        Phase::Failed | Phase::Canceled | Phase::Skipped | Phase::TimedOut | Phase::Superseded => {
            if there {
                Verdict::Reached(said)
            } else {
                Verdict::Missed(said)
            }
        }
        // What an earlier run made is not what was waited for.
        Phase::Rejected | Phase::Held | Phase::Suspended | Phase::Idle => Verdict::Missed(said),
    }
}

fn told(phase: Phase, message: &str) -> String {
    if message.is_empty() { format!("{phase:?}") } else { format!("{phase:?}: {message}") }
}

fn ready(status: &TriggerStatus) -> Option<&Condition> {
    status.conditions.iter().find(|condition| condition.kind == "Ready")
}

/// What was asked and is not answered yet.
fn pending(asked: &Asked, status: &TriggerStatus) -> Option<String> {
    let Asked { fire, retry, cancel, resolve } = asked;
    let handled = &status.last_handled;
    let of_a_run = |value: &String| {
        let is_its = |request: &Option<String>| request.as_ref() == Some(value);
        status.run.as_deref().is_some_and(|run| is_its(&run.request))
            || status.history.iter().any(|entry| is_its(&entry.request))
    };
    let fire = unanswered(fire.as_ref(), handled.fire.as_ref())
        .filter(|value| !value.is_empty() && !of_a_run(value))
        .map(|value| ("fire", value));
    let one = |name, asked: &Option<String>, handled: &Option<Handled>| {
        unanswered(asked.as_ref(), handled.as_ref()).map(|value| (name, value))
    };
    let (name, value) = fire
        .or_else(|| one("retry", retry, &handled.retry))
        .or_else(|| one("cancel", cancel, &handled.cancel))
        .or_else(|| one("resolve", resolve, &handled.resolve))?;
    Some(format!("pipekick.dev/{name} {value:?} is not answered yet"))
}

/// Which child of a schedule is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Child {
    /// The newest one.
    Newest,
    /// The one of a request.
    Named {
        /// Its name.
        name: String,
        /// The value that asked for it.
        value: String,
        /// It was made: if it is not there, it is gone.
        made: bool,
    },
    /// There is none, for this reason.
    Missed(String),
}

/// Which child is waited for: that of `request`, that of the annotation `fire` of this schedule while it is not answered,
/// or else the newest.
#[must_use]
pub fn child(
    (schedule, uid): (&str, &str),
    fire: Option<&String>,
    status: &ScheduleStatus,
    request: Option<&str>,
) -> Child {
    let handled = status.last_handled.fire.as_ref();
    let pending = || unanswered(fire, handled).filter(|value| !value.is_empty());
    let Some(value) = request.map(told_apart).or_else(pending) else { return Child::Newest };
    match handled.filter(|handled| handled.value == value).map(|handled| handled.answer) {
        Some(answer) if !matches!(answer, Answered::Fired | Answered::AlreadyRun) => {
            Child::Missed(dropped(&value, answer))
        }
        made => Child::Named { name: request_name(schedule, uid, &value), value, made: made.is_some() },
    }
}

fn dropped(value: &str, answer: Answered) -> String {
    format!("pipekick.dev/fire {value:?} was answered {answer:?}: {}", why(answer))
}

/// Why a request has no run of its own.
fn why(answer: Answered) -> &'static str {
    match answer {
        Answered::Fired => "its run is no longer in status.history",
        Answered::AlreadyRun => "it was used before; ask by a value that was not",
        Answered::Recorded => {
            "it stood there when the object was first seen, which fires nothing; ask by a new value"
        }
        Answered::Collapsed => "one run answers it and a newer request",
        Answered::Suspended => {
            "nothing is fired while spec.suspend is set or the operator is paused; ask again by a new value"
        }
        Answered::Forbidden => {
            "a run was still active, and concurrencyPolicy is Forbid; ask again by a new value"
        }
        Answered::RunByGitLab => "GitLab runs this schedule (runBy: GitLab); play it there",
        Answered::Refired
        | Answered::Abandoned
        | Answered::Adopted
        | Answered::Ignored
        | Answered::Invalid
        | Answered::NotFound
        | Answered::Canceled
        | Answered::Canceling
        | Answered::Retried
        | Answered::NothingFailed
        | Answered::NotFollowed
        | Answered::Refused
        | Answered::NotItsOwn => "no run was begun for it",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Verdict::{Joined, Missed, Reached, Waits};
    use super::*;

    /// A run as status has it.
    fn run(phase: &str, pipeline: bool) -> Value {
        let pipeline = pipeline.then(|| json!({"id": 700, "ref": "main", "status": "running"}));
        let mut run = json!({
            "seq": 2, "fireId": "f", "cause": "Apply", "digest": "v1:a", "phase": phase, "message": "so it is",
            "target": {"url": "https://gitlab.example.com", "project": "shop/checkout", "ref": "main"},
            "intendedAt": "2026-11-01T12:00:00Z",
        });
        if let Some(pipeline) = pipeline {
            run["pipeline"] = pipeline;
        }
        run
    }

    fn ready(status: &str, reason: &str) -> Value {
        json!([{"type": "Ready", "status": status, "reason": reason, "message": "m",
                "lastTransitionTime": "2026-11-01T12:00:00Z"}])
    }

    fn judged(status: &Value, asked: &Asked, goal: Goal, request: Option<&str>) -> Verdict {
        let status: TriggerStatus = serde_json::from_value(status.clone()).unwrap();
        decide(&Observed { generation: 4, asked, status: &status, goal, request })
    }

    fn newest_of(status: &Value, goal: Goal) -> Verdict {
        judged(status, &Asked::default(), goal, None)
    }

    fn kind(verdict: &Verdict) -> &'static str {
        match verdict {
            Waits(_) => "waits",
            Joined(_) => "joined",
            Reached(_) => "reached",
            Missed(_) => "missed",
        }
    }

    #[test]
    fn each_phase_is_under_way_reached_or_missed() {
        for (phase, pipeline, succeeded, fired) in [
            ("Pending", false, "waits", "waits"),
            ("Firing", false, "waits", "waits"),
            ("Unknown", false, "waits", "waits"),
            ("Running", true, "waits", "reached"),
            ("Retrying", true, "waits", "reached"),
            ("Succeeded", true, "reached", "reached"),
            ("Fired", false, "missed", "reached"),
            ("Failed", true, "missed", "reached"),
            ("Failed", false, "missed", "missed"),
            ("Canceled", true, "missed", "reached"),
            ("Canceled", false, "missed", "missed"),
            ("Skipped", true, "missed", "reached"),
            ("TimedOut", true, "missed", "reached"),
            ("Superseded", false, "missed", "missed"),
            ("Rejected", false, "missed", "missed"),
            ("Held", false, "missed", "missed"),
            // The pipeline is an earlier run's.
            ("Suspended", true, "missed", "missed"),
            ("Rejected", true, "missed", "missed"),
        ] {
            let status =
                json!({"observedGeneration": 4, "phase": phase, "message": "m", "run": run(phase, pipeline)});
            let verdicts = [newest_of(&status, Goal::Succeeded), newest_of(&status, Goal::Fired)];
            assert_eq!([kind(&verdicts[0]), kind(&verdicts[1])], [succeeded, fired], "{phase}: {verdicts:?}");
        }
        let idle = json!({"observedGeneration": 4, "phase": "Idle", "message": "nothing was asked"});
        assert_eq!(newest_of(&idle, Goal::Fired), Missed("Idle: nothing was asked".into()));
    }

    #[test]
    fn what_was_not_looked_at_is_no_end() {
        let ended = |generation| json!({"observedGeneration": generation, "phase": "Succeeded", "run": run("Succeeded", true)});
        assert_eq!(kind(&newest_of(&ended(4), Goal::Succeeded)), "reached");
        for unseen in [ended(3), ended(-1), json!({"observedGeneration": 4}), json!({})] {
            assert_eq!(kind(&newest_of(&unseen, Goal::Succeeded)), "waits", "{unseen}");
        }
    }

    #[test]
    fn a_request_that_is_not_answered_is_waited_for() {
        let status = json!({
            "observedGeneration": 4, "phase": "Failed", "run": run("Failed", true),
            "history": [{"seq": 1, "fireId": "e", "cause": "Request", "request": "old", "digest": "v1:a", "phase": "Failed"}],
            "lastHandled": {"fire": {"value": "a", "answer": "Fired"}, "retry": {"value": "1", "answer": "Ignored"}},
        });
        let value = |value: &str| Some(value.to_owned());
        for (asked, expected) in [
            (Asked { fire: value("a"), ..Asked::default() }, "missed"),
            (Asked { fire: value("old"), ..Asked::default() }, "missed"),
            (Asked { fire: value(""), ..Asked::default() }, "missed"),
            (Asked { fire: value("b"), ..Asked::default() }, "waits"),
            (Asked { retry: value("1"), ..Asked::default() }, "missed"),
            (Asked { retry: value("2"), ..Asked::default() }, "waits"),
            (Asked { cancel: value("2"), ..Asked::default() }, "waits"),
            (Asked { resolve: value("2:refire"), ..Asked::default() }, "waits"),
        ] {
            let verdict = judged(&status, &asked, Goal::Succeeded, None);
            assert_eq!(kind(&verdict), expected, "{asked:?}: {verdict:?}");
        }
        // It is never answered as long as the spec is wrong.
        let wrong = json!({"observedGeneration": 4, "phase": "Rejected", "message": "ref: no", "conditions": ready("False", "InvalidSpec")});
        let asked = Asked { fire: value("b"), ..Asked::default() };
        assert_eq!(judged(&wrong, &asked, Goal::Fired, None), Missed("Rejected: ref: no".into()));
    }

    #[test]
    fn a_newer_cause_that_waits_is_waited_for_unless_nothing_is_fired() {
        let status = |phase: &str| {
            json!({
                "observedGeneration": 4, "phase": phase, "run": run("Succeeded", true),
                "waiting": {"since": "2026-11-01T12:00:00Z", "digest": "v1:b"},
            })
        };
        assert_eq!(kind(&newest_of(&status("Succeeded"), Goal::Succeeded)), "waits");
        assert_eq!(kind(&newest_of(&status("Suspended"), Goal::Succeeded)), "missed");
    }

    #[test]
    fn image_updates_belong_to_a_success() {
        let update =
            |state: &str| json!([{"branch": "main", "files": ["a"], "when": "Success", "state": state}]);
        for (state, phase, condition, expected) in [
            ("Pending", "Running", ready("Unknown", "UpdatingImages"), "waits"),
            ("Committed", "Succeeded", ready("True", "PipelineSucceeded"), "reached"),
            ("Refused", "Succeeded", ready("False", "UpdateRefused"), "missed"),
        ] {
            let mut run = run("Succeeded", true);
            run["imageUpdates"] = update(state);
            run["request"] = "v".into();
            let status =
                json!({"observedGeneration": 4, "phase": phase, "run": run, "conditions": condition});
            for request in [None, Some("v")] {
                let verdict = judged(&status, &Asked::default(), Goal::Succeeded, request);
                assert_eq!(kind(&verdict), expected, "{state}, {request:?}: {verdict:?}");
                assert_eq!(
                    kind(&judged(&status, &Asked::default(), Goal::Fired, request)),
                    "reached",
                    "{state}"
                );
            }
        }
    }

    #[test]
    fn the_run_of_a_request_is_found_wherever_it_is() {
        let entry = |value: &str, phase: &str, id: Option<u64>| {
            json!({
                "seq": 1, "fireId": "e", "cause": "Request", "request": value, "digest": "v1:a", "phase": phase, "pipelineId": id,
            })
        };
        let mut now = run("Running", true);
        now["request"] = "now".into();
        let status = json!({
            "observedGeneration": 3, "phase": "Running", "run": now,
            "history": [entry("good", "Succeeded", Some(7)), entry("bad", "Failed", Some(6)), entry("never", "Superseded", None)],
            "lastHandled": {"fire": {"value": "now", "answer": "Fired"}},
        });
        let asked = Asked { fire: Some("next".into()), ..Asked::default() };
        for (value, succeeded, fired) in [
            ("now", "waits", "reached"),
            ("good", "reached", "reached"),
            ("bad", "missed", "reached"),
            ("never", "missed", "missed"),
            ("next", "waits", "waits"),
            ("another", "waits", "waits"),
        ] {
            let verdict = |goal| judged(&status, &asked, goal, Some(value));
            assert_eq!(
                [kind(&verdict(Goal::Succeeded)), kind(&verdict(Goal::Fired))],
                [succeeded, fired],
                "{value}"
            );
        }
        let said = |value| match judged(&status, &asked, Goal::Succeeded, Some(value)) {
            Waits(said) | Joined(said) | Reached(said) | Missed(said) => said,
        };
        assert_eq!(said("next"), "pipekick.dev/fire \"next\" is not answered yet");
        assert_eq!(said("another"), "nobody asked yet: pipekick.dev/fire is \"next\", not \"another\"");
        assert_eq!(said("good"), "Succeeded: run 1, pipeline 7");
    }

    #[test]
    fn a_request_that_was_answered_without_a_run_is_missed_and_one_that_collapsed_goes_on() {
        let answered = |answer: &str, waiting: Value| {
            let status = json!({
                "observedGeneration": 4, "phase": "Suspended",
                "lastHandled": {"fire": {"value": "v", "answer": answer}}, "waiting": waiting,
            });
            judged(&status, &Asked::default(), Goal::Succeeded, Some("v"))
        };
        let newer = json!({"since": "2026-11-01T12:00:00Z", "request": "w"});
        assert_eq!(answered("Collapsed", newer), Joined("w".into()));
        for answer in ["Suspended", "Recorded", "Fired", "Forbidden"] {
            let verdict = answered(answer, Value::Null);
            assert!(matches!(&verdict, Missed(said) if said.contains(answer)), "{verdict:?}");
        }
        // Status repeats no more than it has room for.
        let long = "x".repeat(300);
        let mut run = run("Succeeded", true);
        run["request"] = long[..256].into();
        let status = json!({"observedGeneration": 4, "phase": "Succeeded", "run": run});
        assert_eq!(kind(&judged(&status, &Asked::default(), Goal::Succeeded, Some(&long))), "reached");
    }
    #[test]
    fn a_schedule_is_waited_for_by_the_child_of_its_request_or_by_the_newest() {
        let status = |answer: Option<&str>| -> ScheduleStatus {
            let handled = answer.map(|answer| json!({"fire": {"value": "v", "answer": answer}}));
            serde_json::from_value(json!({"lastHandled": handled.unwrap_or(json!({}))})).unwrap()
        };
        let of = |status, fire: Option<&str>, request| {
            child(("nightly", "uid"), fire.map(str::to_owned).as_ref(), &status, request)
        };
        let named = |value: &str, made| Child::Named {
            name: request_name("nightly", "uid", value),
            value: value.into(),
            made,
        };
        assert_eq!(of(status(None), None, None), Child::Newest);
        assert_eq!(of(status(Some("Fired")), Some("v"), None), Child::Newest);
        assert_eq!(of(status(None), Some("v"), None), named("v", false));
        assert_eq!(of(status(Some("Fired")), Some("w"), None), named("w", false));
        assert_eq!(of(status(Some("Fired")), Some("v"), Some("v")), named("v", true));
        // Answered, and another since.
        assert_eq!(of(status(Some("Fired")), Some("v"), Some("u")), named("u", false));
        let dropped = of(status(Some("Forbidden")), Some("v"), Some("v"));
        assert!(matches!(&dropped, Child::Missed(said) if said.contains("concurrencyPolicy")), "{dropped:?}");
    }
}
