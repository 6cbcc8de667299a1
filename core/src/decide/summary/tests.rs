//! The table at the head of `summary`, to the letter, and how conditions age.

use jiff::Timestamp;

use super::{Standing, summarize, tell_bug};
use crate::domain::status::{
    Phase::{self, *},
    Truth::{self, False, True, Unknown as U},
};
use crate::domain::{
    Attempt, FiringFields, LastAttempt, Pipeline, PipelineStatus, Reason, Run, TriggerStatus,
};
use crate::domain::{Cause, FireId, Target, run::CauseKind};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn standing(phase: Phase, reason: Reason) -> Option<Standing> {
    Some(Standing { phase, reason, message: format!("{reason} it is") })
}

fn condition(status: &TriggerStatus, kind: &str) -> Option<Truth> {
    status.conditions.iter().find(|c| c.kind == kind).map(|c| c.status)
}

fn run(phase: Phase, last: Option<LastAttempt>) -> Run {
    let digest = FiringFields::example().digest();
    Run {
        seq: 1,
        fire_id: FireId::new("uid", 1, &Cause::Apply, &digest, at(0)),
        cause: CauseKind::Apply,
        request: None,
        collapsed: 0,
        digest,
        target: Target {
            url: String::new(),
            project: String::new(),
            git_ref: String::new(),
            trigger: None,
            access: None,
            ca_bundle: None,
        },
        phase,
        reason: None,
        message: None,
        attempt: last.map(|last| Attempt {
            count: 1,
            last,
            at: at(0),
            by: String::new(),
            next_at: None,
            marked: true,
            trouble: None,
            absent_at: None,
            absent_at_gitlab: None,
            unproven: false,
            check_at: None,
        }),
        intended_at: at(0),
        intended_at_gitlab: None,
        fired_at: None,
        cancel_requested_at: None,
        cancel_requested_by: None,
        finished_at: None,
        resumed_at: None,
        name: None,
        name_refused: None,
        retry: None,
        pipeline: None,
        duplicates: vec![],
        failed_jobs: vec![],
        tests: None,
        downstream: vec![],
        image_updates: vec![],
        trace: None,
    }
}

/// Phase, reason, Ready, Reconciling, Stalled, Succeeded.
type Row = (Phase, Reason, Truth, Option<Truth>, Option<Truth>, Truth);

#[rustfmt::skip]
const TABLE: &[Row] = &[
    (Pending,    Reason::Waiting,           U,     Some(True), None,       U),
    (Pending,    Reason::RateLimited,       U,     Some(True), None,       U),
    (Pending,    Reason::Suspended,         U,     Some(True), None,       U),
    (Pending,    Reason::Unreachable,       U,     Some(True), None,       U),
    (Firing,     Reason::Sending,           U,     Some(True), None,       U),
    (Unknown,    Reason::OutcomeUnknown,    U,     Some(True), None,       U),
    (Running,    Reason::PipelineRunning,   U,     Some(True), None,       U),
    (Running,    Reason::PipelineManual,    U,     Some(True), None,       U),
    (Running,    Reason::CannotFollow,      U,     Some(True), None,       U),
    (Retrying,   Reason::PipelineRunning,   U,     Some(True), None,       U),
    (Succeeded,  Reason::PipelineSucceeded, True,  None,       None,       True),
    (Fired,      Reason::NotFollowed,       True,  None,       None,       U),
    (Idle,       Reason::NothingAsked,      True,  None,       None,       U),
    (Suspended,  Reason::Suspended,         True,  None,       None,       U),
    (Suspended,  Reason::Paused,            True,  None,       None,       U),
    (Skipped,    Reason::PipelineSkipped,   True,  None,       None,       False),
    (Superseded, Reason::Superseded,        True,  None,       None,       False),
    (Failed,     Reason::PipelineFailed,    False, None,       Some(True), False),
    (Canceled,   Reason::PipelineCanceled,  False, None,       Some(True), False),
    (TimedOut,   Reason::TimedOut,          False, None,       Some(True), False),
    (Rejected,   Reason::RefNotFound,       False, None,       Some(True), False),
    (Rejected,   Reason::InvalidSpec,       False, None,       Some(True), False),
    (Held,       Reason::FirstSight,        False, None,       Some(True), U),
    // A named thing is missing: Ready is False as long as it is.
    (Pending,    Reason::SecretMissing,           False, Some(True), None, U),
    (Pending,    Reason::SecretNotLabelled,       False, Some(True), None, U),
    (Pending,    Reason::SecretNotForThisUrl,     False, Some(True), None, U),
    (Pending,    Reason::SecretNotForThisProject, False, Some(True), None, U),
    (Pending,    Reason::SecretUnusable,          False, Some(True), None, U),
    (Pending,    Reason::PlainHttpRefused,        False, Some(True), None, U),
    (Pending,    Reason::InvalidSpec,             False, Some(True), None, U),
];

#[test]
fn each_phase_reads_as_the_table_says() {
    for (phase, reason, ready, reconciling, stalled, succeeded) in TABLE {
        let mut status = TriggerStatus::default();
        summarize(&mut status, standing(*phase, *reason), 7, at(0));
        let row = ["Ready", "Reconciling", "Stalled", "Succeeded"].map(|kind| condition(&status, kind));
        assert_eq!(row, [Some(*ready), *reconciling, *stalled, Some(*succeeded)], "{phase:?}, {reason}");
        assert_eq!((status.phase, status.observed_generation), (Some(*phase), Some(7)));
        assert_eq!(status.message, Some(format!("{reason} it is")), "{phase:?}");
        for c in &status.conditions {
            assert_eq!((c.reason.as_str(), &c.message), (reason.as_str(), &format!("{reason} it is")));
            assert_eq!(c.observed_generation, Some(7), "{phase:?} {}", c.kind);
        }
    }
}

#[test]
fn the_table_leaves_out_no_phase() {
    let all = [
        Pending, Firing, Unknown, Running, Retrying, Succeeded, Fired, Failed, Canceled, Skipped, Rejected,
        Held, TimedOut, Superseded, Suspended, Idle,
    ];
    for phase in all {
        let rows: Vec<_> = TABLE.iter().filter(|row| row.0 == phase).collect();
        assert!(!rows.is_empty(), "{phase:?}");
        assert!(
            rows.iter().all(|row| row.3.is_some() == phase.is_active()),
            "{phase:?}: active is reconciling"
        );
    }
}

#[test]
fn a_condition_keeps_its_time_as_long_as_its_status() {
    let mut status = TriggerStatus::default();
    let steps: &[(&str, Phase, Reason, i64, i64)] = &[
        ("first told of", Firing, Reason::Sending, 10, 10),
        ("another reason and message, the same status", Running, Reason::PipelineRunning, 20, 10),
        ("another status", Succeeded, Reason::PipelineSucceeded, 30, 30),
        ("and back", Firing, Reason::Sending, 40, 40),
    ];
    for (sentence, phase, reason, now, since) in steps {
        summarize(&mut status, standing(*phase, *reason), 1, at(*now));
        let ready = &status.conditions[0];
        assert_eq!((ready.kind.as_str(), ready.last_transition_time), ("Ready", at(*since)), "{sentence}");
        assert_eq!(ready.reason, reason.as_str(), "{sentence}");
    }
    let reconciling = status.conditions.iter().find(|c| c.kind == "Reconciling").unwrap();
    assert_eq!(reconciling.last_transition_time, at(40), "one that was gone begins anew");
}

#[test]
fn times_are_whole_seconds_and_a_later_look_changes_nothing() {
    let mut status = TriggerStatus::default();
    let now = at(1) + std::time::Duration::from_millis(999);
    summarize(&mut status, None, 1, now);
    assert_eq!(status.conditions[0].last_transition_time, at(1));
    let before = status.clone();
    summarize(&mut status, None, 1, at(3600));
    assert_eq!(status, before);
}

#[test]
fn an_edit_is_observed_in_every_condition_without_a_new_time() {
    let mut status = TriggerStatus::default();
    summarize(&mut status, None, 1, at(0));
    summarize(&mut status, None, 2, at(60));
    assert_eq!(status.observed_generation, Some(2));
    for c in &status.conditions {
        assert_eq!((c.observed_generation, c.last_transition_time), (Some(2), at(0)), "{}", c.kind);
    }
}

#[test]
fn without_a_run_nothing_was_asked() {
    let mut status = TriggerStatus::default();
    summarize(&mut status, None, 1, at(0));
    assert_eq!((status.phase, condition(&status, "Fired")), (Some(Idle), None));
    assert_eq!(status.conditions[0].reason, "NothingAsked");
}

#[test]
fn a_run_speaks_for_itself_unless_something_else_must_be_said() {
    let mut failed = run(Failed, None);
    failed.reason = Some(Reason::PipelineFailed);
    failed.message = Some("job unit failed".into());
    let mut status = TriggerStatus { run: Some(failed.into()), ..TriggerStatus::default() };
    summarize(&mut status, None, 1, at(0));
    assert_eq!((status.phase, status.message.as_deref()), (Some(Failed), Some("job unit failed")));
    summarize(&mut status, standing(Suspended, Reason::Suspended), 1, at(0));
    assert_eq!((status.phase, status.run.as_deref().unwrap().phase), (Some(Suspended), Failed));
}

#[test]
fn fired_says_whether_a_pipeline_exists() {
    let piped = Pipeline {
        id: 700,
        iid: None,
        project_id: None,
        git_ref: None,
        sha: None,
        status: PipelineStatus::Created,
        source: None,
        web_url: None,
        created_at: None,
        started_at: None,
        finished_at: None,
        duration_seconds: None,
        name: None,
        coverage: None,
        updated_at: None,
        yaml_errors: None,
    };
    let cases = [
        ("not sent yet", None, None, False, ""),
        ("never sent", Some(LastAttempt::NotSent), None, False, ""),
        ("refused", Some(LastAttempt::Refused), None, False, ""),
        ("on its way, or unknown", Some(LastAttempt::Unknown), None, U, ""),
        ("created", Some(LastAttempt::Accepted), Some(piped), True, "pipeline 700 was created"),
        (
            "failed at birth",
            Some(LastAttempt::Accepted),
            None,
            True,
            "GitLab created a pipeline and did not tell its id",
        ),
    ];
    for (sentence, last, pipeline, fired, message) in cases {
        let run = Run { pipeline, ..run(Running, last) };
        let mut status = TriggerStatus { run: Some(run.into()), ..TriggerStatus::default() };
        summarize(&mut status, None, 1, at(0));
        let condition = status.conditions.iter().find(|c| c.kind == "Fired").unwrap();
        assert_eq!((condition.status, condition.message.as_str()), (fired, message), "{sentence}");
    }
}

#[test]
fn a_bug_is_told_beside_the_facts_and_the_next_summary_takes_it_back() {
    let mut status = TriggerStatus {
        run: Some(run(Running, Some(LastAttempt::Accepted)).into()),
        ..TriggerStatus::default()
    };
    summarize(&mut status, None, 3, at(0));
    let before = status.clone();
    tell_bug(&mut status.conditions, &mut status.message, "index out of bounds", 3, at(5));
    let seen = |kind: &str| {
        let found: Vec<_> = status.conditions.iter().filter(|c| c.kind == kind).collect();
        assert!(found.len() <= 1, "one {kind}");
        found.first().map(|c| (c.status, c.reason.clone(), c.message.clone()))
    };
    let text = "the operator met a bug while working on this object: index out of bounds";
    let bug = |truth| Some((truth, "InternalError".to_owned(), text.to_owned()));
    assert_eq!((seen("Ready"), seen("Stalled")), (bug(False), bug(True)));
    assert_eq!(seen("Reconciling"), None, "nothing is being done");
    assert!(seen("Fired").is_some() && seen("Succeeded").is_some(), "what is known stays");
    assert_eq!((status.phase, &status.run), (before.phase, &before.run));
    summarize(&mut status, None, 3, at(9));
    let kinds = |status: &TriggerStatus| {
        status.conditions.iter().map(|c| (c.kind.clone(), c.status)).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&status), kinds(&before));
}
