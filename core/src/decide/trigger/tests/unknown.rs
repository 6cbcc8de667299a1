//! An outcome that is not known: looked for, proven absent, or put before a person.

use super::scene::{DELAY, PATIENCE, Scene, fires, pipeline, seen, told, unknown, wakes_in};
use crate::decide::trigger::{Credentials, Effect, Plan};
use crate::domain::run::CauseKind;
use crate::domain::status::Answered;
use crate::domain::{FireOn, LastAttempt, Lookup, Named, OnUnknown, Phase, PipelineStatus, Reason};

pub(super) fn lookups() -> Vec<Lookup> {
    vec![found(PipelineStatus::Running), Lookup::NoCandidate, Lookup::NoneOurs, cannot_tell(), trouble()]
}

fn found(status: PipelineStatus) -> Lookup {
    Lookup::Found { pipeline: pipeline(status), failed_jobs: vec![], duplicates: vec![] }
}

fn cannot_tell() -> Lookup {
    Lookup::CannotTell { reason: Reason::Forbidden, message: "variables may not be read".into() }
}

fn trouble() -> Lookup {
    Lookup::Trouble { reason: Reason::Unreachable, message: "connection refused".into() }
}

/// A POST that timed out, on record, and about to be looked for.
fn lost() -> Scene {
    let mut scene = Scene::new(FireOn::Apply);
    scene.step();
    let plan = scene.answer(unknown());
    assert_eq!((scene.phase(), wakes_in(&scene, &plan)), (Phase::Unknown, Some(0)), "looked for at once");
    scene
}

/// Looks that find nothing, until the plan is something else than waiting for the next look.
fn until_proven(scene: &mut Scene, lookup: &Lookup) -> Plan {
    for _ in 0..40 {
        let plan = scene.look(lookup.clone());
        if plan.effect != Effect::Nothing || scene.phase() != Phase::Unknown {
            return plan;
        }
        let seconds = wakes_in(scene, &plan).expect("comes back to it");
        assert!((0..=10).contains(&seconds), "what takes effect late is found soon: {seconds}");
        scene.wait(seconds.unsigned_abs());
    }
    panic!("never proven: {:?}", scene.run());
}

#[test]
fn the_unknown_is_looked_for_with_the_runs_own_name_and_target() {
    let mut scene = lost();
    let plan = scene.step();
    let Effect::LookUp(look) = plan.effect else { panic!("{plan:?}") };
    assert_eq!(Some(look.key), scene.run().attempt_key());
    assert_eq!((look.target, look.marked), (scene.run().target.clone(), true));
    assert!(plan.status.is_none(), "nothing is written before a look");
}

#[test]
fn what_is_found_is_followed_as_if_the_reply_had_come() {
    let mut scene = lost();
    let plan = scene.look(found(PipelineStatus::Running));
    assert_eq!((scene.phase(), told(&plan)), (Phase::Running, vec!["PipelineFound".to_owned()]));
    assert_eq!(plan.follow.unwrap().pipeline_id, 700);
    assert_eq!(scene.run().attempt.as_ref().unwrap().last, LastAttempt::Accepted);
    scene.sight(seen(PipelineStatus::Success));
    assert_eq!(scene.phase(), Phase::Succeeded);
    assert_eq!(scene.posts.len(), 1);
}

#[test]
fn what_is_found_at_its_end_ends_the_run_at_once() {
    let mut scene = lost();
    scene.look(found(PipelineStatus::Success));
    assert_eq!(scene.phase(), Phase::Succeeded);
}

#[test]
fn a_second_pipeline_of_one_name_is_told() {
    let mut scene = lost();
    let plan = scene.look(Lookup::Found {
        pipeline: pipeline(PipelineStatus::Running),
        failed_jobs: vec![],
        duplicates: vec![701],
    });
    assert_eq!(told(&plan), ["PipelineFound", "!DuplicatePipeline"]);
}

#[test]
fn absence_is_proven_by_two_looks_a_resolution_delay_apart() {
    for lookup in [Lookup::NoCandidate, Lookup::NoneOurs] {
        let mut scene = lost();
        let before = scene.now;
        let plan = until_proven(&mut scene, &lookup);
        assert!(matches!(plan.effect, Effect::ReadCredentials(_)), "{plan:?}");
        let took = scene.now.duration_since(before).as_secs().unsigned_abs();
        assert!(took >= 10 + DELAY, "{lookup:?} proven after {took} s");
        let name = scene.run().fire_id.clone();
        let plan = scene.credentials(Credentials::Ready).look(lookup);
        assert_eq!(fires(&plan), Some(CauseKind::Apply));
        assert_eq!((scene.posts.len(), &scene.run().fire_id, scene.posts[1].key.count), (2, &name, 2));
    }
}

#[test]
fn a_restarted_operator_waits_the_whole_delay_itself() {
    let mut scene = lost();
    scene.wait(10).look(Lookup::NoCandidate);
    assert!(scene.run().attempt.as_ref().unwrap().absent_at.is_some());
    // The clock was stepped by a day while the process was down.
    scene.restart().wait(10);
    scene.now += std::time::Duration::from_secs(86_400);
    scene.look(Lookup::NoCandidate);
    assert_eq!(scene.phase(), Phase::Unknown, "its own monotonic clock has not seen the delay pass");
    let plan = until_proven(&mut scene, &Lookup::NoCandidate);
    assert!(matches!(plan.effect, Effect::ReadCredentials(_)));
}

#[test]
fn a_clock_that_was_set_back_proves_nothing_early() {
    let mut scene = lost();
    scene.wait(10).look(Lookup::NoCandidate);
    scene.wait(10 + DELAY);
    scene.now -= std::time::Duration::from_secs(DELAY + 5);
    scene.look(Lookup::NoCandidate);
    assert_eq!(scene.phase(), Phase::Unknown, "by the record in status the delay has not passed");
}

#[test]
fn a_slow_look_is_as_old_as_its_beginning() {
    let slow = |scene: &mut Scene, seconds| {
        scene.facts.look_took = std::time::Duration::from_secs(seconds);
        scene.look(Lookup::NoCandidate)
    };
    let mut scene = lost();
    slow(scene.wait(16), 8);
    assert_eq!(
        scene.run().attempt.as_ref().unwrap().absent_at,
        None,
        "it began before the first could count"
    );
    slow(scene.wait(4), 8);
    let first = scene.run().attempt.as_ref().unwrap().absent_at;
    assert_eq!(first, Some(scene.now), "it began late enough, and counts from its end");
    slow(scene.wait(DELAY + 7), 8);
    assert_eq!(scene.phase(), Phase::Unknown, "the second began a second too early");
    let plan = slow(scene.wait(1), 8);
    assert!(matches!(plan.effect, Effect::ReadCredentials(_)), "{plan:?}");
}

#[test]
fn a_late_effect_is_found_by_the_second_look() {
    let mut scene = lost();
    scene.wait(10).look(Lookup::NoCandidate);
    scene.wait(60).look(found(PipelineStatus::Running));
    assert_eq!((scene.phase(), scene.posts.len()), (Phase::Running, 1));
}

#[test]
fn absent_but_edited_meanwhile_is_superseded_and_the_new_content_gets_a_new_name() {
    let mut scene = lost();
    let old = scene.run().fire_id.clone();
    scene.git_ref("B");
    until_proven(&mut scene, &Lookup::NoCandidate);
    assert_eq!(scene.past(), [(1, Phase::Superseded)]);
    assert_ne!(scene.run().fire_id, old);
    assert_eq!((scene.run().target.git_ref.as_str(), scene.run().seq), ("B", 2));
}

#[test]
fn an_unknown_run_blocks_every_new_cause() {
    let mut scene = lost();
    scene.git_ref("B").ask("now");
    for lookup in [Lookup::NoCandidate, trouble()] {
        assert!(fires(&scene.look(lookup)).is_none());
    }
    assert_eq!(scene.run().seq, 1);
}

#[test]
fn what_cannot_be_told_is_held_or_sent_again_as_the_user_chose() {
    struct Case {
        sentence: &'static str,
        lookup: Lookup,
        marked: bool,
        on_unknown: OnUnknown,
        phase: Phase,
    }
    let cases = [
        Case {
            sentence: "held by default",
            lookup: cannot_tell(),
            marked: true,
            on_unknown: OnUnknown::Hold,
            phase: Phase::Held,
        },
        Case {
            sentence: "sent again on Refire",
            lookup: cannot_tell(),
            marked: true,
            on_unknown: OnUnknown::Refire,
            phase: Phase::Pending,
        },
        Case {
            sentence: "without a mark, candidates prove nothing",
            lookup: Lookup::NoneOurs,
            marked: false,
            on_unknown: OnUnknown::Hold,
            phase: Phase::Held,
        },
    ];
    for Case { sentence, lookup, marked, on_unknown, phase } in cases {
        let mut scene = Scene::new(FireOn::Apply);
        scene.edit(|spec| {
            spec.on_unknown = on_unknown;
            if !marked {
                spec.trigger_token = None;
            }
        });
        scene.step();
        scene.answer(unknown());
        until_proven(&mut scene, &lookup);
        assert_eq!(scene.run().phase, phase, "{sentence}");
        assert_eq!(scene.posts.len(), 1, "{sentence}: not in the same breath");
    }
}

#[test]
fn without_a_mark_no_candidate_at_all_still_proves_absence() {
    let mut scene = Scene::new(FireOn::Apply);
    scene.edit(|spec| spec.trigger_token = None).step();
    scene.answer(unknown());
    let plan = until_proven(&mut scene, &Lookup::NoCandidate);
    assert!(matches!(plan.effect, Effect::ReadCredentials(_)));
}

#[test]
fn without_an_access_token_nobody_looks() {
    let mut scene = Scene::new(FireOn::Apply);
    scene.edit(|spec| spec.access_token = None).step();
    scene.answer(unknown());
    scene.step();
    assert_eq!((scene.phase(), scene.run().reason), (Phase::Held, Some(Reason::Undecided)));
}

#[test]
fn trouble_with_looking_goes_on_for_hours_without_a_decision() {
    let mut scene = lost();
    for _ in 0..100 {
        let plan = scene.look(trouble());
        assert_eq!(scene.phase(), Phase::Unknown);
        assert!(plan.wake.is_some());
        scene.wait(60);
    }
    let plan = scene.look(trouble());
    assert!(plan.status.is_none(), "the same trouble is written once");
}

#[test]
fn an_intent_left_behind_is_unknown_first_and_then_looked_for() {
    let mut scene = Scene::new(FireOn::Apply);
    scene.step();
    scene.restart().wait(PATIENCE).step();
    assert_eq!(scene.phase(), Phase::Unknown);
    assert!(matches!(scene.step().effect, Effect::LookUp(_)));
}

fn held() -> Scene {
    let mut scene = lost();
    until_proven(&mut scene, &cannot_tell());
    assert_eq!((scene.phase(), scene.run().reason), (Phase::Held, Some(Reason::Undecided)));
    scene
}

fn resolved(scene: &Scene) -> Option<Answered> {
    scene.trigger.status.last_handled.resolve.as_ref().map(|handled| handled.answer)
}

#[test]
fn a_held_run_is_freed_by_what_a_person_says() {
    let mut scene = held();
    scene.resolve("1:refire").repeat();
    assert_eq!((resolved(&scene), scene.posts.len()), (Some(Answered::Refired), 2));
    assert_eq!(scene.posts[0].key.fire_id, scene.posts[1].key.fire_id);

    let mut scene = held();
    scene.resolve("1:abandon").step();
    assert_eq!((resolved(&scene), scene.phase()), (Some(Answered::Abandoned), Phase::Superseded));
    assert_eq!(scene.run().reason, Some(Reason::Abandoned));

    for (orders, expected) in [("2:refire", Answered::Ignored), ("refire", Answered::Invalid)] {
        let mut scene = held();
        scene.resolve(orders).step();
        assert_eq!((resolved(&scene), scene.phase()), (Some(expected), Phase::Held), "{orders}");
    }
}

#[test]
fn one_value_is_carried_out_once_and_a_new_one_asks_again() {
    let mut scene = held();
    scene.resolve("1:refire").repeat();
    scene.answer(unknown());
    until_proven(&mut scene, &cannot_tell());
    scene.step();
    assert_eq!((scene.phase(), scene.posts.len()), (Phase::Held, 2), "not carried out again");
    scene.resolve("1:refire#2").repeat();
    assert_eq!(scene.posts.len(), 3);
}

#[test]
fn a_pipeline_is_adopted_only_if_it_is_there_and_on_the_runs_ref() {
    let on = |name: &str| {
        let mut found = pipeline(PipelineStatus::Running);
        found.git_ref = Some(name.into());
        Named::Seen(found)
    };
    for (named, answer, phase) in [
        (on("A"), Answered::Adopted, Phase::Running),
        (on("B"), Answered::NotFound, Phase::Held),
        (Named::Missing, Answered::NotFound, Phase::Held),
    ] {
        let mut scene = held();
        let plan = scene.resolve("1:adopt=700").step();
        let Effect::LookAt(look) = plan.effect else { panic!("{plan:?}") };
        assert_eq!(look.pipeline_id, 700);
        scene.facts.named = Some((700, named));
        scene.step();
        assert_eq!((resolved(&scene), scene.phase()), (Some(answer), phase));
    }
}

#[test]
fn a_new_cause_ends_a_held_run_superseded() {
    let mut scene = held();
    assert_eq!(fires(&scene.git_ref("B").step()), Some(CauseKind::Change));
    assert_eq!(scene.past(), [(1, Phase::Superseded)]);
}

#[test]
fn a_pipeline_that_failed_at_birth_is_found_and_linked() {
    let mut scene = Scene::new(FireOn::Apply);
    scene.step();
    scene.answer(crate::domain::Answer::FailedAtBirth { message: "invalid yaml".into() });
    assert!(matches!(scene.step().effect, Effect::LookUp(_)));
    let plan = scene.look(found(PipelineStatus::Failed));
    assert_eq!((scene.phase(), scene.run().pipeline.as_ref().map(|p| p.id)), (Phase::Failed, Some(700)));
    assert!(plan.is_settled());
    assert_eq!(told(&plan), Vec::<String>::new());
}

#[test]
fn a_stillborn_pipeline_that_is_not_found_is_let_go() {
    let mut scene = Scene::new(FireOn::Apply);
    scene.step();
    scene.answer(crate::domain::Answer::FailedAtBirth { message: "invalid yaml".into() });
    assert!(scene.look(Lookup::NoCandidate).wake.is_some());
    scene.wait(DELAY);
    assert!(scene.step().is_settled());
}

#[test]
fn a_look_waits_until_the_last_one_is_long_enough_ago() {
    let mut scene = lost();
    scene.facts.look_again = Some(scene.now + std::time::Duration::from_secs(7));
    let plan = scene.step();
    assert_eq!((&plan.effect, wakes_in(&scene, &plan)), (&Effect::Nothing, Some(7)));
    scene.wait(7);
    assert!(matches!(scene.step().effect, Effect::LookUp(_)), "to the second");
}

#[test]
fn what_was_found_for_another_post_is_not_linked() {
    let mut scene = Scene::new(FireOn::Apply);
    scene.step();
    scene.answer(crate::domain::Answer::FailedAtBirth { message: "invalid yaml".into() });
    let mut of = scene.run().attempt_key().unwrap();
    of.count += 1;
    scene.facts.lookup = Some((of, found(PipelineStatus::Failed)));
    scene.step();
    assert_eq!(scene.run().pipeline, None);
}

#[test]
fn what_cannot_be_told_is_looked_at_again_until_the_delay_has_passed() {
    for (age, wake) in [(0, 10), (20, 10), (DELAY - 4, 4)] {
        let mut scene = lost();
        scene.wait(age);
        let plan = scene.look(cannot_tell());
        assert_eq!((scene.phase(), wakes_in(&scene, &plan)), (Phase::Unknown, Some(wake)), "at {age} s");
    }
    let mut scene = lost();
    scene.wait(DELAY).look(cannot_tell());
    assert_eq!(scene.phase(), Phase::Held, "to the second");
}

#[test]
fn trouble_with_a_look_is_waited_out_as_long_as_it_asks() {
    for (asked, wake) in [(None, 10), (Some(47), 47), (Some(0), 10)] {
        let mut scene = lost();
        scene.facts.look_again = asked.map(|seconds| scene.now + std::time::Duration::from_secs(seconds));
        let plan = scene.look(trouble());
        assert_eq!(wakes_in(&scene, &plan), Some(wake), "{asked:?}");
    }
}

#[test]
fn only_a_stillborn_pipeline_is_looked_for_after_the_end() {
    let mut refused = Scene::new(FireOn::Apply);
    refused.step();
    refused.answer(super::scene::refused());
    let mut abandoned = held();
    abandoned.resolve("1:abandon").step();
    for mut scene in [refused, abandoned] {
        assert_eq!(scene.step().effect, Effect::Nothing, "{:?}", scene.phase());
    }
}
