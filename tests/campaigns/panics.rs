//! A bug that panics in the work on one object: it is told there, counted, and hurts nobody else.

use std::time::Duration;

use crate::harness::gitlab::{playing, quick};
use crate::harness::schedules::{minutes_ago, schedule};
use crate::harness::{Story, Trigger, story};

/// How long it is watched, and how often the work may be tried in that time: a back-off that doubles.
const WATCHED: Duration = Duration::from_secs(8);
const PANICS_AT_MOST: u64 = 12;

#[test]
fn a_panic_on_one_object_is_told_there_and_counted_and_the_others_go_on() {
    story(playing(quick()), async |story| {
        story.allow_panics();
        story.arm("PIPEKICK_PANIC_ON", format!("{}/cursed", story.namespace));
        story.operator(&[]);
        for name in ["before", "cursed", "after"] {
            story.apply(&Trigger::new(name)).await;
        }

        let cursed = story.until("cursed", "tell the bug", |seen| seen.reason() == "InternalError").await;
        assert_eq!(cursed.truth("Ready"), "False", "{}", cursed.yaml());
        let first = panics(story).await;
        assert!(first >= 1);
        for name in ["before", "after"] {
            story.until_phase(name, "Succeeded").await;
        }

        story.apply(&Trigger::new("cursed").with("spec.ref", "next")).await;
        tokio::time::sleep(WATCHED).await;
        story.apply(&Trigger::new("late")).await;
        story.until_phase("late", "Succeeded").await;
        let (last, fired) = (panics(story).await, ["before", "after", "late"].map(|name| story.fired(name)));
        assert!(last > first, "an edit is worked on too: {first}, then {last}");
        assert!(last <= PANICS_AT_MOST, "{last} panics in {WATCHED:?}: a hot loop");
        assert_eq!((story.fired("cursed"), fired), (0, [1, 1, 1]));

        // With the bug mended, the next operator does what was to be done.
        story.kill_operators();
        story.operator(&[]);
        story.until_phase("cursed", "Succeeded").await;
        assert_eq!(story.fired("cursed"), 1);
    });
}

#[test]
fn a_panic_on_one_schedule_is_told_there_and_counted_and_the_others_tick() {
    story(playing(quick()), async |story| {
        let (_, cron) = minutes_ago(2);
        story.allow_panics();
        story.operator(&[]);
        for name in ["before", "cursed", "after"] {
            story.known_schedule(&schedule(name, &cron)).await;
        }
        story.kill_operators();
        story.arm("PIPEKICK_PANIC_ON", format!("{}/cursed", story.namespace));
        for name in ["before", "cursed", "after"] {
            story.set_back(name, 5).await;
        }
        story.operator(&[]);
        let cursed =
            story.until_schedule("cursed", "tell the bug", |seen| seen.reason() == "InternalError").await;
        assert_eq!((cursed.truth("Ready"), cursed.truth("Stalled")), ("False", "True"), "{}", cursed.yaml());
        for name in ["before", "after"] {
            story
                .until_children(name, "have succeeded", |c| c.len() == 1 && c[0].phase() == "Succeeded")
                .await;
        }
        let first = panics(story).await;
        tokio::time::sleep(WATCHED).await;
        let last = panics(story).await;
        assert!(first >= 1 && last <= PANICS_AT_MOST, "{last} panics in {WATCHED:?}: a hot loop");
        assert_eq!(["before", "cursed", "after"].map(|name| story.ticked(name).len()), [1, 0, 1]);

        // With the bug mended, the tick is made up for.
        story.kill_operators();
        story.operator(&[]);
        story
            .until_children("cursed", "have succeeded", |c| c.len() == 1 && c[0].phase() == "Succeeded")
            .await;
        story.until_schedule("cursed", "take it back", |seen| seen.truth("Ready") == "True").await;
        assert_eq!(["before", "cursed", "after"].map(|name| story.ticked(name).len()), [1, 1, 1]);
    });
}

async fn panics(story: &Story) -> u64 {
    let metrics = story.metrics().await;
    let counted = |line: &str| line.strip_prefix("pipekick_panics_total ")?.trim().parse().ok();
    metrics.lines().find_map(counted).unwrap()
}
