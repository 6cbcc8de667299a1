//! What each version stored is stored by today's CRDs too, and nothing of it is dropped: see `tests/stored_objects.rs`.

use std::path::Path;

use kube::Api;
use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use crate::harness::gitlab::{playing, quick};
use crate::harness::story;

#[test]
fn the_objects_of_each_version_are_taken_and_kept_whole() {
    story(playing(quick()), async |story| {
        let versions = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/crds");
        let mut stored = 0;
        for version in std::fs::read_dir(versions).unwrap() {
            let version = version.unwrap();
            let label = version.file_name().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(version.path().join("objects.yaml")).unwrap();
            for document in text.split("\n---\n").skip(1) {
                let mut written: Value = serde_saphyr::from_str(document).unwrap();
                let name = format!("{}-{label}", written["metadata"]["name"].as_str().unwrap());
                written["metadata"]["name"] = name.as_str().into();
                let kind =
                    GroupVersionKind::gvk("pipekick.dev", "v1alpha1", written["kind"].as_str().unwrap());
                let api: Api<DynamicObject> = Api::namespaced_with(
                    story.client.clone(),
                    &story.namespace,
                    &ApiResource::from_gvk(&kind),
                );
                let object: DynamicObject = serde_json::from_value(written.clone()).unwrap();
                let mut created = api.create(&PostParams::default(), &object).await.unwrap();
                if !written["status"].is_null() {
                    created.data["status"] = written["status"].clone();
                    api.replace_status(&name, &PostParams::default(), &created).await.unwrap();
                }
                let read = serde_json::to_value(api.get(&name).await.unwrap()).unwrap();
                assert_eq!(read["spec"], written["spec"], "{name}");
                if !written["status"].is_null() {
                    assert_eq!(read["status"], written["status"], "{name}");
                }
                stored += 1;
            }
        }
        assert!(stored >= 4);
    });
}
