//! A cause that comes while a run is under way: it waits or replaces, collapses, and is answered.
#![allow(clippy::type_complexity, reason = "a table's columns are told by its cases")]

use super::scene::{Move, PATIENT, Scene, accepted, fires, refused, seen, taken, told, unknown, wakes_in};
use crate::decide::trigger::{Effect, Plan};
use crate::domain::run::{CancelCause, CauseKind};
use crate::domain::status::{Answered, Truth};
use crate::domain::{Cancelled, ConcurrencyPolicy, FireOn, Phase, PipelineStatus, Reason, Sighting, Span};

fn cancels(plan: &Plan) -> bool {
    matches!(plan.effect, Effect::Cancel(_))
}

fn replacing() -> Scene {
    let mut scene = Scene::running();
    scene.edit(|spec| spec.concurrency_policy = ConcurrencyPolicy::Replace).step();
    scene
}

fn forbidden() -> Cancelled {
    Cancelled::Refused { reason: Reason::Forbidden, message: "403".into() }
}

/// What waits: whether a content does, the request, and how many collapsed.
fn waits(scene: &Scene) -> Option<(bool, Option<&str>, u32)> {
    let waiting = scene.trigger.status.waiting.as_ref()?;
    Some((waiting.digest.is_some(), waiting.request.as_deref(), waiting.collapsed))
}

fn succeeded(scene: &Scene) -> Truth {
    scene.trigger.status.conditions.iter().find(|c| c.kind == "Succeeded").unwrap().status
}

fn said(scene: &Scene) -> (Phase, Reason, &str) {
    let run = scene.run();
    (run.phase, run.reason.unwrap(), run.message.as_deref().unwrap())
}

#[test]
fn what_waits_and_what_collapsed_into_it() {
    type Case = (&'static str, &'static [Move], Option<(bool, Option<&'static str>, u32)>, usize, u32);
    let cases: &[Case] = &[
        ("nothing", &[], None, 1, 0),
        ("an edit of a field that fires nothing", &[|s| s.edit(|_| ())], None, 1, 0),
        ("an edit", &[|s| s.git_ref("B")], Some((true, None, 0)), 2, 0),
        ("an edit taken back", &[|s| s.git_ref("B"), |s| s.git_ref("A")], None, 1, 0),
        (
            "two edits: the first collapsed",
            &[|s| s.git_ref("B"), |s| s.git_ref("C")],
            Some((true, None, 1)),
            2,
            1,
        ),
        ("two edits that nobody saw apart", &[|s| s.git_ref("B").git_ref("C")], Some((true, None, 0)), 2, 0),
        ("a request", &[|s| s.ask("v")], Some((false, Some("v"), 0)), 2, 0),
        ("two requests", &[|s| s.ask("v"), |s| s.ask("w")], Some((false, Some("w"), 1)), 2, 1),
        (
            "an edit and a request are answered by one run",
            &[|s| s.git_ref("B"), |s| s.ask("v")],
            Some((true, Some("v"), 0)),
            2,
            0,
        ),
        (
            "a request, and its annotation is gone",
            &[|s| s.ask("v"), |s| s.ask("")],
            Some((false, Some("v"), 0)),
            2,
            0,
        ),
        (
            "five edits and three requests",
            &[
                |s| s.git_ref("1"),
                |s| s.ask("v").git_ref("2"),
                |s| s.git_ref("3"),
                |s| s.ask("w").git_ref("4"),
                |s| s.ask("x").git_ref("5"),
            ],
            Some((true, Some("x"), 6)),
            2,
            6,
        ),
    ];
    for (sentence, moves, waiting, runs, collapsed) in cases {
        let mut scene = Scene::running();
        for step in *moves {
            step(&mut scene).step();
            assert!(scene.decide().status.is_none(), "{sentence}: taken down once");
        }
        assert_eq!(waits(&scene), *waiting, "{sentence}");
        assert_eq!((scene.phase(), scene.posts.len()), (Phase::Running, 1), "{sentence}");
        scene.settle();
        assert_eq!((scene.posts.len(), scene.run().collapsed), (*runs, *collapsed), "{sentence}");
        assert_eq!(waits(&scene), None, "{sentence}");
    }
}

#[test]
fn with_fire_on_request_an_edit_waits_for_nothing() {
    let mut scene = Scene::new(FireOn::Request);
    scene.settle().ask("v").step();
    scene.answer(accepted());
    scene.git_ref("B").step();
    assert_eq!(waits(&scene), None);
}

#[test]
fn a_request_that_collapsed_is_answered_and_the_success_it_then_waits_for_is_no_earlier_one() {
    let mut scene = Scene::running();
    scene.ask("v").step();
    assert_eq!(scene.answered(), None, "its run has not begun");
    scene.ask("w").step();
    let handled = scene.trigger.status.last_handled.fire.as_ref().unwrap();
    assert_eq!((handled.value.as_str(), handled.answer), ("v", Answered::Collapsed));
    assert_eq!(succeeded(&scene), Truth::Unknown);
    // The annotation may even be taken away: who asked was told that a run comes.
    scene.ask("");
    let plan = scene.sight(seen(PipelineStatus::Success));
    assert_eq!((fires(&plan), succeeded(&scene)), (Some(CauseKind::Request), Truth::Unknown));
    assert_eq!(scene.run().request.as_deref(), Some("w"));
    let handled = scene.trigger.status.last_handled.fire.as_ref().unwrap();
    assert_eq!((handled.value.as_str(), handled.answer), ("w", Answered::Fired));
    scene.settle();
    assert_eq!((scene.posts.len(), succeeded(&scene)), (2, Truth::True));
}

#[test]
fn what_is_taken_back_after_the_run_has_ended_waits_no_longer() {
    let mut scene = Scene::new(FireOn::Apply);
    scene.step();
    scene.git_ref("B").step();
    scene.budget(Some(60)).answer(refused());
    assert_eq!(waits(&scene), Some((true, None, 0)), "for the rate limit");
    scene.git_ref("A").step();
    assert_eq!(waits(&scene), None);
    assert!(scene.decide().status.is_none());
}

#[test]
fn a_restart_forgets_nothing_of_what_waits() {
    let mut scene = Scene::running();
    scene.git_ref("B").step();
    scene.ask("v").step();
    scene.restart().git_ref("C").step();
    assert_eq!(waits(&scene), Some((true, Some("v"), 1)));
}

#[test]
fn suspending_drops_the_request_that_waits_and_keeps_the_edit() {
    let mut scene = Scene::running();
    scene.git_ref("B").ask("v").step();
    scene.suspend(true).step();
    assert_eq!((waits(&scene), scene.answered()), (Some((true, None, 0)), Some(Answered::Suspended)));
    scene.sight(seen(PipelineStatus::Success));
    assert_eq!((scene.phase(), scene.posts.len()), (Phase::Suspended, 1));
    scene.git_ref("A").step();
    assert_eq!(waits(&scene), None, "taken back while suspended");
    scene.suspend(false).settle();
    assert_eq!(scene.posts.len(), 1);
}

// ---- Replace

#[test]
fn replace_cancels_waits_for_the_end_and_only_then_fires() {
    let causes: &[(Move, CauseKind)] =
        &[(|s| s.git_ref("B"), CauseKind::Change), (|s| s.ask("v"), CauseKind::Request)];
    for (cause, kind) in causes {
        let mut scene = replacing();
        let plan = cause(&mut scene).step();
        assert!(cancels(&plan) && fires(&plan).is_none(), "{kind:?}");
        assert_eq!(scene.run().cancel_request(), Some((scene.now, CancelCause::Replace)));
        assert_eq!(told(&plan), ["CancelRequested"]);
        let message = "pipeline 700 is being cancelled, for a newer cause (concurrencyPolicy: Replace)";
        assert_eq!(said(&scene), (Phase::Running, Reason::CancelRequested, message));

        scene.brought(taken(PipelineStatus::Canceling), 60);
        scene.sight(seen(PipelineStatus::Canceling));
        assert_eq!(scene.posts.len(), 1, "canceling is no end");
        let plan = scene.sight(seen(PipelineStatus::Canceled));
        assert_eq!(fires(&plan), Some(*kind));
        assert_eq!(scene.past(), [(1, Phase::Canceled)]);
        assert_eq!((scene.run().seq, scene.run().cancel_request()), (2, None));
    }
}

#[test]
fn what_replace_waits_for() {
    type Case = (&'static str, fn() -> Scene, Phase);
    let cases: &[Case] = &[
        (
            "a request on its way",
            || {
                let mut s = Scene::new(FireOn::Apply);
                s.step();
                s
            },
            Phase::Firing,
        ),
        (
            "an outcome that nobody knows",
            || {
                let mut s = Scene::new(FireOn::Apply);
                s.step();
                s.answer(unknown());
                s
            },
            Phase::Unknown,
        ),
    ];
    for (sentence, scene, phase) in cases {
        let mut scene = scene();
        scene.edit(|spec| spec.concurrency_policy = ConcurrencyPolicy::Replace).step();
        scene.facts.look_again = Some(scene.now + std::time::Duration::from_secs(9));
        let plan = scene.ask("v").step();
        assert!(!cancels(&plan) && fires(&plan).is_none(), "{sentence}");
        assert_eq!((scene.run().phase, waits(&scene)), (*phase, Some((false, Some("v"), 0))), "{sentence}");
    }
    let mut scene = Scene::new(FireOn::Apply);
    scene.edit(|spec| spec.concurrency_policy = ConcurrencyPolicy::Replace).step();
    scene.git_ref("B").step();
    assert!(cancels(&scene.answer(accepted())), "once the pipeline is known it is cancelled");
}

#[test]
fn nothing_is_replaced_while_nothing_would_be_fired() {
    let stops: &[(&str, Move)] = &[
        ("suspended", |s| s.suspend(true)),
        ("paused", |s| {
            s.policy.paused = true;
            s
        }),
        ("a spec that cannot be fired", |s| s.break_spec()),
    ];
    for (sentence, stop) in stops {
        let mut scene = replacing();
        assert!(!cancels(&stop(&mut scene).git_ref("B").step()), "{sentence}");
        assert_eq!(scene.run().cancel_request(), None, "{sentence}");
    }
}

#[test]
fn where_the_pipeline_does_not_go_away_the_new_cause_goes_on_waiting_and_says_why() {
    #[rustfmt::skip]
    let cases: &[(&str, fn() -> Cancelled, u64, &str)] = &[
        ("refused", forbidden, 0,
         "a newer cause waits: pipeline 700 is to be cancelled, for a newer cause (concurrencyPolicy: Replace), and cannot be (Forbidden): 403"),
        ("it does not end", || taken(PipelineStatus::Canceling), PATIENT,
         "a newer cause waits: pipeline 700 was to be cancelled, for a newer cause (concurrencyPolicy: Replace), and has not ended in 5m"),
    ];
    for (sentence, brought, after, message) in cases {
        let mut scene = replacing();
        scene.git_ref("B").step();
        let plan = scene.brought(brought(), 10_000);
        if *after > 0 {
            assert_eq!(
                (said(&scene).1, wakes_in(&scene, &plan)),
                (Reason::CancelRequested, Some(300)),
                "{sentence}"
            );
            scene.wait(*after).step();
        }
        assert_eq!(said(&scene), (Phase::Running, Reason::ReplaceBlocked, *message), "{sentence}");
        assert!(scene.decide().status.is_none() && scene.posts.len() == 1, "{sentence}");
        let plan = scene.sight(seen(PipelineStatus::Success));
        assert_eq!(fires(&plan), Some(CauseKind::Change), "{sentence}: it fires when the run has ended");
    }
}

#[test]
fn what_waits_is_told_beside_what_the_run_does() {
    let mut scene = Scene::running();
    let told = |plan: Plan| plan.status.unwrap().message.unwrap();
    assert_eq!(told(scene.git_ref("B").step()), "pipeline 700 is under way; a newer cause waits");
    assert_eq!(
        told(scene.git_ref("C").step()),
        "pipeline 700 is under way; a newer cause waits (1 collapsed)"
    );
}

#[test]
fn a_blocked_replace_is_told_by_one_event() {
    let mut scene = replacing();
    scene.git_ref("B").step();
    assert_eq!(told(&scene.brought(forbidden(), 600)), ["!ReplaceBlocked"]);
    let plan = scene.git_ref("C").step();
    assert_eq!((told(&plan), waits(&scene)), (vec![], Some((true, None, 1))));
}

#[test]
fn a_cause_that_is_taken_back_leaves_the_cancelled_run_cancelled() {
    let mut scene = replacing();
    scene.git_ref("B").step();
    scene.brought(taken(PipelineStatus::Canceling), 60);
    scene.git_ref("A").step();
    assert_eq!(waits(&scene), None);
    scene.sight(seen(PipelineStatus::Canceled));
    assert_eq!((scene.phase(), scene.posts.len()), (Phase::Canceled, 1));
}

#[test]
fn a_manual_job_that_is_left_over_does_not_block_replace_for_ever() {
    let mut scene = replacing();
    scene.git_ref("B").step();
    let plan = scene.brought(taken(PipelineStatus::Manual), 60);
    assert_eq!((fires(&plan), scene.past()), (Some(CauseKind::Change), vec![(1, Phase::Canceled)]));
}

#[test]
fn a_deleted_pipeline_makes_room_too() {
    let mut scene = replacing();
    scene.git_ref("B").step();
    assert_eq!(fires(&scene.sight(Sighting::Gone)), Some(CauseKind::Change));
}

#[test]
fn a_timeout_gives_a_replaced_run_its_time_to_end() {
    let mut scene = replacing();
    scene.edit(|spec| spec.timeout = Some(Span::from_secs(60))).step();
    scene.wait(50).git_ref("B").step();
    scene.brought(taken(PipelineStatus::Canceling), 10_000);
    scene.wait(60).step();
    assert_eq!((scene.phase(), scene.posts.len()), (Phase::Running, 1));
    let plan = scene.wait(PATIENT).step();
    assert_eq!((fires(&plan), scene.past()), (Some(CauseKind::Change), vec![(1, Phase::TimedOut)]));
}
