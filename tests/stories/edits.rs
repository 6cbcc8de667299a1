//! Which edits fire: the firing fields, as they stand, and nothing else.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use pipekick_sandbox::gitlab::{InputSpec, Seed};
use serde_json::json;

use crate::harness::gitlab::{long, playing, project, quick};
use crate::harness::{Secret, Trigger, story};

/// What is edited, whether it fires, and how it is done; the URL is the simulator's.
type Edit = (&'static str, bool, fn(Trigger, &str) -> Trigger);

/// One variable, NAME, read from the object.
fn named_after_object(rest: &serde_json::Value) -> serde_json::Value {
    let mut entry = json!({"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}});
    entry.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    json!([entry])
}

#[test]
fn an_edit_of_a_firing_field_fires_again_and_no_other_edit_does() {
    let mut seed = playing(quick());
    let tier = InputSpec { default: Some(json!("silver")), ..InputSpec::default() };
    seed.projects[0].inputs = BTreeMap::from([("tier".into(), tier)]);
    seed.projects.push(project("shop/other", quick()));
    story(seed, async |story| {
        story.operator(&[]);
        let edits: &[Edit] = &[
            ("first sight", true, |t, _| t.variables(&[("A", "1"), ("B", "2")])),
            ("another ref", true, |t, _| t.with("spec.ref", "next")),
            ("the order of variables", false, |t, _| t.variables(&[("B", "2"), ("A", "1")])),
            ("a variable's value", true, |t, _| t.variables(&[("A", "1"), ("B", "3")])),
            ("a variable's name", true, |t, _| t.variables(&[("A", "1"), ("C", "3")])),
            ("no variables", true, |t, _| t.without("spec.variables")),
            ("an empty list of variables", false, |t, _| t.with("spec.variables", json!([]))),
            ("a variable from elsewhere", true, |t, _| {
                t.with("spec.variables", named_after_object(&json!({})))
            }),
            ("a variable that is raw", true, |t, _| {
                t.with("spec.variables", named_after_object(&json!({"raw": true})))
            }),
            ("a type, written out", true, |t, _| {
                t.with("spec.variables", named_after_object(&json!({"raw": true, "type": "EnvVar"})))
            }),
            ("inputs", true, |t, _| t.with("spec.inputs", json!({"tier": "gold"}))),
            ("a payload", true, |t, _| t.without("spec.inputs").with("spec.payload", json!({"a": null}))),
            ("a CA bundle", false, |t, _| {
                t.with("spec.gitlab.caBundleRef", json!({"kind": "ConfigMap", "name": "no", "key": "no"}))
            }),
            ("no CA bundle", false, |t, _| t.without("spec.gitlab.caBundleRef")),
            ("timeout", false, |t, _| t.with("spec.timeout", "1h")),
            ("historyLimit", false, |t, _| t.with("spec.historyLimit", 7)),
            ("suspend: false", false, |t, _| t.with("spec.suspend", false)),
            ("suspend left out", false, |t, _| t.without("spec.suspend")),
            ("fireOn as it is when left out", false, |t, _| t.with("spec.fireOn", "Apply")),
            ("a label", false, |t, _| t.with("metadata.labels", json!({"team": "shop"}))),
            ("another name of the same token", false, |t, _| {
                t.with("spec.gitlab.triggerTokenRef.key", "same")
            }),
            ("another project", true, |t, _| t.with("spec.gitlab.project", "shop/other")),
            ("the url, written out", true, |t, url| t.with("spec.gitlab.url", url)),
        ];
        let tokens = Secret::new("gitlab").key("same", Seed::TRIGGER_TOKEN);
        let tokens = tokens.key("trigger-token", Seed::TRIGGER_TOKEN).key("access-token", Seed::ACCESS_TOKEN);
        story.secret(tokens).await;
        let mut trigger = Trigger::new("edited");
        let mut runs = 0;
        for (edit, fires, make) in edits {
            trigger = make(trigger, story.gitlab.url());
            story.apply(&trigger).await;
            runs += i64::from(*fires);
            let seen = story.until_phase("edited", "Succeeded").await;
            let ended = story.until_run("edited", runs, "Succeeded").await;
            assert_eq!(seen.number("status.run.seq"), runs, "{edit}");
            assert_eq!(ended.text("status.run.cause"), if runs == 1 { "Apply" } else { "Change" }, "{edit}");
            assert_eq!(story.fired("edited"), usize::try_from(runs).unwrap(), "{edit}");
        }
        story.let_pass().await;
        let pipelines = story.pipelines_of("edited");
        let went: Vec<(&str, &str)> =
            pipelines.iter().map(|p| (p.project.as_str(), p.git_ref.as_str())).collect();
        let (main, next, other) =
            (("shop/checkout", "main"), ("shop/checkout", "next"), ("shop/other", "next"));
        assert_eq!(went, [&[main][..], &[next; 9], &[other; 2]].concat());
    });
}

#[test]
fn a_change_taken_back_while_a_run_is_on_fires_nothing() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        let there = Trigger::new("checkout");
        story.apply(&there).await;
        story.until_phase("checkout", "Running").await;
        for trigger in [&there.clone().with("spec.ref", "next"), &there] {
            story.apply(trigger).await;
            story.until_phase("checkout", "Running").await;
        }
        story.end_pipelines();
        story.until_phase("checkout", "Succeeded").await;
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 1);
    });
}

#[test]
fn a_change_while_a_run_is_on_fires_after_its_end_and_only_the_last_one() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        let first = Trigger::new("checkout");
        story.apply(&first).await;
        story.until_phase("checkout", "Running").await;
        for value in ["1", "2", "3"] {
            story.apply(&first.clone().variables(&[("TRY", value)])).await;
            story.until_phase("checkout", "Running").await;
        }
        assert_eq!(story.fired("checkout"), 1, "not beside the first");

        story.end_pipelines();
        let second = story.until_run("checkout", 2, "Running").await;
        story.end_pipelines();
        story.until_run("checkout", 2, "Succeeded").await;
        story.let_pass().await;

        let pipelines = story.pipelines_of("checkout");
        assert_eq!(pipelines.len(), 2);
        assert_eq!(pipelines[1].params["variables"], json!({"TRY": "3"}));
        assert_eq!(second.at("status.history")[0]["phase"], "Succeeded");
        assert_eq!(second.at("status.history")[0]["pipelineId"], pipelines[0].id);
    });
}

#[test]
fn history_keeps_as_many_runs_as_its_limit() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        for run in 1..=4 {
            let trigger = Trigger::new("checkout").with("spec.historyLimit", 2);
            story.apply(&trigger.variables(&[("RUN", &run.to_string())])).await;
            story.until_run("checkout", run, "Succeeded").await;
        }
        let seen = story.look("checkout").await;
        let kept: Vec<i64> = seen
            .at("status.history")
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["seq"].as_i64().unwrap())
            .collect();
        assert_eq!(kept, [3, 2]);

        story.apply(&Trigger::new("checkout").with("spec.historyLimit", 0).variables(&[("RUN", "4")])).await;
        let seen = story.until_phase("checkout", "Succeeded").await;
        assert_eq!(seen.at("status").get("history"), None);
        assert_eq!(story.fired("checkout"), 4);
    });
}

#[test]
fn a_ref_that_git_does_not_allow_is_explained_and_fires_once_corrected() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        // Within the bound of the schema, which counts characters, and beyond git's, which counts bytes.
        let long = "ä".repeat(200);
        story.apply(&Trigger::new("new").with("spec.ref", long.as_str())).await;
        story.apply(&Trigger::new("old")).await;
        story.until_phase("old", "Succeeded").await;
        story.apply(&Trigger::new("old").with("spec.ref", long.as_str())).await;
        for name in ["new", "old"] {
            let seen = story.until_phase(name, "Rejected").await;
            assert_eq!((seen.reason(), seen.truth("Stalled")), ("InvalidSpec", "True"), "{name}");
            assert!(seen.message().contains("äää"), "{name}: {}", seen.message());
        }
        assert_eq!(story.ledger().calls_to("trigger").len(), 1);
        story.apply(&Trigger::new("new")).await;
        story.until_run("new", 1, "Succeeded").await;
        story.apply(&Trigger::new("old")).await;
        let back = story.until_phase("old", "Succeeded").await;
        assert_eq!(back.number("status.run.seq"), 1);
        story.let_pass().await;
        assert_eq!((story.fired("new"), story.fired("old")), (1, 1));
    });
}

/// The run goes on where it was fired, with the credential it was fired with.
#[test]
fn a_run_is_followed_where_it_went_after_spec_has_moved_to_another_project_and_secret() {
    let mut seed = playing(long());
    seed.projects.push(project("shop/other", quick()));
    story(seed, async |story| {
        story.operator(&[]);
        story
            .secret(
                Secret::new("only-other")
                    .key("trigger-token", Seed::TRIGGER_TOKEN)
                    .key("access-token", Seed::ACCESS_TOKEN)
                    .annotation("pipekick.dev/projects", "shop/other"),
            )
            .await;
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Running").await;
        let moved = Trigger::new("checkout").with("spec.gitlab.project", "shop/other");
        let moved = moved.with("spec.gitlab.accessTokenRef.name", "only-other");
        story.apply(&moved.with("spec.gitlab.triggerTokenRef.name", "only-other")).await;
        story.until_phase("checkout", "Running").await;
        story.let_pass().await;
        assert_eq!(story.look("checkout").await.reason(), "PipelineRunning");
        story.end_pipelines();
        let ended = story.until_run("checkout", 2, "Succeeded").await;
        assert_eq!(ended.at("status.history")[0]["phase"], "Succeeded");
        let pipelines = story.pipelines_of("checkout");
        let went: Vec<&str> = pipelines.iter().map(|p| p.project.as_str()).collect();
        assert_eq!(went, ["shop/checkout", "shop/other"]);
    });
}

#[test]
fn a_change_while_the_request_is_under_way_fires_after_the_first_run() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        story.gitlab.latency("trigger", SignedDuration::from_secs(1)).unwrap();
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Firing").await;
        story.apply(&Trigger::new("checkout").with("spec.ref", "next")).await;
        story.until_run("checkout", 2, "Succeeded").await;
        story.let_pass().await;
        let pipelines = story.pipelines_of("checkout");
        let refs: Vec<&str> = pipelines.iter().map(|p| p.git_ref.as_str()).collect();
        assert_eq!(refs, ["main", "next"]);
    });
}

/// Every write of the operator meets somebody else's.
#[test]
fn edits_at_the_very_moment_of_firing_neither_lose_nor_double_a_run() {
    const MANY: usize = 20;
    story(playing(quick()), async |story| {
        story.operator(&[]);
        story.gitlab.latency("trigger", SignedDuration::from_millis(100)).unwrap();
        let bothered = (0..MANY).map(|number| async move {
            let name = format!("t{number}");
            story.apply(&Trigger::new(&name)).await;
            for edit in 0..15 {
                story.merge(&name, &json!({"metadata": {"labels": {"edit": edit.to_string()}}})).await;
            }
        });
        futures::future::join_all(bothered).await;
        for number in 0..MANY {
            story.until_run(&format!("t{number}"), 1, "Succeeded").await;
        }
        story.let_pass().await;
        for number in 0..MANY {
            assert_eq!(story.fired(&format!("t{number}")), 1);
        }
    });
}
