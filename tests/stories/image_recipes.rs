//! The recipes of docs/image-updates.md, each against a repository as it is for: one value changes, and no other byte.

use serde_json::Value;

use crate::documented::of_page;
use crate::harness::gitlab::{GITOPS, quick, with_gitops};
use crate::harness::{Trigger, story};
use crate::images::{Git, state};

/// What the recipes write to; each has one `v1` a value that is meant, and none beside it.
const FILES: [(&str, &str); 5] = [
    (
        "apps/checkout/values.yaml",
        "# Helm\nimage:\n  repository: registry.example.com/shop/checkout\n  tag: v1   # ours\nreplicas: 2\n",
    ),
    (
        "apps/checkout/kustomization.yaml",
        "resources: [deploy.yaml]\nimages:\n- name: registry.example.com/shop/checkout # ours\n  newTag: v1\n",
    ),
    (
        "apps/checkout/all.yaml",
        "kind: Service\nmetadata: {name: web}\n---\nkind: Deployment\nmetadata: {name: web}\nspec:\n  template:\n    spec:\n      containers:\n      - name: sidecar\n        image: envoy:1.31\n      - name: app\n        image: \"registry.example.com/shop/checkout:v1\" # ours\n",
    ),
    (
        "argocd/checkout.yaml",
        "kind: Application\nspec:\n  source:\n    helm:\n      parameters:\n      - {name: replicas, value: '2'}\n      - {name: image.tag, value: 'v1'}\n",
    ),
    (
        "apps/checkout/release.yaml",
        "kind: HelmRelease\nspec:\n  values:\n    web: {tag: v1} # {\"$imagepolicy\": \"flux-system:checkout:tag\"}\n    job:\n      tag: v1 # {\"$imagepolicy\": \"flux-system:checkout:tag\"}\n      name: nightly # {\"$imagepolicy\": \"flux-system:nightly:tag\"}\n",
    ),
];

#[test]
fn every_recipe_of_the_page_writes_its_value_and_no_other_byte() {
    let mut play = quick();
    play.jobs[0].artifacts = [("build.env".into(), "IMAGE_TAG=v2.0.0\n".into())].into();
    let shown: Vec<Value> = of_page("docs/image-updates.md").into_iter().map(|shown| shown.object).collect();
    let recipes: Vec<&Value> =
        shown.iter().filter(|object| object["spec"]["imageUpdates"].is_array()).collect();
    assert!(recipes.len() >= 7, "{} recipes", recipes.len());
    story(with_gitops(play, &FILES), async |story| {
        let git = Git::of(story);
        story.operator(&[]);
        for (number, recipe) in recipes.into_iter().enumerate() {
            let name = format!("recipe-{number}");
            let mut updates = recipe["spec"]["imageUpdates"].clone();
            updates[0].as_object_mut().unwrap().remove("accessTokenRef");
            let mut trigger = Trigger::new(&name).with("spec.imageUpdates", updates.clone());
            if recipe["spec"]["outputs"].is_array() {
                trigger = trigger.with("spec.outputs", recipe["spec"]["outputs"].clone());
            }
            story.apply(&trigger).await;
            let done = |state: &str| matches!(state, "Committed" | "Open" | "Refused" | "UpToDate");
            let seen = story.until(&name, "be written", |seen| done(state(seen))).await;
            let by_request = updates[0]["via"] == "MergeRequest";
            assert_eq!(state(&seen), if by_request { "Open" } else { "Committed" }, "{}", seen.yaml());
            let branch = match seen.at("status.run.imageUpdates")[0]["mergeRequest"]["branch"].as_str() {
                Some(branch) => branch.to_owned(),
                None => "main".to_owned(),
            };
            let edit = &updates[0]["edits"][0];
            let file = edit["file"].as_str().unwrap();
            let template = edit["value"].as_str().or(edit["newTag"].as_str()).unwrap();
            let sha = seen.text("status.run.pipeline.sha");
            let new = if template.contains("outputs") { "v2.0.0" } else { &sha[..8] };
            let before = FILES.iter().find(|(path, _)| *path == file).unwrap().1;
            let after = git.run(&["show", &format!("{branch}:{file}")]);
            // A commit id that is a number to YAML gets quotes where none were.
            let wanted = [before.replace("v1", new), before.replace("v1", &format!("\"{new}\""))];
            assert!(wanted.contains(&after), "{name}, {file}:\n{after}");
            story.delete(&name).await;
            story.until_gone(&name).await;
            if branch == "main" {
                story.gitlab.commit(GITOPS, "main", "as before", &FILES).unwrap().unwrap();
            }
        }
    });
}
