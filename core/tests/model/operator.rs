//! One operator process, step by step, as `src/controllers/trigger` applies a plan: the write first, guarded by
//! the version that was decided on; then one effect; what became of it is remembered; then decide again.

use pipekick_core::decide::trigger::INTENT_MAX_AGE;
use pipekick_core::domain::{AttemptKey, Phase, RetryState, Run};

use crate::config::Break;
use crate::lab::{Act, Decision, IntentId, Lab, Question, RetryId, TICK, look_interval};
use crate::moves::{Luck, SLOW_LOOK, WRITE_MAY_LAND, effect_until, land, look, start_again};
use crate::rules::{self, Broken};
use crate::world::{
    At, Content, LateRetry, LateWrite, Look, Made, Memory, Object, Open, Operator, Redone, Reply, Request,
    Turn, World,
};

/// Answers that a process keeps of one object.
const ANSWERS: usize = 4;

/// The ground that a process decides on now.
fn question(lab: &mut Lab, world: &World, number: usize) -> Question {
    let operator = &world.operators[number];
    let due = operator.store.expect("who works has seen the object");
    let turn = operator.turn.clone().unwrap_or_else(|| begun(due));
    let mut memory = operator.memory.clone();
    if memory.uid != turn.view.seen.uid {
        memory = Memory::default();
    }
    let run = lab.status(turn.view.seen.status).active_run().cloned();
    let standing = run.as_ref().and_then(|run| lab.intent_of(run));
    let open = run.and_then(|run| open_intent(lab, &run));
    let since = match (memory.intent, open) {
        (Some((known, since)), Some(open)) if same(lab, known, open) => since,
        _ => world.tick,
    };
    // The first that fits is taken, as `decide` does.
    let by_number = |(of, reply): (IntentId, Reply)| match standing {
        Some(standing)
            if lab.config.broken == Some(Break::AnswersByNumber) && numbers_are_equal(lab, of, standing) =>
        {
            (standing, reply)
        }
        _ => (of, reply),
    };
    let answers = memory.answers.iter().copied().map(by_number).collect();
    let mut seen = turn.view.seen;
    if lab.config.broken == Some(Break::LookOnce) && turn.lookup.is_some() {
        seen.status = lab.as_if_looked_before(seen.status);
    }
    let long = lab.config.broken == Some(Break::LookOnce) && turn.lookup.is_some();
    Question {
        seen,
        operator: u8::try_from(number).expect("few operators"),
        life: operator.life,
        tick: world.tick,
        moment: world.moment,
        answers,
        intent_age: open.map(|_| if long { 720 } else { world.tick - since }),
        credentials: turn.credentials,
        sighting: operator.sighting,
        lookup: turn.lookup.map(|(of, look, began)| (of, look, world.tick - began)),
        retried: memory.retried,
        looked_at: turn.looked_at.map(|(id, seen, began)| (id, seen, world.tick - began)),
        look_again: memory.look_again.filter(|at| *at > world.tick),
        named: turn.named,
        looked_into: turn.looked_into,
    }
}

/// The intent of which the run does not say what came of it.
fn open_intent(lab: &mut Lab, run: &Run) -> Option<Open> {
    match run.phase {
        Phase::Firing | Phase::Unknown => lab.intent_of(run).map(Open::Post),
        Phase::Retrying if run.retry.as_ref()?.state == RetryState::Unknown => {
            lab.redo_of(run).map(Open::Retry)
        }
        _ => None,
    }
}

fn same(lab: &Lab, one: Open, other: Open) -> bool {
    match (one, other) {
        (Open::Post(one), Open::Post(other)) => key(lab, one) == key(lab, other),
        (one, other) => one == other,
    }
}

fn key(lab: &Lab, intent: IntentId) -> AttemptKey {
    lab.intent(intent).key.clone()
}

fn numbers_are_equal(lab: &Lab, one: IntentId, other: IntentId) -> bool {
    let (one, other) = (key(lab, one), key(lab, other));
    (one.fire_id, one.count) == (other.fire_id, other.count)
}

fn begun(view: Object) -> Turn {
    Turn {
        view,
        credentials: false,
        lookup: None,
        looked_at: None,
        named: None,
        looked_into: None,
        at: At::Decide,
    }
}

/// What the next step of this process may meet.
pub fn may_meet(lab: &mut Lab, world: &World, number: usize) -> &'static [Luck] {
    match world.operators[number].turn.as_ref().map(|turn| turn.at) {
        None | Some(At::Decide) => {
            let question = question(lab, world, number);
            let decision = lab.decide(&question);
            let operator = &world.operators[number];
            let view = operator.turn.as_ref().map(|turn| turn.view).or(operator.store);
            let loses = view.is_some_and(|view| view.version != world.object.version);
            match decision.effect {
                Act::LookUp(..) if lab.config.slow_looks => {
                    &[Luck::Well, Luck::Lagging, Luck::SlowLook, Luck::Trouble, Luck::CannotTell]
                }
                Act::LookUp(..) => &[Luck::Well, Luck::Lagging, Luck::Trouble, Luck::CannotTell],
                Act::LookAtOwn(_) if lab.config.slow_looks => &[Luck::Well, Luck::SlowLook, Luck::Trouble],
                Act::LookAtOwn(_) => &[Luck::Well, Luck::Trouble],
                Act::Nothing | Act::Fire(..) | Act::Retry(..) if decision.status.is_some() && !loses => {
                    &[Luck::Well, Luck::Lost]
                }
                Act::Nothing
                | Act::Fire(..)
                | Act::Retry(..)
                | Act::ReadCredentials
                | Act::LookAt(_)
                | Act::LookInto(_) => &[Luck::Well],
            }
        }
        Some(At::Send { .. }) => &[
            Luck::Well,
            Luck::Lost,
            Luck::Slow,
            Luck::Refused,
            Luck::Throttled,
            Luck::FailedAtBirth,
            Luck::Unsent,
        ],
        Some(At::SendRetry { .. }) => &[Luck::Well, Luck::Lost, Luck::Refused, Luck::Unsent],
        Some(At::Await { .. } | At::Looking { .. }) => &[Luck::Well],
        Some(At::Reread) => &[Luck::Well, Luck::NoReread],
    }
}

/// Goes one step on.
pub fn go(lab: &mut Lab, world: &mut World, number: usize, luck: Luck) -> Result<(), Broken> {
    match world.operators[number].turn.as_ref().map(|turn| turn.at) {
        None | Some(At::Decide) => decide(lab, world, number, luck),
        Some(At::Send { intent, content, began }) => send(lab, world, number, (intent, content, began), luck),
        Some(At::SendRetry { retry, pipeline, began }) => {
            send_retry(lab, world, number, (retry, pipeline, began), luck)
        }
        Some(At::Await { intent, pipeline, until: _ }) => {
            learned(world, number, intent, Reply::Accepted(pipeline));
            Ok(())
        }
        Some(At::Looking { until: _ }) => {
            let tick = world.tick;
            world.operators[number].memory.look_again = Some(tick + look_interval());
            set(world, number, At::Decide);
            Ok(())
        }
        Some(At::Reread) => {
            let newest = world.object;
            let operator = &mut world.operators[number];
            let turn = operator.turn.take();
            if luck == Luck::Well && turn.is_some_and(|turn| turn.view.seen.uid == newest.seen.uid) {
                put_own(operator, newest);
            }
            // A second later, which is less than a step of time.
            operator.wake = Some(world.tick);
            world.moment += 1;
            Ok(())
        }
    }
}

/// Decides, and writes or looks as decided.
fn decide(lab: &mut Lab, world: &mut World, number: usize, luck: Luck) -> Result<(), Broken> {
    let question = question(lab, world, number);
    let decision = lab.decide(&question);
    rules::someone_comes_back(lab, &question, &decision)?;
    let tick = world.tick;
    let operator = &mut world.operators[number];
    if operator.turn.is_none() {
        let store = operator.store.expect("who works has seen the object");
        operator.turn = Some(begun(store));
        (operator.dirty, operator.wake) = (false, None);
    }
    let turn = operator.turn.as_mut().expect("a turn is under way");
    if operator.memory.uid != turn.view.seen.uid {
        operator.memory = Memory { uid: turn.view.seen.uid, ..Memory::default() };
    }
    if let Some(age) = question.intent_age.filter(|age| *age <= tick) {
        let standing = lab.status(turn.view.seen.status).run.clone();
        let open = standing.and_then(|run| open_intent(lab, &run));
        operator.memory.intent = open.map(|open| (open, tick - age));
    }
    match decision.effect {
        Act::ReadCredentials => turn.credentials = true,
        Act::LookInto(intent) => turn.looked_into = Some(intent),
        Act::LookAt(id) => {
            let made = usize::from(id).checked_sub(1).and_then(|place| world.pipelines.get(place));
            turn.named = Some((id, made.copied()));
        }
        Act::LookAtOwn(id) => {
            let life = world.pipelines[usize::from(id) - 1].life;
            turn.looked_at = Some((id, (luck != Luck::Trouble).then_some(life), tick));
            let wait = if luck == Luck::Trouble { 2 * look_interval() } else { look_interval() };
            operator.memory.look_again = Some(tick + wait);
            if luck == Luck::SlowLook {
                turn.at = At::Looking { until: tick + SLOW_LOOK };
            }
        }
        Act::LookUp(intent, content) => {
            let brought = look(lab, world, intent, content, luck);
            let operator = &mut world.operators[number];
            let wait = if brought == Look::Trouble { 2 * look_interval() } else { look_interval() };
            operator.memory.look_again = Some(tick + wait);
            let turn = operator.turn.as_mut().expect("a turn is under way");
            turn.lookup = Some((intent, brought, tick));
            if luck == Luck::SlowLook {
                turn.at = At::Looking { until: tick + SLOW_LOOK };
            }
        }
        Act::Nothing | Act::Fire(..) | Act::Retry(..) => return write(lab, world, number, &decision, luck),
    }
    Ok(())
}

fn write(
    lab: &mut Lab,
    world: &mut World,
    number: usize,
    decision: &Decision,
    luck: Luck,
) -> Result<(), Broken> {
    let Some(status) = decision.status else {
        rest(world, number, decision);
        return Ok(());
    };
    let turn = world.operators[number].turn.as_ref().expect("a turn is under way");
    let (uid, version) = (turn.view.seen.uid, turn.view.version);
    let write = LateWrite { uid, version, status, until: world.tick + WRITE_MAY_LAND };
    if luck == Luck::Lost {
        world.writes.push(write);
        if let Act::Fire(intent, content) = decision.effect {
            if lab.config.broken == Some(Break::SendUnconfirmed) {
                set(world, number, At::Send { intent, content, began: world.tick });
                return Ok(());
            }
            remember(&mut world.operators[number], intent, Reply::NotSent);
        }
        if let Act::Retry(retry, _) = decision.effect {
            world.operators[number].memory.retried = Some((retry, Redone::NotNow));
        }
        set(world, number, At::Reread);
        return Ok(());
    }
    let stands = land(lab, world, write)?;
    let newest = world.object;
    let operator = &mut world.operators[number];
    if newest.seen.uid != uid {
        operator.turn = None;
        return Ok(());
    }
    put_own(operator, newest);
    let turn = operator.turn.as_mut().expect("a turn is under way");
    turn.view = newest;
    turn.credentials &= stands && decision.effect == Act::Nothing;
    match decision.effect {
        _ if !stands => turn.at = At::Decide,
        Act::Fire(intent, content) => turn.at = At::Send { intent, content, began: world.tick },
        Act::Retry(retry, pipeline) => {
            // What was seen before says nothing of what comes now.
            turn.looked_at = None;
            turn.at = At::SendRetry { retry, pipeline, began: world.tick };
        }
        _ => rest(world, number, decision),
    }
    Ok(())
}

/// The POST, if its intent is young.
fn send(
    lab: &mut Lab,
    world: &mut World,
    number: usize,
    (intent, content, began): (IntentId, Content, u16),
    luck: Luck,
) -> Result<(), Broken> {
    let age = u64::from((world.tick - began) * TICK);
    let unchecked = lab.config.broken == Some(Break::SendOld);
    if luck == Luck::Unsent || (age >= INTENT_MAX_AGE.as_secs() && !unchecked) {
        learned(world, number, intent, Reply::NotSent);
        return Ok(());
    }
    let content =
        if lab.config.broken == Some(Break::SendNewest) { world.object.seen.content } else { content };
    let sender = world.operators[number].turn.as_ref().expect("a turn is under way").view;
    if !unchecked {
        rules::intent_stands(lab, world, &sender, intent)?;
    }
    rules::content_is_named(lab, &sender, content)?;
    let reply = match luck {
        Luck::Refused => Reply::Refused,
        Luck::Throttled => Reply::Throttled { until: world.tick + 1 },
        Luck::Lost => {
            world.requests.push(Request { by: intent, content, until: effect_until(lab, world) });
            if lab.config.broken == Some(Break::LostIsNotSent) { Reply::NotSent } else { Reply::Unknown }
        }
        _ => {
            world.pipelines.push(Made::new(intent, content, world.tick));
            rules::one_pipeline(lab, world)?;
            let pipeline = u8::try_from(world.pipelines.len()).expect("few pipelines");
            if luck == Luck::Slow {
                set(world, number, At::Await { intent, pipeline, until: world.tick + 1 });
                return Ok(());
            }
            if luck == Luck::FailedAtBirth { Reply::FailedAtBirth } else { Reply::Accepted(pipeline) }
        }
    };
    learned(world, number, intent, reply);
    Ok(())
}

/// The request to start failed jobs again, if its intent is young.
fn send_retry(
    lab: &Lab,
    world: &mut World,
    number: usize,
    (retry, pipeline, began): (RetryId, u8, u16),
    luck: Luck,
) -> Result<(), Broken> {
    let age = u64::from((world.tick - began) * TICK);
    let unchecked = lab.config.broken == Some(Break::RetryOld);
    let redone = match luck {
        _ if age >= INTENT_MAX_AGE.as_secs() && !unchecked => Redone::NotNow,
        Luck::Unsent => Redone::NotNow,
        Luck::Refused => Redone::Refused,
        Luck::Lost => {
            world.retries.push(LateRetry { by: retry, pipeline, until: effect_until(lab, world) });
            if lab.config.broken == Some(Break::LostRetryIsNotSent) {
                Redone::NotNow
            } else {
                Redone::Unknown
            }
        }
        _ => {
            start_again(lab, world, retry, pipeline)?;
            Redone::Done(world.pipelines[usize::from(pipeline) - 1].life)
        }
    };
    world.operators[number].memory.retried = Some((retry, redone));
    set(world, number, At::Decide);
    Ok(())
}

fn learned(world: &mut World, number: usize, intent: IntentId, reply: Reply) {
    remember(&mut world.operators[number], intent, reply);
    set(world, number, At::Decide);
}

fn remember(operator: &mut Operator, intent: IntentId, reply: Reply) {
    operator.memory.answers.push((intent, reply));
    let excess = operator.memory.answers.len().saturating_sub(ANSWERS);
    operator.memory.answers.drain(..excess);
}

fn set(world: &mut World, number: usize, at: At) {
    world.operators[number].turn.as_mut().expect("a turn is under way").at = at;
}

/// The response to an own write, or a fresh read: no reason to work, but what the next turn begins with.
fn put_own(operator: &mut Operator, newest: Object) {
    if operator.store.is_some_and(|store| store.seen.uid == newest.seen.uid) {
        operator.store = Some(newest);
    }
}

/// The end of a turn.
fn rest(world: &mut World, number: usize, decision: &Decision) {
    let operator = &mut world.operators[number];
    operator.turn = None;
    operator.wake = decision.wake;
    if operator.follow != decision.follow {
        (operator.follow, operator.sighting) = (decision.follow, None);
    }
    if decision.settled {
        operator.memory = Memory::default();
    }
}
