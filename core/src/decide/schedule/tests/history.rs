//! Which children are kept.

use super::*;

fn names(world: &World) -> Vec<String> {
    world.children().iter().filter_map(|child| child.tick).map(|t| t.strftime("%H:%M").to_string()).collect()
}

#[test]
fn the_oldest_beyond_the_limit_are_deleted() {
    let mut world = world("*/10 * * * *", |spec| spec.successful_limit = 2);
    world.run_until(at("10:05")).unwrap();
    assert_eq!(fired(&world).len(), 6);
    assert_eq!(names(&world), ["09:50", "10:00"]);
}

#[test]
fn each_outcome_has_a_limit_of_its_own() {
    let mut world = world("*/10 * * * *", |spec| (spec.successful_limit, spec.failed_limit) = (3, 1));
    world.run_until(at("09:45")).unwrap();
    let mut children = world.children();
    children[0].phase = Some(Phase::Failed);
    children[1].phase = Some(Phase::Rejected);
    let facts = Facts::default();
    let observed = Observed {
        now: at("09:46"),
        paused: false,
        schedule: &world.schedule,
        children: &children,
        facts: &facts,
    };
    let deletes: Vec<_> = decide(&observed).effects;
    assert_eq!(deletes, [Effect::Delete { name: children[0].name.clone(), uid: children[0].uid.clone() }]);
}

#[test]
fn active_children_and_those_that_never_fired_are_kept() {
    let mut world = world("*/10 * * * *", |spec| (spec.successful_limit, spec.failed_limit) = (0, 0));
    world.run_takes = Span::from_secs(36_000);
    world.run_until(at("09:45")).unwrap();
    assert_eq!(names(&world).len(), 4);
    let mut children = world.children();
    for (child, phase) in
        children.iter_mut().zip([None, Some(Phase::Suspended), Some(Phase::Idle), Some(Phase::Pending)])
    {
        child.phase = phase;
    }
    let facts = Facts::default();
    let observed = Observed {
        now: at("09:46"),
        paused: false,
        schedule: &world.schedule,
        children: &children,
        facts: &facts,
    };
    assert_eq!(decide(&observed).effects, []);
}

#[test]
fn no_child_newer_than_the_written_mark_is_deleted() {
    let mut world = world("*/10 * * * *", |spec| spec.successful_limit = 0);
    world.run_takes = Span::from_secs(5);
    world.now = at("09:10");
    // It dies after the create and before the status.
    world.dies_after = Some(1);
    assert!(world.turn().is_err());
    world.now = at("09:15");
    let mut children = world.children();
    children[0].phase = Some(Phase::Succeeded);
    let facts = Facts::default();
    let observed = Observed {
        now: world.now,
        paused: false,
        schedule: &world.schedule,
        children: &children,
        facts: &facts,
    };
    let plan = decide(&observed);
    assert_eq!(plan.effects, [], "first the mark");
    assert_eq!(plan.status.unwrap().last_handled_tick, Some(at("09:10")));
}

#[test]
fn no_child_of_a_tick_that_waits_by_the_written_status_is_deleted() {
    let mut world = world("*/10 * * * *", |spec| spec.successful_limit = 0);
    world.run_takes = Span::from_secs(3_600);
    world.run_until(at("09:15")).unwrap();
    let mut children = world.children();
    world.schedule.status.queued_tick = children[0].tick;
    children[0].phase = Some(Phase::Succeeded);
    let facts = Facts::default();
    let observed = Observed {
        now: at("09:20"),
        paused: false,
        schedule: &world.schedule,
        children: &children,
        facts: &facts,
    };
    let effects = decide(&observed).effects;
    assert!(matches!(&effects[..], [Effect::Create(_)]), "it would fire again: {effects:?}");
}

#[test]
fn a_child_is_kept_for_a_minute_whatever_the_limit() {
    let mut world = world("*/10 * * * *", |spec| spec.successful_limit = 0);
    world.run_takes = Span::from_secs(5);
    world.run_until(at("2026-11-02T09:10:59Z")).unwrap();
    assert_eq!(names(&world), ["09:10"]);
    world.run_until(at("09:11")).unwrap();
    assert_eq!(names(&world), [""; 0]);
}

#[test]
fn trimming_comes_before_firing() {
    let mut world = world("* * * * *", |spec| spec.successful_limit = 1);
    world.run_takes = Span::from_secs(70);
    world.run_until(at("09:05")).unwrap();
    let line = |what: &str| world.log.iter().rposition(|line| line.what == what && line.at == at("09:05"));
    if let (Some(trimmed), Some(fired)) = (line("Trimmed"), line("Fired")) {
        assert!(trimmed < fired);
    }
    let mut children = world.children();
    for child in &mut children {
        child.phase = Some(Phase::Succeeded);
    }
    let facts = Facts::default();
    let observed = Observed {
        now: at("09:06"),
        paused: false,
        schedule: &world.schedule,
        children: &children,
        facts: &facts,
    };
    let effects = decide(&observed).effects;
    assert!(matches!(&effects[..], [.., Effect::Delete { .. }, Effect::Create(_)]), "{effects:?}");
}

#[test]
fn the_history_is_in_the_order_of_ticks_whatever_the_watch_says() {
    let mut world = world("*/10 * * * *", |_| {});
    world.run_until(at("09:37")).unwrap();
    edit(&mut world, |spec| spec.successful_limit = 1);
    let mut children = world.children();
    children.reverse();
    let facts = Facts::default();
    let observed = Observed {
        now: at("09:38"),
        paused: false,
        schedule: &world.schedule,
        children: &children,
        facts: &facts,
    };
    let deleted: Vec<_> = decide(&observed).effects;
    assert_eq!(deleted.len(), 2);
    assert!(
        deleted
            .iter()
            .all(|effect| !matches!(effect, Effect::Delete { name, .. } if *name == children[0].name))
    );
}

#[test]
fn a_held_child_is_a_question_to_a_person_and_no_limit_takes_it_away() {
    let mut world = world("*/10 * * * *", |spec| (spec.successful_limit, spec.failed_limit) = (0, 0));
    world.run_takes = Span::from_secs(36_000);
    world.run_until(at("09:15")).unwrap();
    let mut held = world.children()[0].clone();
    held.phase = Some(Phase::Held);
    let held: Vec<Child> = (0..=HELD_MAX)
        .map(|number| Child {
            name: format!("held-{number:03}"),
            uid: format!("held-{number:03}"),
            ..held.clone()
        })
        .collect();
    let facts = Facts::default();
    let look = |children: &[Child]| {
        let now = at("09:19");
        decide(&Observed { now, paused: false, schedule: &world.schedule, children, facts: &facts }).effects
    };
    assert_eq!(look(&held[1..]), []);
    assert_eq!(look(&held).len(), 1, "but there is a bound");
}

#[test]
fn the_oldest_is_the_one_of_the_oldest_tick_whenever_it_was_made() {
    let mut world = world("*/10 * * * *", |_| {});
    world.run_until(at("09:25")).unwrap();
    edit(&mut world, |spec| spec.successful_limit = 1);
    let mut children = world.children();
    // Of two ticks the older one's child was made last: it had waited.
    (children[0].created, children[1].created) = (at("09:22"), at("09:21"));
    let facts = Facts::default();
    let now = at("09:24");
    let plan = decide(&Observed {
        now,
        paused: false,
        schedule: &world.schedule,
        children: &children,
        facts: &facts,
    });
    assert_eq!(
        plan.effects,
        [Effect::Delete { name: children[0].name.clone(), uid: children[0].uid.clone() }]
    );
}

#[test]
fn a_suspended_schedule_is_trimmed_too() {
    let mut world = world("*/10 * * * *", |_| {});
    world.run_until(at("09:35")).unwrap();
    world.schedule.suspend = true;
    edit(&mut world, |spec| spec.successful_limit = 1);
    world.run_until(at("09:40")).unwrap();
    assert_eq!(names(&world), ["09:30"]);
}
