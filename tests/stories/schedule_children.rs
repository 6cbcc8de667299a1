//! The children of a `PipelineSchedule`: who has their names, who refuses them, and what becomes of them with their
//! schedule and at a restart.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::harness::gitlab::{playing, quick};
use crate::harness::schedules::{child_of, minutes_ago, schedule};
use crate::harness::{Story, Trigger, story, story_with_garbage_collector};

/// Of a schedule that is no longer there.
const EARLIER: &str = "11111111-2222-4333-8444-555555555555";

/// The child of a tick as its schedule, with this uid, creates it.
fn child(schedule: &str, uid: &str, tick: Timestamp) -> Trigger {
    Trigger::new(&child_of(schedule, tick)).with(
        "metadata",
        json!({
            "name": child_of(schedule, tick),
            "labels": {"pipekick.dev/schedule": schedule},
            "annotations": {"pipekick.dev/scheduled-time": tick.to_string()},
            "ownerReferences": [{
                "apiVersion": "pipekick.dev/v1alpha1", "kind": "PipelineSchedule", "name": schedule, "uid": uid,
                "controller": true, "blockOwnerDeletion": true,
            }],
        }),
    )
}

#[test]
fn children_are_deleted_with_their_schedule_and_nothing_else_is() {
    story_with_garbage_collector(playing(quick()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("bystander")).await;
        story.known_schedule(&schedule("nightly", "0 0 1 1 *")).await;
        story.known_schedule(&schedule("weekly", "0 0 1 1 *")).await;
        let mut children = Vec::new();
        for name in ["nightly", "weekly"] {
            story.ask_schedule(name, "now").await;
            let made = story
                .until_children(name, "have succeeded", |c| c.len() == 1 && c[0].phase() == "Succeeded")
                .await;
            children.push(made[0].text("metadata.name").to_owned());
        }
        story.delete_schedule("nightly").await;
        story.until_gone(&children[0]).await;
        story.let_pass().await;
        assert!(story.children("nightly").await.is_empty(), "nobody makes them again");
        assert_eq!(story.look(&children[1]).await.phase(), "Succeeded");
        assert_eq!(story.look("bystander").await.phase(), "Succeeded");
        assert_eq!((story.ticked("nightly").len(), story.ticked("weekly").len()), (1, 1));
    });
}

#[test]
fn a_child_of_an_earlier_schedule_of_the_same_name_is_waited_for() {
    story(playing(quick()), async |story| {
        let (tick, cron) = minutes_ago(2);
        let left_behind = child("nightly", EARLIER, tick).with("spec.fireOn", "Request");
        story.apply(&left_behind).await;
        story.operator(&[]);
        story.until_phase(left_behind.name(), "Idle").await;
        story.known_schedule(&schedule("nightly", &cron)).await;
        story.set_back("nightly", 5).await;
        let waits = story.until_schedule("nightly", "wait", |seen| seen.reason() == "NameNotFree").await;
        assert_eq!((waits.truth("Ready"), waits.truth("Reconciling")), ("False", "True"), "{}", waits.yaml());
        assert!(waits.message().contains(left_behind.name()), "{}", waits.message());
        assert_eq!(story.ticked("nightly").len(), 0);

        story.delete(left_behind.name()).await;
        story
            .until_children("nightly", "have succeeded", |c| c.len() == 1 && c[0].phase() == "Succeeded")
            .await;
        let seen = story.until_schedule("nightly", "go on", |seen| seen.reason() == "Scheduled").await;
        assert_eq!(seen.text("status.lastScheduleTime"), tick.to_string());
        story.let_pass().await;
        assert_eq!(story.ticked("nightly").len(), 1);
    });
}

impl Story {
    /// A quota of no trigger at all, or none again. No controller counts here: its status is written with it.
    async fn no_more_triggers(&self, is_full: bool) {
        const COUNT: &str = "count/pipelinetriggers.pipekick.dev";
        let quotas: Api<ResourceQuota> = Api::namespaced(self.client.clone(), &self.namespace);
        if !is_full {
            quotas.delete("full", &DeleteParams::default()).await.unwrap();
            return;
        }
        let none = json!({COUNT: "0"});
        let quota = json!({"metadata": {"name": "full"}, "spec": {"hard": none}});
        quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
        let status = Patch::Merge(json!({"status": {"hard": none, "used": none}}));
        quotas.patch_status("full", &PatchParams::default(), &status).await.unwrap();
    }
}

#[test]
fn a_child_that_the_api_server_refuses_is_told_and_tried_again() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let (tick, cron) = minutes_ago(2);
        let labelled = |label: &str| {
            schedule("nightly", &cron)
                .with("spec.triggerTemplate.metadata", json!({"labels": {"team": label}}))
        };
        story.no_more_triggers(true).await;
        story.known_schedule(&labelled("shop")).await;
        story.set_back("nightly", 5).await;
        let refused =
            story.until_schedule("nightly", "be refused", |seen| seen.reason() == "ChildRefused").await;
        assert_eq!(
            (refused.truth("Ready"), refused.truth("Reconciling")),
            ("False", "True"),
            "{}",
            refused.yaml()
        );
        assert!(refused.message().contains("exceeded quota"), "{}", refused.message());
        story.until_event("nightly", "ChildRefused", "exceeded quota").await;
        assert_eq!((story.ticked("nightly").len(), story.children("nightly").await.len()), (0, 0));

        // The template is no part of the clock: the tick still waits, and fires when it can.
        story.no_more_triggers(false).await;
        story.apply_schedule(&labelled("platform")).await;
        let fired = story
            .until_children("nightly", "have succeeded", |c| c.len() == 1 && c[0].phase() == "Succeeded")
            .await;
        assert_eq!(fired[0].text("metadata.name"), child_of("nightly", tick));
        assert_eq!(fired[0].text("metadata.labels.team"), "platform");
        story.until_schedule("nightly", "go on", |seen| seen.reason() == "Scheduled").await;
        story.let_pass().await;
        assert_eq!(story.ticked("nightly").len(), 1);
        let events = story.events("nightly").await;
        assert_eq!(events.iter().filter(|(_, reason)| reason == "ChildRefused").count(), 1, "{events:?}");
    });
}

/// The operator died after its schedule had made a child, and before anybody had looked at that.
async fn dies_between(story: &Story, uid: Option<&str>) -> String {
    let (tick, cron) = minutes_ago(2);
    story.operator(&["--first-sight", "Hold"]);
    story.known_schedule(&schedule("nightly", &cron)).await;
    story.kill_operators();
    let own = story.schedule("nightly").await.text("metadata.uid").to_owned();
    let made = child("nightly", uid.unwrap_or(&own), tick);
    story.apply(&made).await;
    story.operator(&["--first-sight", "Hold"]);
    made.name().to_owned()
}

#[test]
fn a_child_made_just_before_the_operator_died_is_no_first_sight_to_be_held() {
    story(playing(quick()), async |story| {
        let name = dies_between(story, None).await;
        story.until_phase(&name, "Succeeded").await;
        let_held_pass(story).await;
        assert_eq!(story.ticked("nightly").len(), 1);
    });
}

#[test]
fn a_child_of_a_schedule_that_is_gone_is_held_as_any_first_sight() {
    story(playing(quick()), async |story| {
        let name = dies_between(story, Some(EARLIER)).await;
        let held = story.until_phase(&name, "Held").await;
        assert_eq!(held.reason(), "FirstSight");
        let_held_pass(story).await;
        assert_eq!(story.ticked("nightly").len(), 0);
    });
}

/// As [`Story::let_pass`], where a first sight is held: whatever was due is done with the marker.
async fn let_held_pass(story: &Story) {
    let marker: Value = Trigger::new("marker").0;
    story.apply(&Trigger(marker)).await;
    story.until_phase("marker", "Held").await;
    story.rest(std::time::Duration::from_millis(1500)).await;
}
