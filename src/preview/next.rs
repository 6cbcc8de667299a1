//! `pipekick next`: the next ticks of an expression.

use std::fmt::Write as _;

use jiff::Timestamp;
use pipekick_core::decide::schedule::NEVER_FIRES;
use pipekick_core::domain::schedule::{Clock, Dst, Gap, HashKey, Pattern, PatternError, Zone};

use super::{BadInput, bad, instant};
use crate::cli::{Next, Output};

/// Most ticks that are shown.
const MAX_TICKS: usize = 10_000;
/// Ticks shown where neither --count nor --until is given.
const DEFAULT_COUNT: usize = 5;

/// The answer to `pipekick next`. `now` is where it starts without `--from`.
///
/// # Errors
/// Says what is wrong with what was typed.
pub fn next(typed: &Next, now: Timestamp) -> Result<String, BadInput> {
    let Next { expression, time_zone, from, count, until, gap, fold, name, output } = typed;
    let from = from.as_deref().map_or(Ok(now), |text| instant("--from", text))?;
    let until = until.as_deref().map(|text| instant("--until", text)).transpose()?;
    if until.is_some_and(|until| until <= from) {
        return Err(BadInput("--until: write an instant later than --from".into()));
    }
    let key = name.as_deref().map(hash_key).transpose()?;
    let shown: String = expression.chars().take(64).collect();
    let pattern = Pattern::parse(expression, key.as_ref()).map_err(|error| match error {
        PatternError::NoHashKey => {
            BadInput(format!("{shown:?}: H is hashed from an object's name: add --name NAMESPACE/NAME"))
        }
        PatternError::ZonePrefix(prefix) => {
            BadInput(format!("{shown:?}: {prefix} in the schedule: write the zone into --time-zone"))
        }
        error => bad(&format!("{shown:?}"), &error),
    })?;
    let zone = Zone::parse(time_zone).map_err(|error| bad("--time-zone", &error))?;
    let dst = Dst { gap: (*gap).into(), fold: (*fold).into() };
    let clock = Clock { patterns: vec![pattern], zone, dst, anchor: from };
    let most = match (count, until) {
        (Some(count), _) => usize::from(*count),
        (None, Some(_)) => MAX_TICKS + 1,
        (None, None) => DEFAULT_COUNT,
    };
    if clock.dst.gap == Gap::Skip && clock.next_after(from).is_none() {
        return Err(BadInput(format!("{shown:?}: {NEVER_FIRES}")));
    }
    let within = |tick: &Timestamp| until.is_none_or(|until| *tick <= until);
    let ticks: Vec<Timestamp> = clock.ticks_after(from).take_while(within).take(most).collect();
    if ticks.len() > MAX_TICKS {
        return Err(BadInput(format!("--until: more than {MAX_TICKS} ticks; choose an earlier instant")));
    }
    Ok(match output {
        Output::Text => text(&clock, &ticks),
        Output::Json => json(&ticks),
    })
}

/// One tick a line: the zone's time, the weekday, and UTC where that differs.
fn text(clock: &Clock, ticks: &[Timestamp]) -> String {
    let mut lines = String::new();
    for tick in ticks {
        let shown = clock.zone.rfc3339(*tick);
        let weekday = tick.to_zoned(clock.zone.time_zone().clone()).strftime("%a").to_string();
        if shown.ends_with('Z') || shown.ends_with("+00:00") {
            let _ = writeln!(lines, "{shown}  {weekday}");
        } else {
            let _ = writeln!(lines, "{shown}  {weekday}  {tick}");
        }
    }
    if ticks.is_empty() {
        lines.push_str("no tick\n");
    }
    lines
}

/// An array of RFC 3339 instants in UTC.
fn json(ticks: &[Timestamp]) -> String {
    let ticks: Vec<String> = ticks.iter().map(ToString::to_string).collect();
    let mut json = serde_json::to_string_pretty(&ticks).expect("a list of strings is JSON");
    json.push('\n');
    json
}

fn hash_key(name: &str) -> Result<HashKey, BadInput> {
    match name.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(HashKey::new(namespace, name))
        }
        Some(_) | None => Err(BadInput(format!("--name {name:?}: write NAMESPACE/NAME"))),
    }
}
