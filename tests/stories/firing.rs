//! From an object to its pipeline, and to its end.

use pipekick_sandbox::gitlab::{Source, Status};
use serde_json::json;

use crate::harness::gitlab::{PROJECT, playing, quick};
use crate::harness::{Seen, Story, Trigger, columns, status_writes, story};

#[test]
fn applying_a_trigger_fires_one_pipeline_and_follows_it_to_its_end() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let versions = story.record_versions().await;
        story.apply(&Trigger::new("checkout").variables(&[("DEPLOY_ENV", "production")])).await;

        let ended = story.until_phase("checkout", "Succeeded").await;

        let pipelines = story.pipelines_of("checkout");
        let [pipeline] = pipelines.as_slice() else { panic!("{pipelines:#?}") };
        assert_eq!((pipeline.git_ref.as_str(), pipeline.project.as_str()), ("main", PROJECT));
        assert_eq!((pipeline.source, pipeline.born), (Source::Trigger, Status::Created));
        assert_eq!(pipeline.credential.name, "ops");
        assert_eq!(pipeline.params["variables"], json!({"DEPLOY_ENV": "production"}));
        let fire_id = pipeline.fire_id.as_deref().unwrap();

        let status = ended.at("status");
        let run = &status["run"];
        assert_eq!(run["fireId"], fire_id);
        assert_eq!(
            (&run["seq"], &run["cause"], &run["phase"]),
            (&json!(1), &json!("Apply"), &json!("Succeeded"))
        );
        assert_eq!(run["digest"], status["decidedDigest"]);
        assert_eq!(run["attempt"]["count"], 1);
        assert_eq!(run["attempt"]["last"], "Accepted");
        assert_eq!(run["target"]["project"], PROJECT);
        assert_eq!(run["target"]["ref"], "main");
        assert_eq!(run["pipeline"]["id"], pipeline.id);
        assert_eq!(run["pipeline"]["iid"], pipeline.iid);
        assert_eq!(run["pipeline"]["projectId"], pipeline.project_id);
        assert_eq!(run["pipeline"]["sha"], pipeline.sha);
        assert_eq!(run["pipeline"]["status"], "success");
        assert!(
            run["pipeline"]["webUrl"].as_str().unwrap().ends_with(&format!("/pipelines/{}", pipeline.id))
        );
        for time in ["intendedAt", "firedAt", "finishedAt"] {
            assert!(run[time].is_string(), "{time} is missing: {run}");
        }
        assert_eq!(status.get("history"), None);
        assert!(ended.message().contains("succeeded"), "{}", ended.message());

        let conditions: Vec<_> =
            ended.conditions().iter().map(|(kind, c)| (*kind, c.status, c.reason)).collect();
        assert_eq!(
            conditions,
            [
                ("Ready", "True", "PipelineSucceeded"),
                ("Fired", "True", "PipelineCreated"),
                ("Succeeded", "True", "PipelineSucceeded"),
            ]
        );

        let versions = versions.up_to(&ended).await;
        assert!(status_writes(&versions) <= 3, "{} status writes", status_writes(&versions));
        assert!(kstatus_never_lies(&versions));
    });
}

/// Until the end, an object that kstatus looks at is in progress.
fn kstatus_never_lies(versions: &[Seen]) -> bool {
    let (last, before) = versions.split_last().unwrap();
    let in_progress = |seen: &Seen| !seen.is_current() || seen.truth("Reconciling") == "True";
    before.iter().all(in_progress) && !in_progress(last)
}

#[test]
fn a_run_is_told_in_two_events() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Succeeded").await;
        story.let_pass().await;

        let told = story.events("checkout").await;
        let told: Vec<(&str, &str)> = told.iter().map(|(kind, why)| (kind.as_str(), why.as_str())).collect();
        assert_eq!(told, [("Normal", "PipelineCreated"), ("Normal", "PipelineSucceeded")]);
    });
}

#[test]
fn kubectl_get_shows_phase_ref_pipeline_and_duration() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Succeeded").await;

        let table = story.table("pipelinetriggers").await;
        assert_eq!(columns(&table, 0), ["Name", "Phase", "Ref", "Pipeline", "Duration", "Age"]);
        assert_eq!(columns(&table, 1), ["Project", "URL", "Message"]);
        let cells = &table["rows"][0]["cells"];
        let id = story.pipelines_of("checkout")[0].id;
        assert_eq!((&cells[1], &cells[2], &cells[3]), (&json!("Succeeded"), &json!("main"), &json!(id)));
        assert!(cells[4].is_i64(), "a duration: {cells}");
        assert_eq!(cells[6], PROJECT);
    });
}

#[test]
fn without_an_access_token_a_run_ends_fired_and_its_outcome_stays_unknown() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("blind").without("spec.gitlab.accessTokenRef")).await;

        let fired = story.until_phase("blind", "Fired").await;

        let succeeded = fired.condition("Succeeded").unwrap();
        assert_eq!((succeeded.status, succeeded.reason), ("Unknown", "NotFollowed"));
        assert_eq!((fired.truth("Ready"), fired.truth("Fired")), ("True", "True"));
        assert_eq!((fired.truth("Reconciling"), fired.truth("Stalled")), ("", ""));
        assert_eq!(fired.at("status.run.pipeline.id"), story.pipelines_of("blind")[0].id);
        story.let_pass().await;
        assert_eq!(story.fired("blind"), 1);
        assert_eq!(calls_that_read(story), 0, "nothing is asked without an access token");
    });
}

#[test]
fn with_an_access_token_alone_the_pipeline_is_created_through_the_api() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let plain = Trigger::new("plain").without("spec.gitlab.triggerTokenRef");
        story.apply(&plain).await;
        story.until_phase("plain", "Succeeded").await;
        story
            .apply(
                &Trigger(plain.0.clone())
                    .with("metadata.name", "marked")
                    .variables(&[("A", "1"), ("B", "2")]),
            )
            .await;
        let marked = story.until_phase("marked", "Succeeded").await;

        let ledger = story.ledger();
        let [plain, with_variables] = ledger.pipelines.as_slice() else { panic!("{ledger:#?}") };
        for pipeline in [plain, with_variables] {
            assert_eq!((pipeline.source, pipeline.credential.name.as_str()), (Source::Api, "bot"));
        }
        assert_eq!(plain.variables, [], "a project may refuse all variables, so none is added");
        assert_eq!(plain.params.get("variables"), None);
        let names: Vec<&str> = with_variables.variables.iter().map(|v| v.key.as_str()).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        for name in ["A", "B", "PIPEKICK_FIRE_ID"] {
            assert!(names.contains(&name), "{names:?}");
        }
        assert_eq!(with_variables.fire_id.as_deref(), Some(marked.text("status.run.fireId")));
        assert!(ledger.calls_to("trigger").is_empty());
    });
}

fn calls_that_read(story: &Story) -> usize {
    story.ledger().calls.iter().filter(|call| call.method == "GET").count()
}

#[test]
fn variables_arrive_as_they_were_written_up_to_the_largest() {
    let odd = "quotes \" ' \\ $HOME $$ %41 &a=b;\n\ttwo lines, ünïcödé 🚀\n";
    let large = "ü".repeat(8_192);
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let mut values: Vec<(String, &str)> =
            (0..7).map(|n| (format!("LARGE_{n}"), large.as_str())).collect();
        values.push(("ODD".into(), odd));
        values.push(("EMPTY".into(), ""));
        values.push(("_1".into(), "true"));
        let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        story.apply(&Trigger::new("by-trigger").variables(&values)).await;
        let by_access = Trigger::new("by-access").without("spec.gitlab.triggerTokenRef");
        story.apply(&by_access.variables(&values)).await;
        story.until_phase("by-trigger", "Succeeded").await;
        story.until_phase("by-access", "Succeeded").await;

        let ledger = story.ledger();
        assert_eq!(ledger.pipelines.len(), 2);
        for pipeline in &ledger.pipelines {
            for (name, value) in &values {
                let found = pipeline.variables.iter().find(|variable| variable.key == *name);
                assert_eq!(found.map(|variable| variable.value.as_str()), Some(*value), "{name}");
            }
            assert_eq!(pipeline.variables.len(), values.len() + 1, "and GitLab's payload, or our mark");
        }
    });
}

#[test]
fn a_project_named_by_its_number_is_fired_and_followed() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("by-path")).await;
        let seen = story.until_phase("by-path", "Succeeded").await;
        let id = seen.number("status.run.pipeline.projectId");
        story.apply(&Trigger::new("by-number").with("spec.gitlab.project", id)).await;
        story.apply(&Trigger::new("by-text").with("spec.gitlab.project", id.to_string())).await;
        for name in ["by-number", "by-text"] {
            story.until_phase(name, "Succeeded").await;
            assert_eq!(story.fired(name), 1);
        }
        // Number and text mean the same project: no change.
        story.apply(&Trigger::new("by-number").with("spec.gitlab.project", id.to_string())).await;
        story.until_phase("by-number", "Succeeded").await;
        story.let_pass().await;
        assert_eq!(story.fired("by-number"), 1);
    });
}
