//! `deletionPolicy: Cancel`: the finalizer, and what a deletion waits for.
#![allow(clippy::type_complexity, reason = "a table's columns are told by its cases")]

use super::scene::{
    DELAY, PATIENCE, PATIENT, Scene, accepted, failed, not_sent, pipeline, refused, seen, taken, told,
    unknown, wakes_in,
};
use crate::decide::trigger::{Effect, FINALIZER, Plan};
use crate::domain::run::CancelCause;
use crate::domain::{
    Cancelled, Changed, DeletionPolicy, FireOn, Lookup, Phase, PipelineStatus, Reason, Report, RetryPolicy,
    RetryState, Sighting, Span,
};

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
        | Effect::ReadOutputs(_)
        | Effect::Update(_)
        | Effect::LookAtRequests(_)
        | Effect::GiveUp(_)
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

// ---- The Secret is gone before anybody could look --------------------------------------------------------------

#[test]
fn what_cannot_be_looked_up_for_want_of_the_secret_goes_soon_and_an_event_says_so() {
    let trouble = |reason| Lookup::Trouble { reason, message: "no Secret shop/gitlab".into() };
    let mut scene = kept(firing());
    scene.answer(unknown());
    delete(&mut scene);
    let plan = scene.look(trouble(Reason::SecretMissing));
    assert!(!lets_go(&plan), "the Secret may be on its way back: {plan:?}");
    assert!(wakes_in(&scene, &plan).is_some_and(|wait| wait <= 30));
    let plan = scene.wait(30).look(trouble(Reason::SecretMissing));
    assert!(lets_go(&plan), "{plan:?}");
    assert_eq!(told(&plan), ["!LeftRunning"]);
    let message = &plan.events[0].message;
    assert!(message.contains("looked up") && message.contains("no Secret shop/gitlab"), "{message}");

    // What may come back is waited for.
    let mut scene = kept(firing());
    scene.answer(unknown());
    delete(&mut scene);
    let plan = scene.wait(30).look(trouble(Reason::Unreachable));
    assert!(!lets_go(&plan), "{plan:?}");
}

#[test]
fn an_intent_whose_process_is_gone_and_whose_secret_is_gone_too_goes_as_soon_as_that_is_seen() {
    let mut scene = kept(firing());
    delete(&mut scene);
    scene.restart().wait(PATIENCE).step();
    assert_eq!(scene.phase(), Phase::Unknown);
    let missing = Lookup::Trouble { reason: Reason::SecretMissing, message: "no Secret".into() };
    assert!(lets_go(&scene.look(missing)));
}

// ---- Failed jobs may have been started again ---------------------------------------------------------------------

/// A run whose request to start failed jobs again got no answer.
fn retried() -> Scene {
    let mut scene = Scene::running();
    scene.edit(|spec| spec.retry = Some(RetryPolicy { limit: 2, backoff: Span::from_secs(0) }));
    scene.sight(failed(&[1]));
    look_at_own(&mut scene, failed(&[1]));
    let mut scene = kept(scene);
    assert_eq!((scene.retries.len(), scene.run().retry.as_ref().unwrap().state), (1, RetryState::Unknown));
    lose_reply(&mut scene);
    scene
}

fn lose_reply(scene: &mut Scene) {
    scene.facts.retried =
        Some((scene.run().retry_key().unwrap(), Changed::Unknown { message: "reset".into() }));
}

fn look_at_own(scene: &mut Scene, sighting: Sighting) -> Plan {
    scene.facts.looked_at = Some((700, sighting));
    let plan = scene.step();
    scene.facts.looked_at = None;
    plan
}

#[test]
fn a_retry_that_may_still_take_effect_is_waited_for_and_then_cancelled() {
    let mut scene = retried();
    let plan = delete(&mut scene);
    assert!(matches!(plan.effect, Effect::LookAtOwn(_)), "first of all a look: {plan:?}");
    let plan = look_at_own(&mut scene, failed(&[1]));
    assert!(plan.effect == Effect::Nothing && plan.wake.is_some(), "it may come yet: {plan:?}");
    let plan = look_at_own(scene.wait(40), seen(PipelineStatus::Running));
    assert!(matches!(plan.effect, Effect::Cancel(_)), "{plan:?}");
    assert!(lets_go(&scene.brought(taken(PipelineStatus::Canceling), 60)));
}

#[test]
fn a_retry_that_had_no_effect_is_not_repeated_and_the_object_goes() {
    let mut scene = retried();
    delete(&mut scene);
    let plan = look_at_own(scene.wait(DELAY + 10), failed(&[1]));
    assert!(lets_go(&plan) && scene.retries.len() == 1, "{plan:?}");
    assert_eq!(scene.phase(), Phase::Failed);
}

#[test]
fn a_retry_of_which_nothing_is_known_holds_the_object_no_longer_than_anything_else() {
    let blind = |reason| Sighting::Trouble { reason, message: "no".into() };
    for (reason, after) in [(Reason::SecretMissing, 30), (Reason::Unreachable, PATIENT)] {
        let mut scene = retried();
        delete(&mut scene);
        assert!(!lets_go(&look_at_own(scene.wait(after - 1), blind(reason))), "{reason}");
        let plan = look_at_own(scene.wait(1), blind(reason));
        assert!(lets_go(&plan), "{reason}: {plan:?}");
        assert_eq!(told(&plan), ["!LeftRunning"], "{reason}");
    }
}

#[test]
fn a_cancel_that_came_before_the_retry_took_effect_is_asked_once_more() {
    let mut scene = retried();
    look_at_own(scene.cancel("1"), failed(&[1]));
    scene.brought(taken(PipelineStatus::Failed), 60);
    delete(&mut scene);
    let plan = look_at_own(scene.wait(1), seen(PipelineStatus::Running));
    assert!(matches!(plan.effect, Effect::Cancel(_)), "{plan:?}");
}
