//! A refusal that leaves something open is looked into first, and only what is said differs by what was found.

use super::scene::{Scene, refused, told, wakes_in};
use crate::decide::trigger::{Effect, Plan, Question};
use crate::domain::{Answer, Finding, FireOn, LastAttempt, Phase, Reason};

fn not_found() -> Answer {
    Answer::Refused { reason: Reason::NotFoundByTrigger, message: "404 to the trigger token.".into() }
}

fn firing(answer: Answer) -> Scene {
    let mut scene = Scene::new(FireOn::Apply);
    scene.step();
    let key = scene.run().attempt_key().unwrap();
    scene.facts.answers.push((key, answer));
    scene
}

fn asks(plan: &Plan) -> Option<Question> {
    match &plan.effect {
        Effect::LookInto(look) => Some(look.question),
        Effect::Nothing
        | Effect::ReadCredentials(_)
        | Effect::LookUp(_)
        | Effect::LookAt(_)
        | Effect::LookAtOwn(_)
        | Effect::Cancel(_)
        | Effect::SetFinalizers(_)
        | Effect::Fire(_)
        | Effect::Retry(_)
        | Effect::Name(_)
        | Effect::DeletePipeline(_)
        | Effect::DeleteObject
        | Effect::ReadOutputs(_)
        | Effect::Update(_)
        | Effect::LookAtRequests(_)
        | Effect::GiveUp(_) => None,
    }
}

#[test]
fn what_is_open_is_asked_before_anything_is_written() {
    for (answer, question) in [(not_found(), Question::Project), (refused(), Question::Branches)] {
        let mut scene = firing(answer);
        let before = scene.trigger.status.clone();
        let plan = scene.step();
        assert_eq!((asks(&plan), plan.status), (Some(question), None));
        assert_eq!(scene.trigger.status, before);
        let Effect::LookInto(look) = plan.effect else { unreachable!() };
        assert_eq!((Some(look.key), look.target), (scene.run().attempt_key(), scene.run().target.clone()));
    }
}

#[test]
fn nothing_is_asked_where_nothing_is_open_or_nobody_can_look() {
    let forbidden = Answer::Refused { reason: Reason::Forbidden, message: "403".into() };
    let mut fire_only = Scene::new(FireOn::Apply);
    fire_only.edit(|spec| spec.access_token = None).step();
    let key = fire_only.run().attempt_key().unwrap();
    fire_only.facts.answers.push((key, not_found()));
    let mut tag = Scene::new(FireOn::Apply);
    tag.git_ref("refs/tags/v1").step();
    let key = tag.run().attempt_key().unwrap();
    tag.facts.answers.push((key, refused()));
    let mut deleted = firing(not_found());
    deleted.trigger.deleted_at = Some(deleted.now);
    let cases = [
        ("another refusal", firing(forbidden), Reason::Forbidden),
        ("no access token", fire_only, Reason::NotFoundByTrigger),
        ("only branches are read", tag, Reason::RefNotFound),
        ("an object on its way out", deleted, Reason::NotFoundByTrigger),
    ];
    for (sentence, mut scene, reason) in cases {
        let plan = scene.step();
        assert_eq!((plan.effect, scene.phase()), (Effect::Nothing, Phase::Rejected), "{sentence}");
        assert_eq!(scene.run().reason, Some(reason), "{sentence}");
    }
}

#[test]
fn what_was_found_is_said() {
    let branches = |names: &[&str]| Finding::Branches(names.iter().map(|name| (*name).into()).collect());
    let cases = [
        (not_found(), Finding::Project, Reason::TriggerTokenUnknown, "shop/checkout is there"),
        (not_found(), Finding::NoProject, Reason::ProjectNotFound, "shop/checkout does not exist, or"),
        (not_found(), Finding::Moved(Some("new/home".into())), Reason::ProjectNotFound, "Write new/home"),
        (not_found(), Finding::Moved(None), Reason::ProjectNotFound, "renamed or moved"),
        (
            not_found(),
            Finding::Failed("it has expired".into()),
            Reason::NotFoundByTrigger,
            "404 to the trigger token. The access token could not tell: it has expired",
        ),
        (not_found(), Finding::Nothing, Reason::NotFoundByTrigger, "404 to the trigger token."),
        (refused(), branches(&["b", "next"]), Reason::RefNotFound, "Did you mean \"b\"?"),
        (refused(), branches(&["b", "c", "next"]), Reason::RefNotFound, "Did you mean \"b\" or \"c\"?"),
        (
            refused(),
            branches(&["e", "d", "c", "b"]),
            Reason::RefNotFound,
            "Did you mean \"b\", \"c\" or \"d\"?",
        ),
        (refused(), branches(&["production"]), Reason::RefNotFound, "Reference not found"),
    ];
    for (answer, finding, reason, words) in cases {
        let mut scene = firing(answer);
        scene.step();
        let plan = scene.look_into(finding.clone());
        let run = scene.run();
        let message = run.message.as_deref().unwrap();
        assert_eq!((run.phase, run.reason), (Phase::Rejected, Some(reason)), "{finding:?}");
        assert!(message.contains(words), "{finding:?}: {message}");
        assert_eq!(run.attempt.as_ref().unwrap().last, LastAttempt::Refused);
        assert_eq!(wakes_in(&scene, &plan), Some(600), "{finding:?}");
        assert_eq!(told(&plan), [format!("!{reason}")]);
    }
}

#[test]
fn a_finding_about_another_post_explains_nothing() {
    let mut scene = firing(not_found());
    let mut key = scene.run().attempt_key().unwrap();
    key.by = "another".into();
    scene.facts.finding = Some((key, Finding::Project));
    assert_eq!(asks(&scene.step()), Some(Question::Project));
}
