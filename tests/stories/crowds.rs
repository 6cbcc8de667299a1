//! Many at once, and more than one operator: each trigger has exactly one pipeline.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;

use crate::harness::gitlab::{playing, quick};
use crate::harness::{Seen, Story, Trigger, story};

const WITHIN: Duration = Duration::from_secs(120);

async fn apply_many(story: &Story, many: usize) {
    let all = (0..many).map(|number| async move { story.apply(&Trigger::new(&format!("t{number}"))).await });
    assert_eq!(futures::stream::iter(all).buffer_unordered(20).count().await, many);
}

/// Each object has one pipeline, and it is the one that its status names.
async fn assert_one_each(story: &Story, many: usize) {
    let succeeded = |seen: &Seen| seen.phase() == "Succeeded";
    let all = story.until_all(WITHIN, "be Succeeded", succeeded).await;
    assert_eq!(all.len(), many);
    story.let_pass().await;
    let mut by_object: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for pipeline in story.ledger().pipelines {
        let object = pipeline.params["pipekick"]["object"].as_str().unwrap().to_owned();
        by_object.entry(object).or_default().push(pipeline.id);
    }
    for seen in &all {
        let object = format!("{}/{}", story.namespace, seen.text("metadata.name"));
        let told = u64::try_from(seen.number("status.run.pipeline.id")).unwrap();
        assert_eq!(by_object.get(&object), Some(&vec![told]), "{object}");
        assert_eq!(seen.number("status.run.attempt.count"), 1, "{object}");
    }
}

#[test]
fn three_hundred_at_once_have_one_pipeline_each() {
    story(playing(quick()), async |story| {
        apply_many(story, 300).await;
        story.operator(&[]);
        assert_one_each(story, 300).await;
    });
}

#[test]
fn two_operators_at_the_same_objects_fire_one_pipeline_each() {
    story(playing(quick()), async |story| {
        apply_many(story, 50).await;
        story.operator(&[]);
        story.operator(&[]);
        let more =
            (50..100).map(|number| async move { story.apply(&Trigger::new(&format!("t{number}"))).await });
        futures::stream::iter(more).buffer_unordered(20).count().await;
        assert_one_each(story, 100).await;
    });
}
