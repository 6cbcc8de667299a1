//! The annotation `pipekick.dev/fire`: a new value asks for a run, in every mode.

use crate::harness::gitlab::{long, playing, quick};
use crate::harness::{Trigger, status_writes, story};

#[test]
fn a_new_value_fires_a_second_pipeline_and_a_known_one_does_not() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let trigger = Trigger::new("checkout");
        story.apply(&trigger).await;
        story.until_run("checkout", 1, "Succeeded").await;

        story.ask("checkout", "one").await;
        let asked = story.until_run("checkout", 2, "Succeeded").await;
        assert_eq!(asked.text("status.run.cause"), "Request");
        assert_eq!(asked.text("status.run.request"), "one");
        assert_eq!(asked.answer(), ("one", "Fired"));
        story.ask("checkout", "two").await;
        story.until_run("checkout", 3, "Succeeded").await;

        // The same again, an old one, nothing, and an edit that would have been noticed.
        for known in ["two", "one", ""] {
            story.ask("checkout", known).await;
            story.let_pass().await;
        }
        story.apply(&trigger.with("spec.timeout", "1h")).await;
        story.until_phase("checkout", "Succeeded").await;
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 3);
        let ids: Vec<_> = story.pipelines_of("checkout").into_iter().map(|p| p.fire_id.unwrap()).collect();
        assert_eq!(ids.len(), 3);
        assert!(ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
    });
}

#[test]
fn a_request_and_a_change_in_one_apply_are_one_run() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        story.until_run("checkout", 1, "Succeeded").await;
        story.apply(&Trigger::new("checkout").with("spec.ref", "next").asking("now")).await;
        let ended = story.until_run("checkout", 2, "Succeeded").await;
        story.let_pass().await;
        assert_eq!(ended.text("status.run.cause"), "Request");
        assert_eq!(story.fired("checkout"), 2);
        assert_eq!(story.pipelines_of("checkout")[1].git_ref, "next");
    });
}

#[test]
fn a_value_at_first_sight_is_one_run_on_apply_and_only_recorded_in_the_other_modes() {
    story(playing(quick()), async |story| {
        for mode in ["Apply", "Change", "Request"] {
            let name = mode.to_lowercase();
            story.apply(&Trigger::new(&name).with("spec.fireOn", mode).asking("first")).await;
        }
        story.operator(&[]);
        let applied = story.until_phase("apply", "Succeeded").await;
        assert_eq!(applied.answer(), ("first", "Fired"));
        for name in ["change", "request"] {
            let seen = story.until_phase(name, "Idle").await;
            assert_eq!(seen.answer(), ("first", "Recorded"), "{name}");
            assert_eq!((seen.truth("Ready"), seen.truth("Succeeded")), ("True", "Unknown"), "{name}");
        }
        story.let_pass().await;
        assert_eq!([story.fired("apply"), story.fired("change"), story.fired("request")], [1, 0, 0]);

        for name in ["apply", "change", "request"] {
            story.ask(name, "second").await;
        }
        for (name, runs) in [("apply", 2), ("change", 1), ("request", 1)] {
            let seen = story.until_run(name, runs, "Succeeded").await;
            assert_eq!(seen.answer(), ("second", "Fired"), "{name}");
            assert_eq!(story.fired(name), usize::try_from(runs).unwrap(), "{name}");
        }
    });
}

#[test]
fn a_request_while_a_run_is_on_is_answered_after_its_end() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Running").await;
        story.ask("checkout", "again").await;
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 1);
        story.end_pipelines();
        let second = story.until_run("checkout", 2, "Running").await;
        assert_eq!(second.answer(), ("again", "Fired"));
        story.end_pipelines();
        story.until_run("checkout", 2, "Succeeded").await;
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 2);
    });
}

/// What a script does: annotate, wait for `lastHandled.fire.value`, wait for Succeeded. The second wait must
/// never see the success before.
#[test]
fn who_asked_and_waits_in_two_steps_never_sees_the_success_before() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let versions = story.record_versions().await;
        story.apply(&Trigger::new("checkout")).await;
        story.until_run("checkout", 1, "Succeeded").await;
        let mut last = None;
        for (run, value) in [(2, "a"), (3, "b"), (4, "c")] {
            story.ask("checkout", value).await;
            last = Some(story.until_run("checkout", run, "Succeeded").await);
        }
        let mut waited = 0;
        for seen in versions.up_to(&last.unwrap()).await {
            let (value, _) = seen.answer();
            if value.is_empty() || seen.truth("Succeeded") == "Unknown" {
                continue;
            }
            // Here the second wait would end: it has to be the end of the pipeline that was asked for.
            let asked = seen.text("status.run.request");
            assert_eq!((asked, seen.text("status.run.phase")), (value, "Succeeded"), "{}", seen.yaml());
            let ledger = story.ledger();
            let pipelines = ledger.pipelines_with_fire_id(seen.text("status.run.fireId"));
            assert_eq!(seen.at("status.run.pipeline.id"), pipelines[0].id, "{}", seen.yaml());
            waited += 1;
        }
        assert!(waited >= 3, "each request had its end");
        assert_eq!(story.fired("checkout"), 4);
    });
}

#[test]
fn a_very_long_value_fires_once() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let versions = story.record_versions().await;
        story.apply(&Trigger::new("checkout").with("spec.fireOn", "Request")).await;
        story.until_phase("checkout", "Idle").await;
        story.ask("checkout", &"x".repeat(10_000)).await;
        story.until_run("checkout", 1, "Succeeded").await;
        story.let_pass().await;
        let seen = story.look("checkout").await;
        assert_eq!(story.fired("checkout"), 1);
        let writes = status_writes(&versions.up_to(&seen).await);
        assert!(writes <= 4, "{writes} status writes");
    });
}
