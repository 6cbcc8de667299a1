//! A run whose pipeline has ended, and whose image updates are being made.

use std::collections::BTreeMap;
use std::time::Duration;

use super::scene::{Scene, image_update, seen, told};
use crate::decide::image_update::Verdict;
use crate::decide::trigger::{Effect, OutputsRead, Plan, UpdateKey, UpdateOrder, UpdateSeen};
use crate::domain::image_update::When;
use crate::domain::status::{Answered, Truth};
use crate::domain::{
    ConcurrencyPolicy, ImageUpdate, Output, Phase, Pick, PipelineStatus, Reason, UpdateState,
};

/// A run with these updates, whose pipeline is under way.
fn running(updates: Vec<ImageUpdate>) -> Scene {
    let mut scene = Scene::running();
    scene.edit(|spec| spec.image_updates = updates);
    scene.step();
    scene
}

/// The same, its pipeline over and the updates with their queues.
fn updating(updates: Vec<ImageUpdate>) -> (Scene, UpdateOrder) {
    let mut scene = running(updates);
    let plan = scene.sight(seen(PipelineStatus::Success));
    let order = order(&plan);
    hold(&mut scene, &order);
    (scene, order)
}

fn order(plan: &Plan) -> UpdateOrder {
    let Effect::Update(order) = &plan.effect else { panic!("{plan:?}") };
    (**order).clone()
}

/// The queues have them.
fn hold(scene: &mut Scene, order: &UpdateOrder) {
    for entry in &order.entries {
        see(scene, &entry.key, UpdateSeen::Held { given_up: entry.give_up, trouble: None });
    }
}

fn see(scene: &mut Scene, key: &UpdateKey, seen: UpdateSeen) {
    scene.facts.updates.retain(|(of, _)| of != key);
    scene.facts.updates.push((key.clone(), seen));
}

fn settle(scene: &mut Scene, key: &UpdateKey, verdict: Verdict) -> Plan {
    see(scene, key, UpdateSeen::Settled(verdict));
    scene.step()
}

fn states(scene: &Scene) -> Vec<UpdateState> {
    scene.run().image_updates.iter().map(|update| update.state).collect()
}

fn condition(scene: &Scene, kind: &str) -> Option<Truth> {
    scene.trigger.status.conditions.iter().find(|c| c.kind == kind).map(|c| c.status)
}

fn conditions(scene: &Scene) -> [Option<Truth>; 5] {
    ["Ready", "Reconciling", "Stalled", "Succeeded", "ImagesUpdated"].map(|kind| condition(scene, kind))
}

const DONE: [Option<Truth>; 5] = [Some(Truth::True), None, None, Some(Truth::True), Some(Truth::True)];

fn commit() -> Verdict {
    Verdict::Committed { commit: "1a2b3c4d5e6f".into() }
}

fn success(value: &str) -> Vec<ImageUpdate> {
    vec![image_update(When::Success, value)]
}

#[test]
fn the_run_is_under_way_until_its_updates_are_done() {
    let mut scene = running(success("{{ trigger.name }}-{{ run.seq }}"));
    assert_eq!(states(&scene), [UpdateState::Pending]);
    let plan = scene.sight(seen(PipelineStatus::Success));
    let order = order(&plan);
    assert_eq!(states(&scene), [UpdateState::Committing], "on record before it is handed in");
    assert_eq!((order.pipeline, order.entries.len()), (700, 1));
    let run = scene.run();
    let made = run.pipeline.as_ref().and_then(|pipeline| pipeline.created_at);
    assert_eq!((order.begun, order.begun.is_some()), (made.or(run.fired_at), true));
    assert_eq!(scene.phase(), Phase::Running);
    let under_way =
        [Some(Truth::Unknown), Some(Truth::True), None, Some(Truth::Unknown), Some(Truth::Unknown)];
    assert_eq!(conditions(&scene), under_way);
    hold(&mut scene, &order);
    assert_eq!(scene.step().status, None);
    let plan = settle(&mut scene, &order.entries[0].key, commit());
    assert_eq!(told(&plan), ["ImagesUpdated"]);
    assert_eq!((scene.phase(), conditions(&scene)), (Phase::Succeeded, DONE));
    let message = scene.trigger.status.message.as_deref().unwrap();
    assert!(message.ends_with("; commit 1a2b3c4d on main of platform/gitops"), "{message}");
    assert!(scene.step().is_settled());
}

#[test]
fn each_verdict_is_told_and_a_refusal_stalls() {
    for (verdict, state, ends) in [
        (Verdict::UpToDate, UpdateState::UpToDate, DONE),
        (Verdict::Superseded { by: 701 }, UpdateState::Superseded, DONE),
        (Verdict::DryRun { diff: "a.yaml:1 tag: v1 → v2\n".into() }, UpdateState::DryRun, DONE),
        (
            Verdict::Refused { message: "a.yaml:3: no such path".into() },
            UpdateState::Refused,
            [Some(Truth::False), None, Some(Truth::True), Some(Truth::True), Some(Truth::False)],
        ),
    ] {
        let (mut scene, order) = updating(success("v1"));
        settle(&mut scene, &order.entries[0].key, verdict);
        assert_eq!((states(&scene), scene.phase()), (vec![state], Phase::Succeeded));
        assert_eq!(conditions(&scene), ends, "{state:?}");
    }
}

#[test]
fn what_was_refused_is_tried_again_when_somebody_asks() {
    let (mut scene, order) = updating(success("v1"));
    settle(&mut scene, &order.entries[0].key, Verdict::Refused { message: "protected".into() });
    scene.wait(5);
    scene.trigger.retry = Some("1".into());
    let plan = scene.step();
    assert!(matches!(plan.effect, Effect::Update(_)), "{plan:?}");
    assert_eq!(scene.trigger.status.last_handled.retry.as_ref().unwrap().answer, Answered::Retried);
}

#[test]
fn a_failed_pipeline_writes_only_what_is_always_written() {
    let updates = vec![image_update(When::Success, "v1"), image_update(When::Always, "v2")];
    for (status, phase) in [
        (PipelineStatus::Failed, Phase::Failed),
        (PipelineStatus::Canceled, Phase::Canceled),
        (PipelineStatus::Skipped, Phase::Skipped),
    ] {
        let mut scene = running(updates.clone());
        let order = order(&scene.sight(seen(status)));
        assert_eq!(order.entries.iter().map(|entry| entry.key.entry).collect::<Vec<_>>(), [1]);
        hold(&mut scene, &order);
        settle(&mut scene, &order.entries[0].key, commit());
        assert_eq!(scene.phase(), phase);
        assert_eq!(states(&scene), [UpdateState::Pending, UpdateState::Committed]);
        // Somebody runs it again in GitLab, and it succeeds: what was not due before is due now, and only that.
        scene.sight(seen(PipelineStatus::Running));
        let again = self::order(&scene.sight(seen(PipelineStatus::Success)));
        assert_eq!(again.entries.iter().map(|entry| entry.key.entry).collect::<Vec<_>>(), [0]);
    }
    let mut scene = running(updates);
    scene.edit(|spec| spec.timeout = Some(crate::domain::Span::from_secs(10)));
    scene.wait(20);
    scene.step();
    assert_eq!(scene.phase(), Phase::TimedOut);
    assert_eq!(states(&scene), [UpdateState::Pending; 2], "a timeout writes nothing");
}

#[test]
fn while_they_are_made_nobody_looks_at_the_pipeline() {
    let (mut scene, order) = updating(success("v1"));
    let plan = scene.sight(seen(PipelineStatus::Running));
    assert_eq!((plan.status, plan.follow), (None, None));
    let plan = settle(&mut scene, &order.entries[0].key, commit());
    assert!(plan.follow.is_some(), "afterwards it is");
}

#[test]
fn nothing_is_handed_in_while_suspended_and_what_waits_is_taken_back() {
    let mut scene = running(success("v1"));
    scene.suspend(true);
    let plan = scene.sight(seen(PipelineStatus::Success));
    assert_eq!((plan.effect, states(&scene)), (Effect::Nothing, vec![UpdateState::Pending]));
    assert_eq!(condition(&scene, "Reconciling"), Some(Truth::True));
    assert!(scene.trigger.status.message.as_deref().unwrap().contains("spec.suspend is true"));
    scene.suspend(false);
    let order = order(&scene.step());
    hold(&mut scene, &order);
    scene.suspend(true);
    let key = order.entries[0].key.clone();
    assert_eq!(scene.step().effect, Effect::GiveUp(vec![key.clone()]));
    see(&mut scene, &key, UpdateSeen::Held { given_up: true, trouble: None });
    assert_eq!(scene.step().effect, Effect::Nothing);
    settle(&mut scene, &key, Verdict::Absent);
    assert_eq!(states(&scene), [UpdateState::Pending]);
    scene.wait(1);
    scene.suspend(false);
    assert!(matches!(scene.step().effect, Effect::Update(_)));
}

#[test]
fn a_cancel_gives_up_what_was_not_sent_and_waits_for_the_rest() {
    let answered = |scene: &Scene| scene.trigger.status.last_handled.cancel.as_ref().map(|h| h.answer);
    for (verdict, state, answer) in [
        (Verdict::Absent, UpdateState::Canceled, Answered::Canceled),
        (commit(), UpdateState::Committed, Answered::Ignored),
    ] {
        let (mut scene, order) = updating(success("v1"));
        let key = order.entries[0].key.clone();
        let plan = scene.cancel("1").step();
        assert_eq!((plan.effect, answered(&scene)), (Effect::GiveUp(vec![key.clone()]), None));
        see(&mut scene, &key, UpdateSeen::Held { given_up: true, trouble: None });
        scene.step();
        settle(&mut scene, &key, verdict);
        assert_eq!((states(&scene), answered(&scene)), (vec![state], Some(answer)));
        assert_eq!(scene.phase(), Phase::Succeeded);
    }
}

#[test]
fn another_process_takes_over_and_has_it_looked_for() {
    let (mut scene, first) = updating(success("v1"));
    scene.restart().wait(1);
    let plan = scene.step();
    assert_eq!(plan.effect, Effect::Nothing, "its process may be about to end it");
    scene.wait(10);
    let order = order(&scene.step());
    assert_eq!(order.entries[0].since, Some(first.entries[0].key.at));
    assert_ne!(order.entries[0].key.at, first.entries[0].key.at);
    assert_eq!(scene.run().image_updates[0].by.as_ref(), Some(&scene.policy.writer));
    // A verdict on the intent of before says nothing of this one.
    see(&mut scene, &first.entries[0].key, UpdateSeen::Settled(Verdict::Absent));
    hold(&mut scene, &order);
    assert_eq!(scene.step().status, None);
}

#[test]
fn a_suspended_trigger_has_only_looked_for_what_a_dead_process_left() {
    let (mut scene, _) = updating(success("v1"));
    scene.restart().suspend(true).step();
    scene.wait(30);
    assert!(order(&scene.step()).entries[0].give_up);
}

#[test]
fn outputs_are_read_first_and_one_without_a_value_says_why() {
    let output = Output {
        name: "tag".parse().unwrap(),
        job: "build".into(),
        artifact: "build.env".parse().unwrap(),
        pick: Pick::Key("TAG".parse().unwrap()),
    };
    let mut scene = running(vec![
        image_update(When::Success, "{{ outputs.tag }}"),
        image_update(When::Success, "v{{ outputs.tga }}"),
        image_update(When::Success, "fixed"),
    ]);
    scene.edit(|spec| spec.outputs = vec![output]);
    let plan = scene.sight(seen(PipelineStatus::Success));
    let Effect::ReadOutputs(asked) = plan.effect else { panic!("{plan:?}") };
    assert_eq!((asked.at.pipeline_id, plan.status), (700, None));
    let read = |value| OutputsRead::Read(BTreeMap::from([("tag".to_owned(), value)]));
    scene.facts.outputs = Some(((*asked).clone(), read(Err("job build has no artifact build.env".into()))));
    let handed: Vec<usize> = order(&scene.step()).entries.iter().map(|entry| entry.key.entry).collect();
    assert_eq!(handed, [2]);
    let why = |entry: usize| scene.run().image_updates[entry].message.clone().unwrap();
    assert_eq!(why(0), "values.yaml, value: `outputs.tag` has no value: job build has no artifact build.env");
    assert!(why(1).starts_with("values.yaml, value: `outputs.tga` is not defined here"), "{}", why(1));
}

#[test]
fn variables_of_a_run_whose_spec_was_edited_are_not_guessed() {
    let mut scene = running(success("{{ variables.TAG }}"));
    scene.git_ref("B").step();
    let plan = scene.sight(seen(PipelineStatus::Success));
    let refused = plan.events.iter().find(|note| note.reason == Reason::UpdateRefused).unwrap();
    let says = "`variables.TAG` is not known any more: spec was edited";
    assert!(refused.message.contains(says), "{refused:?}");
    // The edit is fired in the same write: nobody takes the end of this run for that of theirs.
    assert!(matches!(plan.effect, Effect::Fire(_)), "{plan:?}");
}

#[test]
fn what_has_not_begun_follows_spec() {
    let mut scene = running(success("v1"));
    scene.suspend(true);
    scene.sight(seen(PipelineStatus::Success));
    let other = ImageUpdate { branch: "next".parse().unwrap(), ..image_update(When::Success, "v2") };
    scene.edit(|spec| spec.image_updates = vec![other]).step();
    assert_eq!(scene.run().image_updates[0].branch, "next");
    scene.edit(|spec| spec.image_updates = vec![]).step();
    assert_eq!((states(&scene), scene.phase()), (vec![], Phase::Suspended));
}

#[test]
fn who_contends_for_a_scalar_is_refused() {
    let mut scene = running(success("v1"));
    let message = "values.yaml: `image.tag` is written by shop/other as well";
    scene.facts.contended = BTreeMap::from([(0, message.to_owned())]);
    scene.sight(seen(PipelineStatus::Success));
    assert_eq!(states(&scene), [UpdateState::Refused]);
    assert_eq!(scene.run().image_updates[0].message.as_deref(), Some(message));
}

#[test]
fn a_newer_cause_waits_and_replaces_only_what_waits_itself() {
    for (trouble, given_up) in [(None, false), (Some((Reason::SecretMissing, "missing".to_owned())), true)] {
        let (mut scene, order) = updating(success("v1"));
        scene.edit(|spec| spec.concurrency_policy = ConcurrencyPolicy::Replace);
        let key = order.entries[0].key.clone();
        see(&mut scene, &key, UpdateSeen::Held { given_up: false, trouble });
        scene.git_ref("B").step();
        let plan = scene.step();
        assert_eq!(plan.effect == Effect::GiveUp(vec![key.clone()]), given_up, "{plan:?}");
        if given_up {
            settle(&mut scene, &key, Verdict::Absent);
            assert_eq!((scene.run().seq, scene.past()), (2, vec![(1, Phase::Succeeded)]));
            assert_eq!(scene.posts.len(), 2);
        }
    }
}

#[test]
fn a_missing_secret_makes_it_not_ready_meanwhile() {
    let (mut scene, order) = updating(success("v1"));
    let trouble = Some((Reason::SecretMissing, "Secret gitops does not exist".to_owned()));
    see(&mut scene, &order.entries[0].key, UpdateSeen::Held { given_up: false, trouble });
    let plan = scene.step();
    assert_eq!(condition(&scene, "Ready"), Some(Truth::False));
    assert!(scene.trigger.status.message.as_deref().unwrap().contains("Secret gitops does not exist"));
    assert!(plan.wake.is_some_and(|at| at <= scene.now + Duration::from_secs(60)), "somebody comes back");
}
