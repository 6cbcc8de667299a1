//! The dialect against two implementations that others wrote: robfig/cron v3, which Kubernetes' CronJob uses, and
//! Python's croniter. `dialect/table.txt` has what they make of 12,500 generated expressions; `dialect/regenerate.sh`
//! wrote it. Where we differ, one of the sentences of `docs/schedules.md` must say why, and each of them must be needed.

#![allow(clippy::unwrap_used, reason = "a test; the lint knows only those with an attribute")]

use std::collections::BTreeMap;

use jiff::Timestamp;
use pipekick_core::domain::schedule::{Clock, Dst, Pattern, Zone};

const TABLE: &str = include_str!("dialect/table.txt");

/// What we make of an expression, as the table has it.
fn ours(expression: &str) -> String {
    let Ok(pattern) = Pattern::parse(expression, None) else { return "refused".into() };
    let from: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let clock = Clock { patterns: vec![pattern], zone: Zone::utc(), dst: Dst::default(), anchor: from };
    let mut said = String::new();
    let mut at = from;
    for tick in clock.ticks_after(from).take(4) {
        said += &format!(" {}", tick.duration_since(at).as_mins());
        at = tick;
    }
    said
}

/// One reason to differ: what it is called, and whether it applies to (expression, theirs, ours).
type Reason = (&'static str, fn(&str, &str, &str) -> bool);

const ROBFIG: &[Reason] = &[
    ("7 is Sunday", |e, theirs, _| theirs == "refused" && items(e, 4).any(|item| item == "7")),
    ("macros are read in any case", |e, theirs, _| theirs == "refused" && e == "@Daily"),
    ("days are counted from the month's end", |e, theirs, _| {
        theirs == "refused" && items(e, 2).any(|item| item.starts_with('-'))
    }),
    ("what can never fire is refused", |_, theirs, ours| theirs.ends_with("never") && ours == "refused"),
    ("an empty item of a list is refused", |e, _, ours| {
        ours == "refused" && (0..5).any(|at| items(e, at).any(str::is_empty))
    }),
    ("a sign before a number is refused", |e, _, ours| ours == "refused" && e.contains('+')),
];

const CRONITER: &[Reason] = &[
    ("? is a star in every field", |e, theirs, _| theirs == "refused" && e.contains('?')),
    ("days are counted from the month's end", |e, theirs, _| {
        theirs == "refused" && items(e, 2).any(|item| item.starts_with('-'))
    }),
    ("seconds are refused", |e, _, ours| ours == "refused" && e.split(' ').count() == 6),
    ("a range from the larger to the smaller is refused", |e, _, ours| {
        ours == "refused" && (0..5).any(|at| items(e, at).any(is_backwards))
    }),
    ("what can never fire is refused", |_, theirs, ours| theirs.ends_with("never") && ours == "refused"),
    ("a star in a list, or with step 1, is a plain star", |e, _, _| {
        let is_star = |item: &str| matches!(item, "*" | "?" | "*/1");
        let plain = |at: usize| items(e, at).count() == 1 && !items(e, at).any(|item| item == "*/1");
        [2, 4].into_iter().any(|at| items(e, at).any(is_star) && !plain(at))
    }),
    ("a list of every weekday is a restriction all the same", |e, _, _| names_every_day(e)),
];

/// Whether a weekday field names every day, without a star.
fn names_every_day(expression: &str) -> bool {
    let weekday = expression.split(' ').nth(4).unwrap_or_default();
    let Ok(pattern) = Pattern::parse(&format!("0 0 * * {weekday}"), None) else { return false };
    let from: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let clock = Clock { patterns: vec![pattern], zone: Zone::utc(), dst: Dst::default(), anchor: from };
    let week: Vec<Timestamp> = clock.ticks_after(from).take(7).collect();
    week.last().is_some_and(|last| last.duration_since(from).as_hours() == 7 * 24)
}

/// Whether a range of numbers goes backwards; names are generated in order.
fn is_backwards(item: &str) -> bool {
    let range = item.split('/').next().unwrap_or_default().split_once('-');
    let ends = range.and_then(|(from, to)| Some((from.parse::<u8>().ok()?, to.parse::<u8>().ok()?)));
    ends.is_some_and(|(from, to)| from > to)
}

fn items(expression: &str, field: usize) -> impl Iterator<Item = &str> {
    expression.split(' ').nth(field).unwrap_or_default().split(',')
}

/// Checks one column of the table; returns how often both sides agree, refusals included.
fn check(reasons: &[Reason], theirs: fn(&'static str, &'static str) -> &'static str) -> usize {
    let mut needed: BTreeMap<&str, usize> = reasons.iter().map(|(name, _)| (*name, 0)).collect();
    let (mut agree, mut unexplained) = (0, Vec::new());
    for line in TABLE.lines() {
        let mut columns = line.split('|');
        let (expression, robfig, croniter) =
            (columns.next().unwrap(), columns.next().unwrap(), columns.next().unwrap());
        let (theirs, ours) = (theirs(robfig, croniter), ours(expression));
        if theirs == ours {
            agree += 1;
        } else if let Some((name, _)) = reasons.iter().find(|(_, applies)| applies(expression, theirs, &ours))
        {
            *needed.get_mut(name).unwrap() += 1;
        } else {
            unexplained.push(format!("{expression}: they say {theirs}, we say {ours}"));
        }
    }
    assert!(
        unexplained.is_empty(),
        "{} differences without a reason:\n{}",
        unexplained.len(),
        unexplained[..unexplained.len().min(60)].join("\n")
    );
    let idle: Vec<_> = needed.iter().filter(|(_, times)| **times == 0).collect();
    assert!(idle.is_empty(), "reasons that nothing needs: {idle:?}");
    println!("{agree} agree; {needed:?}");
    agree
}

#[test]
fn robfig_agrees_but_for_the_reasons_that_are_told() {
    let agree = check(ROBFIG, |robfig, _| robfig);
    assert!(agree >= 10_000, "{agree}");
}

#[test]
fn croniter_agrees_but_for_the_reasons_that_are_told() {
    let agree = check(CRONITER, |robfig, croniter| if croniter == "=" { robfig } else { croniter });
    assert!(agree >= 10_000, "{agree}");
}
