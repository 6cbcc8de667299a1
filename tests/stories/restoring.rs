//! A cluster restored from a backup of objects without their status, as Velero's are, or set up anew from a git
//! repository: to the operator every object is new.

use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams};
use serde_json::{Value, json};

use crate::harness::gitlab::{playing, quick};
use crate::harness::schedules::schedule;
use crate::harness::{Story, Trigger, story};

/// All objects of a kind as such a backup holds them: with neither status nor uid, and a child no longer says whose it is.
async fn backup(api: &Api<DynamicObject>, kind: &str) -> Vec<Value> {
    let objects = api.list(&ListParams::default()).await.unwrap().items;
    objects
        .into_iter()
        .map(|DynamicObject { types: _, metadata, data }| {
            json!({
                "apiVersion": "pipekick.dev/v1alpha1",
                "kind": kind,
                "metadata": {
                    "name": metadata.name, "labels": metadata.labels, "annotations": metadata.annotations,
                },
                "spec": data["spec"],
            })
        })
        .collect()
}

/// What was backed up is lost and put back.
async fn lose_and_restore(story: &Story) {
    for (api, kind) in [(story.triggers(), "PipelineTrigger"), (story.schedules(), "PipelineSchedule")] {
        let objects = backup(&api, kind).await;
        for object in &objects {
            let name = object["metadata"]["name"].as_str().unwrap();
            api.delete(name, &DeleteParams::default()).await.unwrap();
            let object = serde_json::from_value(object.clone()).unwrap();
            api.create(&PostParams::default(), &object).await.unwrap();
        }
    }
}

#[test]
fn a_cluster_restored_without_status_fires_again_what_it_is_asked_for_and_nothing_else() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        story.apply(&Trigger::new("on-request").with("spec.fireOn", "Request")).await;
        story.known_schedule(&schedule("nightly", "0 0 1 1 *")).await;
        story.until_phase("on-request", "Idle").await;
        story.ask("on-request", "before").await;
        story.ask_schedule("nightly", "before").await;
        for name in ["checkout", "on-request"] {
            story.until_run(name, 1, "Succeeded").await;
        }
        let made = story
            .until_children("nightly", "have succeeded", |c| c.len() == 1 && c[0].phase() == "Succeeded")
            .await;
        let old_child = made[0].text("metadata.name").to_owned();
        story.kill_operators();
        lose_and_restore(story).await;

        story.operator(&["--first-sight", "Hold"]);
        for name in ["checkout", &old_child] {
            let held = story.until_phase(name, "Held").await;
            assert_eq!(held.reason(), "FirstSight", "{name}");
        }
        let idle = story.until_phase("on-request", "Idle").await;
        assert_eq!(idle.answer(), ("before", "Recorded"));
        story
            .until_schedule("nightly", "record the request", |seen| {
                seen.at("status.lastHandled.fire.answer") == "Recorded"
            })
            .await;
        assert_eq!(story.ledger().pipelines.len(), 3, "those from before the restore");

        // Whatever is new from now on is asked for, or no first sight.
        story.ask("checkout", "after").await;
        story.until_run("checkout", 2, "Succeeded").await;
        story.ask_schedule("nightly", "after").await;
        story
            .until_children("nightly", "be two", |c| c.iter().any(|child| child.phase() == "Succeeded"))
            .await;
        story.kill_operators();
        story.operator(&[]);
        story.let_pass().await;
        let fired = ["checkout", "on-request", &old_child].map(|name| story.fired(name));
        assert_eq!((fired, story.ticked("nightly").len()), ([2, 1, 1], 2));
        assert_eq!(story.look(&old_child).await.phase(), "Held");
    });
}
