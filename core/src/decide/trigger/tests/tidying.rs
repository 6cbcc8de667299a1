//! What is done at leisure: names, old pipelines, the object's own end; and how large a status can grow.

use std::time::Duration;

use super::scene::{Scene, accepted, image_update, pipeline, refused, seen, told, wakes_in};
use crate::decide::trigger::{DELETION_TRIES, Effect, MAX_DELETIONS, Plan};
use crate::domain::UpdateRecord;
use crate::domain::image_update::When;
use crate::domain::run::{BundleKind, CaBundleRef, CancelCause, HistoryEntry, Place};
use crate::domain::size::{MESSAGE_MAX, STATUS_MAX, stored_bytes};
use crate::domain::status::{Answered, Condition, Handled, LastHandled, Truth, Waiting};
use crate::domain::trace::{Again, RunTrace};
use crate::domain::{
    Changed, Deletion, FailedJob, FireOn, Phase, Pipeline, PipelineStatus, Reason, Report, Retry, RetryState,
    Run, SecretKeyRef, Sighting, Span, Tests, TriggerStatus, UpdateState,
};

fn refusal() -> Changed {
    Changed::Refused { reason: Reason::Forbidden, message: "403".into() }
}

// ---- spec.name -------------------------------------------------------------------------------------------------

fn named() -> (Scene, Plan) {
    let mut scene = Scene::new(FireOn::Apply);
    scene.edit(|spec| spec.name = Some("release".into())).step();
    let plan = scene.answer(accepted());
    (scene, plan)
}

#[test]
fn a_pipeline_is_named_once_it_is_on_record_and_nothing_is_written_for_it() {
    let (mut scene, plan) = named();
    let Effect::Name(order) = &plan.effect else { panic!("{plan:?}") };
    assert_eq!((order.name.as_str(), order.at.pipeline_id), ("release", 700));
    assert_eq!(plan.status.unwrap().run.unwrap().phase, Phase::Running, "its outcome is on record first");
    scene.facts.naming = Some((700, "release".into(), Changed::Done(None)));
    let plan = scene.step();
    assert!(plan.effect == Effect::Nothing && plan.status.is_none(), "{plan:?}");
    scene.facts.naming = None;
    assert!(matches!(scene.step().effect, Effect::Name(_)), "another process does not know");
    let whole = Pipeline { name: Some("release".into()), ..pipeline(PipelineStatus::Success) };
    let plan = scene.sight(Sighting::Seen { pipeline: whole, report: Report::default() });
    assert_eq!((scene.phase(), plan.effect), (Phase::Succeeded, Effect::Nothing));
}

#[test]
fn a_name_that_is_refused_is_told_once_and_fails_nothing() {
    let (mut scene, _) = named();
    scene.facts.naming = Some((700, "release".into(), refusal()));
    assert_eq!(told(&scene.step()), ["!NameRefused"]);
    assert_eq!((scene.phase(), scene.run().name_refused), (Phase::Running, Some(Reason::Forbidden)));
    scene.facts.naming = None;
    assert!(scene.step().status.is_none());
    scene.sight(seen(PipelineStatus::Success));
    assert_eq!(scene.phase(), Phase::Succeeded);
}

#[test]
fn a_name_that_cannot_be_given_yet_is_given_later_even_shortly_after_the_end() {
    let (mut scene, _) = named();
    let until = scene.now + Duration::from_secs(60);
    let later = Changed::NotNow { reason: Reason::RateLimited, message: "429".into(), until };
    scene.facts.naming = Some((700, "release".into(), later));
    let plan = scene.step();
    assert_eq!((plan.effect.clone(), wakes_in(&scene, &plan)), (Effect::Nothing, Some(60)));
    scene.sight(seen(PipelineStatus::Success));
    assert!(matches!(scene.wait(60).step().effect, Effect::Name(_)));
    assert_eq!(scene.wait(600).step().effect, Effect::Nothing, "long after the end nobody cares");
}

#[test]
fn the_name_is_that_of_the_spec_that_was_fired() {
    let (mut scene, _) = named();
    scene.edit(|spec| spec.name = Some("other".into()));
    let Effect::Name(order) = scene.step().effect else { panic!() };
    assert_eq!(order.name, "release");
}

// ---- spec.historyDeletesPipelines ------------------------------------------------------------------------------

/// A settled object whose first run, with pipeline 700, has left the history; 701 is the current one.
fn one_to_delete() -> Scene {
    let mut scene = Scene::new(FireOn::Apply);
    scene.edit(|spec| {
        spec.history_limit = 0;
        spec.history_deletes_pipelines = true;
    });
    scene.step();
    scene.answer(accepted());
    scene.sight(seen(PipelineStatus::Success));
    scene.ask("again").step();
    let made = Pipeline { id: 701, ..pipeline(PipelineStatus::Created) };
    scene.answer(crate::domain::Answer::Accepted(made));
    scene
}

fn noted(scene: &Scene) -> Vec<(u64, u32)> {
    scene.trigger.status.deletions.iter().map(|deletion| (deletion.pipeline_id, deletion.tries)).collect()
}

fn asks_to_delete(plan: &Plan) -> Option<u64> {
    if let Effect::DeletePipeline(deletion) = &plan.effect { Some(deletion.pipeline_id) } else { None }
}

#[test]
fn the_pipeline_of_a_run_that_leaves_the_history_is_deleted_and_stays_on_record_until_it_is_gone() {
    for gone in [Changed::Done(None), Changed::Gone] {
        let mut scene = one_to_delete();
        assert_eq!(noted(&scene), [(700, 0)]);
        assert_eq!(asks_to_delete(&scene.step()), Some(700));
        scene.restart();
        assert_eq!(asks_to_delete(&scene.step()), Some(700), "a restart asks again");
        scene.facts.deleted = vec![(700, 0, gone)];
        assert_eq!(asks_to_delete(&scene.step()), None);
        assert!(noted(&scene).is_empty());
    }
}

#[test]
fn an_old_pipeline_is_deleted_with_what_spec_names_now() {
    let bundle = CaBundleRef { kind: BundleKind::ConfigMap, name: "ca".into(), key: "ca.crt".into() };
    let mut scene = one_to_delete();
    scene.other_token().edit(|spec| spec.ca_bundle = Some(bundle.clone()));
    let Effect::DeletePipeline(order) = scene.step().effect else { panic!() };
    assert_eq!(order.place.access.map(|token| token.name), Some("other".into()));
    assert_eq!(order.place.ca_bundle, Some(bundle));
}

#[test]
fn firing_goes_first() {
    let mut scene = one_to_delete();
    let stretch = scene.run().stretch().unwrap();
    let whole = Pipeline { id: 701, ..pipeline(PipelineStatus::Success) };
    scene.facts.sighting = Some((stretch, Sighting::Seen { pipeline: whole, report: Report::default() }));
    scene.step();
    assert!(matches!(scene.git_ref("B").step().effect, Effect::Fire(_)));
    assert_eq!(noted(&scene), [(700, 0), (701, 0)]);
}

#[test]
fn what_gitlab_refuses_to_delete_is_told_and_left() {
    let mut scene = one_to_delete();
    scene.facts.deleted = vec![(700, 0, refusal())];
    assert_eq!(told(&scene.step()), ["!PipelineNotDeleted"]);
    assert!(noted(&scene).is_empty());
}

#[test]
fn what_cannot_be_deleted_yet_is_tried_less_and_less_often_and_not_for_ever() {
    let mut scene = one_to_delete();
    let mut waits = Vec::new();
    for tries in 0..DELETION_TRIES {
        assert_eq!(asks_to_delete(&scene.step()), Some(700));
        scene.facts.deleted = vec![(700, tries, Changed::Unknown { message: "502".into() })];
        let plan = scene.step();
        let Some(wait) = wakes_in(&scene, &plan) else { break };
        waits.push(wait);
        assert!(scene.step().status.is_none(), "written once");
        scene.wait(wait.unsigned_abs());
    }
    assert_eq!(waits[..8], [60, 120, 240, 480, 960, 1920, 3600, 3600]);
    assert_eq!((noted(&scene).len(), waits.len()), (0, usize::try_from(DELETION_TRIES).unwrap() - 1));
}

#[test]
fn a_wish_that_is_taken_back_deletes_nothing_and_other_pipelines_stay() {
    let mut scene = one_to_delete();
    scene.edit(|spec| spec.history_deletes_pipelines = false);
    assert_eq!(asks_to_delete(&scene.step()), None);
    assert!(noted(&scene).is_empty());

    let mut shared = one_to_delete();
    shared.trigger.status.deletions.clear();
    shared.trigger.status.history =
        vec![HistoryEntry { pipeline_id: Some(701), ..shared.run().to_history() }];
    shared.edit(|_| ()).step();
    assert!(noted(&shared).is_empty(), "it is the current run's too");
}

#[test]
fn there_are_never_too_many_to_delete() {
    let mut scene = one_to_delete();
    let one = scene.trigger.status.deletions[0].clone();
    let many = (1..=64).map(|id| Deletion { pipeline_id: 1000 + id, ..one.clone() });
    scene.trigger.status.deletions = many.collect();
    scene.trigger.status.history = vec![HistoryEntry { pipeline_id: Some(1), ..scene.run().to_history() }];
    let plan = scene.edit(|_| ()).step();
    assert_eq!(noted(&scene).len(), MAX_DELETIONS);
    assert_eq!(told(&plan).len(), 65 - MAX_DELETIONS);
    assert_eq!(noted(&scene).last(), Some(&(1, 0)), "the oldest are given up");
}

// ---- spec.ttlAfterFinished -------------------------------------------------------------------------------------

fn short_lived() -> Scene {
    let mut scene = Scene::new(FireOn::Apply);
    scene.trigger.generated = true;
    scene.edit(|spec| spec.ttl_after_finished = Some(Span::from_secs(60))).step();
    scene.answer(accepted());
    scene
}

#[test]
fn an_object_deletes_itself_after_its_time_and_is_not_kept_in_mind_until_then() {
    let mut scene = short_lived();
    assert_eq!(scene.wait(1000).step().effect, Effect::Nothing, "never while a run is active");
    scene.sight(seen(PipelineStatus::Success));
    let plan = scene.step();
    let due = scene.now + Duration::from_secs(60);
    assert!(plan.is_settled() && plan.expires == Some(due), "{plan:?}");
    assert_eq!(scene.wait(59).step().effect, Effect::Nothing);
    assert_eq!(scene.wait(1).step().effect, Effect::DeleteObject);
}

#[test]
fn what_does_not_delete_itself() {
    let ended = |edit: fn(&mut Scene) -> &mut Scene| {
        let mut scene = short_lived();
        scene.sight(seen(PipelineStatus::Success));
        edit(&mut scene);
        let plan = scene.wait(60).step();
        plan.effect == Effect::DeleteObject
    };
    assert!(ended(|s| s));
    fn with(scene: &mut Scene, change: fn(&mut Scene)) -> &mut Scene {
        change(scene);
        scene
    }
    assert!(!ended(|s| with(s, |s| s.trigger.generated = false)), "an object that is applied by its name");
    assert!(!ended(|s| with(s, |s| s.trigger.deleted_at = Some(s.now))), "one that goes already");
    assert!(!ended(|s| s.suspend(true)), "a suspended one");
    assert!(!ended(|s| with(s, |s| s.policy.paused = true)), "any while the operator is paused");
    assert!(!ended(|s| s.git_ref("B")), "one with another cause");
    assert!(!ended(|s| s.edit(|spec| spec.ttl_after_finished = None)), "one without the wish");
    assert!(
        !ended(|s| with(s, |s| s.trigger.status.run.as_deref_mut().unwrap().phase = Phase::Held)),
        "one that waits for a person"
    );
}

#[test]
fn a_refused_run_does_not_keep_its_object_for_ever() {
    let mut scene = Scene::new(FireOn::Apply);
    scene.trigger.generated = true;
    scene.edit(|spec| spec.ttl_after_finished = Some(Span::from_secs(1000))).step();
    scene.answer(refused());
    scene.wait(600);
    scene.repeat();
    scene.answer(refused());
    assert_eq!(scene.wait(399).step().effect, Effect::Nothing);
    assert_eq!(scene.wait(1).step().effect, Effect::DeleteObject);
}

// ---- How large it can be ---------------------------------------------------------------------------------------

/// Words that the client takes out of GitLab's answers are cut to so many characters.
const WORD: usize = 64;
/// And names.
const NAME: usize = 255;

/// `text` is so many characters, each of the most bytes.
fn largest_run(template: Run, text: impl Fn(usize) -> String) -> Run {
    let now = template.intended_at;
    let job = FailedJob {
        id: Some(u64::MAX),
        name: text(NAME),
        stage: Some(text(NAME)),
        failure_reason: Some(text(WORD)),
        web_url: Some("x".repeat(2048)),
    };
    let whole = Pipeline {
        id: u64::MAX,
        iid: Some(u64::MAX),
        project_id: Some(u64::MAX),
        git_ref: Some(text(NAME)),
        sha: Some("f".repeat(64)),
        source: Some(text(WORD)),
        web_url: Some("x".repeat(2048)),
        created_at: Some(now),
        started_at: Some(now),
        finished_at: Some(now),
        name: Some(text(NAME)),
        coverage: Some(text(WORD)),
        ..pipeline(PipelineStatus::Other(text(WORD)))
    };
    let secret = SecretKeyRef { name: "x".repeat(253), key: "x".repeat(253) };
    let mut run = template;
    run.target.url = "x".repeat(255);
    run.target.project = "x".repeat(512);
    run.target.git_ref = text(NAME);
    run.target.trigger = Some(secret.clone());
    run.target.access = Some(secret.clone());
    run.target.ca_bundle =
        Some(CaBundleRef { kind: BundleKind::ConfigMap, name: secret.name, key: secret.key });
    run.request = Some(text(256));
    run.message = Some(text(MESSAGE_MAX));
    run.name = Some(text(NAME));
    run.pipeline = Some(whole);
    run.failed_jobs = vec![job; 5];
    run.downstream = vec![u64::MAX; 20];
    run.duplicates = vec![u64::MAX; 10];
    run.tests = Some(Tests {
        total: u64::MAX,
        success: u64::MAX,
        failed: u64::MAX,
        skipped: u64::MAX,
        error: u64::MAX,
    });
    run.retry = Some(Retry {
        count: u32::MAX,
        state: RetryState::Waiting,
        next_at: Some(now),
        job_ids: vec![u64::MAX; 5],
        at: Some(now),
        by: Some("x".repeat(NAME)),
        tries: u32::MAX,
        put_off: u32::MAX,
        asked: Some(text(256)),
    });
    (run.cancel_requested_at, run.cancel_requested_by) = (Some(now), Some(CancelCause::Deletion));
    (run.finished_at, run.resumed_at, run.intended_at_gitlab) = (Some(now), Some(now), Some(now));
    run.name_refused = Some(Reason::InsufficientScope);
    let update = UpdateRecord {
        project: Some("x".repeat(512)),
        branch: text(NAME),
        files: vec![text(512); 3],
        state: UpdateState::Committing,
        reason: Some(Reason::SecretNotForThisProject),
        message: Some(text(MESSAGE_MAX)),
        commit: Some("f".repeat(64)),
        diff: Some(text(2048 / text(1).len())),
        at: Some(now),
        by: Some("x".repeat(NAME)),
        since: Some(now),
        ..UpdateRecord::of(&image_update(When::Always, "v1"))
    };
    run.image_updates = vec![update; 5];
    run.trace = Some(RunTrace {
        due_at: now,
        parent: Some("f".repeat(55)),
        again: Some(Again { since: now, after: Phase::Rejected }),
    });
    run
}

/// What is stored beside it is told in `src/api/size.rs`.
#[test]
fn no_status_is_larger_than_what_is_reckoned_with() {
    // Four bytes each; and a sign that Go writes in six.
    for letter in ["🚀", "<"] {
        let text = |characters: usize| letter.repeat(characters);
        let mut scene = Scene::running();
        let run = largest_run(*scene.trigger.status.run.take().unwrap(), text);
        let entry = run.to_history();
        let place: Place = entry.place.clone().unwrap();
        let deletion = Deletion { pipeline_id: u64::MAX, place, tries: u32::MAX, next_at: Some(scene.now) };
        let handled = Some(Handled { value: text(256), answer: Answered::NothingFailed });
        let condition = Condition {
            kind: "Reconciling".into(),
            status: Truth::Unknown,
            reason: "x".repeat(WORD),
            message: text(MESSAGE_MAX),
            last_transition_time: scene.now,
            observed_generation: Some(i64::MAX),
        };
        let last_handled = LastHandled {
            fire: handled.clone(),
            resolve: handled.clone(),
            cancel: handled.clone(),
            retry: handled,
        };
        let status = TriggerStatus {
            message: Some(text(MESSAGE_MAX)),
            history: vec![entry; 20],
            deletions: vec![deletion; MAX_DELETIONS],
            // Ready, Reconciling or Stalled, Fired, Succeeded, ImagesUpdated.
            conditions: vec![condition; 5],
            waiting: Some(Waiting {
                since: scene.now,
                digest: Some(run.digest.clone()),
                request: Some(text(256)),
                collapsed: u32::MAX,
            }),
            run: Some(run.into()),
            last_handled,
            ..scene.trigger.status.clone()
        };
        let bytes = stored_bytes(&status);
        assert!(bytes <= STATUS_MAX, "{letter}: {bytes} bytes");
    }
}
