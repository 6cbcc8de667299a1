//! One line for the end of each run, with the names by which GitLab, status and other lines speak of it; and its span.

use jiff::Timestamp;
use pipekick_core::decide::span::{self, TraceSpan};
use pipekick_core::domain::{FireId, ObjectKey, Phase, Run, TriggerStatus};

/// A run that is over.
#[derive(Debug, PartialEq, Eq)]
struct End<'a> {
    run: u64,
    fire_id: &'a FireId,
    phase: Phase,
    pipeline_id: Option<u64>,
    detail: &'a str,
}

/// Tells of each run that ended by this write of status.
pub(super) fn tell(key: &ObjectKey, before: &TriggerStatus, after: &TriggerStatus) {
    for End { run, fire_id, phase, pipeline_id, detail } in ended(before, after) {
        tracing::info!(object = %key, run, %fire_id, ?phase, pipeline_id, detail, "run ended");
    }
}

/// The spans of the same runs.
pub(super) fn spans(
    key: &ObjectKey,
    tick: Option<Timestamp>,
    before: &TriggerStatus,
    after: &TriggerStatus,
) -> Vec<TraceSpan> {
    let of = |end: &End<'_>| {
        let is = |run: &&Run| run.fire_id == *end.fire_id;
        if let Some(run) = after.run.as_deref().filter(is) {
            return span::of_run(key, tick, run);
        }
        // It ended by the write that began the next one: history keeps how.
        let entry = after.history.iter().find(|entry| entry.fire_id == *end.fire_id)?;
        let run = before.run.as_deref().filter(is)?.clone();
        let run =
            Run { phase: entry.phase, finished_at: entry.finished_at, reason: None, message: None, ..run };
        span::of_run(key, tick, &run)
    };
    ended(before, after).iter().filter_map(of).collect()
}

/// The run that stands in status, and those that the write put into history.
fn ended<'a>(before: &TriggerStatus, after: &'a TriggerStatus) -> Vec<End<'a>> {
    let was_over = |fire_id: &FireId| {
        let run = before.run.as_deref();
        run.is_some_and(|run| run.fire_id == *fire_id && run.finished_at.is_some())
            || before.history.iter().any(|entry| entry.fire_id == *fire_id)
    };
    let newest = after.run.as_deref().filter(|run| run.finished_at.is_some()).map(|run| End {
        run: run.seq,
        fire_id: &run.fire_id,
        phase: run.phase,
        pipeline_id: run.pipeline.as_ref().map(|pipeline| pipeline.id),
        detail: run.message.as_deref().unwrap_or_default(),
    });
    let earlier = after.history.iter().map(|entry| End {
        run: entry.seq,
        fire_id: &entry.fire_id,
        phase: entry.phase,
        pipeline_id: entry.pipeline_id,
        detail: "",
    });
    newest.into_iter().chain(earlier).filter(|end| !was_over(end.fire_id)).collect()
}
