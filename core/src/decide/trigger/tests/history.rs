//! Earlier runs: newest first, as many as `historyLimit` says; numbers only ever grow.

use super::scene::{Scene, not_sent};
use crate::domain::{FireOn, Phase};

fn after_runs(runs: usize, limit: usize) -> Scene {
    let mut scene = Scene::new(FireOn::Request);
    scene.edit(|spec| spec.history_limit = limit).settle();
    for i in 0..runs {
        scene.ask(&format!("run {i}")).settle();
    }
    scene
}

#[test]
fn newest_first_up_to_the_limit() {
    let seqs = |scene: &Scene| scene.past().iter().map(|(seq, _)| *seq).collect::<Vec<_>>();
    let mut scene = after_runs(5, 3);
    assert_eq!((scene.run().seq, seqs(&scene)), (5, vec![4, 3, 2]));
    let entry = &scene.trigger.status.history[0];
    assert_eq!((entry.pipeline_id, entry.phase), (Some(700), Phase::Succeeded));
    assert_eq!(entry.request.as_deref(), Some("run 3"));

    scene.edit(|spec| spec.history_limit = 1).step();
    assert_eq!(seqs(&scene), [4], "a lower limit counts at once");
    assert!(seqs(&after_runs(3, 0)).is_empty());
}

#[test]
fn numbers_grow_though_history_keeps_nothing() {
    let mut scene = after_runs(3, 0);
    assert_eq!(scene.run().seq, 3);
    scene.ask("more").step();
    scene.answer(not_sent());
    scene.git_ref("B").step();
    assert_eq!(scene.run().seq, 5, "a superseded run has had a number too");
}

#[test]
fn numbers_grow_beyond_what_history_knows() {
    let mut scene = after_runs(3, 5);
    scene.trigger.status.run = None;
    scene.ask("more").step();
    assert_eq!(scene.run().seq, 3, "history's highest, 2, and one");
}

#[test]
fn runs_of_one_object_have_names_of_their_own() {
    let scene = after_runs(5, 5);
    let mut names: Vec<_> = scene.posts.iter().map(|post| post.key.fire_id.clone()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 5);
}
