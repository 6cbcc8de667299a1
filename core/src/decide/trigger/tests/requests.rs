//! Runs that are over, and whose image updates are in merge requests that wait for people.

use std::time::Duration;

use super::scene::{Scene, image_update, merge_request, seen, told, wakes_in};
use crate::decide::image_update::Verdict;
use crate::decide::trigger::{Effect, Plan, RequestLook, RequestSight, UpdateSeen};
use crate::domain::image_update::When;
use crate::domain::status::Truth;
use crate::domain::trailers::Written;
use crate::domain::{
    FireId, ImageUpdate, MergeRequest, MergeRequestState, MergeRequestTemplate, Phase, PipelineStatus,
    UpdateState,
};

fn proposed(state: MergeRequestState) -> Verdict {
    Verdict::Proposed {
        request: Box::new(merge_request(state)),
        source: "pipekick/shop/checkout-1".parse().unwrap(),
        commit: Some("1a2b3c4d5e6f".into()),
        auto_merge: true,
    }
}

/// A run whose update has this end in its queue.
fn ended(verdict: Verdict) -> (Scene, Plan) {
    let mut scene = Scene::running();
    let template = Some(Box::new(MergeRequestTemplate::default()));
    scene.edit(|spec| {
        spec.image_updates =
            vec![ImageUpdate { merge_request: template, ..image_update(When::Success, "v2") }];
    });
    scene.step();
    let plan = scene.sight(seen(PipelineStatus::Success));
    let Effect::Update(order) = plan.effect else { panic!("{plan:?}") };
    assert!(order.entries[0].proposal.is_some());
    scene.facts.updates = vec![(order.entries[0].key.clone(), UpdateSeen::Settled(verdict))];
    // What the queue told is put on record beside the first look.
    let plan = scene.step();
    (scene, plan)
}

fn looks(plan: &Plan) -> &RequestLook {
    let Effect::LookAtRequests(looks) = &plan.effect else { panic!("{plan:?}") };
    &looks[0]
}

/// A look was taken just now, and brought this.
fn see(scene: &mut Scene, request: MergeRequest, unarmed: Option<&str>) -> Plan {
    scene.facts.requests_look_age = Some(Duration::ZERO);
    let unarmed = unarmed.map(str::to_owned);
    scene.facts.requests = vec![(0, 7, RequestSight::Seen { request: Box::new(request), unarmed })];
    let plan = scene.step();
    scene.facts.requests.clear();
    plan
}

fn open() -> MergeRequest {
    merge_request(MergeRequestState::Opened)
}

/// A run whose merge request waits.
fn waiting() -> Scene {
    let (mut scene, _) = ended(proposed(MergeRequestState::Opened));
    see(&mut scene, MergeRequest { auto_merge: true, ..open() }, None);
    scene
}

fn state(scene: &Scene) -> UpdateState {
    scene.run().image_updates[0].state
}

fn truths(scene: &Scene) -> [Option<(Truth, String)>; 3] {
    ["Ready", "Reconciling", "ImagesUpdated"].map(|kind| {
        let found = scene.trigger.status.conditions.iter().find(|c| c.kind == kind);
        found.map(|c| (c.status, c.reason.clone()))
    })
}

#[test]
fn the_run_is_over_while_its_merge_request_waits_and_says_so() {
    let (mut scene, plan) = ended(proposed(MergeRequestState::Opened));
    let look = looks(&plan);
    assert_eq!((look.entry, look.iid, look.project.as_str()), (0, 7, "platform/gitops"));
    assert_eq!(look.arm.as_deref(), Some("1a2b3c4d5e6f"));
    let plan = see(&mut scene, open(), Some("405"));
    assert_eq!(told(&plan), ["MergeRequestOpen"]);
    assert_eq!((state(&scene), scene.phase()), (UpdateState::Open, Phase::Succeeded));
    let [ready, reconciling, updated] = truths(&scene);
    assert_eq!((ready.unwrap().0, reconciling), (Truth::True, None));
    assert_eq!(updated, Some((Truth::Unknown, "MergeRequestOpen".into())));
    let message = scene.trigger.status.message.clone().unwrap();
    assert!(
        message.ends_with(
            "merge request !7 to main of platform/gitops waits: GitLab does not merge it by itself: 405"
        ),
        "{message}"
    );
    let record = scene.run().image_updates[0].merge_request.clone().unwrap();
    assert_eq!((record.iid, record.branch.as_str()), (7, "pipekick/shop/checkout-1"));
    assert!(record.web_url.is_some());
}

#[test]
fn its_end_is_the_updates_end() {
    for (request, unknown, ends, reason) in [
        (merge_request(MergeRequestState::Merged), UpdateState::Merged, Truth::True, "ImagesUpdated"),
        (merge_request(MergeRequestState::Closed), UpdateState::Closed, Truth::False, "MergeRequestClosed"),
    ] {
        let mut scene = waiting();
        scene.wait(60);
        assert_eq!(looks(&scene.step()).iid, 7);
        let plan = see(&mut scene, request.clone(), None);
        assert_eq!((state(&scene), scene.phase()), (unknown, Phase::Succeeded));
        let [ready, _, updated] = truths(&scene);
        assert_eq!((ready.unwrap().0, updated), (Truth::True, Some((ends, reason.into()))));
        assert_eq!(told(&plan).len(), 1, "{:?}", plan.events);
        assert!(scene.step().is_settled());
        let record = scene.run().image_updates[0].merge_request.clone().unwrap();
        assert_eq!(record.merge_commit, request.merged_as);
    }
}

#[test]
fn it_is_looked_at_after_a_tenth_of_its_age_and_also_after_a_restart() {
    let mut scene = waiting();
    for (wait, next) in [(0, 5), (100, 10), (1_000, 110), (100_000, 600)] {
        scene.wait(wait);
        if wait > 0 {
            looks(&scene.step());
        }
        let plan = see(&mut scene, MergeRequest { auto_merge: true, ..open() }, None);
        assert_eq!(wakes_in(&scene, &plan), Some(next), "after {wait} s");
        assert_eq!(scene.step().status, None, "nothing is written for a look that saw nothing new");
    }
    scene.restart();
    assert_eq!(looks(&scene.step()).iid, 7);
}

#[test]
fn a_later_run_that_took_it_over_is_told() {
    let mut scene = waiting();
    let written = |pipeline, id: &str| Written { fire_id: FireId::from(id), pipeline, wrote: vec![] };
    see(&mut scene, MergeRequest { written: vec![written(700, "mine")], ..open() }, None);
    assert_eq!(state(&scene), UpdateState::Open);
    see(&mut scene, MergeRequest { written: vec![written(701, "another")], ..open() }, None);
    assert_eq!(state(&scene), UpdateState::Superseded);
    assert!(scene.step().is_settled());
}

#[test]
fn suspended_it_is_looked_at_and_not_told_to_merge() {
    let mut scene = waiting();
    scene.trigger.suspend = true;
    scene.wait(60);
    assert_eq!(looks(&scene.step()).arm, None);
}

#[test]
fn a_new_cause_does_not_wait_for_it() {
    let mut scene = waiting();
    scene.edit(|spec| spec.git_ref = "next".parse().unwrap());
    let plan = scene.step();
    assert!(matches!(plan.effect, Effect::Fire(_)), "{plan:?}");
}
