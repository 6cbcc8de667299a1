//! What the documentation shows is what the API server takes, as it is written.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use pipekick_core::domain::Reason;
use serde_json::{Value, json};

use crate::harness::gitlab::{playing, quick};
use crate::harness::{Story, Trigger, story};

/// Pages whose YAML is tried.
const PAGES: [&str; 5] = [
    "README.md",
    "docs/pipelinetrigger.md",
    "docs/pipelineschedule.md",
    "docs/image-updates.md",
    "docs/argocd.md",
];

/// An object that stands in the documentation, and where.
pub struct Shown {
    place: String,
    pub object: Value,
}

#[test]
fn every_example_is_accepted_as_written_and_refused_with_a_misspelt_field() {
    let pages: Vec<Shown> = PAGES.iter().flat_map(|page| of_page(page)).collect();
    let files = of_examples();
    let count = |shown: &[Shown], kind: &str| shown.iter().filter(|s| s.object["kind"] == kind).count();
    assert!(count(&pages, "PipelineTrigger") >= 5, "two whole and two in part on their page, one in README");
    assert!(count(&pages, "PipelineSchedule") >= 1);
    assert!(count(&pages, "Secret") >= 1);
    assert!(count(&files, "PipelineTrigger") >= 7);
    assert!(count(&files, "Secret") >= 1);

    story(playing(quick()), async |story| {
        for Shown { place, object } in pages.into_iter().chain(files) {
            let refused = story.strictly_refused(&object).await;
            assert_eq!(refused, None, "{place}: {object:#}");
            let misspelt = misspelt(object);
            let refused = story.strictly_refused(&misspelt).await;
            assert!(refused.is_some_and(|why| why.contains("misspelt")), "{place}, with a misspelt field");
        }
    });
}

/// A field of a CRD's schema, or of what stands in an example.
type Field = Vec<String>;

#[test]
fn every_field_of_a_trigger_stands_in_an_example_and_every_field_of_its_status_on_its_page() {
    const PAGE: &str = "docs/pipelinetrigger.md";
    let crd = documents(&read("crds/pipekick.dev_pipelinetriggers.yaml"), "the CRD").remove(0);
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];

    let mut shown = BTreeSet::new();
    for Shown { object, .. } in of_page(PAGE) {
        written(&object["spec"], &[], &mut shown);
    }
    let missing: Vec<String> =
        declared(&schema["spec"]).iter().filter(|path| !shown.contains(*path)).map(|p| p.join(".")).collect();
    assert!(missing.is_empty(), "no example on {PAGE} has {missing:?}");

    let text = read(PAGE);
    let words: BTreeSet<&str> = text.split(|c: char| !c.is_alphanumeric()).collect();
    let fields = declared(&schema["status"]);
    let missing: Vec<String> = fields
        .iter()
        .filter(|path| path.last().is_some_and(|name| !words.contains(name.as_str())))
        .map(|path| path.join("."))
        .collect();
    assert!(missing.is_empty(), "{PAGE} does not tell of status {missing:?}");
}

/// Phases, answers, states and what else has a closed set of words: one that is new must be told to users too.
#[test]
fn every_word_that_a_field_may_hold_every_phase_and_every_reason_is_told_on_its_page() {
    let schema = |kind: &str| {
        let crd = documents(&read(&format!("crds/pipekick.dev_{kind}s.yaml")), kind).remove(0);
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"].clone()
    };
    let trigger = "docs/pipelinetrigger.md";
    for (kind, pages) in [
        ("pipelinetrigger", vec![trigger]),
        // A template is a trigger's spec.
        ("pipelineschedule", vec!["docs/pipelineschedule.md", trigger]),
    ] {
        let text: String = pages.iter().map(|page| read(page)).collect();
        let code: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
        let words: BTreeSet<&str> =
            code.iter().flat_map(|code| code.split(|c: char| !c.is_alphanumeric())).collect();
        let found = closed_words(&schema(kind));
        assert!(found.len() > 15, "{kind}: {found:?}");
        let missing: Vec<_> = found.iter().filter(|word| !words.contains(word.as_str())).collect();
        assert!(missing.is_empty(), "{pages:?} do not tell of {missing:?}");
    }

    let text = read(trigger);
    let phases = closed_words(&schema("pipelinetrigger")["status"]["properties"]["phase"]);
    assert_eq!(phases.len(), 16);
    for phase in phases {
        assert!(text.contains(&format!("\n| `{phase}` |")), "the table of phases has no row for {phase}");
    }
    let text = read("docs/reasons.md");
    for (reason, meaning) in Reason::ALL {
        assert!(text.contains(&format!("\n| `{reason}` | {meaning} |")), "{reason} has no row");
    }
}

/// Every word of every closed set below a schema.
fn closed_words(schema: &Value) -> BTreeSet<String> {
    let own = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let below = schema.as_object().into_iter().flatten().filter(|(name, _)| *name != "enum");
    let in_lists = schema.as_array().into_iter().flatten();
    own.chain(below.map(|(_, value)| value).chain(in_lists).flat_map(closed_words)).collect()
}

/// Every field below a schema; what is in a list is told by the list's name.
fn declared(schema: &Value) -> Vec<Field> {
    let mut found = Vec::new();
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        found.push(vec![name.clone()]);
        for of in [below, &below["items"]] {
            found.extend(declared(of).into_iter().map(|path| [vec![name.clone()], path].concat()));
        }
    }
    found
}

/// Every field that is written in a value.
fn written(value: &Value, at: &[String], found: &mut BTreeSet<Field>) {
    for item in value.as_array().into_iter().flatten() {
        written(item, at, found);
    }
    for (name, below) in value.as_object().into_iter().flatten() {
        let path = [at, std::slice::from_ref(name)].concat();
        written(below, &path, found);
        found.insert(path);
    }
}

/// With one field that its kind does not have.
fn misspelt(mut object: Value) -> Value {
    let ours = object["kind"].as_str().is_some_and(|kind| kind.starts_with("Pipeline"));
    let at = if ours { &mut object["spec"] } else { &mut object };
    at["misspelt"] = "x".into();
    object
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn documents(yaml: &str, place: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("{place}: {error}"))
}

/// The blocks of YAML on a page: whole manifests, or parts of a trigger's spec, which are indented as they are there.
pub fn of_page(page: &str) -> Vec<Shown> {
    let text = read(page);
    let mut found = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        if line != "```yaml" {
            continue;
        }
        let block: Vec<&str> =
            lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        let (block, place) = (block.join("\n"), format!("{page}, line {number}"));
        let objects = if block.starts_with("  ") {
            vec![with_part(&block, &place)]
        } else if block.contains("in .gitlab-ci.yml") {
            Vec::new()
        } else {
            documents(&block, &place)
        };
        found.extend(objects.into_iter().map(|object| Shown { place: place.clone(), object }));
    }
    found
}

/// A trigger, with this part of spec in place of its own.
fn with_part(part: &str, place: &str) -> Value {
    let shown = documents(&format!("spec:\n{part}"), place).remove(0);
    let mut trigger = Trigger::new("in-part");
    if part.contains("# without triggerTokenRef") {
        trigger = trigger.without("spec.gitlab.triggerTokenRef");
    }
    merge(&mut trigger.0["spec"], &shown["spec"]);
    trigger.0
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

fn of_examples() -> Vec<Shown> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    // As `kubectl apply -f examples/` finds them: not in directories below.
    let files = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let files = files.filter(|file| file.file_type().unwrap().is_file());
    let names = files.map(|file| file.file_name().into_string().unwrap());
    let manifest = |name: String| {
        let place = format!("examples/{name}");
        let objects = documents(&read(&place), &place);
        assert!(!objects.is_empty(), "{place} is empty");
        objects.into_iter().map(move |object| Shown { place: place.clone(), object })
    };
    names.flat_map(manifest).collect()
}

impl Story {
    /// Why the API server refuses this object in the story's namespace, when it looks at each field; nothing if it
    /// does not. Applied as GitOps tools do; created, where the name is the server's to choose.
    async fn strictly_refused(&self, object: &Value) -> Option<String> {
        let mut object = object.clone();
        object["metadata"]["namespace"] = json!(self.namespace);
        let text = |at: &Value| at.as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
        let (group, version) = version.split_once('/').unwrap_or(("", &version));
        let plural = format!("{}s", kind.to_lowercase());
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, &kind), &plural);
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        let answer = if let Some(name) = object["metadata"]["name"].as_str() {
            let params = PatchParams::apply("gitops").force().dry_run().validation_strict();
            api.patch(name, &params, &Patch::Apply(&object)).await
        } else {
            let url = format!("{}?dryRun=All&fieldValidation=Strict", api.resource_url());
            let request = http::Request::post(url).header("Content-Type", "application/json");
            self.client.request(request.body(object.to_string().into_bytes()).unwrap()).await
        };
        match answer {
            Ok(_) => None,
            Err(kube::Error::Api(status)) => Some(status.message.clone()),
            Err(error) => panic!("{error}"),
        }
    }
}
