//! What is read and done once the pipeline exists: retries, names, tests, old pipelines, an object's own end.

use std::time::Duration;

use jiff::SignedDuration;
use kube::api::PostParams;
use kube::core::DynamicObject;
use pipekick_sandbox::apiproxy::{self as api, Calls, Strike, Verb};
use pipekick_sandbox::gitlab::{
    Fault, FaultRule, JobPlay, Outcome, Play, Role, Seed, Status, Tests, Triggers,
};
use serde_json::json;

use crate::harness::gitlab::{self, failing, long, playing, quick};
use crate::harness::{Seen, Story, Trigger, story};

const RETRY: &str = "pipekick.dev/retry";
const SHORT: SignedDuration = SignedDuration::from_millis(300);

/// A job that ends so, attempt by attempt.
fn job(outcomes: impl IntoIterator<Item = Outcome>) -> Play {
    Play::jobs([JobPlay { lasts: SHORT, ..JobPlay::ending("unit-tests", 0, outcomes) }])
}

fn flaky() -> Seed {
    playing(gitlab::flaky(SHORT))
}

fn retried(limit: u32) -> Trigger {
    Trigger::new("checkout").with("spec.retry", json!({"limit": limit, "backoff": "1s"}))
}

fn retries(story: &Story) -> usize {
    story.ledger().calls_to("retry").len()
}

async fn ask_to_retry(story: &Story, value: &str) -> Seen {
    story.merge("checkout", &json!({"metadata": {"annotations": {RETRY: value}}})).await;
    let answered = |seen: &Seen| seen.text("status.lastHandled.retry.value") == value;
    story.until("checkout", "answer the request to retry", answered).await
}

fn answer(seen: &Seen) -> &str {
    seen.text("status.lastHandled.retry.answer")
}

#[test]
fn a_failed_job_is_started_again_in_the_same_pipeline() {
    story(flaky(), async |story| {
        story.operator(&[]);
        let versions = story.record_versions().await;
        story.apply(&retried(2)).await;
        let ended = story.until_phase("checkout", "Succeeded").await;
        assert_eq!((story.fired("checkout"), retries(story)), (1, 1));
        let retry = ended.at("status.run.retry");
        assert_eq!((&retry["count"], &retry["state"]), (&json!(1), &json!("Started")));
        assert_eq!(retry["jobIds"].as_array().map(Vec::len), Some(1), "{retry}");
        assert_eq!(ended.at("status.run.failedJobs"), &json!(null));
        let phases: Vec<String> =
            versions.up_to(&ended).await.iter().map(|seen| seen.phase().to_owned()).collect();
        assert!(phases.iter().any(|phase| phase == "Retrying"), "{phases:?}");
        assert!(
            !phases.iter().any(|phase| phase == "Failed"),
            "it never said that it had failed: {phases:?}"
        );
    });
}

#[test]
fn a_pipeline_that_fails_too_often_fails_the_run() {
    story(playing(failing(SHORT)), async |story| {
        story.operator(&[]);
        story.apply(&retried(1)).await;
        let failed = story.until_phase("checkout", "Failed").await;
        assert_eq!((story.fired("checkout"), retries(story)), (1, 1));
        assert_eq!(failed.number("status.run.retry.count"), 1);
        assert_eq!(failed.at("status.run.failedJobs")[0]["name"], "unit-tests");
        story.kill_operators();
        story.operator(&[]);
        story.let_pass().await;
        assert_eq!(retries(story), 1, "a restart retries nothing");
    });
}

#[test]
fn a_lost_reply_to_a_retry_is_not_asked_again() {
    let outcomes = [Outcome::Failed, Outcome::Failed, Outcome::Success];
    story(playing(job(outcomes)), async |story| {
        story.gitlab.fault(FaultRule::next("retry", Fault::EffectThenReset)).unwrap();
        story.operator(&["--request-deadline", "2s", "--gitlab-request-limit", "1s"]);
        story.apply(&retried(1)).await;
        let failed = story.until_phase("checkout", "Failed").await;
        assert_eq!((retries(story), failed.number("status.run.retry.count")), (1, 1));
        assert_eq!(story.fired("checkout"), 1);
    });
}

#[test]
fn a_retry_that_never_arrived_is_sent_again() {
    story(flaky(), async |story| {
        story.gitlab.fault(FaultRule::next("retry", Fault::Reset)).unwrap();
        story.operator(&["--request-deadline", "2s", "--gitlab-request-limit", "1s"]);
        story.apply(&retried(1)).await;
        let ended = story.until_phase("checkout", "Succeeded").await;
        assert_eq!((retries(story), ended.number("status.run.retry.count")), (2, 1));
    });
}

#[test]
fn a_retry_is_not_sent_long_after_its_record() {
    story(flaky(), async |story| {
        let proxy = story.operator_behind_proxy(&[]).await;
        story.apply(&retried(1).with("spec.retry.backoff", "5s")).await;
        story.until_phase("checkout", "Retrying").await;
        // The token comes when others may already look at what has become of the request.
        let slow = api::Fault::Slow { by: Duration::from_secs(11) };
        proxy.fault(Calls::to(Verb::Get, "secrets/*"), Strike::Always, slow);
        let unsent = |seen: &Seen| seen.text("status.run.message").contains("nothing was sent");
        story.until("checkout", "say that it was not sent", unsent).await;
        assert_eq!(retries(story), 0);
        proxy.clear();
        story.until_phase("checkout", "Succeeded").await;
        assert_eq!(retries(story), 1);
    });
}

#[test]
fn an_ended_run_is_retried_on_request_and_every_request_is_answered() {
    story(flaky(), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Failed").await;
        for (value, expected) in [("7", "Ignored"), ("again", "Invalid")] {
            assert_eq!(answer(&ask_to_retry(story, value).await), expected, "{value}");
        }
        assert_eq!(retries(story), 0);
        assert_eq!(answer(&ask_to_retry(story, "1").await), "Retried");
        let ended = story.until_phase("checkout", "Succeeded").await;
        assert_eq!((story.fired("checkout"), retries(story)), (1, 1));
        assert_eq!(ended.number("status.run.retry.count"), 1);
        assert_eq!(answer(&ask_to_retry(story, "1#more").await), "NothingFailed");
        assert_eq!(retries(story), 1);
    });
}

#[test]
fn a_timeout_spans_retries_and_one_that_would_come_after_it_is_not_waited_for() {
    story(playing(failing(SHORT)), async |story| {
        story.operator(&[]);
        let retry = json!({"limit": 9, "backoff": "2s"});
        story.apply(&Trigger::new("checkout").with("spec.retry", retry).with("spec.timeout", "6s")).await;
        let failed = story.until_phase("checkout", "Failed").await;
        assert_eq!((retries(story), failed.number("status.run.retry.count")), (1, 1), "2 s, then 4 s more");
    });
}

#[test]
fn a_request_to_retry_a_run_that_is_being_cancelled_is_answered_so() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.gitlab.fault(FaultRule::always("cancel", Fault::ServerError { effect: false })).unwrap();
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Running").await;
        story.merge("checkout", &json!({"metadata": {"annotations": {"pipekick.dev/cancel": "1"}}})).await;
        story
            .until("checkout", "be cancelled", |seen| !seen.at("status.run.cancelRequestedAt").is_null())
            .await;
        assert_eq!(answer(&ask_to_retry(story, "1").await), "Canceling");
        assert_eq!(retries(story), 0);
    });
}

#[test]
fn without_an_access_token_a_request_to_retry_is_answered_so() {
    story(playing(failing(SHORT)), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout").without("spec.gitlab.accessTokenRef")).await;
        story.until_phase("checkout", "Fired").await;
        assert_eq!(answer(&ask_to_retry(story, "1").await), "NotFollowed");
    });
}

#[test]
fn a_pipeline_that_a_person_runs_again_is_followed_again() {
    story(flaky(), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        let failed = story.until_phase("checkout", "Failed").await;
        let id = failed.number("status.run.pipeline.id");
        story.at_gitlab("POST", &format!("{id}/retry")).await;
        let ended = story.until_phase("checkout", "Succeeded").await;
        assert_eq!(ended.at("status.run.failedJobs"), &json!(null));
        assert_eq!(ended.number("status.run.seq"), 1);
        assert_eq!(story.fired("checkout"), 1);
    });
}

#[test]
fn a_finished_pipeline_tells_its_tests_coverage_and_what_it_started() {
    let build = JobPlay { lasts: SHORT, ..JobPlay::new("build", 0) };
    let play = Play {
        tests: Tests { success: 7, failed: 1, skipped: 2, error: 1 },
        coverage: Some(85.2),
        ..Play::jobs([build, JobPlay::bridge("deploy", Triggers::default())])
    };
    story(playing(play), async |story| {
        story.operator(&[]);
        let versions = story.record_versions().await;
        story.apply(&Trigger::new("checkout")).await;
        let ended = story.until_phase("checkout", "Succeeded").await;
        let tests = json!({"total": 11, "success": 7, "failed": 1, "skipped": 2, "error": 1});
        assert_eq!(ended.at("status.run.tests"), &tests);
        assert!(ended.text("status.run.pipeline.coverage").starts_with("85.2"));
        let made = story.ledger().pipelines.iter().find(|made| made.upstream.is_some()).map(|made| made.id);
        assert_eq!(ended.at("status.run.downstream"), &json!([made.unwrap()]));
        let versions = versions.up_to(&ended).await;
        assert!(crate::harness::status_writes(&versions) <= 3, "the finish carries all of it");
    });
}

#[test]
fn a_pipeline_gets_its_name_and_a_run_goes_on_without() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout").with("spec.name", "release 2026.11")).await;
        let ended = story.until_phase("checkout", "Succeeded").await;
        assert_eq!(ended.text("status.run.pipeline.name"), "release 2026.11");
        assert_eq!(story.ledger().calls_to("rename").len(), 1);
    });
    let mut seed = playing(quick());
    seed.access_tokens[0].scopes = vec![pipekick_sandbox::gitlab::Scope::ReadApi];
    story(seed, async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout").with("spec.name", "release 2026.11")).await;
        let ended = story.until_phase("checkout", "Succeeded").await;
        assert_eq!(ended.text("status.run.nameRefused"), "InsufficientScope");
        story.let_pass().await;
        let told = story.events("checkout").await;
        assert_eq!(told.iter().filter(|(_, reason)| reason == "NameRefused").count(), 1, "{told:?}");
    });
}

#[test]
fn a_lost_request_to_name_a_pipeline_is_sent_again() {
    story(playing(quick()), async |story| {
        story.gitlab.fault(FaultRule::next("rename", Fault::Reset)).unwrap();
        story.operator(&[]);
        story.apply(&Trigger::new("checkout").with("spec.name", "release 2026.11")).await;
        story.until_phase("checkout", "Succeeded").await;
        story.until_ledger("have two requests", |ledger| ledger.calls_to("rename").len() == 2).await;
        let ledger = story.ledger();
        let answers: Vec<_> = ledger.calls_to("rename").iter().map(|call| call.status).collect();
        assert_eq!(answers, [None, Some(200)]);
    });
}

/// Runs once for each value; waits for each end.
async fn run_for(story: &Story, values: &[&str]) {
    for (seq, value) in (2..).zip(values) {
        story.ask("checkout", value).await;
        story.until_run("checkout", seq, "Succeeded").await;
    }
}

#[test]
fn pipelines_of_runs_that_left_the_history_are_deleted() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let trigger = Trigger::new("checkout").with("spec.historyLimit", 1);
        story.apply(&trigger.with("spec.historyDeletesPipelines", true)).await;
        story.until_phase("checkout", "Succeeded").await;
        run_for(story, &["a", "b", "c"]).await;
        story.until("checkout", "be done with deletions", |seen| seen.at("status.deletions").is_null()).await;
        story.let_pass().await;
        let ids: Vec<u64> = story.pipelines_of("checkout").iter().map(|made| made.id).collect();
        let standing: Vec<bool> = ids.iter().map(|id| story.gitlab.pipeline_status(*id).is_some()).collect();
        assert_eq!(standing, [false, false, true, true], "the current run's and history's stay");
        assert_eq!(story.ledger().calls_to("delete").len(), 2);
    });
}

#[test]
fn the_pipeline_of_a_run_that_timed_out_is_not_deleted_while_it_runs() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        let trigger = Trigger::new("checkout").with("spec.historyLimit", 0).with("spec.timeout", "1s");
        story.apply(&trigger.with("spec.historyDeletesPipelines", true)).await;
        story.until_phase("checkout", "TimedOut").await;
        let id = story.pipelines_of("checkout")[0].id;
        story.ask("checkout", "again").await;
        let put_off = |seen: &Seen| seen.at("status.deletions")[0]["tries"] == 1;
        story.until("checkout", "put the deletion off", put_off).await;
        story.let_pass().await;
        assert_eq!(story.gitlab.pipeline_status(id), Some(Status::Running));
        assert_eq!(story.ledger().calls_to("delete").len(), 0);
    });
}

#[test]
fn what_may_not_be_deleted_is_told_once_and_left() {
    let mut seed = playing(quick());
    seed.projects[0].members.insert("alice".into(), Role::Maintainer);
    story(seed, async |story| {
        story.operator(&[]);
        let trigger = Trigger::new("checkout").with("spec.historyLimit", 0);
        story.apply(&trigger.with("spec.historyDeletesPipelines", true)).await;
        story.until_phase("checkout", "Succeeded").await;
        run_for(story, &["a"]).await;
        story.until("checkout", "be done with deletions", |seen| seen.at("status.deletions").is_null()).await;
        story.let_pass().await;
        let told = story.events("checkout").await;
        assert_eq!(told.iter().filter(|(_, reason)| reason == "PipelineNotDeleted").count(), 1, "{told:?}");
        assert_eq!(story.ledger().calls_to("delete").len(), 1);
    });
}

#[test]
fn an_object_with_a_generated_name_deletes_itself_after_its_run() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let by_name = Trigger::new("checkout").with("spec.ttlAfterFinished", "2s");
        let refused = story.create_refused(&by_name).await.unwrap_or_default();
        assert!(refused.contains("generateName"), "{refused}");

        let mut manifest = by_name.0;
        manifest["metadata"] = json!({"generateName": "checkout-"});
        let object: DynamicObject = serde_json::from_value(manifest).unwrap();
        let made = story.triggers().create(&PostParams::default(), &object).await.unwrap();
        let name = made.metadata.name.unwrap();
        story.until_phase(&name, "Succeeded").await;
        let began = std::time::Instant::now();
        while story.triggers().get_opt(&name).await.unwrap().is_some() {
            assert!(began.elapsed() < crate::DEADLINE, "{name} should be gone");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        story.let_pass().await;
        assert_eq!(story.fired(&name), 1);
    });
}
