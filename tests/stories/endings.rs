//! How a pipeline can end, and what is said of one that waits.

use std::time::Duration;

use jiff::SignedDuration;
use pipekick_sandbox::gitlab::{JobPlay, Outcome, Play, Status};

use crate::harness::gitlab::{LONG, failing, long, playing};
use crate::harness::{Seen, Story, Trigger, story};

/// Applies a trigger and waits for its pipeline, whose id is given back.
async fn running(story: &Story) -> u64 {
    story.operator(&[]);
    story.apply(&Trigger::new("checkout")).await;
    story.until_phase("checkout", "Running").await;
    story.pipelines_of("checkout")[0].id
}

#[test]
fn a_failed_pipeline_is_told_with_its_job_and_reason_and_is_not_fired_again() {
    story(playing(failing(LONG)), async |story| {
        let id = running(story).await;
        story.end_pipelines();
        let seen = story.until_phase("checkout", "Failed").await;
        assert_eq!(seen.reason(), "PipelineFailed");
        for word in ["unit-tests", "script_failure"] {
            assert!(seen.message().contains(word), "{}", seen.message());
        }
        let truths = ["Ready", "Reconciling", "Stalled", "Fired", "Succeeded"].map(|kind| seen.truth(kind));
        assert_eq!(truths, ["False", "", "True", "True", "False"]);
        let job = &seen.at("status.run.failedJobs")[0];
        assert_eq!((&job["name"], &job["failureReason"]), (&"unit-tests".into(), &"script_failure".into()));
        assert!(job["webUrl"].is_string(), "{job}");
        assert_eq!(seen.at("status.run.pipeline.id"), id);
        story.kill_operators();
        story.operator(&[]);
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 1);
    });
}

#[test]
fn of_many_failed_jobs_the_newest_five_are_told() {
    let failing = |number: usize| JobPlay {
        stage: "test".into(),
        lasts: SignedDuration::from_millis(100),
        ..JobPlay::ending(&format!("unit-{number}"), 0, [Outcome::Failed])
    };
    story(playing(Play::jobs((1..=7).map(failing))), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        let seen = story.until_phase("checkout", "Failed").await;
        let jobs = seen.at("status.run.failedJobs").as_array().unwrap();
        let names: Vec<&str> = jobs.iter().map(|job| job["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["unit-7", "unit-6", "unit-5", "unit-4", "unit-3"]);
        assert!(seen.message().contains("job unit-7"), "{}", seen.message());
        assert!(seen.message().ends_with("(and at least 4 more)"), "{}", seen.message());
    });
}

#[test]
fn a_pipeline_that_somebody_cancels_ends_canceled() {
    let play = Play { canceling: SignedDuration::from_secs(2), ..long() };
    story(playing(play), async |story| {
        let id = running(story).await;
        story.at_gitlab("POST", &format!("{id}/cancel")).await;
        let seen = story.until_phase("checkout", "Canceled").await;
        assert_eq!(story.gitlab.pipeline_status(id), Some(Status::Canceled), "canceling is no end");
        assert_eq!((seen.reason(), seen.truth("Succeeded")), ("PipelineCanceled", "False"));
        assert_eq!(seen.truth("Stalled"), "True");
    });
}

#[test]
fn a_skipped_pipeline_ends_skipped_and_ready() {
    let optional = JobPlay { manual: true, allow_failure: true, ..JobPlay::new("deploy", 1) };
    story(playing(Play::jobs([optional])), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        let seen = story.until_phase("checkout", "Skipped").await;
        let truths = ["Ready", "Reconciling", "Stalled", "Succeeded"].map(|kind| seen.truth(kind));
        assert_eq!(truths, ["True", "", "", "False"]);
        assert_eq!(seen.reason(), "PipelineSkipped");
        assert_eq!(story.fired("checkout"), 1);
    });
}

#[test]
fn a_manual_job_is_waited_for_and_said_so() {
    let gate = JobPlay { manual: true, lasts: SignedDuration::from_millis(100), ..JobPlay::new("deploy", 1) };
    story(playing(Play::jobs([gate])), async |story| {
        let id = running(story).await;
        let seen =
            story.until("checkout", "wait for a person", |seen| seen.reason() == "PipelineManual").await;
        assert_eq!((seen.phase(), seen.truth("Reconciling")), ("Running", "True"));
        let named = |seen: &Seen| seen.message().contains("waits for a person to play job deploy");
        story.until("checkout", "name the job", named).await;
        assert!(story.gitlab.play_job(id, "deploy"));
        story.until_phase("checkout", "Succeeded").await;
        assert_eq!(story.fired("checkout"), 1);
    });
}

#[test]
fn a_pipeline_deleted_in_gitlab_ends_the_run() {
    story(playing(long()), async |story| {
        let id = running(story).await;
        story.at_gitlab("DELETE", &id.to_string()).await;
        let seen = story.until_phase("checkout", "Canceled").await;
        assert_eq!(seen.reason(), "PipelineGone");
        assert!(seen.message().contains("deleted in GitLab"), "{}", seen.message());
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 1, "it is not made anew");
    });
}

#[test]
fn a_run_longer_than_its_timeout_is_timed_out_and_its_pipeline_goes_on() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout").with("spec.timeout", "2s")).await;
        let seen = story.until_phase("checkout", "TimedOut").await;
        assert_eq!(
            (seen.reason(), seen.truth("Stalled"), seen.truth("Succeeded")),
            ("TimedOut", "True", "False")
        );
        let (fired, finished): (jiff::Timestamp, jiff::Timestamp) = (
            seen.text("status.run.firedAt").parse().unwrap(),
            seen.text("status.run.finishedAt").parse().unwrap(),
        );
        let took: Duration = finished.duration_since(fired).try_into().unwrap();
        assert!((2..20).contains(&took.as_secs()), "{took:?}");
        let pipeline = &story.pipelines_of("checkout")[0];
        assert_eq!(story.gitlab.pipeline_status(pipeline.id), Some(Status::Running));
        // A look that was under way may still arrive.
        story.let_pass().await;
        let calls = story.ledger().calls.len();
        story.let_pass().await;
        assert_eq!(
            story.ledger().calls.len(),
            calls + 1,
            "only the marker's POST: it is not followed any more"
        );
        assert_eq!(story.fired("checkout"), 1);
    });
}

#[test]
fn a_longer_timeout_in_time_lets_a_run_go_on() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout").with("spec.timeout", "15s")).await;
        story.until_phase("checkout", "Running").await;
        story.apply(&Trigger::new("checkout").with("spec.timeout", "1h")).await;
        story.until_phase("checkout", "Running").await;
        tokio::time::sleep(Duration::from_secs(16)).await;
        story.end_pipelines();
        story.until_phase("checkout", "Succeeded").await;
        assert_eq!(story.fired("checkout"), 1);
    });
}
