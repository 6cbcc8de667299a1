//! What gives way to POSTs while there is a crowd, and what never does.

use super::*;
use crate::domain::schedule::Gap;

/// What the decision says after `change`, on a schedule that ticked at 09:10 and whose run has ended.
fn plan_after(change: impl FnOnce(&mut World)) -> Plan {
    let mut world = world("*/10 * * * *", |_| {});
    world.run_until(at("09:16")).unwrap();
    change(&mut world);
    let children = world.children();
    let (now, paused, facts) = (world.now, world.paused, &world.facts);
    decide(&Observed { now, paused, schedule: &world.schedule, children: &children, facts })
}

/// The tick of 09:20 has made its child.
fn fire(world: &mut World) {
    world.crowded = true;
    world.run_until(at("09:20")).unwrap();
}

#[test]
fn the_mark_of_a_tick_that_made_its_child_can_wait() {
    let plan = plan_after(fire);
    let status = plan.status.unwrap();
    assert_eq!((plan.can_wait, status.last_handled_tick), (true, Some(at("09:20"))));
}

#[test]
fn the_child_itself_cannot() {
    let plan = plan_after(|world| world.now = at("09:20"));
    assert!(matches!(plan.effects[..], [Effect::Create(_)]) && !plan.can_wait);
}

#[test]
fn an_edit_a_suspension_a_request_and_a_missed_tick_cannot() {
    type Change = fn(&mut World);
    let edited: Change = |world| edit(world, |spec| spec.clock.dst.gap = Gap::Skip);
    let suspended: Change = |world| world.schedule.suspend = true;
    let answered: Change = |world| (world.schedule.fire, world.paused) = (Some("now".into()), true);
    let missed: Change = |world| {
        edit(world, |spec| spec.missed_runs = MissedRuns::Skip);
        world.now = at("09:25");
    };
    let cases = [("edited", edited), ("suspended", suspended), ("answered", answered), ("missed", missed)];
    for (sentence, change) in cases {
        let plan = plan_after(change);
        assert!(plan.status.is_some() && !plan.can_wait, "{sentence}");
    }
}

#[test]
fn what_waited_is_written_after_the_crowd_and_nothing_fired_twice_meanwhile() {
    let mut world = world("*/10 * * * *", |_| {});
    world.crowded = true;
    world.run_until(at("09:45")).unwrap();
    assert_eq!(world.schedule.status.last_handled_tick, None);
    world.crowded = false;
    world.turn().unwrap();
    assert_eq!(world.schedule.status.last_handled_tick, Some(at("09:40")));
    let ticks: Vec<_> = world.ledger.iter().filter_map(|(tick, _)| *tick).collect();
    assert_eq!(ticks, ["09:10", "09:20", "09:30", "09:40"].map(at));
}
