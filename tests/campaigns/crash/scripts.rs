//! The stories to crash in. Each tale ends when nothing is under way any more; an operator that died is started
//! again by whatever waits next.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use pipekick_sandbox::gitlab::{Ci, Fault, FaultRule, InputSpec, JobPlay, Outcome, Play, Seed, Status};
use pipekick_sandbox::tls::{Authority, TlsFront};
use serde_json::json;

use super::CrashStory;
use super::Sight::{Blind, Looks};
use crate::harness::gitlab::{GITOPS, failing, long, playing, quick, with_gitops};
use crate::harness::schedules::{in_gitlab, minutes_ago, schedule};
use crate::harness::{ConfigMap, Secret, Seen, Story, Trigger};
use crate::plan::settled;

const RETRY: &str = "pipekick.dev/retry";
const RESOLVE: &str = "pipekick.dev/resolve";
const CANCEL: &str = "pipekick.dev/cancel";
const HOLD: &[&str] = &["--first-sight", "Hold"];

#[rustfmt::skip]
pub(super) const STORIES: &[CrashStory] = &[
    CrashStory { name: "applied", seed: all_well, flags: &[], sight: Looks, tale: |s| Box::pin(applied(s)) },
    CrashStory { name: "job-fails", seed: jobs_fail, flags: &[], sight: Looks, tale: |s| Box::pin(applied(s)) },
    CrashStory { name: "three-at-once", seed: all_well, flags: &[], sight: Looks, tale: |s| Box::pin(three_at_once(s)) },
    CrashStory { name: "edited-while-running", seed: takes_long, flags: &[], sight: Looks, tale: |s| Box::pin(edited_while_running(s)) },
    CrashStory { name: "asked", seed: all_well, flags: &[], sight: Looks, tale: |s| Box::pin(asked(s)) },
    CrashStory { name: "recreated", seed: all_well, flags: &[], sight: Looks, tale: |s| Box::pin(recreated(s)) },
    CrashStory { name: "secret-comes-later", seed: all_well, flags: &[], sight: Looks, tale: |s| Box::pin(secret_comes_later(s)) },
    CrashStory { name: "refused-then-mended", seed: all_well, flags: &[], sight: Looks, tale: |s| Box::pin(refused_then_mended(s)) },
    CrashStory { name: "reply-lost", seed: all_well, flags: &[], sight: Looks, tale: |s| Box::pin(reply_lost(s)) },
    CrashStory { name: "request-lost", seed: all_well, flags: &[], sight: Looks, tale: |s| Box::pin(request_lost(s)) },
    CrashStory { name: "throttled", seed: all_well, flags: &[], sight: Looks, tale: |s| Box::pin(throttled(s)) },
    CrashStory { name: "cancelled-in-gitlab", seed: takes_long, flags: &[], sight: Looks, tale: |s| Box::pin(cancelled_in_gitlab(s)) },
    CrashStory { name: "timed-out", seed: takes_long, flags: &[], sight: Looks, tale: |s| Box::pin(timed_out(s)) },
    CrashStory { name: "cancelled", seed: takes_long, flags: &[], sight: Looks, tale: |s| Box::pin(cancelled(s)) },
    CrashStory { name: "timed-out-and-cancelled", seed: takes_long, flags: &[], sight: Looks, tale: |s| Box::pin(timed_out_and_cancelled(s)) },
    CrashStory { name: "replaced", seed: takes_long, flags: &[], sight: Looks, tale: |s| Box::pin(replaced(s)) },
    CrashStory { name: "deleted-and-cancelled", seed: takes_long, flags: &[], sight: Looks, tale: |s| Box::pin(deleted_and_cancelled(s)) },
    CrashStory { name: "suspended-and-resumed", seed: all_well, flags: &[], sight: Looks, tale: |s| Box::pin(suspended_and_resumed(s)) },
    CrashStory { name: "held-at-first-sight", seed: all_well, flags: HOLD, sight: Looks, tale: |s| Box::pin(held_at_first_sight(s)) },
    CrashStory { name: "access-token-marked", seed: all_well, flags: &[], sight: Looks, tale: |s| Box::pin(access_token_marked(s)) },
    CrashStory { name: "access-token-unmarked", seed: all_well, flags: &[], sight: Blind, tale: |s| Box::pin(access_token_unmarked(s)) },
    CrashStory { name: "trigger-token-only", seed: all_well, flags: &[], sight: Blind, tale: |s| Box::pin(trigger_token_only(s)) },
    CrashStory { name: "held-then-refired", seed: all_well, flags: &[], sight: Blind, tale: |s| Box::pin(held_then_refired(s)) },
    CrashStory { name: "held-then-abandoned", seed: all_well, flags: &[], sight: Blind, tale: |s| Box::pin(held_then_abandoned(s)) },
    CrashStory { name: "held-then-adopted", seed: all_well, flags: &[], sight: Blind, tale: |s| Box::pin(held_then_adopted(s)) },
    CrashStory { name: "retried", seed: flaky, flags: &[], sight: Looks, tale: |s| Box::pin(retried(s)) },
    CrashStory { name: "retried-reply-lost", seed: flaky, flags: &[], sight: Looks, tale: |s| Box::pin(retried_reply_lost(s)) },
    CrashStory { name: "retried-on-request", seed: flaky, flags: &[], sight: Looks, tale: |s| Box::pin(retried_on_request(s)) },
    CrashStory { name: "named", seed: all_well, flags: &[], sight: Looks, tale: |s| Box::pin(named(s)) },
    CrashStory { name: "history-deleted", seed: all_well, flags: &[], sight: Looks, tale: |s| Box::pin(history_deleted(s)) },
    CrashStory { name: "scheduled", seed: all_well, flags: &[], sight: Looks, tale: |s| Box::pin(scheduled(s)) },
    CrashStory { name: "scheduled-queued", seed: takes_seconds, flags: &[], sight: Looks, tale: |s| Box::pin(scheduled_queued(s)) },
    CrashStory { name: "scheduled-replacing", seed: takes_long, flags: &[], sight: Looks, tale: |s| Box::pin(scheduled_replacing(s)) },
    CrashStory { name: "kept-in-gitlab", seed: all_well, flags: &[], sight: Looks, tale: |s| Box::pin(kept_in_gitlab(s)) },
    CrashStory { name: "kept-reply-lost", seed: all_well, flags: &[], sight: Looks, tale: |s| Box::pin(kept_reply_lost(s)) },
    CrashStory { name: "kept-then-deleted", seed: all_well, flags: &[], sight: Looks, tale: |s| Box::pin(kept_then_deleted(s)) },
    CrashStory { name: "value-comes-later", seed: all_well, flags: &[], sight: Looks, tale: |s| Box::pin(value_comes_later(s)) },
    CrashStory { name: "bundle-comes-later", seed: all_well, flags: &[], sight: Looks, tale: |s| Box::pin(bundle_comes_later(s)) },
    CrashStory { name: "file-variable", seed: all_well, flags: &[], sight: Looks, tale: |s| Box::pin(file_variable(s)) },
    CrashStory { name: "run-again-by-a-person", seed: flaky, flags: &[], sight: Looks, tale: |s| Box::pin(run_again_by_a_person(s)) },
    CrashStory { name: "inputs-and-payload", seed: takes_inputs, flags: &[], sight: Looks, tale: |s| Box::pin(inputs_and_payload(s)) },
    CrashStory { name: "gitlab-too-old", seed: too_old, flags: &[], sight: Looks, tale: |s| Box::pin(inputs_by_access(s)) },
    CrashStory { name: "born-failed", seed: bad_ci, flags: &[], sight: Looks, tale: |s| Box::pin(born_failed(s)) },
    CrashStory { name: "deletes-itself", seed: all_well, flags: &[], sight: Looks, tale: |s| Box::pin(deletes_itself(s)) },
    CrashStory { name: "image-updated", seed: writes_a_tag, flags: &[], sight: Looks, tale: |s| Box::pin(image_updated(s)) },
    CrashStory { name: "image-reply-lost", seed: writes_a_tag, flags: &[], sight: Looks, tale: |s| Box::pin(image_reply_lost(s)) },
    CrashStory { name: "image-request-lost", seed: writes_a_tag, flags: &[], sight: Looks, tale: |s| Box::pin(image_request_lost(s)) },
    CrashStory { name: "image-proposed", seed: writes_a_tag, flags: &[], sight: Looks, tale: |s| Box::pin(image_proposed(s)) },
    CrashStory { name: "image-proposed-again", seed: writes_a_tag, flags: &[], sight: Looks, tale: |s| Box::pin(image_proposed_again(s)) },
    CrashStory { name: "image-merge-request-lost", seed: writes_a_tag, flags: &[], sight: Looks, tale: |s| Box::pin(image_merge_request_lost(s)) },
];

fn all_well() -> Seed {
    playing(quick())
}

fn writes_a_tag() -> Seed {
    let mut play = quick();
    play.jobs[0].artifacts.insert("build.env".into(), "TAG=v2\n".into());
    with_gitops(play, &[("values.yaml", "image: {tag: v1}\n")])
}

/// Long enough for a tick to find a run active; where a restart takes longer, it finds none, and ends the same.
fn takes_seconds() -> Seed {
    let mut play = quick();
    play.jobs[0].lasts = SignedDuration::from_secs(4);
    playing(play)
}

fn takes_long() -> Seed {
    playing(long())
}

fn jobs_fail() -> Seed {
    playing(failing(SignedDuration::from_millis(300)))
}

fn flaky() -> Seed {
    let outcomes = [Outcome::Failed, Outcome::Success];
    let lasts = SignedDuration::from_millis(300);
    playing(Play::jobs([JobPlay { lasts, ..JobPlay::ending("unit-tests", 0, outcomes) }]))
}

fn bad_ci() -> Seed {
    let mut seed = all_well();
    seed.projects[0].ci = Ci::Invalid("jobs:build config should contain a script".into());
    seed
}

fn takes_inputs() -> Seed {
    let mut seed = all_well();
    seed.projects[0].inputs = BTreeMap::from([("tier".into(), InputSpec::default())]);
    seed
}

fn too_old() -> Seed {
    Seed { version: Some("17.9".parse().unwrap()), ..takes_inputs() }
}

fn checkout() -> Trigger {
    Trigger::new("checkout")
}

fn fire_only() -> Trigger {
    checkout().without("spec.gitlab.accessTokenRef")
}

async fn applied(story: &Story) {
    story.apply(&checkout()).await;
    settled(story, "checkout").await;
}

/// GitLab's refusal does not name the pipeline that it stored. A look finds it, whoever lives to look.
async fn born_failed(story: &Story) {
    applied(story).await;
    let linked = |seen: &Seen| {
        let id = seen.at("status.run.pipeline.id").as_u64();
        id.is_some_and(|id| story.ledger().pipelines.iter().any(|made| made.id == id))
    };
    story.until("checkout", "link its pipeline", linked).await;
}

/// Not before the end of its run, whoever counts the time after it.
async fn deletes_itself(story: &Story) {
    let trigger = Trigger::new("checkout-7x2kd").with("metadata.generateName", "checkout-");
    story.apply(&trigger.with("spec.ttlAfterFinished", "2s")).await;
    story.until_gone("checkout-7x2kd").await;
    let made = story.ledger().pipelines;
    let ends: Vec<_> = made.iter().map(|made| story.gitlab.pipeline_status(made.id)).collect();
    assert_eq!(ends, [Some(Status::Success)]);
}

async fn three_at_once(story: &Story) {
    let names = ["checkout", "cart", "search"];
    for name in names {
        story.apply(&Trigger::new(name).variables(&[("NAME", name)])).await;
    }
    for name in names {
        settled(story, name).await;
    }
}

async fn edited_while_running(story: &Story) {
    story.apply(&checkout()).await;
    story.until_phase("checkout", "Running").await;
    story.apply(&checkout().with("spec.ref", "next")).await;
    story.until("checkout", "have seen the edit", Seen::is_current).await;
    story.end_pipelines();
    story.until_run("checkout", 2, "Running").await;
    story.end_pipelines();
    settled(story, "checkout").await;
}

async fn asked(story: &Story) {
    story.apply(&checkout()).await;
    settled(story, "checkout").await;
    story.ask("checkout", "again").await;
    settled(story, "checkout").await;
}

async fn recreated(story: &Story) {
    story.apply(&checkout()).await;
    settled(story, "checkout").await;
    story.delete("checkout").await;
    story.apply(&checkout().with("spec.ref", "next")).await;
    settled(story, "checkout").await;
}

async fn secret_comes_later(story: &Story) {
    story.apply(&checkout().with("spec.gitlab.triggerTokenRef.name", "later")).await;
    story.until("checkout", "miss its Secret", |seen| seen.reason() == "SecretMissing").await;
    story.secret(Secret::new("later").key("trigger-token", Seed::TRIGGER_TOKEN)).await;
    settled(story, "checkout").await;
}

async fn value_comes_later(story: &Story) {
    let source = json!({"name": "NOTES", "valueFrom": {"configMapKeyRef": {"name": "notes", "key": "text"}}});
    story.apply(&checkout().with("spec.variables", json!([source]))).await;
    story.until("checkout", "miss a value", |seen| seen.reason() == "ValueMissing").await;
    story.config_map(&ConfigMap::new("notes").text("text", "later")).await;
    settled(story, "checkout").await;
}

/// Over https, with a certificate that only the bundle makes believable.
async fn bundle_comes_later(story: &Story) {
    let authority = Authority::new().unwrap();
    let address = story.gitlab.url().trim_start_matches("http://").parse().unwrap();
    let front = TlsFront::start(address, &authority).await.unwrap();
    let secret = Secret::new("corp").annotation("pipekick.dev/gitlab-url", &front.url());
    let secret = secret.key("trigger-token", Seed::TRIGGER_TOKEN).key("access-token", Seed::ACCESS_TOKEN);
    story.secret(secret).await;
    let bundle = json!({"kind": "ConfigMap", "name": "corp-ca", "key": "ca.crt"});
    let trigger = checkout().with("spec.gitlab.url", front.url()).with("spec.gitlab.caBundleRef", bundle);
    let trigger = trigger.with("spec.gitlab.triggerTokenRef.name", "corp");
    story.apply(&trigger.with("spec.gitlab.accessTokenRef.name", "corp")).await;
    // After a crash it is Unknown, and the look waits for the bundle.
    let misses = |seen: &Seen| seen.message().contains("ConfigMap corp-ca does not exist");
    story.until("checkout", "miss its bundle", misses).await;
    story.config_map(&ConfigMap::new("corp-ca").text("ca.crt", &authority.pem())).await;
    settled(story, "checkout").await;
}

async fn file_variable(story: &Story) {
    let license = json!({"name": "LICENSE", "type": "File", "value": "line one\nline two\n"});
    let trigger = checkout().without("spec.gitlab.triggerTokenRef");
    story.apply(&trigger.with("spec.variables", json!([license]))).await;
    settled(story, "checkout").await;
}

/// The pipeline failed and is over; then somebody starts its failed job again in GitLab.
async fn run_again_by_a_person(story: &Story) {
    story.apply(&checkout()).await;
    story.until_phase("checkout", "Failed").await;
    let pipeline = story.ledger().pipelines[0].id;
    assert!(story.gitlab.retry_pipeline(pipeline));
    story.until_phase("checkout", "Succeeded").await;
}

async fn inputs_and_payload(story: &Story) {
    let trigger = checkout().with("spec.inputs", json!({"tier": "gold"}));
    story.apply(&trigger.with("spec.payload", json!({"a": {"b": null}}))).await;
    settled(story, "checkout").await;
}

/// Ends Rejected, with nothing sent but the question for the version.
async fn inputs_by_access(story: &Story) {
    let trigger = checkout().without("spec.gitlab.triggerTokenRef");
    story.apply(&trigger.with("spec.inputs", json!({"tier": "gold"}))).await;
    settled(story, "checkout").await;
}

async fn refused_then_mended(story: &Story) {
    story.apply(&checkout().with("spec.ref", "mian")).await;
    story.until_phase("checkout", "Rejected").await;
    story.apply(&checkout()).await;
    settled(story, "checkout").await;
}

async fn reply_lost(story: &Story) {
    story.gitlab.fault(FaultRule::next("trigger", Fault::EffectThenReset)).unwrap();
    applied(story).await;
}

async fn request_lost(story: &Story) {
    story.gitlab.fault(FaultRule::next("trigger", Fault::Reset)).unwrap();
    applied(story).await;
}

async fn throttled(story: &Story) {
    story.gitlab.fault(FaultRule::next("trigger", Fault::TooManyRequests { retry_after: 1 })).unwrap();
    applied(story).await;
}

async fn cancelled_in_gitlab(story: &Story) {
    story.apply(&checkout()).await;
    let running = story.until_phase("checkout", "Running").await;
    story.at_gitlab("POST", &format!("{}/cancel", running.number("status.run.pipeline.id"))).await;
    settled(story, "checkout").await;
}

async fn timed_out(story: &Story) {
    story.apply(&checkout().with("spec.timeout", "4s")).await;
    settled(story, "checkout").await;
}

async fn cancelled(story: &Story) {
    story.apply(&checkout()).await;
    story.until_phase("checkout", "Running").await;
    story.merge("checkout", &serde_json::json!({"metadata": {"annotations": {CANCEL: "1"}}})).await;
    settled(story, "checkout").await;
}

async fn timed_out_and_cancelled(story: &Story) {
    story.apply(&checkout().with("spec.timeout", "4s").with("spec.cancelOnTimeout", true)).await;
    settled(story, "checkout").await;
}

async fn replaced(story: &Story) {
    let replacing = checkout().with("spec.concurrencyPolicy", "Replace");
    story.apply(&replacing).await;
    story.until_phase("checkout", "Running").await;
    story.apply(&replacing.with("spec.ref", "next")).await;
    story.until_run("checkout", 2, "Running").await;
    story.end_pipelines();
    settled(story, "checkout").await;
}

async fn deleted_and_cancelled(story: &Story) {
    story.apply(&checkout().with("spec.deletionPolicy", "Cancel")).await;
    story.until_phase("checkout", "Running").await;
    story.delete("checkout").await;
    story.until_gone("checkout").await;
    let made: Vec<u64> = story.pipelines_of("checkout").iter().map(|made| made.id).collect();
    let ended: Vec<_> = made.iter().map(|id| story.gitlab.pipeline_status(*id)).collect();
    assert_eq!(ended, [Some(Status::Canceled)]);
}

async fn suspended_and_resumed(story: &Story) {
    story.apply(&checkout()).await;
    settled(story, "checkout").await;
    story.apply(&checkout().with("spec.suspend", true).with("spec.ref", "next")).await;
    story.until_phase("checkout", "Suspended").await;
    story.apply(&checkout().with("spec.ref", "next")).await;
    story.until_run("checkout", 2, "Succeeded").await;
}

async fn held_at_first_sight(story: &Story) {
    story.apply(&checkout()).await;
    story.until_phase("checkout", "Held").await;
    story.ask("checkout", "now").await;
    settled(story, "checkout").await;
}

async fn access_token_marked(story: &Story) {
    let trigger = checkout().without("spec.gitlab.triggerTokenRef");
    story.apply(&trigger.variables(&[("A", "1")])).await;
    settled(story, "checkout").await;
}

async fn access_token_unmarked(story: &Story) {
    story.apply(&checkout().without("spec.gitlab.triggerTokenRef")).await;
    settled(story, "checkout").await;
}

async fn trigger_token_only(story: &Story) {
    story.apply(&fire_only()).await;
    settled(story, "checkout").await;
}

/// One retry, whose effect shows in the end of the run: the second attempt succeeds, a third would too, and is counted.
async fn retried(story: &Story) {
    story.apply(&checkout().with("spec.retry", serde_json::json!({"limit": 3, "backoff": "1s"}))).await;
    settled(story, "checkout").await;
    let count = story.look("checkout").await.number("status.run.retry.count");
    assert_eq!(count, 1, "retried once, whatever happened to the operator");
}

async fn retried_reply_lost(story: &Story) {
    story.gitlab.fault(FaultRule::next("retry", Fault::EffectThenReset)).unwrap();
    retried(story).await;
}

async fn retried_on_request(story: &Story) {
    story.apply(&checkout()).await;
    story.until_phase("checkout", "Failed").await;
    story.merge("checkout", &serde_json::json!({"metadata": {"annotations": {RETRY: "1"}}})).await;
    story.until_phase("checkout", "Succeeded").await;
}

async fn named(story: &Story) {
    applied_as(story, checkout().with("spec.name", "release")).await;
}

async fn applied_as(story: &Story, trigger: Trigger) {
    story.apply(&trigger).await;
    settled(story, "checkout").await;
}

/// The first run leaves the history when the second begins; its pipeline is gone at the end.
async fn history_deleted(story: &Story) {
    let trigger = checkout().with("spec.historyLimit", 0).with("spec.historyDeletesPipelines", true);
    applied_as(story, trigger).await;
    let first = story.look("checkout").await.number("status.run.pipeline.id");
    story.ask("checkout", "again").await;
    story.until_run("checkout", 2, "Succeeded").await;
    story.until("checkout", "have deleted it", |seen| seen.at("status.deletions").is_null()).await;
    assert_eq!(story.gitlab.pipeline_status(first.unsigned_abs()), None, "pipeline {first}");
}

/// A tick that was missed, and then a run that is asked for.
async fn scheduled(story: &Story) {
    let (_, cron) = minutes_ago(2);
    let done = |children: &[Seen], many: usize| {
        children.len() == many && children.iter().all(|child| child.phase() == "Succeeded")
    };
    story.known_schedule(&schedule("nightly", &cron)).await;
    story.set_back("nightly", 5).await;
    story.until_children("nightly", "have fired for the tick", |c| done(c, 1)).await;
    story.ask_schedule("nightly", "now").await;
    story.until_children("nightly", "have fired as asked", |c| done(c, 2)).await;
    story
        .until_schedule("nightly", "be at rest", |seen| {
            seen.answer() == ("now", "Fired")
                && seen.at("status.active").is_null()
                && !seen.text("status.lastScheduleTime").is_empty()
        })
        .await;
}

/// A tick that waits for a run that was asked for.
async fn scheduled_queued(story: &Story) {
    let (_, cron) = minutes_ago(2);
    story.known_schedule(&schedule("nightly", &cron).with("spec.concurrencyPolicy", "Queue")).await;
    story.ask_schedule("nightly", "now").await;
    story.until_children("nightly", "have been fired as asked", |c| c.len() == 1).await;
    story.set_back("nightly", 5).await;
    let done =
        |children: &[Seen]| children.len() == 2 && children.iter().all(|child| child.phase() == "Succeeded");
    story.until_children("nightly", "have fired for the tick", done).await;
    story
        .until_schedule("nightly", "be at rest", |seen| {
            let rests =
                ["active", "queuedTick"].iter().all(|field| seen.at(&format!("status.{field}")).is_null());
            rests && seen.answer() == ("now", "Fired") && !seen.text("status.lastScheduleTime").is_empty()
        })
        .await;
}

/// A tick in whose favour a run that was asked for is cancelled.
async fn scheduled_replacing(story: &Story) {
    let (_, cron) = minutes_ago(2);
    story.known_schedule(&schedule("nightly", &cron).with("spec.concurrencyPolicy", "Replace")).await;
    story.ask_schedule("nightly", "now").await;
    let phases = |children: &[Seen], expected: &[&str]| {
        let mut phases: Vec<&str> = children.iter().map(Seen::phase).collect();
        phases.sort_unstable();
        phases == expected
    };
    story.until_children("nightly", "run as asked", |c| phases(c, &["Running"])).await;
    story.set_back("nightly", 5).await;
    story.until_children("nightly", "be replaced", |c| phases(c, &["Canceled", "Running"])).await;
    story.end_pipelines();
    story.until_children("nightly", "have ended", |c| phases(c, &["Canceled", "Succeeded"])).await;
    story
        .until_schedule("nightly", "be at rest", |seen| {
            let rests =
                ["active", "queuedTick"].iter().all(|field| seen.at(&format!("status.{field}")).is_null());
            rests && seen.answer() == ("now", "Fired")
        })
        .await;
}

/// Made, and then edited.
async fn kept_in_gitlab(story: &Story) {
    let equal = |seen: &Seen| seen.is_current() && seen.reason() == "Scheduled";
    let with = |variables: serde_json::Value| {
        in_gitlab("nightly", "17 2 * * *").with("spec.triggerTemplate.spec.variables", variables)
    };
    let [a, b, c] = ["A", "B", "C"].map(|name| json!({"name": name, "value": "1"}));
    story.apply_schedule(&with(json!([a, b]))).await;
    story.until_schedule("nightly", "be equal in GitLab", equal).await;
    story.apply_schedule(&with(json!([b, c])).with("spec.schedule", "18 2 * * *")).await;
    story.until_schedule("nightly", "be equal again", equal).await;
}

async fn kept_reply_lost(story: &Story) {
    story.gitlab.fault(FaultRule::next("schedule_create", Fault::EffectThenReset)).unwrap();
    kept_in_gitlab(story).await;
}

async fn kept_then_deleted(story: &Story) {
    kept_in_gitlab(story).await;
    story.delete_schedule("nightly").await;
    story.until_schedule_gone("nightly").await;
}

/// A request is lost, and nobody can look. Then the user, who looked in GitLab, says what to do.
async fn held(story: &Story, fault: Fault) {
    story.gitlab.fault(FaultRule::next("trigger", fault)).unwrap();
    story.apply(&fire_only()).await;
    story.until_phase("checkout", "Held").await;
    // Not struck if the operator died before it sent anything.
    story.gitlab.clear_faults();
}

async fn resolve(story: &Story, order: &str) {
    story.merge("checkout", &serde_json::json!({"metadata": {"annotations": {RESOLVE: order}}})).await;
    settled(story, "checkout").await;
}

async fn held_then_refired(story: &Story) {
    held(story, Fault::Reset).await;
    resolve(story, "1:refire").await;
}

async fn held_then_abandoned(story: &Story) {
    held(story, Fault::Reset).await;
    resolve(story, "1:abandon").await;
}

async fn held_then_adopted(story: &Story) {
    held(story, Fault::EffectThenReset).await;
    let made = story.ledger().pipelines.first().map(|pipeline| pipeline.id);
    resolve(story, &made.map_or("1:refire".into(), |id| format!("1:adopt={id}"))).await;
}

async fn image_updated(story: &Story) {
    let output = json!({"name": "tag", "job": "build", "artifact": "build.env", "key": "TAG"});
    let edit = json!({"file": "values.yaml", "path": "image.tag", "value": "{{ outputs.tag }}"});
    let update = json!({"project": GITOPS, "branch": "main", "edits": [edit]});
    let trigger = checkout().with("spec.outputs", json!([output])).with("spec.imageUpdates", json!([update]));
    story.apply(&trigger).await;
    let seen = settled(story, "checkout").await;
    assert_eq!(seen.truth("ImagesUpdated"), "True", "{}", seen.yaml());
}

async fn image_reply_lost(story: &Story) {
    story.gitlab.fault(FaultRule::next("commit_create", Fault::EffectThenReset)).unwrap();
    image_updated(story).await;
}

async fn image_request_lost(story: &Story) {
    story.gitlab.fault(FaultRule::next("commit_create", Fault::Reset)).unwrap();
    image_updated(story).await;
}

fn proposing(value: &str) -> Trigger {
    let edit = json!({"file": "values.yaml", "path": "image.tag", "value": value});
    let update = json!({"project": GITOPS, "branch": "main", "via": "MergeRequest", "edits": [edit]});
    checkout().with("spec.imageUpdates", json!([update]))
}

/// Opened; then somebody merges it.
async fn image_proposed(story: &Story) {
    story.apply(&proposing("v2")).await;
    let told = |reason: &'static str| {
        move |seen: &Seen| seen.is_current() && seen.reason_of("ImagesUpdated") == reason
    };
    story.until("checkout", "be proposed", told("MergeRequestOpen")).await;
    assert!(story.gitlab.merge(GITOPS, 1).unwrap());
    story.until("checkout", "be merged", told("ImagesUpdated")).await;
}

/// A second run goes on with the one that is open.
async fn image_proposed_again(story: &Story) {
    story.apply(&proposing("{{ variables.TAG }}").variables(&[("TAG", "v2")])).await;
    let told = |seq: i64| {
        move |seen: &Seen| {
            seen.number("status.run.seq") == seq && seen.reason_of("ImagesUpdated") == "MergeRequestOpen"
        }
    };
    story.until("checkout", "be proposed", told(1)).await;
    story.apply(&proposing("{{ variables.TAG }}").variables(&[("TAG", "v3")])).await;
    story.until("checkout", "be proposed again", told(2)).await;
}

async fn image_merge_request_lost(story: &Story) {
    story.gitlab.fault(FaultRule::next("merge_request_create", Fault::EffectThenReset)).unwrap();
    image_proposed(story).await;
}
