//! The duplicate watch: one more look, a resolution delay after a repeat was accepted or a pipeline was found.

use super::scene::{DELAY, Scene, accepted, not_sent, pipeline, refused, seen, told, unknown, wakes_in};
use crate::decide::trigger::{Effect, Plan};
use crate::domain::{Answer, FireOn, Lookup, OnUnknown, Phase, PipelineStatus, Reason};

fn found(id: u64, duplicates: Vec<u64>) -> Lookup {
    let mut pipeline = pipeline(PipelineStatus::Running);
    pipeline.id = id;
    Lookup::Found { pipeline, report: crate::domain::Report::default(), duplicates }
}

/// A run whose second POST was accepted, as pipeline 700.
fn repeated() -> Scene {
    let mut scene = Scene::pending();
    scene.wait(5).repeat();
    scene.answer(accepted());
    assert_eq!((scene.phase(), scene.posts.len()), (Phase::Running, 2));
    scene
}

/// A run whose pipeline 700 was found.
fn adopted() -> Scene {
    let mut scene = Scene::new(FireOn::Apply);
    scene.step();
    scene.answer(unknown());
    scene.look(found(700, vec![]));
    assert_eq!(scene.phase(), Phase::Running);
    scene
}

fn checks(scene: &Scene) -> bool {
    scene.run().attempt.as_ref().unwrap().check_at.is_some()
}

fn looks(plan: &Plan) -> bool {
    matches!(plan.effect, Effect::LookUp(_))
}

#[test]
fn a_first_post_that_was_accepted_is_not_looked_at_again() {
    let mut scene = Scene::running();
    assert!(!checks(&scene));
    scene.wait(10_000);
    assert!(!looks(&scene.step()));
}

#[test]
fn one_look_is_taken_a_resolution_delay_later_and_none_after_it() {
    for mut scene in [repeated(), adopted()] {
        let plan = scene.step();
        assert_eq!(
            (plan.effect, wakes_in(&scene, &scene.decide())),
            (Effect::Nothing, Some(DELAY.cast_signed()))
        );
        assert!(!looks(&scene.wait(DELAY - 1).step()));
        assert!(looks(&scene.wait(1).step()));
        let plan = scene.look(found(700, vec![]));
        assert_eq!(
            (told(&plan), scene.run().duplicates.len()),
            (vec![], 0),
            "its own pipeline is none too many"
        );
        assert!(!checks(&scene) && plan.status.is_some(), "on record");
        assert!(!looks(&scene.wait(10_000).step()));
    }
}

#[test]
fn a_second_pipeline_is_told_once_and_put_on_record() {
    for (sentence, look) in [
        ("the later one is the newest", found(705, vec![700])),
        ("the own one is the newest", found(700, vec![705])),
        ("the own one is gone", found(705, vec![])),
    ] {
        let mut scene = repeated();
        let plan = scene.wait(DELAY).look(look);
        assert_eq!(told(&plan), ["!DuplicatePipeline"], "{sentence}");
        assert_eq!(scene.run().duplicates, [705], "{sentence}");
        assert_eq!(scene.phase(), Phase::Running, "{sentence}: its own pipeline is followed as before");
        assert_eq!(told(&scene.step()), Vec::<String>::new(), "{sentence}");
    }
}

#[test]
fn what_was_told_when_the_pipeline_was_found_is_not_told_again() {
    let mut scene = Scene::new(FireOn::Apply);
    scene.step();
    scene.answer(unknown());
    assert_eq!(told(&scene.look(found(702, vec![701]))), ["PipelineFound", "!DuplicatePipeline"]);
    assert_eq!(told(&scene.wait(DELAY).look(found(702, vec![701]))), Vec::<String>::new());
    assert_eq!(scene.run().duplicates, [701]);
}

#[test]
fn the_look_is_taken_after_the_end_too_and_keeps_the_object_awake() {
    let mut scene = repeated();
    let plan = scene.sight(seen(PipelineStatus::Success));
    assert_eq!((scene.phase(), wakes_in(&scene, &plan)), (Phase::Succeeded, Some(DELAY.cast_signed())));
    assert!(!plan.is_settled());
    let plan = scene.wait(DELAY).look(found(705, vec![700]));
    assert_eq!((told(&plan), scene.phase()), (vec!["!DuplicatePipeline".to_owned()], Phase::Succeeded));
    assert!(plan.is_settled() || scene.step().is_settled());
}

#[test]
fn a_repeat_that_failed_at_birth_is_one_pipeline_of_those_found() {
    let mut scene = Scene::pending();
    scene.wait(5).repeat();
    scene.answer(Answer::FailedAtBirth { message: "invalid yaml".into() });
    assert_eq!(told(&scene.look(found(700, vec![]))), Vec::<String>::new(), "linked");
    let plan = scene.wait(DELAY).look(found(705, vec![700]));
    assert_eq!(
        (told(&plan), scene.run().duplicates.clone()),
        (vec!["!DuplicatePipeline".to_owned()], vec![705])
    );
}

#[test]
fn two_that_carry_the_name_of_a_stillborn_one_are_told_when_it_is_linked() {
    let mut scene = Scene::pending();
    scene.wait(5).repeat();
    scene.answer(Answer::FailedAtBirth { message: "invalid yaml".into() });
    assert_eq!(told(&scene.look(found(705, vec![700]))), ["!DuplicatePipeline"]);
    assert_eq!(scene.run().duplicates, [700]);
}

#[test]
fn a_look_that_began_before_it_was_due_is_not_the_one() {
    let mut scene = repeated();
    scene.facts.look_took = std::time::Duration::from_secs(3);
    scene.wait(DELAY + 2).look(found(700, vec![]));
    assert!(checks(&scene));
    scene.wait(1).look(found(700, vec![]));
    assert!(!checks(&scene));
}

#[test]
fn trouble_is_waited_out_for_an_hour_and_what_cannot_be_told_is_let_go() {
    let trouble = || Lookup::Trouble { reason: Reason::Unreachable, message: "down".into() };
    let mut scene = repeated();
    let plan = scene.wait(DELAY).look(trouble());
    assert_eq!((checks(&scene), wakes_in(&scene, &plan)), (true, Some(10)));
    scene.wait(3599).look(trouble());
    assert!(checks(&scene), "a second before the hour is over");
    scene.wait(1).look(trouble());
    assert!(!checks(&scene));

    let cannot = Lookup::CannotTell { reason: Reason::Forbidden, message: "no".into() };
    for lookup in [Lookup::NoCandidate, Lookup::NoneOurs, cannot] {
        let mut scene = repeated();
        scene.wait(DELAY).look(lookup);
        assert!(!checks(&scene));
    }
}

#[test]
fn nobody_looks_where_nothing_can_be_read_back() {
    let mut blind = Scene::new(FireOn::Apply);
    blind.edit(|spec| spec.access_token = None).step();
    let mut unmarked = Scene::new(FireOn::Apply);
    unmarked.edit(|spec| spec.trigger_token = None).step();
    let mut refused_again = Scene::new(FireOn::Apply);
    refused_again.step();
    for (scene, answer) in
        [(&mut blind, accepted()), (&mut unmarked, accepted()), (&mut refused_again, refused())]
    {
        scene.answer(not_sent());
        scene.wait(5).repeat();
        scene.answer(answer);
        assert!(!checks(scene), "{:?}", scene.phase());
    }
    // The token was taken away meanwhile.
    let mut scene = repeated();
    scene.edit(|spec| spec.access_token = None);
    scene.trigger.status.run.as_deref_mut().unwrap().target.access = None;
    scene.wait(DELAY).step();
    assert!(!checks(&scene));
}

#[test]
fn a_new_cause_does_not_wait_for_the_look_and_takes_its_place() {
    let mut scene = repeated();
    scene.sight(seen(PipelineStatus::Success));
    scene.wait(DELAY).git_ref("B");
    let plan = scene.step();
    assert!(matches!(plan.effect, Effect::Fire(_)), "{plan:?}");
    assert!(!checks(&scene));
}

#[test]
fn a_run_that_was_sent_again_on_demand_is_told_of_differently() {
    for on_unknown in [OnUnknown::Refire, OnUnknown::Hold] {
        let mut scene = Scene::new(FireOn::Apply);
        scene.edit(|spec| spec.on_unknown = on_unknown).step();
        scene.answer(unknown());
        let cannot = Lookup::CannotTell { reason: Reason::Forbidden, message: "no".into() };
        scene.wait(DELAY).look(cannot);
        if on_unknown == OnUnknown::Hold {
            scene.resolve("1:refire").step();
        }
        scene.wait(60).repeat();
        scene.answer(accepted());
        assert_eq!((scene.phase(), scene.posts.len()), (Phase::Running, 2));
        let plan = scene.wait(DELAY).look(found(700, vec![699]));
        assert_eq!((told(&plan), scene.run().duplicates.clone()), (vec!["!SentTwice".to_owned()], vec![699]));
    }
}

#[test]
fn an_object_on_its_way_out_is_not_looked_at() {
    let mut scene = repeated();
    scene.trigger.deleted_at = Some(scene.now);
    assert!(!looks(&scene.wait(DELAY).step()));
}

#[test]
fn at_most_ten_are_put_on_record() {
    let mut scene = repeated();
    scene.wait(DELAY).look(found(700, (800..850).collect()));
    assert_eq!(scene.run().duplicates, (800..810).collect::<Vec<_>>());
}
