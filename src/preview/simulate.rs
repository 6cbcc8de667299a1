//! `pipekick simulate`: what a `PipelineSchedule` would fire, skip, queue, replace and miss, and why.

use std::fmt::Write as _;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pipekick_core::domain::Schedule;
use pipekick_core::domain::schedule::{RunBy, Zone};
use pipekick_core::simulation::{Line, World};
use serde::Serialize;
use serde_json::Value;

use super::{BadInput, bad, instant};
use crate::api::PipelineSchedule;
use crate::api::names::is_subdomain;
use crate::api::schedule::to_domain;
use crate::cli::{Output, Simulate};

/// The answer to `pipekick simulate`, given the manifest that `--file` names.
///
/// # Errors
/// Says what is wrong with what was typed, or with the manifest.
pub fn simulate(typed: &Simulate, manifest: &str) -> Result<String, BadInput> {
    let Simulate { file: _, from, until, run_takes, down, output } = typed;
    let (from, until) = (instant("--from", from)?, instant("--until", until)?);
    if until <= from {
        return Err(BadInput("--until: write an instant later than --from".into()));
    }
    let (schedule, follows) = read(manifest, from)?;
    let zone = schedule.spec.as_ref().map_or_else(|_| Zone::utc(), |spec| spec.clock.zone.clone());
    let mut world = World::new(schedule, from, *run_takes);
    world.follows = follows;
    let mut checked = from;
    for down in down {
        let (start, end) =
            down.split_once("..").ok_or_else(|| BadInput(format!("--down {down:?}: write FROM..TO")))?;
        let (start, end) = (instant("--down", start)?, instant("--down", end)?);
        if start < checked || end <= start || end > until {
            return Err(BadInput(format!(
                "--down {down:?}: write times of downtime in their order, between --from and --until"
            )));
        }
        checked = end;
        world.run_until(start).map_err(|error| bad("--until", &error))?;
        world.down_until(end);
    }
    world.run_until(until).map_err(|error| bad("--until", &error))?;
    Ok(match output {
        Output::Text => text(&zone, &world),
        Output::Json => json(&world),
    })
}

/// The schedule of the manifest, as if it were created at `created`, and whether its runs can be followed.
fn read(manifest: &str, created: Timestamp) -> Result<(Schedule, bool), BadInput> {
    if manifest.trim_start_matches("---").contains("\n---") {
        return Err(BadInput("the manifest has several documents: write the PipelineSchedule alone".into()));
    }
    let written: Value =
        serde_saphyr::from_str(manifest).map_err(|error| bad("the manifest is no YAML", &error))?;
    if written["kind"] != "PipelineSchedule" || written["apiVersion"] != "pipekick.dev/v1alpha1" {
        return Err(BadInput("the manifest is no PipelineSchedule of pipekick.dev/v1alpha1".into()));
    }
    let mut object: PipelineSchedule = serde_path_to_error::deserialize(&written).map_err(|error| {
        let field = error.path().to_string();
        bad(if field == "." { "the manifest" } else { &field }, error.inner())
    })?;
    if object.metadata.name.as_deref().is_none_or(|name| !is_subdomain(name)) {
        return Err(BadInput(
            "metadata.name: write a name of lower-case letters, digits, - and ., such as nightly".into(),
        ));
    }
    const FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
    let fields = written.as_object().into_iter().flatten();
    if let Some((unknown, _)) = fields.into_iter().find(|(field, _)| !FIELDS.contains(&field.as_str())) {
        return Err(BadInput(format!("the manifest: there is no field {unknown}")));
    }
    let known = serde_json::to_value(&object).map_err(|error| bad("the manifest", &error))?;
    for part in ["metadata", "spec"] {
        if let Some(unknown) = unknown_field(&written[part], &known[part], part) {
            return Err(BadInput(format!("the manifest: there is no field {unknown}")));
        }
    }
    if object.spec.run_by == Some(RunBy::GitLab) {
        return Err(BadInput(
            "the manifest: with runBy: GitLab it is GitLab that keeps the time; status.nextScheduleTime tells when it will run".into(),
        ));
    }
    object.metadata.creation_timestamp = Some(Time(created));
    object.metadata.uid = Some("simulated".into());
    object.metadata.namespace.get_or_insert_with(|| "default".into());
    let follows = object.spec.trigger_template.follows();
    let schedule = to_domain(&object.metadata, &Ok(object.spec), &Ok(None))
        .map_err(|error| bad("the manifest", &error))?;
    match &schedule.spec {
        Ok(_) => Ok((schedule, follows)),
        Err(problem) if problem.0.starts_with("metadata.") => Err(BadInput(problem.0.clone())),
        Err(problem) => Err(BadInput(format!("spec.{}", problem.0))),
    }
}

/// A field of `written` that did not survive being read: a typing error would otherwise go unnoticed.
fn unknown_field(written: &Value, known: &Value, path: &str) -> Option<String> {
    match (written, known) {
        (Value::Object(written), Value::Object(known)) => written.iter().find_map(|(field, value)| {
            let path = format!("{path}.{field}");
            match known.get(field) {
                None => (!value.is_null()).then_some(path),
                Some(known) => unknown_field(value, known, &path),
            }
        }),
        (Value::Array(written), Value::Array(known)) => written
            .iter()
            .zip(known)
            .enumerate()
            .find_map(|(at, (value, known))| unknown_field(value, known, &format!("{path}[{at}]"))),
        _ => None,
    }
}

/// One line for each thing that happens, and what it came to.
fn text(zone: &Zone, world: &World) -> String {
    let mut text = String::new();
    for Line { at, what, message, child: _, tick: _ } in &world.log {
        let _ = writeln!(text, "{}  {what:<12} {message}", zone.rfc3339(*at));
    }
    let missed = world.schedule.status.missed.count;
    let _ = writeln!(text, "{} fired, {missed} missed", world.ledger.len());
    if !world.follows {
        text.push_str(
            "each run has ended as soon as it is fired: without an accessTokenRef it cannot be followed\n",
        );
    }
    if let Some(message) = &world.schedule.status.message {
        let _ = writeln!(text, "{message}");
    }
    text
}

/// The same for scripts: what happens, and what it came to.
#[derive(Serialize)]
struct Told<'a> {
    lines: &'a [Line],
    fired: usize,
    missed: u64,
    message: Option<&'a String>,
}

fn json(world: &World) -> String {
    let status = &world.schedule.status;
    let (missed, message) = (status.missed.count, status.message.as_ref());
    let told = Told { lines: &world.log, fired: world.ledger.len(), missed, message };
    let mut json = serde_json::to_string_pretty(&told).expect("lines of text are JSON");
    json.push('\n');
    json
}
