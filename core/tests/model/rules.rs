//! What must hold: in every state, at every step, and at the end.

use pipekick_core::domain::digest::Compared;
use pipekick_core::domain::{LastAttempt, Phase, Reason, RetryState, Run, TriggerStatus};

use crate::lab::{Act, Decision, IntentId, Lab, Question, RetryId, fire_value, firing_fields, job};
use crate::world::{Content, Life, Made, Object, Stands, Verb, World};

/// The rules, by the numbers that `docs/model.md` gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// 1
    OnePipeline,
    /// 2
    IntentStands,
    /// 3
    ContentIsNamed,
    /// 4
    EveryCauseIsAnswered,
    /// 5
    NeverBackwards,
    /// 6
    SomeoneComesBack,
    /// 7
    DuplicateIsTold,
    /// 8
    OnlyWhatWasMeant,
    /// 9
    RetriesAreCounted,
}

/// A rule that does not hold, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub rule: Rule,
    pub how: String,
}

fn broken(rule: Rule, how: String) -> Result<(), Broken> {
    Err(Broken { rule, how })
}

/// 1: for one fire id at most one pipeline exists, unless a person, or `onUnknown: Refire`, wanted it.
pub fn one_pipeline(lab: &Lab, world: &World) -> Result<(), Broken> {
    let Some((newest, others)) = world.pipelines.split_last() else { return Ok(()) };
    let fire_id = &lab.intent(newest.by).key.fire_id;
    if lab.config.refire || lab.config.duplicates_happen || world.excused {
        return Ok(());
    }
    if others.iter().any(|made| lab.intent(made.by).key.fire_id == *fire_id) {
        return broken(Rule::OnePipeline, format!("a second pipeline under {fire_id}"));
    }
    Ok(())
}

/// 2: who sends a POST has written its intent, and it stands. A person may have deleted the object meanwhile,
/// or put back an old one.
pub fn intent_stands(lab: &mut Lab, world: &World, sender: &Object, intent: IntentId) -> Result<(), Broken> {
    let object = world.object;
    if object.seen.uid != sender.seen.uid || object.epoch != sender.epoch {
        return Ok(());
    }
    let status = lab.status(object.seen.status).clone();
    // Who takes it for an orphan, with a clock far ahead, calls it Unknown or Held; it stands all the same.
    let far_apart = lab.config.skew >= 600;
    let stands = |run: &&Run| {
        run.phase == Phase::Firing || (far_apart && matches!(run.phase, Phase::Unknown | Phase::Held))
    };
    let standing = status.run.as_deref().filter(stands);
    if standing.and_then(|run| lab.intent_of(run)) == Some(intent) {
        return Ok(());
    }
    broken(Rule::IntentStands, format!("a POST for {:?}, which does not stand", lab.intent(intent)))
}

/// 3: what is sent is what the digest of the written run names.
pub fn content_is_named(lab: &Lab, sender: &Object, sent: Content) -> Result<(), Broken> {
    let run = lab.status(sender.seen.status).run.as_deref();
    if run.is_none_or(|run| firing_fields(sent).compare(&run.digest) == Compared::Same) {
        return Ok(());
    }
    broken(Rule::ContentIsNamed, format!("{sent:?} is sent, and the run is of another digest"))
}

/// 5: a status never goes backwards.
pub fn forward(before: &TriggerStatus, after: &TriggerStatus) -> Result<(), Broken> {
    let (Some(old), new) = (&before.run, &after.run) else { return Ok(()) };
    let Some(new) = new else { return broken(Rule::NeverBackwards, "the run was forgotten".into()) };
    let numbers = |status: &TriggerStatus| status.history.iter().map(|entry| entry.seq).collect::<Vec<_>>();
    let (count, counted) = (
        old.attempt.as_ref().map_or(0, |attempt| attempt.count),
        new.attempt.as_ref().map_or(0, |attempt| attempt.count),
    );
    let same = old.fire_id == new.fire_id;
    let comes_back = same && !old.is_active() && new.is_active();
    let may_come_back = matches!(old.phase, Phase::Rejected | Phase::Held);
    let made = |last: Option<LastAttempt>| last == Some(LastAttempt::Accepted);
    let was_made = made(old.attempt.as_ref().map(|attempt| attempt.last));
    let is_made = made(new.attempt.as_ref().map(|attempt| attempt.last));
    let how = if new.seq < old.seq || (new.seq == old.seq) != same {
        format!("run {} ({}) became run {} ({})", old.seq, old.fire_id, new.seq, new.fire_id)
    } else if comes_back && !may_come_back {
        format!("a run that was {:?} is {:?} again", old.phase, new.phase)
    } else if same && (counted < count || (was_made && !is_made)) {
        format!("attempt {:?} became {:?}", old.attempt, new.attempt)
    } else if !same && old.is_active() && !numbers(after).contains(&old.seq) {
        format!("run {} was active and was dropped", old.seq)
    } else {
        return Ok(());
    };
    broken(Rule::NeverBackwards, how)
}

/// 6: a decision that leaves a run active brings somebody back to it.
pub fn someone_comes_back(lab: &Lab, question: &Question, decision: &Decision) -> Result<(), Broken> {
    let status = lab.status(decision.status.unwrap_or(question.seen.status));
    let Some(run) = status.active_run() else { return Ok(()) };
    if decision.wake.is_some() || decision.follow.is_some() || decision.effect != Act::Nothing {
        return Ok(());
    }
    broken(Rule::SomeoneComesBack, format!("nobody comes back to a run that is {:?}", run.phase))
}

/// 8: a request to start failed jobs again starts those that its intent names, and no others.
pub fn only_what_was_meant(lab: &Lab, by: RetryId, pipeline: u8, life: Life) -> Result<(), Broken> {
    let meant = &lab.redo(by).jobs;
    let started = job(pipeline, life.starts);
    if *meant == [started] {
        return Ok(());
    }
    broken(Rule::OnlyWhatWasMeant, format!("{meant:?} were to be started again, and {started} was"))
}

/// 9: at rest, the run has counted how often its pipeline's jobs were started again, and a pipeline that failed
/// was retried as often as it may be.
pub fn retries_are_counted(lab: &Lab, world: &World) -> Result<(), Broken> {
    let Some(run) = &lab.status(world.object.seen.status).run else { return Ok(()) };
    if lab.config.retries == 0 || run.reason == Some(Reason::PipelineFailedAtBirth) {
        return Ok(());
    }
    let Some(id) = run.pipeline.as_ref().and_then(|pipeline| usize::try_from(pipeline.id).ok()) else {
        return Ok(());
    };
    let (life, retry) = (world.pipelines[id - 1].life, run.retry.as_ref());
    let count = retry.map_or(0, |retry| retry.count);
    let refused = retry.is_some_and(|retry| retry.state == RetryState::Refused);
    let spent = count >= u32::from(lab.config.retries) || refused;
    let told = matches!(life.stands, Stands::Failed) == (run.phase == Phase::Failed);
    if count == u32::from(life.starts) && (life.stands != Stands::Failed || spent) && told {
        return Ok(());
    }
    broken(Rule::RetriesAreCounted, format!("{life:?}, and the run says {:?}, {retry:?}", run.phase))
}

/// 7: at rest, a second pipeline of the run is on record, if anybody can look.
pub fn duplicate_is_told(lab: &Lab, world: &World) -> Result<(), Broken> {
    let Some(run) = &lab.status(world.object.seen.status).run else { return Ok(()) };
    let accepted = run.attempt.as_ref().is_some_and(|attempt| attempt.last == LastAttempt::Accepted);
    let carry = world.pipelines.iter().filter(|made| lab.intent(made.by).key.fire_id == run.fire_id).count();
    if carry < 2
        || !accepted
        || !run.duplicates.is_empty()
        || !lab.config.marked()
        || !lab.config.tokens.access
    {
        return Ok(());
    }
    broken(Rule::DuplicateIsTold, format!("{carry} pipelines carry {}, and nobody is told", run.fire_id))
}

/// 4: at rest, everything that was wanted has become of.
pub fn every_cause_is_answered(lab: &Lab, world: &World) -> Result<(), Broken> {
    let seen = world.object.seen;
    let status = lab.status(seen.status);
    let wrong = |how: String| broken(Rule::EveryCauseIsAnswered, how);
    let Some(run) = &status.run else { return wrong("nothing was ever decided".into()) };
    if status.waiting.is_some() {
        return wrong(format!("at rest, and {:?} waits", status.waiting));
    }
    if run.is_active() {
        return wrong(format!("at rest, and the run is {:?}: {:?}", run.phase, run.message));
    }
    if run.phase == Phase::Held && (run.reason != Some(Reason::Undecided) || run.message.is_none()) {
        return wrong("held, and nobody is told why".into());
    }
    if run.phase == Phase::Rejected {
        return wrong("a refused run was given up".into());
    }
    let digest = status.decided_digest.as_ref();
    if digest.is_none_or(|digest| firing_fields(seen.content).compare(digest) != Compared::Same) {
        return wrong(format!("content {:?} was never decided on", seen.content));
    }
    if let Some(value) = fire_value(seen.fire)
        && status.last_handled.fire.as_ref().is_none_or(|handled| handled.value != value)
    {
        return wrong(format!("{value} was not answered"));
    }
    if seen.resolve.is_some() && status.last_handled.resolve.is_none() {
        return wrong("resolve was not answered".into());
    }
    let made = |made: &&Made| lab.intent(made.by).key.fire_id == run.fire_id;
    let claims = matches!(run.phase, Phase::Succeeded | Phase::Fired | Phase::Failed);
    let adopted = matches!(seen.resolve, Some((_, Verb::Adopt, _)));
    if claims && !adopted && world.pipelines.iter().find(made).is_none() {
        return wrong(format!("{:?}, and there is no pipeline", run.phase));
    }
    Ok(())
}
