//! How urgent the work on a trigger is: firing before following, following before bookkeeping.

use pipekick_core::domain::{Phase, Trigger};

use crate::runtime::Rank;

/// Of a trigger that the watch shows: a request that was not answered is as urgent as firing.
pub(super) fn of_seen(trigger: &Trigger) -> Rank {
    let handled = trigger.status.last_handled.fire.as_ref().map(|handled| &handled.value);
    if trigger.fire.as_ref() == handled { of(trigger) } else { Rank::Firing }
}

/// By what it is at.
pub(super) fn of(trigger: &Trigger) -> Rank {
    match trigger.status.active_run().map(|run| run.phase) {
        Some(
            Phase::Running
            | Phase::Retrying
            | Phase::Succeeded
            | Phase::Failed
            | Phase::Canceled
            | Phase::Skipped,
        ) => Rank::Following,
        Some(
            Phase::Pending
            | Phase::Firing
            | Phase::Unknown
            | Phase::Fired
            | Phase::Rejected
            | Phase::Held
            | Phase::TimedOut
            | Phase::Superseded
            | Phase::Suspended
            | Phase::Idle,
        ) => Rank::Firing,
        // A trigger that was never decided on, or was edited or asked since.
        None if trigger.status.observed_generation != Some(trigger.generation) => Rank::Firing,
        None => Rank::Bookkeeping,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::trigger::to_domain;
    use crate::controllers::trigger::Object;

    fn trigger(phase: &str, observed: i64, asked: &str, answered: &str) -> Trigger {
        let run = json!({
            "seq": 1, "fireId": "0bgyt52zqr5grye4rv31eb3t2m", "cause": "Apply", "digest": "v1:a", "phase": phase,
            "target": {"url": "https://gitlab.example.com", "project": "shop/checkout", "ref": "main"},
            "intendedAt": "2026-11-01T12:00:00Z",
        });
        let object: Object = serde_json::from_value(json!({
            "metadata": {
                "name": "checkout", "namespace": "shop", "uid": "u", "generation": 2,
                "annotations": {"pipekick.dev/fire": asked},
            },
            "spec": {"gitlab": {"project": "shop/checkout", "triggerTokenRef": {"name": "s", "key": "k"}}, "ref": "main"},
            "status": {
                "observedGeneration": observed, "phase": phase, "run": run,
                "lastHandled": {"fire": {"value": answered, "answer": "Fired"}},
            },
        }))
        .unwrap();
        let url = "https://gitlab.example.com".parse().unwrap();
        to_domain(&object, &url).unwrap()
    }

    #[test]
    fn firing_goes_before_following_and_following_before_bookkeeping() {
        for (phase, observed, asked, answered, expected) in [
            ("Pending", 2, "1", "1", Rank::Firing),
            ("Firing", 2, "1", "1", Rank::Firing),
            ("Unknown", 2, "1", "1", Rank::Firing),
            ("Running", 2, "1", "1", Rank::Following),
            ("Retrying", 2, "1", "1", Rank::Following),
            ("Succeeded", 2, "1", "1", Rank::Bookkeeping),
            ("Fired", 2, "1", "1", Rank::Bookkeeping),
            // Edited, and asked.
            ("Succeeded", 1, "1", "1", Rank::Firing),
            ("Succeeded", 2, "2", "1", Rank::Firing),
            ("Running", 2, "2", "1", Rank::Firing),
        ] {
            let rank = of_seen(&trigger(phase, observed, asked, answered));
            assert_eq!(rank, expected, "{phase}, generation {observed} of 2, asked {asked} after {answered}");
        }
        assert!(Rank::Firing < Rank::Following && Rank::Following < Rank::Bookkeeping);
    }
}
