//! An outcome that is not known: looked for, proven absent, or put before a person.

use super::scene::{DELAY, Move, PATIENCE, Scene, fires, not_sent, pipeline, seen, told, unknown, wakes_in};
use crate::decide::trigger::{Credentials, Effect, Plan};
use crate::domain::run::CauseKind;
use crate::domain::status::Answered;
use crate::domain::{
    FireId, FireOn, LastAttempt, Lookup, Named, OnUnknown, Phase, PipelineStatus, Reason, Report,
};

pub(super) fn lookups() -> Vec<Lookup> {
    vec![found(PipelineStatus::Running), Lookup::NoCandidate, Lookup::NoneOurs, cannot_tell(), trouble()]
}

fn found(status: PipelineStatus) -> Lookup {
    Lookup::Found { pipeline: pipeline(status), report: Report::default(), duplicates: vec![] }
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
    assert_eq!(plan.follow.unwrap().stretch.pipeline_id, 700);
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

/// As where a sign-in page stands before the API at `gitlab.url`: looks go there for ever, whatever spec says by now.
#[test]
fn where_gitlab_cannot_be_asked_for_longer_than_a_request_may_last_a_person_is_told_how_to_decide() {
    let mut scene = lost();
    let names_a_way = |scene: &Scene| {
        let message = scene.run().message.clone().unwrap();
        assert!(message.contains("connection refused"), "{message}");
        message.contains("pipekick.dev/resolve=\"1:refire\" or \"1:abandon\"")
    };
    scene.wait(DELAY - 1).look(trouble());
    assert!(!names_a_way(&scene), "it may still take effect");
    scene.git_ref("B");
    scene.wait(2).look(trouble());
    assert!(names_a_way(&scene));
    let written = scene.trigger.status.clone();
    scene.wait(60).look(trouble());
    assert_eq!(scene.trigger.status, written, "said once");
    scene.resolve("1:abandon").step();
    scene.step();
    assert_eq!((scene.run().seq, scene.run().target.git_ref.as_str()), (2, "B"));
}

#[test]
fn a_second_pipeline_of_one_name_is_told() {
    let mut scene = lost();
    let plan = scene.look(Lookup::Found {
        pipeline: pipeline(PipelineStatus::Running),
        report: Report::default(),
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

/// A run whose every request is lost: how long it waited before each repeat, and what was told at each loss.
fn lost_for_ever(scene: &mut Scene, times: usize) -> Vec<(i64, Vec<String>)> {
    let waits = |scene: &mut Scene| {
        let told = told(&scene.answer(unknown()));
        if scene.run().phase == Phase::Unknown {
            let plan = until_proven(scene, &Lookup::NoCandidate);
            if matches!(plan.effect, Effect::ReadCredentials(_)) {
                scene.credentials(Credentials::Ready).look(Lookup::NoCandidate);
                return (0, told);
            }
        }
        let due = scene.run().attempt.as_ref().unwrap().next_at.unwrap();
        let wait = due.duration_since(scene.now).as_secs();
        scene.wait(wait.unsigned_abs()).credentials(Credentials::Unread).repeat();
        (wait, told)
    };
    (0..times).map(|_| waits(scene)).collect()
}

#[test]
fn who_answers_in_gitlabs_place_for_days_is_asked_ever_more_seldom_and_told_of_once() {
    for (sentence, access, waits) in [
        ("proven absent", true, [0, 10, 20, 40, 80, 160, 320, 600, 600]),
        ("Refire, and nobody can look", false, [5, 10, 20, 40, 80, 160, 320, 600, 600]),
    ] {
        let mut scene = Scene::new(FireOn::Apply);
        scene.edit(|spec| {
            spec.on_unknown = OnUnknown::Refire;
            if !access {
                spec.access_token = None;
            }
        });
        scene.step();
        let seen = lost_for_ever(&mut scene, 9);
        assert_eq!(seen.iter().map(|(wait, _)| *wait).collect::<Vec<_>>(), waits, "{sentence}");
        let told: Vec<&str> = seen.iter().flat_map(|(_, told)| told).map(String::as_str).collect();
        assert_eq!(told, ["!OutcomeUnknown"], "{sentence}");
        assert_eq!(scene.posts.len(), 10);
    }
}

/// A run whose second request was lost too, and which is not sent again before long.
fn lost_twice() -> Scene {
    let mut scene = Scene::new(FireOn::Apply);
    scene.step();
    lost_for_ever(&mut scene, 5);
    scene.answer(unknown());
    until_proven(&mut scene, &Lookup::NoCandidate);
    assert_eq!((scene.phase(), scene.posts.len()), (Phase::Pending, 6));
    let message = scene.run().message.clone().unwrap();
    assert!(message.contains("as the one before: timed out"), "who answers is told: {message}");
    scene.credentials(Credentials::Unread).wait(9);
    scene
}

#[test]
fn what_was_lost_again_is_sent_at_once_when_somebody_edits_or_asks() {
    let moves: [(&str, Move); 2] =
        [("an edit that mends it", |s| s.other_token()), ("a request", |s| s.ask("v"))];
    for (sentence, given) in moves {
        let mut scene = lost_twice();
        assert_eq!(scene.step().effect, Effect::Nothing, "{sentence}: not before");
        given(&mut scene).repeat();
        assert_eq!((scene.posts.len(), scene.run().seq), (7, 1), "{sentence}");
        // It hastens one request, not all that follow.
        scene.answer(unknown());
        let plan = until_proven(&mut scene, &Lookup::NoCandidate);
        assert_eq!((scene.phase(), wakes_in(&scene, &plan)), (Phase::Pending, Some(320)), "{sentence}");
    }
    let mut scene = lost_twice();
    scene.git_ref("B");
    assert_eq!(fires(&scene.credentials(Credentials::Ready).step()), Some(CauseKind::Apply));
    assert_eq!(scene.past(), [(1, Phase::Superseded)], "nothing of it exists");
}

#[test]
fn other_trouble_in_between_begins_anew() {
    let mut scene = Scene::new(FireOn::Apply);
    scene.step();
    lost_for_ever(&mut scene, 4);
    scene.answer(not_sent());
    scene.wait(60).credentials(Credentials::Unread).repeat();
    assert_eq!(told(&scene.answer(unknown())), ["!OutcomeUnknown"]);
    let plan = until_proven(&mut scene, &Lookup::NoCandidate);
    assert!(matches!(plan.effect, Effect::ReadCredentials(_)), "the first is sent again at once: {plan:?}");
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
fn a_pipeline_is_adopted_only_if_it_is_there_and_may_be_the_runs_own() {
    let named = |git_ref: &str, source: Option<&str>, carries: Option<FireId>| {
        let mut found = pipeline(PipelineStatus::Running);
        (found.git_ref, found.source) = (Some(git_ref.into()), source.map(str::to_owned));
        Named::Seen { pipeline: found, carries }
    };
    let own = held().run().fire_id.clone();
    let (adopted, not_its_own) = ((Answered::Adopted, Phase::Running), (Answered::NotItsOwn, Phase::Held));
    for (sentence, named, (answer, phase), event) in [
        ("on its ref", named("A", Some("trigger"), Some(own.clone())), adopted, "PipelineFound"),
        ("in full", named("refs/heads/A", None, None), adopted, "PipelineFound"),
        ("of a tag", named("refs/tags/A", None, None), adopted, "PipelineFound"),
        ("on another ref", named("B", None, Some(own)), not_its_own, "!NotAdopted"),
        ("of another source", named("A", Some("push"), None), not_its_own, "!NotAdopted"),
        ("of the other credential", named("A", Some("api"), None), not_its_own, "!NotAdopted"),
        ("of another run", named("A", Some("trigger"), Some("other".into())), not_its_own, "!NotAdopted"),
        ("not there", Named::Missing, (Answered::NotFound, Phase::Held), "!NotAdopted"),
    ] {
        let mut scene = held();
        let plan = scene.resolve("1:adopt=700").step();
        let Effect::LookAt(look) = plan.effect else { panic!("{plan:?}") };
        assert_eq!(look.pipeline_id, 700);
        scene.facts.named = Some((700, named));
        let plan = scene.step();
        assert_eq!((resolved(&scene), scene.phase()), (Some(answer), phase), "{sentence}");
        assert_eq!(told(&plan), [event], "{sentence}");
    }
    let mut scene = Scene::new(FireOn::Apply);
    scene.edit(|spec| spec.trigger_token = None).step();
    scene.answer(unknown());
    scene.wait(DELAY).look(cannot_tell());
    scene.resolve("1:adopt=700").facts.named = Some((700, named("A", Some("api"), None)));
    scene.step();
    assert_eq!(scene.phase(), Phase::Running, "an access token fires pipelines of source api");
}

#[test]
fn trouble_with_a_pipeline_to_be_adopted_is_told_once_and_taken_back() {
    let mut scene = held();
    let says = scene.trigger.status.message.clone();
    let trouble = Named::Trouble { reason: Reason::Unreachable, message: "connection refused".into() };
    scene.resolve("1:adopt=700").facts.named = Some((700, trouble));
    let plan = scene.step();
    assert_eq!((scene.phase(), wakes_in(&scene, &plan)), (Phase::Held, Some(10)));
    let message = scene.trigger.status.message.clone().unwrap();
    assert!(
        message.contains("pipeline 700 could not be looked at") && message.contains("refused"),
        "{message}"
    );
    let ready = scene.trigger.status.conditions.iter().find(|c| c.kind == "Ready").unwrap();
    assert_eq!(ready.reason, "NotAdopted");
    assert!(scene.wait(10).step().status.is_none(), "the same trouble is written once");
    scene.facts.named = Some((700, Named::Missing));
    scene.step();
    assert_eq!((resolved(&scene), &scene.trigger.status.message), (Some(Answered::NotFound), &says));

    let mut scene = held();
    let trouble = Named::Trouble { reason: Reason::Unreachable, message: "connection refused".into() };
    scene.resolve("1:adopt=700").facts.named = Some((700, trouble));
    scene.git_ref("B").step();
    assert_eq!(scene.phase(), Phase::Firing, "a new cause says what it does, not what became of the old one");
}

/// Looks of processes that each live for `life` seconds, by a GitLab that goes on.
fn looked_by_short_lives(scene: &mut Scene, life: u64, lookup: &Lookup) -> (u64, Plan) {
    for lived in 1..100 {
        scene.wait(life).restart();
        scene.facts.look_date = Some(scene.now);
        let plan = scene.look(lookup.clone());
        if plan.effect != Effect::Nothing || scene.phase() != Phase::Unknown {
            return (lived * life, plan);
        }
    }
    panic!("never decided: {:?}", scene.run());
}

#[test]
fn processes_that_never_live_long_prove_absence_by_gitlabs_clock() {
    let mut scene = lost();
    let (took, plan) = looked_by_short_lives(&mut scene, 9, &Lookup::NoCandidate);
    // As old as clocks may differ, and two looks further apart than a request lives.
    let first = (600 + 10 + DELAY).div_ceil(9) * 9;
    assert_eq!(took, first + (10 + DELAY + 60).div_ceil(9) * 9);
    assert!(matches!(plan.effect, Effect::ReadCredentials(_)), "to be sent again: {plan:?}");

    let mut scene = lost();
    let (took, _) = looked_by_short_lives(&mut scene, 9, &cannot_tell());
    assert_eq!((took, scene.phase()), (first, Phase::Held), "what cannot be told is put before a person");
}

#[test]
fn gitlabs_clock_alone_or_ours_alone_proves_nothing() {
    let minute = std::time::Duration::from_secs(60);
    let proves = |scene: &mut Scene, date| {
        scene.restart().facts.look_date = date;
        scene.look(Lookup::NoCandidate).effect != Effect::Nothing
    };
    let mut scene = lost();
    let now = scene.now;
    assert!(!proves(&mut scene, Some(now)));
    assert!(!proves(&mut scene, Some(now + 60 * minute)), "by our clock it is young");
    scene.wait(7200);
    let now = scene.now;
    assert!(!proves(&mut scene, None), "GitLab did not tell its clock");
    assert!(!proves(&mut scene, Some(now)), "one look");
    assert!(!proves(&mut scene, Some(now)), "by GitLab's clock they are one");
    let second = std::time::Duration::from_secs(1);
    let enough = now + (10 + u32::try_from(DELAY).unwrap() + 60) * second;
    assert!(!proves(&mut scene, Some(enough - second)), "a second too near");
    scene.restart().facts.look_date = Some(enough);
    scene.facts.look_took = second;
    assert_eq!(
        scene.look(Lookup::NoCandidate).effect,
        Effect::Nothing,
        "it may have been read a second earlier"
    );
    assert!(proves(&mut scene, Some(enough)));
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
    let plan = scene.answer(crate::domain::Answer::FailedAtBirth { message: "invalid yaml".into() });
    assert_eq!((wakes_in(&scene, &plan), plan.is_settled()), (Some(0), false), "not before it is linked");
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
    scene.restart().wait(119);
    assert!(matches!(scene.step().effect, Effect::LookUp(_)), "by the next process too");
    scene.wait(1);
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
