//! `deletionPolicy`: what becomes of a pipeline whose object is deleted; and that no deletion gets stuck.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::DeleteParams;
use pipekick_sandbox::gitlab::{Fault, FaultRule, Status};
use serde_json::json;

use crate::DEADLINE;
use crate::harness::gitlab::{long, playing, quick};
use crate::harness::{Seen, Story, Trigger, story};

const FINALIZER: &str = "pipekick.dev/cancel-pipeline";

fn cancelling() -> Trigger {
    Trigger::new("checkout").with("spec.deletionPolicy", "Cancel")
}

fn kept(seen: &Seen) -> bool {
    seen.at("metadata.finalizers").as_array().is_some_and(|all| all.contains(&FINALIZER.into()))
}

fn status_of_first(story: &Story) -> Option<Status> {
    story.gitlab.pipeline_status(story.pipelines_of("checkout")[0].id)
}

/// The reasons of the Warnings about the object.
async fn warnings(story: &Story) -> Vec<String> {
    let events = story.events("checkout").await;
    events.into_iter().filter(|(kind, _)| kind == "Warning").map(|(_, reason)| reason).collect()
}

#[test]
fn a_running_pipeline_is_cancelled_before_its_object_goes() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        let versions = story.record_versions().await;
        story.apply(&cancelling()).await;
        let seen = story.until_phase("checkout", "Running").await;
        for version in versions.up_to(&seen).await {
            let intended = !version.at("status.run").is_null();
            assert!(kept(&version) || !intended, "the finalizer is on before anything is fired");
        }
        story.delete("checkout").await;
        story.until_gone("checkout").await;
        assert_eq!(status_of_first(story), Some(Status::Canceled));
        assert_eq!((warnings(story).await, story.fired("checkout")), (vec![], 1));
    });
}

#[test]
fn a_finalizer_stands_only_while_the_policy_is_cancel_and_leaves_others_alone() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        assert!(!kept(&story.until_phase("checkout", "Running").await));
        story.merge("checkout", &json!({"metadata": {"finalizers": ["example.com/other"]}})).await;
        story.apply(&cancelling()).await;
        story.until("checkout", "be kept", kept).await;
        story.apply(&cancelling().with("spec.deletionPolicy", "Orphan")).await;
        let seen = story.until("checkout", "be let go", |seen| !kept(seen)).await;
        assert_eq!(seen.at("metadata.finalizers"), &json!(["example.com/other"]));
        story.delete("checkout").await;
        story.let_pass().await;
        assert_eq!(status_of_first(story), Some(Status::Running), "Orphan");
        story.merge("checkout", &json!({"metadata": {"finalizers": null}})).await;
        story.until_gone("checkout").await;
    });
}

#[test]
fn what_has_ended_or_never_began_goes_at_once() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        for (trigger, phase) in [
            (cancelling(), "Succeeded"),
            (cancelling().with("spec.fireOn", "Request"), "Idle"),
            (cancelling().with("spec.gitlab.triggerTokenRef.name", "absent"), "Pending"),
            (cancelling().with("spec.ref", "mian"), "Rejected"),
        ] {
            story.apply(&trigger).await;
            story.until_phase("checkout", phase).await;
            story.delete("checkout").await;
            story.until_gone("checkout").await;
        }
        assert_eq!((story.ledger().calls_to("cancel").len(), story.fired("checkout")), (0, 1));
    });
}

#[test]
fn a_run_whose_outcome_is_unknown_is_looked_up_first() {
    story(playing(long()), async |story| {
        story.operator(&["--request-deadline", "2s"]);
        let wait = SignedDuration::from_secs(60);
        story.gitlab.fault(FaultRule::next("trigger", Fault::HangThenAnswer { wait })).unwrap();
        story.apply(&cancelling()).await;
        story.until_phase("checkout", "Firing").await;
        story.delete("checkout").await;
        story.until_gone("checkout").await;
        assert_eq!(status_of_first(story), Some(Status::Canceled));
        assert_eq!(story.fired("checkout"), 1);
    });
}

#[test]
fn a_gitlab_that_cannot_be_asked_holds_the_object_for_a_bounded_time_and_an_event_says_so() {
    story(playing(long()), async |story| {
        story.operator(&["--cancel-patience", "4s"]);
        story.apply(&cancelling()).await;
        story.until_phase("checkout", "Running").await;
        story.gitlab.fault(FaultRule::always("cancel", Fault::ServerError { effect: false })).unwrap();
        story.delete("checkout").await;
        let took = story.until_gone("checkout").await;
        assert!(took >= Duration::from_secs(2), "{took:?}");
        assert_eq!(status_of_first(story), Some(Status::Running));
        story.let_pass().await;
        assert_eq!(warnings(story).await, ["LeftRunning"]);
    });
}

#[test]
fn a_secret_that_is_gone_already_holds_nothing_for_long() {
    story(playing(long()), async |story| {
        story.operator(&["--cancel-patience", "3s"]);
        story.apply(&cancelling()).await;
        story.until_phase("checkout", "Running").await;
        story.delete_secret("gitlab").await;
        story.delete("checkout").await;
        story.until_gone("checkout").await;
        let began = Instant::now();
        while warnings(story).await != ["LeftRunning"] {
            assert!(began.elapsed() < DEADLINE, "{:?}", warnings(story).await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
}

#[test]
fn what_nobody_can_look_up_any_more_for_want_of_the_secret_goes_long_before_the_patience_is_over() {
    story(playing(long()), async |story| {
        story.operator(&["--request-deadline", "2s", "--cancel-patience", "1h"]);
        let wait = SignedDuration::from_secs(60);
        story.gitlab.fault(FaultRule::next("trigger", Fault::HangThenAnswer { wait })).unwrap();
        story.apply(&cancelling()).await;
        story.until_phase("checkout", "Firing").await;
        story.delete_secret("gitlab").await;
        story.delete("checkout").await;
        // Half a minute, and until the next look.
        story.rest(Duration::from_secs(30)).await;
        story.until_gone("checkout").await;
        let began = Instant::now();
        while !warnings(story).await.contains(&"LeftRunning".to_owned()) {
            assert!(began.elapsed() < DEADLINE, "{:?}", warnings(story).await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
}

#[test]
fn deleted_while_no_operator_runs_the_next_one_cancels() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.apply(&cancelling()).await;
        story.until_phase("checkout", "Running").await;
        story.kill_operators();
        story.delete("checkout").await;
        // Longer than the patience of the operators that come.
        story.rest(Duration::from_secs(4)).await;
        assert!(kept(&story.look("checkout").await));
        story.operator(&["--cancel-patience", "2s"]);
        story.operator(&["--cancel-patience", "2s"]);
        story.until_gone("checkout").await;
        assert_eq!(status_of_first(story), Some(Status::Canceled), "it is asked once, however late");
    });
}

#[test]
fn a_namespace_goes_with_its_triggers() {
    story(playing(long()), async |story| {
        story.operator(&["--cancel-patience", "3s"]);
        story.apply(&cancelling()).await;
        story.until_phase("checkout", "Running").await;
        let namespaces: Api<Namespace> = Api::all(story.client.clone());
        namespaces.delete(&story.namespace, &DeleteParams::default()).await.unwrap();
        // No controller empties a namespace here: what it would do is done by hand, Secret first.
        story.delete_secret("gitlab").await;
        story.delete("checkout").await;
        story.until_gone("checkout").await;
    });
}
