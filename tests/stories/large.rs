//! The largest object that is fired, with all that Kubernetes keeps beside its spec, stays below 1 MiB.

use pipekick_sandbox::gitlab::{InputSpec, Seed};
use serde_json::{Map, Value, json};

use crate::harness::gitlab::{playing, quick};
use crate::harness::{Seen, Trigger, story};

/// What spec and metadata may take up together, and what the status does at most: `pipekick_core::domain::size`.
const OWN_MAX: usize = 624 * 1024;
const STATUS_MAX: usize = 336 * 1024;
/// `apiVersion`, `kind` and the names of the parts, which are counted in no part.
const FRAME: usize = 200;

fn inputs() -> impl Iterator<Item = String> {
    (0..20).map(|number| format!("i{number:02}"))
}

fn gitlab() -> Seed {
    let mut seed = playing(quick());
    seed.projects[0].inputs = inputs().map(|name| (name, InputSpec::default())).collect();
    seed
}

/// As large as spec's bounds allow in letters of one byte, and fit to be fired.
fn largest() -> Trigger {
    let value = |number: usize| {
        let mut variable = json!({"name": format!("V{number:0>254}"), "type": "EnvVar", "raw": true});
        if number < 14 {
            variable["value"] = "x".repeat(131_072 / 14).into();
        } else {
            let source = json!({"name": "n".repeat(253), "key": "k".repeat(253), "optional": true});
            variable["valueFrom"] = json!({ "configMapKeyRef": source });
        }
        variable
    };
    Trigger::new("checkout")
        .with("spec.variables", (0..100).map(value).collect::<Value>())
        .with("spec.inputs", inputs().map(|name| (name, "x".repeat(3200).into())).collect::<Map<_, _>>())
        .with("spec.payload", json!({"a": "x".repeat(64 * 1024 - 8)}))
        .with("spec.historyLimit", 20)
}

/// Bytes of the object as it is stored, and of its status.
fn bytes(seen: &Seen) -> (usize, usize) {
    let status = seen.at("status").to_string().len();
    (seen.0.to_string().len(), status)
}

fn padded(trigger: &Trigger, bytes: usize) -> Trigger {
    let mut padded = trigger.clone();
    padded.0["metadata"]["annotations"] = json!({"example.com/pad": "x".repeat(bytes)});
    padded
}

#[test]
fn the_largest_object_that_is_fired_stays_below_a_mebibyte_with_all_that_is_kept_beside_it() {
    story(gitlab(), async |story| {
        let trigger = largest().with("spec.suspend", true);
        let (whole, status) = bytes(&story.apply(&padded(&trigger, 1)).await);
        let room = OWN_MAX - (whole - status);
        assert!((100_000..256 * 1024).contains(&room), "spec and the rest leave {room} bytes to annotations");

        // One that is too large by its annotation alone: refused, with nothing sent.
        story.operator(&[]);
        let trigger = trigger.without("spec.suspend");
        story.apply(&padded(&trigger, room + 2_000)).await;
        let refused = story.until_phase("checkout", "Rejected").await;
        assert_eq!(refused.reason(), "InvalidSpec");
        for word in [&format!("{OWN_MAX} are allowed"), "annotations and labels", "--server-side"] {
            assert!(refused.message().contains(word), "{}", refused.message());
        }
        assert_eq!(story.ledger().calls.len(), 0);

        // As large as may be: fired. What the operator itself manages is in `managedFields` too.
        story.apply(&padded(&trigger, room - 6_000)).await;
        let ended = story.until_run("checkout", 1, "Succeeded").await;
        let (whole, status) = bytes(&ended);
        let own = whole - status;
        assert!(own > OWN_MAX - 7_000, "{own} bytes beside the status are not the largest");
        assert!(own < OWN_MAX + FRAME, "{own} bytes beside the status");

        // With the largest status beside it the API server takes it, and it stays below 1 MiB.
        story.kill_operators();
        story.merge_status("checkout", &json!({"message": "x".repeat(STATUS_MAX - status)})).await;
        let (whole, status) = bytes(&story.look("checkout").await);
        assert!(status > STATUS_MAX - 1_000, "{status} bytes of status are not the largest");
        println!("{whole} bytes: {status} of them are status");
        assert!(whole <= 960 * 1024 + FRAME, "{whole} bytes");
        assert_eq!(story.fired("checkout"), 1);
    });
}
