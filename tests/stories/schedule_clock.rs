//! `PipelineSchedule`: the fields that say which ticks there are, and which of them are made up for.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::json;

use crate::harness::gitlab::{long, playing, quick};
use crate::harness::schedules::{child_of, minutes_ago, schedule};
use crate::harness::{Seen, Story, Trigger, story};

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

impl Story {
    /// Applies it, and answers when it fires next.
    async fn fires_next(&self, schedule: &Trigger) -> Timestamp {
        self.known_schedule(schedule).await;
        let is = |seen: &Seen| seen.truth("Ready") == "True";
        instant(self.until_schedule(schedule.name(), "be followed", is).await.text("status.nextScheduleTime"))
    }
}

#[test]
fn missed_runs_all_fires_each_in_order_and_counts_the_oldest_beyond_max_catch_up() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let ticks: Vec<(Timestamp, String)> = (1..=5).rev().map(minutes_ago).collect();
        let crons: Vec<&String> = ticks.iter().map(|(_, cron)| cron).collect();
        let all = schedule("nightly", "")
            .without("spec.schedule")
            .with("spec.schedules", json!(crons))
            .with("spec.missedRuns", "All")
            .with("spec.maxCatchUp", 3)
            .with("spec.concurrencyPolicy", "Allow");
        story.known_schedule(&all).await;
        story.kill_operators();
        story.set_back("nightly", 8).await;
        let versions = story.record_versions().await;
        story.operator(&[]);
        story.until_children("nightly", "be made up for", |c| c.len() == 3).await;
        story.until_schedule("nightly", "count two", |seen| seen.number("status.missed.count") == 2).await;
        story.let_pass().await;
        let wanted: BTreeSet<Timestamp> = ticks[2..].iter().map(|(tick, _)| *tick).collect();
        let said = |p: &pipekick_sandbox::gitlab::PipelineRecord| {
            instant(p.params["pipekick"]["scheduled_time"].as_str().unwrap())
        };
        let fired: Vec<Timestamp> = story.ticked("nightly").iter().map(said).collect();
        assert_eq!((fired.len(), fired.into_iter().collect::<BTreeSet<_>>()), (3, wanted));
        let children = story.children("nightly").await;
        let mut created: Vec<(u64, String)> = Vec::new();
        for child in &children {
            let first = versions.up_to(child).await.swap_remove(0);
            let version = first.text("metadata.resourceVersion").parse().unwrap();
            created.push((version, child.text("metadata.name").to_owned()));
        }
        created.sort();
        let in_order: Vec<String> = ticks[2..].iter().map(|(tick, _)| child_of("nightly", *tick)).collect();
        assert_eq!(created.into_iter().map(|(_, name)| name).collect::<Vec<_>>(), in_order);
        let seen = story.schedule("nightly").await;
        assert_eq!(instant(seen.text("status.lastScheduleTime")), ticks[4].0);
        assert_eq!(instant(seen.text("status.missed.last")), ticks[1].0);
    });
}

/// Followed every minute, an end would be heard of after the next tick.
#[test]
fn a_run_that_ended_while_nobody_looked_keeps_no_tick_from_firing() {
    story(playing(long()), async |story| {
        let seldom = ["--follow-interval", "60s"];
        story.operator(&seldom);
        story.apply_schedule(&schedule("nightly", "* * * * *")).await;
        let running = |children: &[Seen]| children.iter().any(|child| child.phase() == "Running");
        story.until_children("nightly", "run", running).await;
        story.kill_operators();
        story.end_pipelines();
        story.operator(&seldom);
        story.until_children("nightly", "fire again", |children| children.len() >= 2).await;
        let seen = story.schedule("nightly").await;
        assert_eq!(*seen.at("status.missed.count"), json!(null), "{}", seen.yaml());
    });
}

/// And one that is under way keeps them all.
#[test]
fn a_run_that_is_under_way_is_looked_at_before_a_tick_is_dropped_for_it() {
    story(playing(long()), async |story| {
        story.operator(&["--follow-interval", "60s"]);
        story.apply_schedule(&schedule("nightly", "* * * * *")).await;
        let running = |children: &[Seen]| children.iter().any(|child| child.phase() == "Running");
        story.until_children("nightly", "run", running).await;
        story.until_event("nightly", "StillActive", "is still active").await;
        assert_eq!(story.children("nightly").await.len(), 1);
        let looks = story.ledger().calls.iter().filter(|call| call.method == "GET").count();
        assert!((1..=3).contains(&looks), "{looks} looks for one tick");
    });
}

#[test]
fn a_tick_later_than_its_starting_deadline_is_missed_and_told() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let (_, cron) = minutes_ago(3);
        for (name, deadline) in [("strict", "2m"), ("patient", "2h")] {
            story.known_schedule(&schedule(name, &cron).with("spec.startingDeadline", deadline)).await;
            story.set_back(name, 8).await;
        }
        story.until_children("patient", "fire", |c| c.len() == 1).await;
        story.until_schedule("strict", "count it", |seen| seen.number("status.missed.count") == 1).await;
        story.until_event("strict", "TicksMissed", "startingDeadline 2m").await;
        story.let_pass().await;
        assert_eq!((story.ticked("strict").len(), story.ticked("patient").len()), (0, 1));
        let metrics = story.metrics().await;
        for (bucket, many) in [("60.0", 0), ("300.0", 1), ("+Inf", 1)] {
            let line = format!("pipekick_schedule_lateness_seconds_bucket{{le=\"{bucket}\"}} {many}");
            assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
        }
    });
}

#[test]
fn jitter_moves_a_tick_the_same_way_after_a_restart_and_another_way_for_another_object() {
    const TICK: &str = "0 0 1 1 *";
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let plain = story.fires_next(&schedule("plain", TICK)).await;
        let jitter = |name| schedule(name, TICK).with("spec.jitter", "20h");
        let (one, other) = (story.fires_next(&jitter("one")).await, story.fires_next(&jitter("other")).await);
        for late in [one.duration_since(plain), other.duration_since(plain)] {
            assert!((0..=20 * 3600).contains(&late.as_secs()), "{late:#}");
        }
        assert_ne!(one, other);
        story.kill_operators();
        story.operator(&[]);
        // An edit makes the new process look at it afresh.
        assert_eq!(story.fires_next(&jitter("one").with("spec.failedRunsHistoryLimit", 1)).await, one);

        // What travels is the tick, not when it fired.
        let (tick, cron) = minutes_ago(2);
        story.known_schedule(&schedule("nightly", &cron).with("spec.jitter", "1m")).await;
        story.set_back("nightly", 5).await;
        story.until_children("nightly", "fire", |c| c.len() == 1).await;
        story.until_ledger("have it", |_| story.ticked("nightly").len() == 1).await;
        let fired = &story.ticked("nightly")[0];
        assert_eq!(instant(fired.params["pipekick"]["scheduled_time"].as_str().unwrap()), tick);
    });
}

#[test]
fn dst_says_what_becomes_of_a_time_that_is_missing_or_comes_twice() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let berlin = |name: &str, cron: &str| schedule(name, cron).with("spec.timeZone", "Europe/Berlin");
        // The day on which clocks are put forward has no 02:30; the one on which they are put back has two.
        let (spring, autumn) = ("30 2 * 3 SUN#L", "30 2 * 10 SUN#L");
        let time = |at: Timestamp| at.strftime("%H:%M").to_string();
        assert_eq!(time(story.fires_next(&berlin("gap", spring)).await), "01:00");
        for (name, fold, utc) in
            [("first", "First", "00:30"), ("second", "Second", "01:30"), ("both", "Both", "00:30")]
        {
            let schedule = berlin(name, autumn).with("spec.dst.fold", fold);
            assert_eq!(time(story.fires_next(&schedule).await), utc, "fold: {fold}");
        }
        story.known_schedule(&berlin("skip", spring).with("spec.dst.gap", "Skip")).await;
        let never = story
            .until_schedule("skip", "never fire", |seen| seen.message().contains("never fires: each time"))
            .await;
        assert_eq!(never.text("status.nextScheduleTime"), "");
    });
}

#[test]
fn h_is_resolved_by_name_and_stays_what_it_is() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let hashed = |name: &str| schedule(name, "H H(1-5) * * *");
        let mut resolved = BTreeMap::new();
        for number in 1..=6 {
            let name = format!("job-{number}");
            let next = story.fires_next(&hashed(&name)).await;
            let seen = story.schedule(&name).await;
            let text = seen.at("status.resolvedSchedules")[0].as_str().unwrap().to_owned();
            let fields: Vec<u8> = text.split(' ').take(2).map(|field| field.parse().unwrap()).collect();
            assert!(fields[0] < 60 && (1..=5).contains(&fields[1]) && text.ends_with(" * * *"), "{text}");
            assert_eq!(next.strftime("%-M %-H").to_string(), format!("{} {}", fields[0], fields[1]));
            resolved.insert(name, text);
        }
        let distinct: BTreeSet<&String> = resolved.values().collect();
        assert!(distinct.len() >= 4, "six objects are spread: {resolved:?}");
        story.kill_operators();
        story.operator(&[]);
        for (name, before) in &resolved {
            story.fires_next(&hashed(name).with("spec.failedRunsHistoryLimit", 1)).await;
            let seen = story.schedule(name).await;
            assert_eq!(seen.at("status.resolvedSchedules"), &json!([before]), "{name}");
        }
    });
}
