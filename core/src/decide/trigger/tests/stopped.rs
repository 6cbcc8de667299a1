//! `suspend` and `--pause`: nothing is fired, everything else goes on.

use super::scene::{PATIENCE, Scene, accepted, fires, refused, seen, unknown};
use crate::decide::trigger::{Credentials, Effect, FirstSight};
use crate::domain::status::Answered;
use crate::domain::{FireOn, Phase, PipelineStatus, Reason};

#[test]
fn ten_edits_while_suspended_fire_once() {
    let mut scene = Scene::new(FireOn::Apply);
    scene.settle().suspend(true).step();
    for i in 0..10 {
        scene.git_ref(&format!("edit-{i}")).step();
    }
    scene.suspend(false).settle();
    assert_eq!((scene.posts.len(), scene.run().seq), (2, 2));
    assert_eq!(scene.posts[1].target.git_ref, "edit-9");
}

#[test]
fn a_request_made_while_suspended_is_answered_and_never_fired() {
    let mut scene = Scene::new(FireOn::Request);
    scene.settle().suspend(true).step();
    scene.ask("v").step();
    assert_eq!(scene.answered(), Some(Answered::Suspended));
    scene.suspend(false).settle();
    assert!(scene.posts.is_empty());
    scene.ask("again").settle();
    assert_eq!(scene.posts.len(), 1);
}

#[test]
fn what_was_under_way_goes_on() {
    let stop = |scene: &mut Scene| {
        scene.suspend(true).step();
    };

    let mut scene = Scene::running();
    stop(&mut scene);
    assert_eq!(scene.phase(), Phase::Running, "a run that is active is told of");
    assert!(scene.step().follow.is_some(), "and followed");
    scene.sight(seen(PipelineStatus::Success));
    assert_eq!((scene.phase(), scene.run().phase), (Phase::Suspended, Phase::Succeeded));

    let mut scene = Scene::new(FireOn::Apply);
    scene.step();
    stop(&mut scene);
    scene.answer(accepted());
    assert_eq!(scene.phase(), Phase::Running, "the answer to a POST is taken");

    let mut scene = Scene::new(FireOn::Apply);
    scene.step();
    stop(&mut scene);
    scene.wait(PATIENCE).step();
    assert_eq!(scene.phase(), Phase::Unknown, "silence is an unknown outcome");
}

#[test]
fn repeats_wait_too() {
    let mut scene = Scene::pending();
    scene.suspend(true).wait(3600).credentials(Credentials::Ready);
    let plan = scene.step();
    assert_eq!(plan.effect, Effect::Nothing);
    assert_eq!((scene.phase(), ready_reason(&scene)), (Phase::Pending, Reason::Suspended.as_str()));
    scene.suspend(false).step();
    assert_eq!((scene.posts.len(), scene.run().seq), (2, 1), "resumed, the same run is sent");

    let mut scene = Scene::new(FireOn::Apply);
    scene.step();
    scene.answer(refused());
    scene.suspend(true).wait(3600).credentials(Credentials::Ready).step();
    assert_eq!((scene.phase(), scene.run().phase, scene.posts.len()), (Phase::Suspended, Phase::Rejected, 1));
    scene.suspend(false).step();
    assert_eq!((scene.posts.len(), scene.run().seq), (2, 1));
}

#[test]
fn an_unknown_outcome_stays_what_it_is() {
    let mut scene = Scene::new(FireOn::Apply);
    scene.step();
    scene.answer(unknown());
    for _ in 0..3 {
        scene.suspend(true).git_ref("B").wait(3600).step();
        assert_eq!(scene.phase(), Phase::Unknown);
        scene.suspend(false).ask("now").step();
    }
    assert_eq!((scene.phase(), scene.posts.len()), (Phase::Unknown, 1));
}

#[test]
fn suspended_at_first_sight_it_is_held_when_resumed_if_the_operator_holds() {
    let mut scene = Scene::new(FireOn::Apply);
    scene.policy.first_sight = FirstSight::Hold;
    scene.suspend(true).step();
    assert!(scene.trigger.status.run.is_none());
    assert!(fires(&scene.suspend(false).step()).is_none());
    assert_eq!(scene.phase(), Phase::Held);
}

#[test]
fn an_object_being_deleted_fires_and_repeats_nothing() {
    let mut firing = Scene::new(FireOn::Apply);
    firing.step();
    for mut scene in [Scene::new(FireOn::Apply), Scene::running(), Scene::pending(), firing] {
        let posts = scene.posts.len();
        scene.trigger.deleted_at = Some(scene.now);
        scene.git_ref("B").ask("v").wait(3600).credentials(Credentials::Ready);
        scene.step();
        scene.step();
        assert_eq!(scene.posts.len(), posts);
        assert_eq!(scene.answered(), None);
    }
}

#[test]
fn while_a_finalizer_keeps_an_object_what_becomes_of_its_run_is_told() {
    let mut scene = Scene::new(FireOn::Apply);
    scene.step();
    scene.trigger.deleted_at = Some(scene.now);
    scene.answer(accepted());
    assert_eq!(scene.phase(), Phase::Running);
    assert!(scene.step().follow.is_some());
    scene.sight(seen(PipelineStatus::Success));
    assert_eq!(scene.phase(), Phase::Succeeded);
    let plan = scene.step();
    assert!(plan.is_settled() && plan.status.is_none(), "{plan:?}");
}

#[test]
fn a_request_made_while_suspended_is_dropped_even_if_a_run_is_active() {
    let mut scene = Scene::running();
    scene.suspend(true).ask("v").step();
    assert_eq!(scene.answered(), Some(Answered::Suspended));
    scene.suspend(false).settle();
    assert_eq!(scene.posts.len(), 1);
}

fn ready_reason(scene: &Scene) -> &str {
    &scene.trigger.status.conditions.iter().find(|c| c.kind == "Ready").unwrap().reason
}
