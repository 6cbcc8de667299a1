//! A digest that a newer operator recorded cannot be compared: after a downgrade, an object that nobody
//! edited fires nothing.

use super::scene::{Scene, fires};
use crate::domain::run::CauseKind;
use crate::domain::{Digest, FireOn};

fn downgraded() -> Scene {
    let mut scene = Scene::new(FireOn::Apply);
    scene.settle().trigger.status.decided_digest = Some(Digest::from("v9:abc"));
    scene.restart();
    scene
}

#[test]
fn an_unedited_object_is_taken_as_it_is() {
    let mut scene = downgraded();
    assert!(fires(&scene.step()).is_none());
    assert_eq!(scene.trigger.status.decided_digest, Some(scene.trigger.firing.digest()));
    assert_eq!(fires(&scene.git_ref("B").step()), Some(CauseKind::Change), "and compared from now on");
}

#[test]
fn an_edited_object_may_have_changed_and_fires() {
    assert_eq!(fires(&downgraded().other_token().step()), Some(CauseKind::Change));
}

#[test]
fn an_edit_is_not_lost_while_it_waits() {
    let mut scene = downgraded();
    scene.budget(Some(30)).git_ref("B").step();
    scene.wait(30).budget(None);
    assert_eq!(fires(&scene.step()), Some(CauseKind::Change));
}

#[test]
fn an_edit_during_a_run_is_not_lost() {
    let mut scene = Scene::running();
    scene.trigger.status.decided_digest = Some(Digest::from("v9:abc"));
    scene.restart().git_ref("B").settle();
    assert_eq!(scene.run().target.git_ref, "B");
}

#[test]
fn a_run_that_waits_is_repeated_if_nobody_edited_and_superseded_if_somebody_did() {
    let waiting = || {
        let mut scene = Scene::pending();
        let run = scene.trigger.status.run.as_deref_mut().unwrap();
        run.digest = Digest::from("v9:abc");
        scene.restart().wait(60);
        scene
    };
    let mut unedited = waiting();
    let name = unedited.run().fire_id.clone();
    unedited.repeat();
    assert_eq!(unedited.run().fire_id, name);
    let mut edited = waiting();
    edited.other_token().step();
    assert_ne!(edited.run().fire_id, name, "what it was fired for cannot be told any more");
}
