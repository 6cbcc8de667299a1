//! What the API server refuses at `kubectl apply`, each with what to write instead; and what it stores unchanged.

use kube::api::PostParams;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::harness::gitlab::{playing, quick};
use crate::harness::{Trigger, story};

/// A manifest made wrong, and what the refusal says.
type Case = (&'static str, fn(Trigger) -> Trigger, &'static str);

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// With an image update that makes this edit of a file.
fn images(trigger: Trigger, mut edit: Value) -> Trigger {
    edit["file"] = "a.yaml".into();
    trigger.with("spec.imageUpdates", json!([{"branch": "main", "edits": [edit]}]))
}

/// With an image update that goes by this merge request.
fn requests(trigger: Trigger, request: &Value, via: Option<&str>) -> Trigger {
    let edit = json!({"file": "a.yaml", "path": "a", "value": "v"});
    let mut update = json!({"branch": "main", "edits": [edit], "mergeRequest": request});
    if let Some(via) = via {
        update["via"] = via.into();
    }
    trigger.with("spec.imageUpdates", json!([update]))
}

fn output() -> Value {
    json!({"name": "tag", "job": "build", "artifact": "build.env", "key": "TAG"})
}

#[rustfmt::skip]
const REFUSED: &[Case] = &[
    ("a variable's name with a dash", |t| t.variables(&[("A-B", "1")]), "use letters, digits and underscores"),
    ("an empty name", |t| t.variables(&[("", "1")]), "spec.variables[0].name"),
    ("TRIGGER_PAYLOAD", |t| t.variables(&[("TRIGGER_PAYLOAD", "{}")]), "GitLab adds TRIGGER_PAYLOAD itself"),
    ("a name of ours", |t| t.variables(&[("PIPEKICK_FIRE_ID", "x")]), "choose another name"),
    ("the same name twice", |t| t.variables(&[("A", "1"), ("A", "2")]), "Duplicate value"),
    ("101 variables", |t| t.with("spec.variables", many(101, 1, "x")), "must have at most 100 items"),
    ("a value of 10001 characters", |t| t.variables(&[("A", &"x".repeat(10_001))]), "10000"),
    ("values of more than 128 KiB", |t| t.with("spec.variables", many(14, 9_400, "x")), "at most 131072 bytes"),
    ("the same in four bytes a character", |t| t.with("spec.variables", many(4, 9_400, "🚀")), "at most 131072 bytes"),
    ("a number for a value", |t| t.with("spec.variables", json!([{"name": "A", "value": 1}])), "spec.variables[0].value"),
    ("a variable without a value", |t| t.with("spec.variables", json!([{"name": "A"}])), "either value or valueFrom"),
    ("a variable with two values", |t| t.with("spec.variables", json!([{"name": "A", "value": "", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}])), "either value or valueFrom"),
    ("a value from nowhere", |t| t.with("spec.variables", json!([{"name": "A", "valueFrom": {}}])), "exactly one of secretKeyRef, configMapKeyRef and fieldRef"),
    ("a value from two places", |t| t.with("spec.variables", json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}, "configMapKeyRef": {"name": "a", "key": "b"}}}])), "exactly one of"),
    ("a field that cannot be read", |t| t.with("spec.variables", field("spec.ref")), "fieldPath: write metadata.name"),
    ("a label in double quotes", |t| t.with("spec.variables", field("metadata.labels[\"team\"]")), "fieldPath: write metadata.name"),
    ("all labels", |t| t.with("spec.variables", field("metadata.labels")), "fieldPath: write metadata.name"),
    ("a Secret of another namespace", |t| t.with("spec.variables", json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "../b/c", "key": "b"}}}])), "secretKeyRef.name"),
    ("an unknown type", |t| t.with("spec.variables", json!([{"name": "A", "value": "1", "type": "Secret"}])), "supported values"),
    ("a file by trigger token", |t| t.with("spec.variables", json!([{"name": "A", "value": "1", "type": "File"}])), "type File by access token only"),
    ("a file with both tokens, in the last place", |t| t.with("spec.variables", json!([{"name": "A", "value": "1", "type": "EnvVar"}, {"name": "B", "value": "1", "type": "File"}])), "leave out gitlab.triggerTokenRef"),
    ("21 inputs", |t| t.with("spec.inputs", numbered(21)), "20 items"),
    ("inputs as a list", |t| t.with("spec.inputs", json!([1])), "spec.inputs"),
    ("a payload without a trigger token", |t| t.without("spec.gitlab.triggerTokenRef").with("spec.payload", json!({"a": 1})), "payload needs gitlab.triggerTokenRef"),
    ("a payload that is no object", |t| t.with("spec.payload", "text"), "spec.payload"),
    ("a CA bundle of another kind", |t| t.with("spec.gitlab.caBundleRef", json!({"kind": "File", "name": "a", "key": "b"})), "supported values"),
    ("a CA bundle without a key", |t| t.with("spec.gitlab.caBundleRef", json!({"kind": "ConfigMap", "name": "a"})), "spec.gitlab.caBundleRef.key"),
    ("no ref", |t| t.without("spec.ref"), "spec.ref: Required value"),
    ("an empty ref", |t| t.with("spec.ref", ""), "name a branch or tag"),
    ("a blank ref", |t| t.with("spec.ref", "  "), "name a branch or tag"),
    ("a commit id", |t| t.with("spec.ref", COMMIT), "GitLab starts no pipeline for one"),
    ("a SHA-256 commit id", |t| t.with("spec.ref", "A".repeat(64)), "GitLab starts no pipeline for one"),
    ("a ref of 256 characters", |t| t.with("spec.ref", "x".repeat(256)), "255"),
    ("a URL with a password", |t| t.with("spec.gitlab.url", "https://me:secret@gitlab.example.com"), "no credentials, query or fragment"),
    ("a URL with a query", |t| t.with("spec.gitlab.url", "https://gitlab.example.com?a=b"), "no credentials, query or fragment"),
    ("a URL with a fragment", |t| t.with("spec.gitlab.url", "https://gitlab.example.com/#a"), "no credentials, query or fragment"),
    ("a URL of another scheme", |t| t.with("spec.gitlab.url", "ftp://gitlab.example.com"), "write it like https://gitlab.example.com"),
    ("a host without a scheme", |t| t.with("spec.gitlab.url", "gitlab.example.com"), "write it like https://gitlab.example.com"),
    ("the address of the API", |t| t.with("spec.gitlab.url", "https://example.com/gitlab/api/v4/"), "without /api/v4"),
    ("a port that there is not", |t| t.with("spec.gitlab.url", "https://gitlab.example.com:99999"), "a number from 1 to 65535"),
    ("a port of many digits", |t| t.with("spec.gitlab.url", "https://gitlab.example.com:99999999999999999999"), "a number from 1 to 65535"),
    ("port 0", |t| t.with("spec.gitlab.url", "https://gitlab.example.com:0"), "a number from 1 to 65535"),
    ("no token at all", |t| t.without("spec.gitlab.triggerTokenRef").without("spec.gitlab.accessTokenRef"), "name a Secret"),
    ("an empty Secret name", |t| t.with("spec.gitlab.accessTokenRef.name", ""), "spec.gitlab.accessTokenRef.name"),
    ("no project", |t| t.without("spec.gitlab.project"), "project: Required value"),
    ("a project without its group", |t| t.with("spec.gitlab.project", "checkout"), "with its group"),
    ("a project's URL", |t| t.with("spec.gitlab.project", "https://gitlab.com/shop/checkout"), "with its group"),
    ("project 0", |t| t.with("spec.gitlab.project", 0), "numeric id"),
    ("a timeout without an access token", |t| t.without("spec.gitlab.accessTokenRef").with("spec.timeout", "1h"), "timeout needs gitlab.accessTokenRef"),
    ("Replace without an access token", |t| t.without("spec.gitlab.accessTokenRef").with("spec.concurrencyPolicy", "Replace"), "concurrencyPolicy Replace needs gitlab.accessTokenRef"),
    ("an unknown concurrencyPolicy", |t| t.with("spec.concurrencyPolicy", "Forbid"), "supported values"),
    ("cancelOnTimeout without a timeout", |t| t.with("spec.cancelOnTimeout", true), "cancelOnTimeout needs timeout"),
    ("deletionPolicy Cancel without an access token", |t| t.without("spec.gitlab.accessTokenRef").with("spec.deletionPolicy", "Cancel"), "deletionPolicy Cancel needs gitlab.accessTokenRef"),
    ("an unknown deletionPolicy", |t| t.with("spec.deletionPolicy", "Delete"), "supported values"),
    ("a timeout in days", |t| t.with("spec.timeout", "1d"), "spec.timeout"),
    ("a timeout as a number", |t| t.with("spec.timeout", 3600), "spec.timeout"),
    ("retry without an access token", |t| t.without("spec.gitlab.accessTokenRef").with("spec.retry", json!({"limit": 1})), "retry needs gitlab.accessTokenRef"),
    ("retry without a limit", |t| t.with("spec.retry", json!({"backoff": "1s"})), "spec.retry.limit: Required value"),
    ("retry eleven times", |t| t.with("spec.retry", json!({"limit": 11})), "less than or equal to 10"),
    ("a back-off in days", |t| t.with("spec.retry", json!({"limit": 1, "backoff": "1d"})), "write it like 30s or 5m"),
    ("image updates without an access token", |t| images(t, json!({"path": "a", "value": "v"})).without("spec.gitlab.accessTokenRef"), "imageUpdates needs gitlab.accessTokenRef"),
    ("outputs without image updates", |t| t.with("spec.outputs", json!([output()])), "outputs are read for imageUpdates alone"),
    ("two outputs of one name", |t| images(t, json!({"path": "a", "value": "v"})).with("spec.outputs", json!([output(), output()])), "Duplicate value"),
    ("an output with two ways to it", |t| images(t, json!({"path": "a", "value": "v"})).with("spec.outputs", json!([{"name": "a", "job": "b", "artifact": "c", "key": "d", "jsonPath": "e"}])), "either key"),
    ("six image updates", |t| t.with("spec.imageUpdates", json!(vec![json!({"branch": "main", "edits": [{"file": "a", "path": "a", "value": "v"}]}); 6])), "at most 5 items"),
    ("an update without edits", |t| t.with("spec.imageUpdates", json!([{"branch": "main", "edits": []}])), "at least 1 items"),
    ("an update of a project without its group", |t| t.with("spec.imageUpdates", json!([{"project": "gitops", "branch": "main", "edits": [{"file": "a", "path": "a", "value": "v"}]}])), "with its group"),
    ("an edit of nothing", |t| images(t, json!({"value": "v"})), "exactly one of path, marker, image"),
    ("an edit of two things", |t| images(t, json!({"path": "a", "line": "A", "value": "v"})), "exactly one of path, marker, image"),
    ("an edit without a value", |t| images(t, json!({"path": "a"})), "value is what path, marker or line get"),
    ("an image with a value", |t| images(t, json!({"image": "a/b", "newTag": "v", "value": "v"})), "write newTag, newName or digest instead"),
    ("an image without a tag", |t| images(t, json!({"image": "a/b", "create": true})), "at least one of newTag, newName and digest"),
    ("a tag without an image", |t| images(t, json!({"path": "a", "value": "v", "newTag": "v"})), "belong to image"),
    ("a document beside a marker", |t| images(t, json!({"marker": "a", "value": "v", "document": {"kind": "A"}})), "document chooses where path begins"),
    ("a document of any kind", |t| images(t, json!({"path": "a", "value": "v", "document": {}})), "write kind, name or both"),
    ("a part of a line", |t| images(t, json!({"line": "A", "value": "v", "part": "Tag"})), "part belongs to path or marker"),
    ("an unknown part", |t| images(t, json!({"path": "a", "value": "v", "part": "Version"})), "supported values"),
    ("a path of 513 characters", |t| images(t, json!({"path": "x".repeat(513), "value": "v"})), "512"),
    ("a file by an absolute path", |t| t.with("spec.imageUpdates", json!([{"branch": "main", "edits": [{"file": "/a", "path": "a", "value": "v"}]}])), "edits[0].file"),
    ("a merge request beside a commit", |t| requests(t, &json!({"labels": ["bot"]}), None), "write via: MergeRequest beside it"),
    ("the same in words", |t| requests(t, &json!({}), Some("Commit")), "write via: MergeRequest beside it"),
    ("an unknown way", |t| requests(t, &json!({}), Some("Push")), "supported values"),
    ("a label with a comma", |t| requests(t, &json!({"labels": ["a,b"]}), Some("MergeRequest")), "mergeRequest.labels[0]"),
    ("an assignee with an @", |t| requests(t, &json!({"assignees": ["@alice"]}), Some("MergeRequest")), "mergeRequest.assignees[0]"),
    ("eleven reviewers", |t| requests(t, &json!({"reviewers": vec!["alice"; 11]}), Some("MergeRequest")), "at most 10 items"),
    ("a title of 1025 characters", |t| requests(t, &json!({"title": "x".repeat(1025)}), Some("MergeRequest")), "1024"),
    ("a name without an access token", |t| t.without("spec.gitlab.accessTokenRef").with("spec.name", "x"), "name needs gitlab.accessTokenRef"),
    ("a blank name", |t| t.with("spec.name", " "), "name is empty"),
    ("a name of two lines", |t| t.with("spec.name", "a\nb"), "write it in one line"),
    ("a name of two lines, the second empty", |t| t.with("spec.name", "release\n"), "write it in one line"),
    ("a ref with a blank at its end", |t| t.with("spec.ref", "main "), "write it without blanks"),
    ("a ref that ends like git's locks", |t| t.with("spec.ref", "topic.lock"), "ends with .lock"),
    ("a ref with a hidden part", |t| t.with("spec.ref", "topic/.x"), "begins with ."),
    ("a ref that means HEAD", |t| t.with("spec.ref", "@"), "git allows no such name"),
    ("a project with git's ending", |t| t.with("spec.gitlab.project", "shop/checkout.git"), "without .git"),
    ("a Secret's name in capitals", |t| t.with("spec.gitlab.triggerTokenRef.name", "Fires"), "lower-case letters"),
    ("historyDeletesPipelines without an access token", |t| t.without("spec.gitlab.accessTokenRef").with("spec.historyDeletesPipelines", true), "Owner of the project"),
    ("ttlAfterFinished on an object with a name", |t| t.with("spec.ttlAfterFinished", "1h"), "made with metadata.generateName"),
    ("ttlAfterFinished on an object with a name beside its generateName", |t| t.with("spec.ttlAfterFinished", "1h").with("metadata.generateName", "a-name-that-no-case-begins-with-"), "made with metadata.generateName"),
    ("historyLimit 21", |t| t.with("spec.historyLimit", 21), "less than or equal to 20"),
    ("historyLimit -1", |t| t.with("spec.historyLimit", -1), "greater than or equal to 0"),
    ("an unknown fireOn", |t| t.with("spec.fireOn", "Always"), "supported values"),
];

fn many(count: usize, length: usize, letter: &str) -> Value {
    (0..count).map(|number| json!({"name": format!("V{number}"), "value": letter.repeat(length)})).collect()
}

fn field(path: &str) -> Value {
    json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": path}}}])
}

fn numbered(count: usize) -> Value {
    (0..count)
        .map(|number| (format!("input{number}"), number.into()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// As many as can be of all that can be, each as long as can be: CEL has a budget, and must not run out of it.
fn everything(trigger: Trigger, letter: &str) -> Trigger {
    let text = |bytes: usize| letter.repeat(bytes / letter.len());
    let long = |prefix: &str, length: usize| format!("{prefix}{}", "x".repeat(length - prefix.len()));
    let entry = |n: usize| {
        let (name, object, key) =
            (long(&format!("V{n}_"), 255), long(&format!("o{n}"), 253), long(&format!("k{n}"), 253));
        let path = format!("metadata.annotations['{}/{}']", long("a", 253), long("b", 63));
        match n % 4 {
            0 => {
                json!({"name": name, "type": "EnvVar", "raw": true, "valueFrom": {"secretKeyRef": {"name": object, "key": key, "optional": false}}})
            }
            1 => {
                json!({"name": name, "type": "EnvVar", "raw": true, "valueFrom": {"configMapKeyRef": {"name": object, "key": key, "optional": true}}})
            }
            2 => {
                json!({"name": name, "type": "EnvVar", "raw": false, "valueFrom": {"fieldRef": {"fieldPath": path, "optional": true}}})
            }
            _ => json!({"name": name, "type": "EnvVar", "raw": true, "value": text(5_240)}),
        }
    };
    let inputs: serde_json::Map<String, Value> =
        (0..20).map(|n| (format!("input{n}"), text(3_200).into())).collect();
    let reference = |name: &str| json!({"name": long(name, 253), "key": long("k", 253)});
    trigger
        .with("spec.variables", (0..100).map(entry).collect::<Vec<_>>())
        .with("spec.inputs", inputs)
        .with("spec.payload", json!({"a": text(65_528)}))
        .with("spec.gitlab.url", long("https://a.example/", 255))
        .with("spec.gitlab.project", long("g/", 512))
        .with("spec.gitlab.triggerTokenRef", reference("t"))
        .with("spec.gitlab.accessTokenRef", reference("a"))
        .with(
            "spec.gitlab.caBundleRef",
            json!({"kind": "ConfigMap", "name": long("c", 253), "key": long("k", 253)}),
        )
        .with("spec.ref", letter.repeat(255))
        .with("spec.name", letter.repeat(255))
        .with("spec.timeout", "1h30m")
        .with("spec.historyLimit", 20)
}

#[rustfmt::skip]
const ACCEPTED: &[Case] = &[
    ("a project by number", |t| t.with("spec.gitlab.project", 42), ""),
    ("a project by number, quoted", |t| t.with("spec.gitlab.project", "42"), ""),
    ("a project in subgroups", |t| t.with("spec.gitlab.project", "a/b-c/d.e/_f"), ""),
    ("a full ref", |t| t.with("spec.ref", "refs/heads/rel/1.2"), ""),
    ("a ref of hex digits that is no commit id", |t| t.with("spec.ref", "cafe"), ""),
    ("GitLab below a path", |t| t.with("spec.gitlab.url", "https://example.com/gitlab/"), ""),
    ("GitLab at a port and an IPv6 address", |t| t.with("spec.gitlab.url", "https://[2001:db8::1]:8443"), ""),
    ("100 variables", |t| t.with("spec.variables", many(100, 1, "x")), ""),
    ("a value of 10000 characters", |t| t.variables(&[("A", &"x".repeat(10_000))]), ""),
    ("values of 128 KiB", |t| t.with("spec.variables", many(16, 8_192, "x")), ""),
    ("the same in four bytes a character", |t| t.with("spec.variables", many(16, 2_048, "🚀")), ""),
    ("an empty value", |t| t.variables(&[("A", "")]), ""),
    ("the largest object", |t| everything(t, "x"), ""),
    ("the largest object in four bytes a character", |t| everything(t, "🚀"), ""),
    ("values from everywhere", |t| t.with("spec.variables", json!([
        {"name": "A", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b", "optional": true}}, "raw": false, "type": "EnvVar"},
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "b"}}, "raw": true},
        {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app.kubernetes.io/name']"}}},
        {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid", "optional": false}}},
    ])), ""),
    ("files by access token", |t| t.without("spec.gitlab.triggerTokenRef").with("spec.variables", json!([{"name": "A", "value": "1", "type": "File"}])), ""),
    ("20 inputs of every type", |t| t.with("spec.inputs", numbered(16)).with("spec.inputs.s", "x").with("spec.inputs.b", true).with("spec.inputs.f", 0.5).with("spec.inputs.a", json!([1, "x", [null, {"k": null}]])), ""),
    ("empty inputs and an empty payload", |t| t.with("spec.inputs", json!({})).with("spec.payload", json!({})), ""),
    ("a payload with nulls, three levels down", |t| t.with("spec.payload", json!({"a": {"b": {"c": null, "d": [null, {"e": null}]}}, "n": null})), ""),
    ("a CA bundle", |t| t.with("spec.gitlab.caBundleRef", json!({"kind": "Secret", "name": "a", "key": "ca.crt"})), ""),
    ("a timeout of hours and minutes", |t| t.with("spec.timeout", "1h30m"), ""),
    ("Wait without an access token", |t| t.without("spec.gitlab.accessTokenRef").with("spec.concurrencyPolicy", "Wait"), ""),
    ("cancelOnTimeout, switched off, without a timeout", |t| t.with("spec.cancelOnTimeout", false), ""),
    ("historyLimit 0", |t| t.with("spec.historyLimit", 0), ""),
];

#[test]
fn what_gitlab_could_never_run_is_refused_at_apply_with_what_to_write_instead() {
    story(playing(quick()), async |story| {
        let mut wrong = Vec::new();
        for (what, make, says) in REFUSED {
            let trigger = make(Trigger::new("wrong"));
            let (created, applied) =
                (story.create_refused(&trigger).await, story.apply_refused(&trigger).await);
            if !created.as_deref().is_some_and(|refusal| refusal.contains(says)) {
                wrong.push(format!("{what}: create says {created:?}, not {says}"));
            }
            // Before the rules are asked, server-side apply compares with the schema in its own words.
            let in_words = |refusal: &str| refusal.contains(says) || refusal.contains("typed patch object");
            if !applied.as_deref().is_some_and(in_words) {
                wrong.push(format!("{what}: server-side apply says {applied:?}, not {says}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));

        let misspelt = Trigger::new("wrong").with("spec.branch", "main");
        let refusal = story.apply_refused(&misspelt).await.unwrap();
        assert!(refusal.contains(".spec.branch: field not declared in schema"), "{refusal}");
    });
}

/// The schema cannot look into a payload. What etcd does not take is refused in its words, and signs that are stored in
/// six bytes count as six: it is that which the largest object is reckoned with (`src/api/size.rs`).
#[test]
fn what_does_not_fit_into_etcd_is_refused_at_apply() {
    story(playing(quick()), async |story| {
        for (bytes, letter) in [(1_700_000, "x"), (300_000, "<")] {
            let payload = json!({"a": letter.repeat(bytes)});
            let large: DynamicObject =
                serde_json::from_value(Trigger::new("large").with("spec.payload", payload).0).unwrap();
            let refused = story.triggers().create(&PostParams::default(), &large).await.unwrap_err();
            assert!(refused.to_string().contains("too large"), "{bytes} of {letter}: {refused}");
        }
    });
}

/// Whatever users write in a GitOps tool must read back as they wrote it, or the tool sees a drift for ever.
#[test]
fn what_is_applied_reads_back_unchanged() {
    story(playing(quick()), async |story| {
        for (what, make, _) in ACCEPTED {
            let trigger = make(Trigger::new("right").with("spec.suspend", true));
            let applied = story.apply(&trigger).await;
            assert_eq!(applied.at("spec"), &trigger.0["spec"], "{what}");
        }
    });
}

#[test]
fn a_gitops_tool_that_applies_again_changes_nothing_and_fires_nothing() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let everything = Trigger::new("checkout").variables(&[("B", "2"), ("A", "1")]).asking("once");
        let everything = everything.with("spec.fireOn", "Apply").with("spec.suspend", false);
        let everything = everything.with("spec.timeout", "90m").with("spec.historyLimit", 3);
        for trigger in [Trigger::new("least"), everything] {
            story.apply(&trigger).await;
            let ended = story.until_phase(trigger.name(), "Succeeded").await;
            let again = story.apply(&trigger).await;
            assert_eq!(again.text("metadata.resourceVersion"), ended.text("metadata.resourceVersion"));
            assert_eq!(again.at("spec"), &trigger.0["spec"]);
            let managers = again.at("metadata.managedFields").as_array().unwrap();
            let of_status = |manager: &&Value| manager["manager"] != "gitops";
            assert!(managers.iter().filter(of_status).all(|m| m["subresource"] == "status"), "{managers:#?}");
            assert_eq!(story.fired(trigger.name()), 1);
        }
    });
}
