//! How large a trigger can be. etcd takes 1.5 MiB in one request, and a status that no longer fits beside its spec could
//! not be written any more. The schema counts characters and cannot look into free JSON, and nothing bounds labels and
//! `managedFields`; this counts bytes.
//!
//! | part | at most | by |
//! | --- | --- | --- |
//! | spec | [`SPEC_MAX`], 352 KiB | this: a larger one is `Rejected`, and nothing is sent |
//! | spec and metadata (labels, annotations, `managedFields`) | [`OWN_MAX`], 624 KiB | this, in the same way |
//! | status | [`STATUS_MAX`](pipekick_core::domain::size::STATUS_MAX), 336 KiB | its messages, names and lists are cut |
//! | all of a trigger that is fired | 960 KiB | |

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pipekick_core::domain::SpecProblem;
use pipekick_core::domain::size::{OWN_MAX, SPEC_MAX, Weight, stored_bytes};

use super::trigger::PipelineTriggerSpec;

/// Whether the spec leaves room for a status.
pub(super) fn leaves_room(spec: &PipelineTriggerSpec) -> Result<(), SpecProblem> {
    let size = stored_bytes(spec);
    if size > SPEC_MAX {
        return Err(SpecProblem(format!(
            "spec takes up {size} bytes as Kubernetes stores it, where <, > and & have six each; {SPEC_MAX} are allowed: pass what is large by reference, such as a URL"
        )));
    }
    Ok(())
}

/// Whether all of an object but its status does.
pub(super) fn leaves_room_beside(
    metadata: &ObjectMeta,
    Weight(managed): Weight,
    spec: &PipelineTriggerSpec,
) -> Result<(), SpecProblem> {
    let metadata = stored_bytes(metadata).saturating_add(managed);
    let size = metadata.saturating_add(stored_bytes(spec));
    if size > OWN_MAX {
        return Err(SpecProblem(format!(
            "spec and metadata take up {size} bytes as Kubernetes stores them; {OWN_MAX} are allowed. {metadata} are metadata: take off annotations and labels, and use kubectl apply --server-side, which keeps no copy of spec in an annotation"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use pipekick_core::domain::size::STATUS_MAX;
    use serde_json::{Map, Value, json};

    use super::*;

    /// The largest spec that the schema and the bounds of `inputs` and `payload` let through, in this letter where
    /// any is allowed.
    fn largest(letter: &str) -> PipelineTriggerSpec {
        let text = |bytes: usize| letter.repeat(bytes / letter.len());
        let reference = || json!({"name": "x".repeat(253), "key": "x".repeat(253)});
        // Values are counted in bytes, names are plain letters.
        let values = 131_072 / 14;
        let variable = |number: usize| {
            let mut variable = json!({"name": format!("V{number:0>254}"), "type": "EnvVar", "raw": true});
            if number < 14 {
                variable["value"] = text(values).into();
            } else {
                let mut from = reference();
                from["optional"] = false.into();
                variable["valueFrom"] = json!({"configMapKeyRef": from});
            }
            variable
        };
        let inputs: Map<String, Value> =
            (0..20).map(|n| (format!("i{n:02}"), text((64 * 1024 - 200) / 20).into())).collect();
        serde_json::from_value(json!({
            "gitlab": {
                "url": "x".repeat(255), "project": "x".repeat(512),
                "triggerTokenRef": reference(), "accessTokenRef": reference(),
                "caBundleRef": {"kind": "ConfigMap", "name": "x".repeat(253), "key": "x".repeat(253)},
            },
            "ref": letter.repeat(255),
            "variables": (0..100).map(variable).collect::<Vec<_>>(),
            "inputs": inputs,
            "payload": {"a": text(64 * 1024 - 8)},
            "fireOn": "Request", "concurrencyPolicy": "Replace", "suspend": false, "onUnknown": "Refire",
            "timeout": "0".repeat(32), "cancelOnTimeout": false, "deletionPolicy": "Orphan",
            "retry": {"limit": 10, "backoff": "0".repeat(32)}, "name": letter.repeat(255), "historyLimit": 20,
            "historyDeletesPipelines": false, "ttlAfterFinished": "0".repeat(32),
        }))
        .unwrap()
    }

    #[test]
    fn the_largest_object_is_far_below_what_etcd_takes() {
        const { assert!(OWN_MAX + STATUS_MAX <= 960 * 1024) }
        // Letters of one byte and of four: everything that the schema lets through has its room.
        for letter in ["x", "ä", "🚀"] {
            let bytes = stored_bytes(&largest(letter));
            assert!(bytes > 320 * 1024, "{letter}: {bytes} bytes are not the largest");
            assert!(leaves_room(&largest(letter)).is_ok(), "{letter}: {bytes} bytes");
        }
        // Signs that are stored in six bytes, and one in two.
        for letter in ["<", "\u{1}", "\""] {
            let problem = leaves_room(&largest(letter)).unwrap_err();
            assert!(problem.0.contains("360448 are allowed"), "{}", problem.0);
        }
    }

    #[test]
    fn all_of_an_object_but_its_status_is_counted() {
        let spec = largest("x");
        let beside = OWN_MAX - stored_bytes(&spec);
        let metadata = |bytes: usize| {
            let mut metadata = ObjectMeta::default();
            let empty = json!({"annotations": {"pad": ""}}).to_string().len();
            metadata.annotations = Some([("pad".to_owned(), "x".repeat(bytes - empty))].into());
            metadata
        };
        let managed = 20_000;
        let room = beside - managed;
        assert!(room > 200 * 1024, "a copy of spec as large as the API server takes one fits: {room}");
        assert!(leaves_room_beside(&metadata(room), Weight(managed), &spec).is_ok());
        for (bytes, managed) in [(room + 1, managed), (room, managed + 1)] {
            let problem = leaves_room_beside(&metadata(bytes), Weight(managed), &spec).unwrap_err();
            let says = format!("take up {} bytes", OWN_MAX + 1);
            assert!(problem.0.contains(&says) && problem.0.contains("--server-side"), "{}", problem.0);
        }
    }
}
