//! `deletionPolicy: Cancel`: the finalizer, and what a deletion waits for.
#![allow(clippy::type_complexity, reason = "a table's columns are told by its cases")]

use super::scene::{
    PATIENCE, PATIENT, Scene, accepted, not_sent, pipeline, refused, seen, taken, told, unknown, wakes_in,
};
use crate::decide::trigger::{Effect, FINALIZER, Plan};
use crate::domain::run::CancelCause;
use crate::domain::{Cancelled, DeletionPolicy, FireOn, Lookup, Phase, PipelineStatus, Reason, Report};

fn finalizers(plan: &Plan) -> Option<&[String]> {
    match &plan.effect {
        Effect::SetFinalizers(finalizers) => Some(finalizers),
        Effect::Nothing
        | Effect::ReadCredentials(_)
        | Effect::LookUp(_)
        | Effect::LookAt(_)
        | Effect::LookAtOwn(_)
        | Effect::LookInto(_)
        | Effect::Fire(_)
        | Effect::Retry(_)
        | Effect::Name(_)
        | Effect::DeletePipeline(_)
        | Effect::DeleteObject
        | Effect::Cancel(_) => None,
    }
}

/// The finalizer is taken off, and no other.
fn lets_go(plan: &Plan) -> bool {
    finalizers(plan).is_some_and(|left| *left == ["example.com/other".to_owned()])
}

fn kept(mut scene: Scene) -> Scene {
    scene.edit(|spec| spec.deletion_policy = DeletionPolicy::Cancel);
    scene.trigger.finalizers = vec!["example.com/other".into(), FINALIZER.into()];
    scene.step();
    scene
}

fn delete(scene: &mut Scene) -> Plan {
    scene.trigger.deleted_at = Some(scene.now);
    scene.step()
}

fn firing() -> Scene {
    let mut scene = Scene::new(FireOn::Apply);
    scene.step();
    scene
}

#[test]
fn the_finalizer_is_on_before_anything_is_fired_and_off_when_it_is_not_wanted() {
    let mut scene = Scene::new(FireOn::Apply);
    scene.edit(|spec| spec.deletion_policy = DeletionPolicy::Cancel);
    scene.trigger.finalizers = vec!["example.com/other".into()];
    let plan = scene.step();
    assert_eq!(finalizers(&plan), Some(&["example.com/other".to_owned(), FINALIZER.to_owned()][..]));
    assert!(plan.status.is_none() && scene.posts.is_empty());
    scene.trigger.finalizers = finalizers(&plan).unwrap().to_vec();
    scene.step();
    assert_eq!(scene.posts.len(), 1);

    scene.break_spec();
    assert_eq!(finalizers(&scene.step()), None, "a spec that cannot be read says nothing of it");
    scene.mend_spec().edit(|spec| spec.deletion_policy = DeletionPolicy::Orphan);
    assert!(lets_go(&scene.step()));
}

#[test]
fn what_a_deletion_finds() {
    let ended = || {
        let mut scene = Scene::running();
        scene.sight(seen(PipelineStatus::Success));
        scene
    };
    let rejected = || {
        let mut scene = firing();
        scene.answer(refused());
        scene
    };
    let idle = || {
        let mut scene = Scene::new(FireOn::Request);
        scene.step();
        scene
    };
    let held = || {
        let mut scene = Scene::new(FireOn::Apply);
        scene.edit(|spec| spec.access_token = None).step();
        scene.answer(unknown());
        scene
    };
    let cases: &[(&str, &dyn Fn() -> Scene, bool, &str)] = &[
        ("nothing was ever asked", &idle, true, ""),
        ("it has ended", &ended, true, ""),
        ("nothing was sent", &Scene::pending, true, ""),
        ("it was refused", &rejected, true, ""),
        ("nobody can tell", &held, true, "!LeftRunning"),
        ("it is on its way", &firing, false, ""),
        ("it runs", &Scene::running, false, "CancelRequested"),
    ];
    for (sentence, scene, goes, events) in cases {
        let mut scene = kept(scene());
        let posts = scene.posts.len();
        let plan = delete(&mut scene);
        assert_eq!(lets_go(&plan), *goes, "{sentence}");
        assert_eq!(told(&plan).join(" "), *events, "{sentence}");
        assert_eq!(scene.posts.len(), posts, "{sentence}");
        assert!(
            *goes || plan.wake.is_some() || plan.effect != Effect::Nothing,
            "{sentence}: somebody comes back"
        );
    }
}

#[test]
fn without_our_finalizer_a_deletion_cancels_nothing() {
    let mut scene = Scene::running();
    scene.edit(|spec| spec.deletion_policy = DeletionPolicy::Cancel);
    assert_eq!(delete(&mut scene).effect, Effect::Nothing);
}

#[test]
fn what_runs_is_cancelled_and_goes_once_gitlab_has_taken_that() {
    let mut scene = kept(Scene::running());
    let plan = delete(&mut scene);
    assert!(matches!(plan.effect, Effect::Cancel(_)) && plan.status.is_some(), "{plan:?}");
    assert_eq!(scene.run().cancel_requested_by, Some(CancelCause::Deletion));
    let plan = scene.brought(taken(PipelineStatus::Canceling), 60);
    assert!(lets_go(&plan) && plan.events.is_empty(), "{plan:?}");
}

#[test]
fn what_cannot_be_cancelled_goes_in_bounded_time_and_an_event_says_why() {
    let refused = |reason| Cancelled::Refused { reason, message: "no".into() };
    let trouble = |reason| Cancelled::Trouble { reason, message: "no".into() };
    let cases = [
        ("refused", refused(Reason::Forbidden), 0, "!LeftRunning"),
        ("it is gone already", refused(Reason::PipelineGone), 0, ""),
        ("the Secret is gone", trouble(Reason::SecretMissing), 30, "!LeftRunning"),
        ("GitLab is down", trouble(Reason::Unreachable), PATIENT, "!LeftRunning"),
    ];
    for (sentence, brought, after, events) in cases {
        let mut scene = kept(Scene::running());
        delete(&mut scene);
        let mut plan = scene.brought(brought, 10_000);
        if after > 0 {
            assert!(
                !lets_go(&plan) && wakes_in(&scene, &plan) == i64::try_from(after).ok(),
                "{sentence}: {plan:?}"
            );
            plan = scene.wait(after).step();
        }
        assert!(lets_go(&plan), "{sentence}: {plan:?}");
        assert_eq!(told(&plan).join(" "), events, "{sentence}");
    }
}

#[test]
fn what_is_on_its_way_or_unknown_is_waited_for_then_cancelled() {
    let mut scene = kept(firing());
    delete(&mut scene);
    assert!(matches!(scene.answer(accepted()).effect, Effect::Cancel(_)));

    let mut scene = kept(firing());
    delete(&mut scene);
    assert!(lets_go(&scene.answer(not_sent())), "nothing was made");

    let mut scene = kept(firing());
    delete(&mut scene);
    scene.wait(PATIENCE).step();
    assert_eq!(scene.phase(), Phase::Unknown);
    let running = pipeline(PipelineStatus::Running);
    let found = Lookup::Found { pipeline: running, report: Report::default(), duplicates: vec![] };
    assert!(matches!(scene.look(found).effect, Effect::Cancel(_)));
}

#[test]
fn an_outcome_that_stays_unknown_holds_nothing_for_ever() {
    let mut scene = kept(firing());
    scene.answer(unknown());
    delete(&mut scene);
    scene.wait(PATIENT);
    scene.facts.look_again = Some(scene.now + std::time::Duration::from_secs(9));
    let plan = scene.step();
    assert!(lets_go(&plan), "{plan:?}");
    assert_eq!(told(&plan), ["!LeftRunning"]);
}

#[test]
fn a_process_that_comes_late_asks_once() {
    let mut scene = kept(Scene::running());
    delete(&mut scene);
    let plan = scene.restart().wait(10 * PATIENT).step();
    assert!(matches!(plan.effect, Effect::Cancel(_)), "{plan:?}");
    let down = Cancelled::Trouble { reason: Reason::Unreachable, message: "no".into() };
    assert!(lets_go(&scene.brought(down, 5)));
}
