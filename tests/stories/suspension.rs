//! `spec.suspend`: nothing is fired; on resume, at most once.

use std::time::Duration;

use pipekick_sandbox::gitlab::Seed;
use serde_json::json;

use crate::harness::gitlab::{long, playing, quick};
use crate::harness::{Secret, Seen, Trigger, story};

#[test]
fn ten_edits_while_suspended_fire_once_on_resume() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let trigger = Trigger::new("checkout");
        story.apply(&trigger).await;
        story.until_phase("checkout", "Succeeded").await;
        let suspended = trigger.clone().with("spec.suspend", true);
        for edit in 1..=10 {
            story.apply(&suspended.clone().variables(&[("EDIT", &edit.to_string())])).await;
        }
        let seen = story.until_phase("checkout", "Suspended").await;
        assert_eq!((seen.truth("Ready"), seen.truth("Succeeded")), ("True", "Unknown"));
        assert_eq!(seen.reason(), "Suspended");
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 1);

        story.apply(&trigger.variables(&[("EDIT", "10")])).await;
        story.until_run("checkout", 2, "Succeeded").await;
        story.let_pass().await;
        let pipelines = story.pipelines_of("checkout");
        assert_eq!(pipelines.len(), 2);
        assert_eq!(pipelines[1].params["variables"], json!({"EDIT": "10"}));
    });
}

#[test]
fn edits_taken_back_while_suspended_fire_nothing_on_resume() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let trigger = Trigger::new("checkout");
        story.apply(&trigger).await;
        story.until_phase("checkout", "Succeeded").await;
        story.apply(&trigger.clone().with("spec.suspend", true).with("spec.ref", "next")).await;
        story.until_phase("checkout", "Suspended").await;
        story.apply(&trigger).await;
        let resumed = story.until_phase("checkout", "Succeeded").await;
        assert_eq!(resumed.truth("Succeeded"), "True", "the last run stands again");
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 1);
    });
}

#[test]
fn a_trigger_born_suspended_fires_once_when_resumed() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let trigger = Trigger::new("checkout");
        story.apply(&trigger.clone().with("spec.suspend", true)).await;
        story.until_phase("checkout", "Suspended").await;
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 0);
        story.apply(&trigger).await;
        story.until_run("checkout", 1, "Succeeded").await;
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 1);
    });
}

#[test]
fn a_request_while_suspended_is_answered_and_dropped() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let trigger = Trigger::new("checkout");
        story.apply(&trigger).await;
        story.until_phase("checkout", "Succeeded").await;
        story.apply(&trigger.clone().with("spec.suspend", true)).await;
        story.until_phase("checkout", "Suspended").await;
        story.ask("checkout", "dropped").await;
        story.until("checkout", "answer", |seen| seen.answer() == ("dropped", "Suspended")).await;

        story.apply(&trigger).await;
        story.until_phase("checkout", "Succeeded").await;
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 1);
        story.ask("checkout", "heard").await;
        story.until_run("checkout", 2, "Succeeded").await;
        assert_eq!(story.fired("checkout"), 2);
    });
}

#[test]
fn a_pipeline_under_way_is_followed_to_its_end_while_suspended() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        let trigger = Trigger::new("checkout");
        story.apply(&trigger).await;
        story.until_phase("checkout", "Running").await;
        story.apply(&trigger.clone().with("spec.suspend", true)).await;
        let running = story.until_phase("checkout", "Running").await;
        assert_eq!(running.truth("Reconciling"), "True");
        story.end_pipelines();
        let seen = story.until_phase("checkout", "Suspended").await;
        assert_eq!(seen.text("status.run.phase"), "Succeeded");
        story.apply(&trigger).await;
        story.until_phase("checkout", "Succeeded").await;
        assert_eq!(story.fired("checkout"), 1);
    });
}

#[test]
fn a_request_while_suspended_is_dropped_also_beside_a_run() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        let trigger = Trigger::new("checkout");
        story.apply(&trigger).await;
        story.until_phase("checkout", "Running").await;
        story.apply(&trigger.clone().with("spec.suspend", true)).await;
        story.until_phase("checkout", "Running").await;
        story.ask("checkout", "dropped").await;
        story.let_pass().await;
        story.apply(&trigger).await;
        story.until_phase("checkout", "Running").await;
        story.end_pipelines();
        story
            .until("checkout", "end its first run", |seen| {
                seen.number("status.run.seq") > 1 || seen.text("status.run.phase") == "Succeeded"
            })
            .await;
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 1, "it was asked while suspended");
        assert_eq!(story.look("checkout").await.answer(), ("dropped", "Suspended"));
    });
}

#[test]
fn a_run_that_waits_for_its_secret_is_not_fired_while_suspended() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let trigger = Trigger::new("checkout").with("spec.gitlab.triggerTokenRef.name", "absent");
        story.apply(&trigger).await;
        story.until_phase("checkout", "Pending").await;
        story.apply(&trigger.clone().with("spec.suspend", true)).await;
        story.until("checkout", "have seen suspend", Seen::is_current).await;
        story.secret(Secret::new("absent").key("trigger-token", Seed::TRIGGER_TOKEN)).await;
        // Twice the first wait for a Secret.
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(story.fired("checkout"), 0);
        let seen = story.look("checkout").await;
        assert_eq!((seen.phase(), seen.reason()), ("Pending", "Suspended"));
        story.apply(&trigger).await;
        story.until_run("checkout", 1, "Succeeded").await;
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 1);
    });
}
