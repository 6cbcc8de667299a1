//! The operator is killed with SIGKILL, in each phase of a run: never a second pipeline.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pipekick_sandbox::gitlab::{Ci, Fault, FaultRule, JobPlay, Ledger, Play};
use serde_json::json;

use crate::harness::gitlab::{failing, long, playing, project, quick};
use crate::harness::{Seen, Trigger, story};

const RESOLVE: &str = "pipekick.dev/resolve";
/// How long an intent is left alone is 10 s and this.
/// What became of a request is proven soon.
const SHORT_DELAY: &[&str] = &["--request-deadline", "2s", "--gitlab-request-limit", "1s"];
/// Longer than a killed operator lets anybody wait.
const HANGS: SignedDuration = SignedDuration::from_secs(60);
/// What a restart and a busy machine may add to a wait.
const SLACK: SignedDuration = SignedDuration::from_secs(7);

#[test]
fn what_was_applied_and_edited_while_no_operator_ran_fires_once() {
    story(playing(quick()), async |story| {
        story.apply(&Trigger::new("new").with("spec.ref", "next")).await;
        story.apply(&Trigger::new("new")).await;
        story.apply(&Trigger::new("old")).await;
        story.operator(&[]);
        story.until_phase("old", "Succeeded").await;
        story.until_phase("new", "Succeeded").await;
        story.kill_operators();

        for git_ref in ["next", "main", "next"] {
            story.apply(&Trigger::new("old").with("spec.ref", git_ref)).await;
        }
        story.ask("new", "meanwhile").await;
        story.operator(&[]);
        story.until_run("old", 2, "Succeeded").await;
        story.until_run("new", 2, "Succeeded").await;
        story.let_pass().await;
        assert_eq!((story.fired("new"), story.fired("old")), (2, 2));
    });
}

#[test]
fn killed_while_the_request_is_under_way_it_never_fires_a_second_pipeline() {
    let cases = [
        ("gitlab-acted", Fault::HangThenAnswer { wait: HANGS }),
        ("gitlab-did-not", Fault::HangThenReset { wait: HANGS }),
    ];
    story(playing(quick()), async |story| {
        story.operator(&[]);
        for (name, fault) in cases {
            story.gitlab.fault(FaultRule::next("trigger", fault)).unwrap();
            story.apply(&Trigger::new(name)).await;
            story.until_phase(name, "Firing").await;
            let before = if name == "gitlab-acted" { 1 } else { 2 };
            story.until_ledger("have the call", |ledger| ledger.calls_to("trigger").len() == before).await;
        }
        assert_eq!((story.fired("gitlab-acted"), story.fired("gitlab-did-not")), (1, 0));
        story.kill_operators();
        story.operator(SHORT_DELAY);

        // The other may be found at the first look.
        let seen = story.until_phase("gitlab-did-not", "Unknown").await;
        assert_eq!((seen.truth("Fired"), seen.truth("Succeeded")), ("Unknown", "Unknown"));
        assert_eq!(seen.reason(), "OutcomeUnknown");
        // Nothing fires it again: neither time, nor another restart, nor an edit that changes nothing.
        story.kill_operators();
        story.operator(SHORT_DELAY);
        for name in ["gitlab-acted", "gitlab-did-not"] {
            story.apply(&Trigger::new(name).with("spec.timeout", "1h")).await;
            let seen = story.until_run(name, 1, "Succeeded").await;
            assert_eq!(story.fired(name), 1, "{name}");
            assert_eq!(story.pipelines_of(name)[0].fire_id.as_deref(), Some(seen.text("status.run.fireId")));
        }
        story.kill_operators();
        story.operator(SHORT_DELAY);
        story.let_pass().await;
        assert_eq!((story.fired("gitlab-acted"), story.fired("gitlab-did-not")), (1, 1));
    });
}

#[test]
fn killed_while_the_pipeline_runs_it_is_followed_to_its_end_by_the_next_operator() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Running").await;
        story.kill_operators();
        story.end_pipelines();
        story.operator(&[]);
        story.until_run("checkout", 1, "Succeeded").await;
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 1);
    });
}

#[test]
fn restarted_after_the_end_it_does_nothing_and_writes_nothing() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout").asking("once")).await;
        story.apply(&Trigger::new("refused").with("spec.ref", "mian")).await;
        story.apply(&Trigger::new("idle").with("spec.fireOn", "Request")).await;
        let ended = [
            story.until_phase("checkout", "Succeeded").await,
            story.until_phase("refused", "Rejected").await,
            story.until_phase("idle", "Idle").await,
        ];
        story.kill_operators();
        let calls = story.ledger().calls.len();
        story.operator(&[]);
        story.let_pass().await;
        for before in ended {
            let now = story.look(before.text("metadata.name")).await;
            assert_eq!(now, before);
        }
        assert_eq!(story.ledger().calls.len(), calls + 1, "only the marker's");
    });
}

/// Every end that a run can come to beside those above.
#[test]
fn restarted_after_the_end_of_any_run_it_does_nothing_and_writes_nothing() {
    let optional = JobPlay { manual: true, allow_failure: true, ..JobPlay::new("deploy", 0) };
    let ends = [
        ("fired", "Fired"),
        ("failed", "Failed"),
        ("canceled", "Canceled"),
        ("skipped", "Skipped"),
        ("timed-out", "TimedOut"),
        ("superseded", "Superseded"),
    ];
    let mut seed = playing(long());
    seed.projects.push(project("shop/fails", failing(SignedDuration::ZERO)));
    seed.projects.push(project("shop/skips", Play::jobs([optional])));
    story(seed, async |story| {
        story.operator(&[]);
        let blind = |name| Trigger::new(name).without("spec.gitlab.accessTokenRef");
        story.gitlab.fault(FaultRule::next("trigger", Fault::Reset)).unwrap();
        story.apply(&blind("superseded")).await;
        story.until_phase("superseded", "Held").await;
        story.merge("superseded", &json!({"metadata": {"annotations": {RESOLVE: "1:abandon"}}})).await;
        story.apply(&blind("fired")).await;
        story.apply(&Trigger::new("failed").with("spec.gitlab.project", "shop/fails")).await;
        story.apply(&Trigger::new("skipped").with("spec.gitlab.project", "shop/skips")).await;
        story.apply(&Trigger::new("timed-out").with("spec.timeout", "2s")).await;
        story.apply(&Trigger::new("canceled")).await;
        story.until_phase("canceled", "Running").await;
        let id = story.pipelines_of("canceled")[0].id;
        story.at_gitlab("POST", &format!("{id}/cancel")).await;
        let mut ended = Vec::new();
        for (name, phase) in ends {
            ended.push(story.until_phase(name, phase).await);
        }
        // A look that was under way may still arrive.
        story.let_pass().await;
        story.kill_operators();
        let calls = story.ledger().calls.len();
        story.operator(&[]);
        story.let_pass().await;
        for before in ended {
            assert_eq!(story.look(before.text("metadata.name")).await, before);
        }
        assert_eq!(story.ledger().calls.len(), calls + 1, "only the marker's");
    });
}

#[test]
fn asked_to_stop_it_records_the_answer_it_waits_for() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.gitlab.latency("trigger", SignedDuration::from_secs(2)).unwrap();
        story.apply(&Trigger::new("checkout")).await;
        story.until_ledger("have the call", |ledger| !ledger.calls_to("trigger").is_empty()).await;
        story.terminate_operators();
        assert_eq!(story.look("checkout").await.phase(), "Running");
        story.operator(&[]);
        story.end_pipelines();
        story.until_phase("checkout", "Succeeded").await;
        assert_eq!(story.fired("checkout"), 1);
    });
}

/// Killed again and again in the middle of many runs, with a GitLab slow enough that requests are under way.
#[test]
fn killed_again_and_again_among_many_runs_each_has_one_pipeline() {
    const MANY: usize = 50;
    let sent = |ledger: &Ledger| ledger.calls_to("trigger").len();
    story(playing(quick()), async |story| {
        for number in 0..MANY {
            story.apply(&Trigger::new(&format!("t{number}"))).await;
        }
        story.gitlab.latency("trigger", SignedDuration::from_millis(800)).unwrap();
        for kill in 0..5 {
            let before = sent(&story.ledger());
            story.operator(&["--concurrency", "6", "--request-deadline", "2s"]);
            // At a different moment of its work each time; the newest call still waits for its answer.
            let more = before + 1 + 2 * kill;
            story.until_ledger("have more calls", |ledger| sent(ledger) >= more).await;
            story.kill_operators();
        }
        let left = |all: &[Seen], phase: &str| all.iter().filter(|seen| seen.phase() == phase).count();
        let before = story.all().await;
        assert!(left(&before, "Firing") > 0, "some were killed in the act");
        story.operator(SHORT_DELAY);
        let ended = |seen: &Seen| seen.phase() == "Succeeded";
        let all = story.until_all(Duration::from_secs(300), "be Succeeded", ended).await;
        story.let_pass().await;
        for seen in &all {
            let name = seen.text("metadata.name");
            let pipelines = story.pipelines_of(name);
            assert_eq!(pipelines.len(), 1, "{name}: {pipelines:#?}");
            assert_eq!(pipelines[0].fire_id.as_deref(), Some(seen.text("status.run.fireId")), "{name}");
        }
    });
}

#[test]
fn a_restart_in_a_phase_that_rests_changes_nothing_and_sends_nothing() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        story.gitlab.fault(FaultRule::next("trigger", Fault::Reset)).unwrap();
        story.apply(&Trigger::new("held").without("spec.gitlab.accessTokenRef")).await;
        story.until_phase("held", "Held").await;
        story.apply(&Trigger::new("pending").with("spec.gitlab.triggerTokenRef.name", "absent")).await;
        story.apply(&Trigger::new("rejected").with("spec.ref", "no-such-branch")).await;
        story.apply(&Trigger::new("suspended").with("spec.suspend", true)).await;
        story.apply(&Trigger::new("idle").with("spec.fireOn", "Request")).await;
        let phases = [
            ("held", "Held"),
            ("pending", "Pending"),
            ("rejected", "Rejected"),
            ("suspended", "Suspended"),
            ("idle", "Idle"),
        ];
        for (name, phase) in phases {
            story.until_phase(name, phase).await;
        }
        story.kill_operators();
        let sent = story.ledger().calls_to("trigger").len();
        story.operator(&[]);
        story.let_pass().await;
        for (name, phase) in phases {
            assert_eq!(story.look(name).await.phase(), phase, "{name}");
        }
        assert_eq!(story.ledger().calls_to("trigger").len(), sent + 1, "the marker's alone");
    });
}

fn time(seen: &Seen, path: &str) -> Timestamp {
    seen.text(path).parse().unwrap()
}

/// Begun anew at the second restart, the wait would end 30 s after the first call; forgotten, after 5 s.
#[test]
fn a_wait_that_gitlab_asked_for_goes_on_across_restarts() {
    const WAIT: SignedDuration = SignedDuration::from_secs(20);
    story(playing(quick()), async |story| {
        story.operator(&[]);
        story.gitlab.fault(FaultRule::next("trigger", Fault::TooManyRequests { retry_after: 20 })).unwrap();
        story.apply(&Trigger::new("checkout")).await;
        let before = story.until_phase("checkout", "Pending").await;
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_secs(5)).await;
            story.kill_operators();
            story.operator(&[]);
        }
        let after = story.look("checkout").await;
        assert_eq!(after.text("status.run.attempt.nextAt"), before.text("status.run.attempt.nextAt"));
        story.until_run("checkout", 1, "Succeeded").await;
        let ledger = story.ledger();
        let calls = ledger.calls_to("trigger");
        assert_eq!((calls.len(), story.fired("checkout")), (2, 1));
        let waited = calls[1].at.duration_since(calls[0].at);
        assert!(WAIT - SignedDuration::from_millis(100) <= waited && waited <= WAIT + SLACK, "{waited:#}");
    });
}

/// Nobody listens there, so there is no ledger: the times are those that status tells, before and after.
#[test]
fn a_back_off_goes_on_across_a_restart_where_it_stood() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nowhere = format!("http://127.0.0.1:{port}");
    story(playing(quick()), async |story| {
        story.operator_of(&nowhere, &[]);
        story.apply(&Trigger::new("checkout")).await;
        let count = |seen: &Seen| seen.number("status.run.attempt.count");
        let waits = |n: i64| move |seen: &Seen| seen.phase() == "Pending" && count(seen) == n;
        // After 5 s the second; after 10 s more the third.
        let before = story.until("checkout", "wait for the third", waits(2)).await;
        let due = time(&before, "status.run.attempt.nextAt");
        assert!(due.duration_since(time(&before, "status.run.attempt.at")) >= SignedDuration::from_secs(10));
        // Begun anew now, the wait would end more than the slack too late.
        tokio::time::sleep(Duration::from_secs(8)).await;
        story.kill_operators();
        story.operator_of(&nowhere, &[]);

        let after = story.until("checkout", "wait for the fourth", waits(3)).await;
        let (sent, next) = (time(&after, "status.run.attempt.at"), "status.run.attempt.nextAt");
        assert!(due <= sent && sent <= due + SLACK, "due at {due}, tried at {sent}");
        let wait = time(&after, next).duration_since(sent);
        assert!(wait >= SignedDuration::from_secs(20), "it grew on: {wait:#}");
        assert_eq!(after.text("status.run.fireId"), before.text("status.run.fireId"));
    });
}

#[test]
fn a_pipeline_that_failed_at_birth_is_not_fired_again_by_a_restart_but_by_a_request() {
    let mut seed = playing(quick());
    seed.projects[0].ci = Ci::Invalid("jobs:build config contains unknown keys: scirpt".into());
    story(seed, async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        let first = story.until_run("checkout", 1, "Failed").await;
        assert_eq!(first.reason(), "PipelineFailedAtBirth");
        // The ones beside come later in the operator's work than anything that it would do for checkout.
        for (runs, beside) in [(1, "beside-1"), (2, "beside-2")] {
            story.kill_operators();
            story.operator(&[]);
            story.apply(&Trigger::new(beside)).await;
            story.until_run(beside, 1, "Failed").await;
            story.rest(Duration::from_millis(1500)).await;
            assert_eq!((story.fired("checkout"), story.fired(beside)), (runs, 1));
            assert_eq!(story.look("checkout").await.number("status.run.seq"), i64::try_from(runs).unwrap());
            if runs == 1 {
                story.ask("checkout", "again").await;
                let second = story.until_run("checkout", 2, "Failed").await;
                assert_eq!(second.answer(), ("again", "Fired"));
                assert_ne!(second.text("status.run.fireId"), first.text("status.run.fireId"));
            }
        }
        assert_eq!(story.ledger().calls_to("trigger").len(), 4, "two runs, and two beside");
    });
}
