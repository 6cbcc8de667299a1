//! `PipelineSchedule`: each tick makes one child, once, whatever happens around it.
//!
//! Most stories do not wait for a minute: they move the mark of the last tick back, as if the operator had been down.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use serde_json::json;

use crate::harness::gitlab::{long, playing, quick};
use crate::harness::schedules::{child_of, minutes_ago, schedule};
use crate::harness::{Seen, Story, Trigger, columns, story};

impl Story {
    /// How many pipelines each tick of the schedule has.
    fn by_tick(&self, schedule: &str) -> BTreeMap<String, usize> {
        let mut ticks = BTreeMap::new();
        for pipeline in self.ticked(schedule) {
            let tick = pipeline.params["pipekick"]["scheduled_time"].as_str().unwrap_or("none").to_owned();
            *ticks.entry(tick).or_default() += 1;
        }
        ticks
    }
}

fn phases(children: &[Seen]) -> Vec<&str> {
    children.iter().map(Seen::phase).collect()
}

#[test]
fn every_minute_fires_at_the_minute_and_once_though_two_operators_tick_and_die() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        story.operator(&[]);
        let nightly = schedule("nightly", "* * * * *").with("spec.timeZone", "Europe/Berlin");
        story.known_schedule(&nightly).await;
        let children =
            story.until_children("nightly", "have succeeded", |c| phases(c) == ["Succeeded"]).await;
        story.kill_operators();
        let tick: Timestamp = children[0].at("metadata.annotations")["pipekick.dev/scheduled-time"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(tick.as_second() % 60, 0);
        assert_eq!(children[0].text("metadata.name"), child_of("nightly", tick));
        let owner = &children[0].at("metadata.ownerReferences")[0];
        assert_eq!((&owner["controller"], &owner["blockOwnerDeletion"]), (&json!(true), &json!(true)));
        assert_eq!(owner["uid"], *story.schedule("nightly").await.at("metadata.uid"));
        let fired = &story.ticked("nightly")[0];
        let said = fired.params["pipekick"]["scheduled_time"].as_str().unwrap();
        assert_eq!(said.parse::<Timestamp>().unwrap(), tick);
        assert!(said.ends_with("+02:00") || said.ends_with("+01:00"), "{said}");
        let late = fired.at.duration_since(tick);
        assert!((0..15).contains(&late.as_secs()), "it was {late:#} late");

        story.operator(&[]);
        story.let_pass().await;
        let by_tick = story.by_tick("nightly");
        assert!(by_tick.values().all(|count| *count == 1), "{by_tick:?}");
        let seen = story.schedule("nightly").await;
        assert!(seen.text("status.lastHandledTick") >= tick.to_string().as_str(), "{}", seen.yaml());
        assert_eq!(seen.truth("Ready"), "True");
    });
}

#[test]
fn a_thousand_schedules_on_one_minute_each_fire_once() {
    const MANY: usize = 1000;
    story(playing(quick()), async |story| {
        story.operator(&[]);
        story.operator(&[]);
        let ahead = if Timestamp::now().as_second() % 60 > 15 { -2 } else { -1 };
        let (tick, cron) = minutes_ago(ahead);
        let names: Vec<String> = (0..MANY).map(|number| format!("job-{number}")).collect();
        let all: Vec<Trigger> = names
            .iter()
            .map(|name| schedule(name, &cron).without("spec.triggerTemplate.spec.gitlab.accessTokenRef"))
            .collect();
        join_all(all.iter().map(|schedule| story.apply_schedule(schedule))).await;
        assert!(Timestamp::now() < tick, "they were applied too slowly for this story");
        story
            .until_true("all should fire", async || {
                let fired = story.ledger().pipelines.len();
                if fired >= MANY { Ok(()) } else { Err(format!("{fired} did")) }
            })
            .await;
        story.let_pass().await;
        let counts: Vec<usize> = names.iter().map(|name| story.ticked(name).len()).collect();
        assert_eq!(counts, vec![1; MANY]);
    });
}

#[test]
fn beyond_the_history_limits_the_oldest_children_are_deleted() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let nightly = schedule("nightly", "0 0 1 1 *").with("spec.successfulRunsHistoryLimit", 1);
        story.known_schedule(&nightly).await;
        let mut newest = String::new();
        for number in 1..=3 {
            story.ask_schedule("nightly", &format!("run {number}")).await;
            let done = |c: &[Seen]| c.len() == number && phases(c).iter().all(|phase| *phase == "Succeeded");
            let children = story.until_children("nightly", "have succeeded", done).await;
            let last =
                children.iter().max_by_key(|child| child.text("status.run.firedAt").to_owned()).unwrap();
            newest = last.text("metadata.name").to_owned();
            // Creation times are whole seconds; their order is what is judged.
            story.rest(Duration::from_millis(1100)).await;
        }
        let left = story.until_children("nightly", "be trimmed to one", |c| c.len() == 1).await;
        assert_eq!(left[0].text("metadata.name"), newest);
        story.let_pass().await;
        assert_eq!((story.children("nightly").await.len(), story.ticked("nightly").len()), (1, 3));
    });
}

#[test]
fn after_downtime_the_newest_missed_tick_fires_and_the_others_are_counted() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        story.known_schedule(&schedule("nightly", "* * * * *")).await;
        story.kill_operators();
        story.set_back("nightly", 10).await;
        let (newest, _) = minutes_ago(0);
        story.operator(&["--first-sight", "Hold"]);
        story.until_children("nightly", "have succeeded", |c| phases(c).contains(&"Succeeded")).await;
        for pipeline in story.ticked("nightly") {
            let tick = pipeline.params["pipekick"]["scheduled_time"].as_str().unwrap();
            let is_missed = tick.parse::<Timestamp>().unwrap() < newest;
            assert!(!is_missed, "{tick} fired, and not the newest, {newest}");
        }
        let seen = story.schedule("nightly").await;
        let missed = seen.number("status.missed.count");
        assert!((8..=10).contains(&missed), "{missed} were missed");
        assert!(story.by_tick("nightly").len() <= 2, "one was made up for; another may have come since");
        story
            .until_true("it should be told", async || {
                let events = story.events("nightly").await;
                let told = events.iter().filter(|(_, reason)| reason == "TicksMissed").count();
                if told == 1 { Ok(()) } else { Err(format!("{events:?}")) }
            })
            .await;
    });
}

#[test]
fn a_tick_that_fired_does_not_fire_again_when_its_child_is_deleted() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let (tick, cron) = minutes_ago(2);
        story.known_schedule(&schedule("nightly", &cron)).await;
        story.set_back("nightly", 5).await;
        story.until_children("nightly", "have succeeded", |c| phases(c) == ["Succeeded"]).await;
        story
            .until_schedule("nightly", "have passed it", |seen| {
                seen.text("status.lastScheduleTime") == tick.to_string()
            })
            .await;
        story.delete(&child_of("nightly", tick)).await;
        story.let_pass().await;
        story.kill_operators();
        story.operator(&[]);
        story.let_pass().await;
        assert_eq!((story.ticked("nightly").len(), story.children("nightly").await.len()), (1, 0));
    });
}

#[test]
fn a_run_that_is_asked_for_fires_once_for_each_value_and_moves_no_mark() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let labelled = schedule("nightly", "0 0 1 1 *")
            .with("spec.triggerTemplate.metadata", json!({"labels": {"team": "shop"}}));
        story.known_schedule(&labelled).await;
        let before = story.schedule("nightly").await;
        for value in ["one", "one", "two"] {
            story.ask_schedule("nightly", value).await;
            story.until_schedule("nightly", "answer", |seen| seen.answer() == (value, "Fired")).await;
            let ended = |c: &[Seen]| !c.is_empty() && phases(c).iter().all(|phase| *phase == "Succeeded");
            let children = story.until_children("nightly", "have succeeded", ended).await;
            assert_eq!(children[0].text("metadata.labels.team"), "shop");
        }
        story.let_pass().await;
        assert_eq!(story.by_tick("nightly"), BTreeMap::from([("none".to_owned(), 2)]));
        let after = story.schedule("nightly").await;
        assert_eq!(after.at("status.lastHandledTick"), before.at("status.lastHandledTick"));
        assert!(!after.text("status.lastSuccessfulTime").is_empty());
    });
}

#[test]
fn suspended_nothing_fires_and_resuming_does_not_fire_the_past() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let (_, cron) = minutes_ago(2);
        let nightly = schedule("nightly", &cron);
        story.known_schedule(&nightly.clone().with("spec.suspend", true)).await;
        story.set_back("nightly", 5).await;
        story.ask_schedule("nightly", "dropped").await;
        let seen =
            story.until_schedule("nightly", "answer", |seen| seen.answer() == ("dropped", "Suspended")).await;
        assert_eq!((seen.truth("Ready"), seen.reason()), ("True", "Suspended"));
        story.apply_schedule(&nightly).await;
        story
            .until_schedule("nightly", "be resumed", |seen| seen.is_current() && seen.reason() == "Scheduled")
            .await;
        story.let_pass().await;
        assert_eq!(story.ticked("nightly").len(), 0);
    });
}

#[test]
fn a_paused_operator_makes_no_children_and_the_next_one_makes_up_for_it() {
    story(playing(quick()), async |story| {
        story.operator(&["--pause"]);
        let (_, cron) = minutes_ago(2);
        story.known_schedule(&schedule("nightly", &cron)).await;
        story.set_back("nightly", 5).await;
        story.until_schedule("nightly", "be paused", |seen| seen.reason() == "Paused").await;
        story.rest(Duration::from_secs(1)).await;
        assert_eq!(story.children("nightly").await.len(), 0);
        story.kill_operators();
        story.operator(&[]);
        story.until_children("nightly", "have succeeded", |c| phases(c) == ["Succeeded"]).await;
        assert_eq!(story.ticked("nightly").len(), 1);
    });
}

/// A schedule of this policy with a run under way, and a tick that has just come.
async fn ticks_beside_a_run(story: &Story, policy: &str) -> Timestamp {
    story.operator(&[]);
    let (tick, cron) = minutes_ago(1);
    story.known_schedule(&schedule("nightly", &cron).with("spec.concurrencyPolicy", policy)).await;
    story.ask_schedule("nightly", "first").await;
    story.until_children("nightly", "run", |c| phases(c) == ["Running"]).await;
    story.kill_operators();
    story.set_back("nightly", 5).await;
    story.operator(&[]);
    tick
}

#[test]
fn forbid_drops_a_tick_while_a_run_is_active() {
    story(playing(long()), async |story| {
        ticks_beside_a_run(story, "Forbid").await;
        story.until_schedule("nightly", "count it", |seen| seen.number("status.missed.count") == 1).await;
        story.end_pipelines();
        story.until_children("nightly", "end", |c| phases(c) == ["Succeeded"]).await;
        story.let_pass().await;
        assert_eq!(story.ticked("nightly").len(), 1, "it does not fire late");
    });
}

#[test]
fn queue_fires_the_tick_when_the_active_run_has_ended_also_after_a_restart() {
    story(playing(long()), async |story| {
        let tick = ticks_beside_a_run(story, "Queue").await;
        let waits = |seen: &Seen| seen.text("status.queuedTick") == tick.to_string();
        story.until_schedule("nightly", "queue it", waits).await;
        story.kill_operators();
        story.operator(&[]);
        story.let_pass().await;
        assert_eq!(story.ticked("nightly").len(), 1);
        story.end_pipelines();
        story.until_children("nightly", "fire it", |c| c.len() == 2).await;
        story
            .until_schedule("nightly", "wait no more", |seen| seen.text("status.queuedTick").is_empty())
            .await;
        story.until_phase(&child_of("nightly", tick), "Running").await;
        story.let_pass().await;
        assert_eq!(story.ticked("nightly").len(), 2);
    });
}

#[test]
fn replace_cancels_the_active_run_and_fires_then() {
    story(playing(long()), async |story| {
        let tick = ticks_beside_a_run(story, "Replace").await;
        story
            .until_children("nightly", "be replaced", |c| {
                c.iter().any(|child| child.phase() == "Canceled")
                    && c.iter().any(|child| child.phase() == "Running")
            })
            .await;
        story.until_phase(&child_of("nightly", tick), "Running").await;
        story.let_pass().await;
        assert_eq!(story.ticked("nightly").len(), 2);
    });
}

#[test]
fn an_object_that_has_a_childs_name_is_left_alone_and_told() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let (tick, cron) = minutes_ago(2);
        let name = child_of("nightly", tick);
        story.apply(&Trigger::new(&name).with("spec.fireOn", "Request")).await;
        story.until_phase(&name, "Idle").await;
        story.known_schedule(&schedule("nightly", &cron)).await;
        story.set_back("nightly", 5).await;
        let stalled = story.until_schedule("nightly", "stall", |seen| seen.truth("Stalled") == "True").await;
        assert_eq!(stalled.reason(), "NameTaken");
        assert!(stalled.message().contains(&name), "{}", stalled.message());
        story.let_pass().await;
        assert_eq!(
            (story.ledger().pipelines.len(), story.look(&name).await.phase()),
            (1, "Idle"),
            "the marker's"
        );
    });
}

#[test]
fn what_cannot_be_followed_is_refused_or_says_what_to_write() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let good = || schedule("nightly", "0 2 * * *");
        assert_eq!(story.schedule_refused(&good()).await, None);
        for (bad, says) in [
            (good().without("spec.schedule"), "write either schedule or schedules"),
            (good().with("spec.schedules", json!(["0 3 * * *"])), "write either schedule or schedules"),
            (good().with("spec.schedule", "TZ=UTC 0 2 * * *"), "write the zone into timeZone"),
            (good().with("spec.schedule", "Cron_tz=UTC 0 2 * * *"), "write the zone into timeZone"),
            (
                good().without("spec.schedule").with("spec.schedules", json!(["@daily", "tz=UTC 0 2 * * *"])),
                "write the zone into timeZone",
            ),
            (good().with("spec.missedRuns", "All"), "write concurrencyPolicy: Allow"),
            (good().with("spec.maxCatchUp", 5), "maxCatchUp belongs to missedRuns: All"),
            (good().with("spec.startingDeadline", "0s"), "zero would miss every tick"),
            (good().with("spec.triggerTemplate.spec.fireOn", "Apply"), "leave fireOn out"),
            (good().with("spec.triggerTemplate.spec.suspend", true), "suspend the schedule itself"),
            (good().with("spec.triggerTemplate.spec.ttlAfterFinished", "1h"), "by its history limits"),
            (schedule(&"x".repeat(53), "0 2 * * *"), "at most 52 characters"),
        ] {
            let refusal = story.schedule_refused(&bad).await.expect(says);
            assert!(refusal.contains(says), "{refusal}");
        }
        for (name, bad, says) in [
            ("cron", schedule("cron", "61 * * * *"), "61 in the minute field: 0-59"),
            ("zone", schedule("zone", "0 2 * * *").with("spec.timeZone", "Mars/Olympus"), "no time zone"),
            (
                "label",
                schedule("label", "0 2 * * *")
                    .with("spec.triggerTemplate.metadata", json!({"labels": {"bad key!": "x"}})),
                "triggerTemplate.metadata.labels: the API server refuses \"bad key!\"",
            ),
        ] {
            story.apply_schedule(&bad).await;
            let seen = story.until_schedule(name, "stall", |seen| seen.truth("Stalled") == "True").await;
            assert_eq!(seen.reason(), "InvalidSpec");
            assert!(seen.message().contains(says), "{}", seen.message());
        }
        // Its neighbours tick on.
        let (tick, cron) = minutes_ago(2);
        story.known_schedule(&schedule("good", &cron)).await;
        story.set_back("good", 5).await;
        let fired = story.until_children("good", "have succeeded", |c| phases(c) == ["Succeeded"]).await;
        assert_eq!(fired[0].text("metadata.name"), child_of("good", tick));
        story.known_schedule(&schedule("zone", "0 2 * * *").with("spec.timeZone", "Europe/Berlin")).await;
        let mended = story.until_schedule("zone", "be mended", |seen| seen.truth("Ready") == "True").await;
        assert!(mended.text("status.nextScheduleTime").ends_with("00:00Z"), "{}", mended.yaml());
    });
}

#[test]
fn kubectl_get_shows_what_is_wrong_what_runs_and_when_it_runs_next() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        let often = schedule("often", "0 0 1 1 *")
            .without("spec.schedule")
            .with("spec.schedules", json!(["H 2 * * *", "0 5 * * 1"]))
            .with("spec.timeZone", "Europe/Berlin")
            .with("spec.concurrencyPolicy", "Allow");
        story.known_schedule(&often).await;
        story.known_schedule(&schedule("wrong", "61 * * * *")).await;
        for value in ["one", "two"] {
            story.ask_schedule("often", value).await;
            story
                .until_schedule("often", "answer", |s| *s.at("status.lastHandled.fire.value") == value)
                .await;
        }
        story
            .until_schedule("often", "run both", |s| s.at("status.active").as_array().unwrap().len() == 2)
            .await;

        let table = story.table("pipelineschedules").await;
        assert_eq!(
            columns(&table, 0),
            ["Name", "Schedule", "Zone", "Suspend", "Active", "Status", "Last", "Next", "Age"]
        );
        assert_eq!(columns(&table, 1), ["Message"]);
        let cells = |row: usize| &table["rows"][row]["cells"];
        let next = story.schedule("often").await.text("status.nextScheduleTime").to_owned();
        let both = "[\"H 2 * * *\",\"0 5 * * 1\"]";
        let expected = json!(["often", both, "Europe/Berlin", null, 2, "Scheduled", null, next]);
        assert_eq!(cells(0).as_array().unwrap()[..8], expected.as_array().unwrap()[..]);
        let expected = json!(["wrong", "61 * * * *", null, null, null, "InvalidSpec", null, null]);
        assert_eq!(cells(1).as_array().unwrap()[..8], expected.as_array().unwrap()[..]);
        assert_eq!(cells(1)[9], "schedule: 61 in the minute field: 0-59");
    });
}
