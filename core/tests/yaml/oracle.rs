//! Judges an edit by libyaml's reading of the file before and after.

use pipekick_core::domain::RepoPath;
use pipekick_core::yaml::{DocumentSelector, Edit, Path, Replacement, Source, Step, edit};
use serde::Deserialize;
use serde_norway::Value;

/// A scalar as libyaml finds it.
#[derive(Debug, Clone)]
pub struct Target {
    document: usize,
    selector: Option<DocumentSelector>,
    path: Path,
    value: Value,
}

/// What became of an edit.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Edited,
    UpToDate,
    /// The name of the reason.
    Refused(String),
}

/// All documents, or nothing if it is no YAML to libyaml.
fn documents(bytes: &[u8]) -> Option<Vec<Value>> {
    // libyaml counts the mark as a column, and does not know `---` behind it.
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    serde_norway::Deserializer::from_slice(bytes).map(|document| Value::deserialize(document).ok()).collect()
}

/// Every scalar that a path can name: by string keys and indices, in a document that can be told from the others.
pub fn scalars(bytes: &[u8]) -> Option<Vec<Target>> {
    let documents = documents(bytes)?;
    let full = documents.iter().filter(|document| !document.is_null()).count();
    let name = |value: &Value| {
        let kind = value.get("kind").and_then(Value::as_str).map(str::to_owned);
        let name = value.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Value::as_str);
        kind.zip(name.map(str::to_owned))
    };
    let names: Vec<_> = documents.iter().map(name).collect();
    let mut found = Vec::new();
    for (i, document) in documents.iter().enumerate() {
        let unique = names[i].is_some() && names.iter().filter(|other| **other == names[i]).count() == 1;
        let selector = match &names[i] {
            Some((kind, name)) if unique => DocumentSelector::new(Some(kind.clone()), Some(name.clone())),
            _ if full == 1 => None,
            _ => continue,
        };
        let mut here = Vec::new();
        leaves(document, &mut Vec::new(), &mut here);
        found.extend(here.into_iter().filter_map(|(steps, value)| {
            let path = Path::new(steps)?;
            // What the document is chosen by is not edited: afterwards it would be another.
            let chosen_by =
                selector.is_some() && ["kind", "metadata.name"].contains(&path.to_string().as_str());
            (!chosen_by).then(|| Target { document: i, selector: selector.clone(), path, value })
        }));
    }
    Some(found)
}

fn leaves(value: &Value, steps: &mut Vec<Step>, found: &mut Vec<(Vec<Step>, Value)>) {
    match value {
        Value::Mapping(entries) => {
            for (key, value) in entries {
                let Some(key) = key.as_str() else { continue };
                steps.push(Step::Key(key.to_owned()));
                leaves(value, steps, found);
                steps.pop();
            }
        }
        Value::Sequence(items) => {
            for (i, item) in items.iter().enumerate() {
                steps.push(Step::Index(i));
                leaves(item, steps, found);
                steps.pop();
            }
        }
        Value::Tagged(tagged) => leaves(&tagged.value, steps, found),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            found.push((steps.clone(), value.clone()));
        }
    }
}

/// Writes `new` into `target` of `text` and compares. An error is a broken promise.
pub fn judge(name: &str, text: &str, target: &Target, new: &str) -> Result<Outcome, String> {
    let file: RepoPath = name.parse().map_err(|error| format!("{error}"))?;
    let told = |what: &str| format!("{what}\n{name}, {}, {new:?}, of\n{text}", target.path);
    let edit_of = |new: &str| Edit::Path {
        document: target.selector.clone(),
        path: target.path.clone(),
        new: Replacement::Whole(new.parse().expect("a text")),
    };
    let after = match edit(&file, text.as_bytes(), &[edit_of(new)]) {
        Err(refusal) => {
            let why = format!("{:?}", refusal.why);
            let why = why.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            return Ok(Outcome::Refused(why.to_owned()));
        }
        Ok(None) if target.value.as_str() == Some(new) => return Ok(Outcome::UpToDate),
        Ok(None) => return Err(told("up to date, but it is not")),
        Ok(Some(after)) => after,
    };
    let source = Source::read(&file, text.as_bytes()).map_err(|refusal| told(&refusal.to_string()))?;
    let sites = source.locate(&edit_of(new)).map_err(|refusal| told(&refusal.to_string()))?;
    let [site] = sites.as_slice() else { return Err(told("not one site")) };
    let range = site.bytes().ok_or_else(|| told("no range"))?;
    let (head, tail) = (&text[..range.start], &text[range.end..]);
    if !(after.starts_with(head) && after.ends_with(tail) && after.len() >= head.len() + tail.len()) {
        return Err(told(&format!("bytes outside {range:?} differ:\n{after}")));
    }
    // What is replaced is the scalar and nothing else: read alone, it says the same.
    let alone = &text[range.clone()];
    if !alone.contains('\n')
        && !alone.contains('\r')
        && !range.is_empty()
        && !head.contains("%TAG")
        && documents(format!("- {alone}").as_bytes())
            != Some(vec![Value::Sequence(vec![target.value.clone()])])
        && !text.contains("!!")
    {
        return Err(told(&format!("{alone:?} is not the scalar, which is {:?}", target.value)));
    }
    let (Some(old_documents), Some(new_documents)) =
        (documents(text.as_bytes()), documents(after.as_bytes()))
    else {
        return Err(told(&format!("libyaml does not read it any more:\n{after}")));
    };
    let mut differences = Vec::new();
    for (i, (old, new)) in old_documents.iter().zip(&new_documents).enumerate() {
        let mut here = Vec::new();
        compare(old, new, &mut Vec::new(), &mut here);
        differences.extend(here.into_iter().map(|difference| (i, difference)));
    }
    if old_documents.len() != new_documents.len() {
        return Err(told("another number of documents"));
    }
    let wanted = Value::from(new);
    let mut hit = false;
    for (document, Difference { steps, old, new }) in differences {
        if new != wanted || old != target.value {
            return Err(told(&format!("{steps:?} became {new:?}:\n{after}")));
        }
        let is_target = document == target.document && steps == target.path.steps();
        hit |= is_target;
        // An alias of the scalar follows it.
        if !is_target && !text.contains('*') {
            return Err(told(&format!("{steps:?} changed as well:\n{after}")));
        }
    }
    if !hit && target.value != wanted {
        return Err(told(&format!("the scalar did not change:\n{after}")));
    }
    match edit(&file, after.as_bytes(), &[edit_of(new)]) {
        Ok(None) => Ok(Outcome::Edited),
        other => Err(told(&format!("a second time: {other:?}\n{after}"))),
    }
}

struct Difference {
    steps: Vec<Step>,
    old: Value,
    new: Value,
}

fn compare(old: &Value, new: &Value, steps: &mut Vec<Step>, found: &mut Vec<Difference>) {
    match (old, new) {
        (Value::Tagged(old), Value::Tagged(new)) if old.tag == new.tag => {
            compare(&old.value, &new.value, steps, found);
        }
        (Value::Mapping(a), Value::Mapping(b)) if a.len() == b.len() && a.keys().eq(b.keys()) => {
            for (key, value) in a {
                steps.push(Step::Key(key.as_str().unwrap_or("(no string)").to_owned()));
                compare(value, &b[key], steps, found);
                steps.pop();
            }
        }
        (Value::Sequence(a), Value::Sequence(b)) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                steps.push(Step::Index(i));
                compare(a, b, steps, found);
                steps.pop();
            }
        }
        (old, new) if old == new => {}
        (old, new) => found.push(Difference { steps: steps.clone(), old: old.clone(), new: new.clone() }),
    }
}

/// Edits without knowing what is there, in every way: it must not panic, and what it writes must be up to date.
pub fn edit_blindly(bytes: &[u8], path: &str) {
    let value: pipekick_core::yaml::Text = "v2".parse().expect("a text");
    let mut edits = vec![
        Edit::Marker { marker: "a".parse().expect("a marker"), new: Replacement::Whole(value.clone()) },
        Edit::Image {
            name: "a".parse().expect("a name"),
            set: pipekick_core::yaml::ImageFields::new(None, "v2".parse().ok(), None).expect("a field"),
            create: true,
        },
    ];
    if let Ok(path) = path.parse::<Path>() {
        edits.push(Edit::Path { document: None, path, new: Replacement::Whole(value.clone()) });
    }
    let line = Edit::Line { key: "a".parse().expect("a key"), new: value };
    for (name, edits) in
        [("a.yaml", &edits[..]), ("a.json", &edits[..]), ("a.env", std::slice::from_ref(&line))]
    {
        let file: RepoPath = name.parse().expect("a file");
        for one in edits {
            if let Ok(Some(after)) = edit(&file, bytes, std::slice::from_ref(one)) {
                assert_eq!(
                    edit(&file, after.as_bytes(), std::slice::from_ref(one)),
                    Ok(None),
                    "{one:?}\n{after}"
                );
            }
        }
    }
}
