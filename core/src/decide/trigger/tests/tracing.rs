//! What is recorded for the spans of a run, and what they say.

use super::scene::{Scene, accepted, failed, refused, seen, unknown};
use crate::decide::span::{Attribute, Post, TraceSpan, context, of_post, of_run};
use crate::domain::{
    FieldPath, FireOn, Phase, PipelineStatus, RunTrace, TraceParent, ValueSource, Variable, VariableType,
    VariableValue,
};

const ASKED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn traced() -> Scene {
    let mut scene = Scene::new(FireOn::Apply);
    scene.policy.traced = true;
    scene
}

/// One whose variable reads this annotation.
fn asking(value: Option<&str>) -> Scene {
    let mut scene = traced();
    let path = FieldPath::Annotation("example.com/traceparent".into());
    let variable = Variable {
        name: "TRACEPARENT".parse().unwrap(),
        kind: VariableType::EnvVar,
        raw: false,
        value: VariableValue::From {
            source: ValueSource::Field { path, value: value.map(str::to_owned) },
            optional: true,
        },
    };
    scene.edit(|spec| spec.variables = vec![variable.clone()]);
    scene
}

fn span(scene: &Scene) -> Option<TraceSpan> {
    of_run(&scene.trigger.key, None, scene.run())
}

fn told(span: &TraceSpan, name: &str) -> String {
    let found = span.attributes.iter().find(|(of, _)| *of == name);
    match found.map(|(_, value)| value) {
        Some(Attribute::Text(text)) => text.clone(),
        Some(Attribute::Number(number)) => number.to_string(),
        None => String::new(),
    }
}

#[test]
fn nothing_is_recorded_unless_spans_are_told() {
    let mut scene = Scene::running();
    assert_eq!(scene.run().trace, None);
    scene.sight(seen(PipelineStatus::Success));
    scene.sight(seen(PipelineStatus::Running));
    assert_eq!((scene.phase(), scene.run().trace.clone()), (Phase::Running, None));
}

#[test]
fn a_run_is_one_span_from_when_it_was_due_to_its_outcome_whoever_tells() {
    let mut scene = traced();
    scene.step();
    let (due, before) = (scene.now, context(scene.run()));
    assert_eq!(span(&scene), None, "it has not ended");
    scene.answer(accepted());
    scene.wait(30).restart().sight(seen(PipelineStatus::Success));
    let told_of = span(&scene).unwrap();
    assert_eq!((told_of.trace, told_of.id, told_of.parent), (before.trace, before.span, None));
    assert_eq!((told_of.start, told_of.end, told_of.error.as_ref()), (due, scene.now, None));
    let expected = [
        ("k8s.namespace.name", "shop"),
        ("pipekick.trigger", "checkout"),
        ("pipekick.fire_id", scene.run().fire_id.as_str()),
        ("pipekick.run", "1"),
        ("pipekick.cause", "Apply"),
        ("pipekick.gitlab", "gitlab.example.com"),
        ("pipekick.project", "shop/checkout"),
        ("vcs.ref.head.name", "A"),
        ("pipekick.outcome", "Succeeded"),
        ("pipekick.reason", "PipelineSucceeded"),
        ("pipekick.attempts", "1"),
        ("pipekick.retries", "0"),
        ("cicd.pipeline.run.id", "700"),
    ];
    for (name, value) in expected {
        assert_eq!(told(&told_of, name), value, "{name}");
    }
    assert_eq!(told_of.attributes.len(), expected.len(), "and nothing else: {told_of:?}");
}

#[test]
fn a_run_that_failed_says_why_and_one_that_only_waits_does_not() {
    let mut failing = Scene::running();
    failing.sight(failed(&[1]));
    let error = span(&failing).unwrap().error.unwrap();
    assert!(error.starts_with("PipelineFailed: "), "{error}");
    let mut rejected = traced();
    rejected.step();
    rejected.answer(refused());
    assert!(span(&rejected).unwrap().error.is_some());

    let mut held = traced();
    held.policy.first_sight = crate::decide::trigger::FirstSight::Hold;
    held.step();
    assert_eq!((held.phase(), span(&held).unwrap().error), (Phase::Held, None));
    for end in [PipelineStatus::Success, PipelineStatus::Canceled, PipelineStatus::Skipped] {
        let mut scene = Scene::running();
        scene.sight(seen(end.clone()));
        assert_eq!(span(&scene).unwrap().error, None, "{end:?}");
    }
}

#[test]
fn a_run_continues_the_trace_it_was_asked_with() {
    let mut scene = asking(Some(ASKED));
    scene.step();
    let asked: TraceParent = ASKED.parse().unwrap();
    let handed_on = context(scene.run());
    assert_eq!((handed_on.trace, handed_on.sampled), (asked.trace, true));
    assert_ne!(handed_on.span, asked.span);
    scene.answer(accepted());
    // The annotation is the next one's by now.
    let next = asking(Some(&ASKED.replace("4b", "4c")));
    scene.trigger.spec = next.trigger.spec;
    scene.restart().sight(seen(PipelineStatus::Success));
    let told_of = span(&scene).unwrap();
    assert_eq!((told_of.trace, told_of.id, told_of.parent), (asked.trace, handed_on.span, Some(asked.span)));
}

#[test]
fn a_trace_that_is_not_to_be_told_is_handed_on_and_not_told() {
    let mut scene = asking(Some(&ASKED.replace("-01", "-00")));
    scene.step();
    let handed_on = context(scene.run());
    assert!(!handed_on.sampled && handed_on.to_string().ends_with("-00"));
    scene.answer(accepted());
    scene.sight(seen(PipelineStatus::Success));
    assert_eq!((scene.phase(), span(&scene)), (Phase::Succeeded, None));
}

#[test]
fn what_is_no_trace_context_begins_a_trace_and_is_not_recorded() {
    for value in [None, Some("canary")] {
        let mut scene = asking(value);
        scene.step();
        let RunTrace { parent, .. } = scene.run().trace.clone().unwrap();
        assert_eq!(parent, None);
        assert!(context(scene.run()).sampled);
    }
}

#[test]
fn a_cause_that_waited_is_due_since_then() {
    let mut scene = traced();
    scene.step();
    scene.answer(accepted());
    scene.wait(5).git_ref("next").step();
    let since = scene.now;
    scene.wait(60).sight(seen(PipelineStatus::Success));
    scene.step();
    assert_eq!((scene.run().seq, scene.phase()), (2, Phase::Firing));
    assert_eq!(scene.run().trace.as_ref().unwrap().due_at, since);
}

#[test]
fn the_first_run_of_a_child_is_due_since_its_tick() {
    let mut scene = traced();
    scene.step();
    let due = scene.now;
    scene.answer(accepted());
    scene.sight(seen(PipelineStatus::Success));
    let tick = due - jiff::SignedDuration::from_secs(3);
    let start = |scene: &Scene| of_run(&scene.trigger.key, Some(tick), scene.run()).unwrap().start;
    assert_eq!(start(&scene), tick);
    scene.wait(60).ask("again").step();
    let asked = scene.now;
    scene.answer(accepted());
    scene.sight(seen(PipelineStatus::Success));
    assert_eq!((scene.run().seq, start(&scene)), (2, asked));
}

#[test]
fn what_goes_on_after_its_end_is_told_as_a_span_below() {
    let mut scene = traced();
    scene.step();
    scene.answer(accepted());
    scene.sight(seen(PipelineStatus::Success));
    let first = span(&scene).unwrap();
    scene.wait(60).sight(seen(PipelineStatus::Running));
    let since = scene.now;
    scene.wait(60).restart().sight(seen(PipelineStatus::Canceled));
    let again = span(&scene).unwrap();
    assert_eq!((again.trace, again.parent), (first.trace, Some(first.id)));
    assert!(again.id != first.id && again.name != first.name);
    assert_eq!((again.start, again.end), (since, scene.now));
}

#[test]
fn a_refusal_that_stays_one_is_told_once() {
    let mut scene = traced();
    scene.step();
    scene.answer(refused());
    let first = span(&scene).unwrap();
    scene.wait(600).repeat();
    scene.answer(refused());
    assert_eq!((scene.phase(), span(&scene)), (Phase::Rejected, None));
    scene.wait(600).repeat();
    scene.answer(accepted());
    scene.sight(seen(PipelineStatus::Success));
    let end = span(&scene).unwrap();
    assert_eq!((end.parent, told(&end, "pipekick.attempts").as_str()), (Some(first.id), "3"));
}

#[test]
fn each_post_is_a_span_below_its_run() {
    let mut scene = traced();
    scene.step();
    let post = |scene: &Scene, answer, status| {
        let run = scene.run();
        let key = run.attempt_key().unwrap();
        let (route, end) = ("/projects/:id/trigger/pipeline", scene.now);
        let post = Post { key: &key, route, status, answer: &answer, start: run.intended_at, end };
        of_post(&scene.trigger.key, run, &post).unwrap()
    };
    let lost = post(&scene, unknown(), None);
    let run = context(scene.run());
    assert_eq!((lost.trace, lost.parent, lost.is_request), (run.trace, Some(run.span), true));
    assert!(lost.error.is_some());
    assert_eq!(told(&lost, "pipekick.outcome"), "unknown");
    assert_eq!(told(&lost, "http.response.status_code"), "");
    let made = post(&scene, accepted(), Some(201));
    assert_eq!((made.id, made.error.clone()), (lost.id, None), "a POST is named by its intent");
    assert_eq!(told(&made, "http.response.status_code"), "201");
    assert_eq!(told(&made, "cicd.pipeline.run.id"), "700");
    scene.answer(refused());
    scene.wait(600).repeat();
    assert_ne!(post(&scene, accepted(), Some(201)).id, lost.id);
}
