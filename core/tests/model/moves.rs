//! What may happen next, and what comes of it: people, time, the watch, requests that take effect late. What
//! an operator process does by itself stands in [`crate::operator`].

use pipekick_core::domain::{Phase, Reason, TriggerStatus};

use crate::config::Break;
use crate::lab::{IntentId, Lab, RetryId, StretchId, TICK};
use crate::operator::{go, may_meet};
use crate::rules::{self, Broken};
use crate::world::{
    Content, LateRetry, LateWrite, Left, Look, Made, Object, Operator, Request, Seen, Stands, Verb, World,
};

/// How long a status write that nobody heard of again may still come to stand, in steps of time.
pub const WRITE_MAY_LAND: u16 = 2;

/// How long a slow look takes, in steps of time: a list and some variables, each within the deadline.
pub const SLOW_LOOK: u16 = 4;

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// An operator goes on; what it meets is the second.
    Go(u8, Luck),
    /// The watch shows an operator the newest object.
    Watch(u8),
    /// The pipeline that an operator follows has succeeded, and it sees that.
    SeeTheEnd(u8),
    /// An operator sees how the pipeline that it follows stands: failed, or under way again.
    See(u8),
    /// The jobs of a pipeline fail.
    Fail(u8),
    Crash(u8),
    Stop(u8),
    Continue(u8),
    LateEffect(u8),
    LateRetry(u8),
    LateWrite(u8),
    Edit,
    Ask,
    Recreate,
    Resolve(Verb),
    BackUp,
    Restore,
    /// One step of time.
    Tick,
    /// Ten minutes.
    Jump,
}

/// What a step of an operator meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Luck {
    /// All is well.
    Well,
    /// The reply is lost. Whether the write or the POST takes effect, now or later, is another move.
    Lost,
    /// The object cannot be read again.
    NoReread,
    /// 201, but only at the deadline.
    Slow,
    Refused,
    Throttled,
    FailedAtBirth,
    /// No connection: nothing was sent.
    Unsent,
    /// The list does not show the youngest pipelines.
    Lagging,
    /// The list is read now, and the reply comes much later.
    SlowLook,
    /// GitLab cannot be asked.
    Trouble,
    /// The candidates may not be read.
    CannotTell,
}

impl Luck {
    /// Whether it counts as one of the bounded faults. That lists lag, and reads fail, is no news.
    pub const fn is_fault(self) -> bool {
        !matches!(self, Self::Well | Self::Lagging | Self::SlowLook | Self::NoReread)
    }
}

/// The first state: a new object, which nobody has seen.
pub fn first(lab: &mut Lab) -> World {
    let mut world = untouched(lab);
    if !lab.config.begins_running {
        return world;
    }
    while world.operators[0].follow.is_none() {
        let happens =
            if world.operators[0].store.is_none() { Move::Watch(0) } else { Move::Go(0, Luck::Well) };
        world = make(lab, &world, happens).expect("all is well");
    }
    for number in 1..lab.config.operators {
        world = make(lab, &world, Move::Watch(number)).expect("all is well");
        while world.operators[usize::from(number)].follow.is_none() {
            world = make(lab, &world, Move::Go(number, Luck::Well)).expect("all is well");
        }
    }
    world
}

fn untouched(lab: &mut Lab) -> World {
    let status = lab.file(TriggerStatus::default());
    let seen = Seen { uid: 1, generation: 1, content: Content::A, fire: 0, resolve: None, status };
    World {
        tick: 0,
        object: Object { seen, version: 0, epoch: 0 },
        operators: vec![Operator::default(); lab.config.operators.into()],
        pipelines: Vec::new(),
        requests: Vec::new(),
        retries: Vec::new(),
        writes: Vec::new(),
        backup: None,
        left: lab.config.left,
        moment: 0,
        excused: false,
    }
}

/// Everything that may happen in `world`.
pub fn possible(lab: &mut Lab, world: &World) -> Vec<Move> {
    let mut moves = Vec::new();
    for (number, operator) in (0..).zip(&world.operators) {
        of_operator(lab, world, number, operator, &mut moves);
    }
    for (number, _) in (0..).zip(&world.requests) {
        moves.push(Move::LateEffect(number));
    }
    for (number, _) in (0..).zip(&world.retries) {
        moves.push(Move::LateRetry(number));
    }
    if world.left.failures > 0 {
        let under_way = |made: &Made| made.life.stands == Stands::UnderWay;
        let all = (0..).zip(&world.pipelines);
        moves.extend(all.filter(|(_, made)| under_way(made)).map(|(number, _)| Move::Fail(number)));
    }
    for (number, _) in (0..).zip(&world.writes) {
        moves.push(Move::LateWrite(number));
    }
    of_people(lab, world, &mut moves);
    // Time passes when everybody waits for it, or was stopped; and when somebody waits at all: people and the
    // watch come at any time, and nothing is told by whether it is late or early in the day.
    let waits = |operator: &Operator| operator.paused || operator.turn.is_some() || operator.wake.is_some();
    let pending = !world.requests.is_empty() || !world.retries.is_empty() || !world.writes.is_empty();
    let awaited = world.operators.iter().any(waits) || pending;
    if awaited && !world.operators.iter().any(|operator| operator.is_busy(world.tick)) {
        if world.left.ticks > 0 {
            moves.push(Move::Tick);
        }
        if world.left.jumps > 0 && world.operators.iter().any(|o| o.wake.is_some_and(|w| w > world.tick + 60))
        {
            moves.push(Move::Jump);
        }
    }
    moves
}

fn of_operator(lab: &mut Lab, world: &World, number: u8, operator: &Operator, moves: &mut Vec<Move>) {
    let faults = world.left.faults > 0;
    if operator.paused {
        moves.push(Move::Continue(number));
        return;
    }
    if operator.store.is_none_or(|known| is_newer(&world.object, &known)) {
        moves.push(Move::Watch(number));
    }
    moves.extend(sights(lab, world, number));
    if operator.is_busy(world.tick) {
        let meets = may_meet(lab, world, number.into()).iter();
        moves.extend(meets.filter(|luck| faults || !luck.is_fault()).map(|luck| Move::Go(number, *luck)));
    }
    if faults
        && (operator.turn.is_some()
            || !operator.memory.answers.is_empty()
            || operator.memory.intent.is_some())
    {
        moves.push(Move::Crash(number));
    }
    if faults && operator.turn.is_some() {
        moves.push(Move::Stop(number));
    }
}

/// What an operator may see next of the pipeline that it follows.
pub fn sights(lab: &Lab, world: &World, number: u8) -> Vec<Move> {
    let operator = &world.operators[usize::from(number)];
    let Some(follow) = operator.follow.filter(|_| operator.turn.is_none()) else { return vec![] };
    let life = world.pipelines[followed(lab, follow)].life;
    let is_news = operator.sighting != Some((follow, life));
    match life.stands {
        Stands::Failed if is_news => vec![Move::See(number)],
        // That it runs is news only after it had failed.
        Stands::UnderWay if is_news && life.starts > 0 => vec![Move::See(number), Move::SeeTheEnd(number)],
        Stands::UnderWay => vec![Move::SeeTheEnd(number)],
        Stands::Succeeded if is_news => vec![Move::SeeTheEnd(number)],
        Stands::Failed | Stands::Succeeded => vec![],
    }
}

fn followed(lab: &Lab, stretch: StretchId) -> usize {
    usize::try_from(lab.stretch(stretch).pipeline_id).expect("few pipelines") - 1
}

/// A request to start failed jobs again takes effect, if there are any.
pub fn start_again(lab: &Lab, world: &mut World, by: RetryId, pipeline: u8) -> Result<(), Broken> {
    let life = &mut world.pipelines[usize::from(pipeline) - 1].life;
    if life.stands != Stands::Failed {
        return Ok(());
    }
    rules::only_what_was_meant(lab, by, pipeline, *life)?;
    (life.stands, life.starts) = (Stands::UnderWay, life.starts + 1);
    Ok(())
}

fn of_people(lab: &Lab, world: &World, moves: &mut Vec<Move>) {
    let Left { faults: _, edits, asks, recreations, resolutions, restores, ticks: _, jumps: _, failures: _ } =
        world.left;
    if edits > 0 {
        moves.push(Move::Edit);
    }
    if asks > 0 {
        moves.push(Move::Ask);
    }
    if recreations > 0 {
        moves.push(Move::Recreate);
    }
    let run = lab.status(world.object.seen.status).run.as_deref();
    let held = run.is_some_and(|run| run.phase == Phase::Held && run.reason == Some(Reason::Undecided));
    if resolutions > 0 && held {
        moves.extend([Move::Resolve(Verb::Refire), Move::Resolve(Verb::Abandon), Move::Resolve(Verb::Adopt)]);
    }
    match world.backup {
        None if restores > 0 => moves.push(Move::BackUp),
        Some(backup) if restores > 0 && backup != world.object => moves.push(Move::Restore),
        Some(_) | None => {}
    }
}

/// What becomes of `world`, or the rule that breaks.
pub fn make(lab: &mut Lab, world: &World, happens: Move) -> Result<World, Broken> {
    let mut next = world.clone();
    match happens {
        Move::Go(number, luck) => {
            if luck.is_fault() {
                next.left.faults -= 1;
            }
            go(lab, &mut next, number.into(), luck)?;
        }
        Move::Watch(number) => {
            let object = next.object;
            let operator = &mut next.operators[usize::from(number)];
            operator.store = Some(object);
            operator.dirty = true;
        }
        Move::See(number) | Move::SeeTheEnd(number) => {
            let operator = &mut next.operators[usize::from(number)];
            if let Some(follow) = operator.follow {
                let life = &mut next.pipelines[followed(lab, follow)].life;
                if matches!(happens, Move::SeeTheEnd(_)) {
                    life.stands = Stands::Succeeded;
                }
                operator.sighting = Some((follow, *life));
                operator.dirty = true;
            }
        }
        Move::Fail(number) => {
            next.left.failures -= 1;
            next.pipelines[usize::from(number)].life.stands = Stands::Failed;
        }
        Move::Crash(number) => {
            next.left.faults -= 1;
            let operator = &mut next.operators[usize::from(number)];
            *operator = operator.restarted();
        }
        Move::Stop(number) => {
            next.left.faults -= 1;
            next.operators[usize::from(number)].paused = true;
        }
        Move::Continue(number) => next.operators[usize::from(number)].paused = false,
        Move::LateEffect(number) => {
            let Request { by, content, until: _ } = next.requests.remove(number.into());
            next.pipelines.push(Made::new(by, content, next.tick));
            rules::one_pipeline(lab, &next)?;
        }
        Move::LateRetry(number) => {
            let LateRetry { by, pipeline, until: _ } = next.retries.remove(number.into());
            start_again(lab, &mut next, by, pipeline)?;
        }
        Move::LateWrite(number) => {
            let write = next.writes.remove(number.into());
            land(lab, &mut next, write)?;
        }
        Move::Edit | Move::Ask | Move::Recreate | Move::Resolve(_) | Move::BackUp | Move::Restore => {
            people(lab, &mut next, happens);
        }
        Move::Tick => {
            next.left.ticks -= 1;
            pass(&mut next, 1);
        }
        Move::Jump => {
            next.left.jumps -= 1;
            pass(&mut next, 600 / TICK);
        }
    }
    next.renumber();
    Ok(next)
}

fn people(lab: &mut Lab, world: &mut World, does: Move) {
    let version = world.fresh_version();
    let seen = &mut world.object.seen;
    match does {
        Move::Edit => {
            world.left.edits -= 1;
            seen.generation += 1;
            seen.content = if seen.content == Content::A { Content::B } else { Content::A };
        }
        Move::Ask => {
            world.left.asks -= 1;
            seen.fire += 1;
        }
        Move::Recreate => {
            world.left.recreations -= 1;
            let (uid, status) = (seen.uid + 1, lab.file(TriggerStatus::default()));
            *seen = Seen { uid, generation: 1, content: seen.content, fire: 0, resolve: None, status };
        }
        Move::Resolve(verb) => {
            world.left.resolutions -= 1;
            let seq = lab.status(seen.status).run.as_deref().map_or(0, |run| run.seq);
            let newest = u8::try_from(world.pipelines.len()).unwrap_or(u8::MAX);
            seen.resolve = Some((u8::try_from(seq).unwrap_or(u8::MAX), verb, newest));
            world.excused |= verb == Verb::Refire;
        }
        Move::BackUp => {
            world.backup = Some(world.object);
            return;
        }
        Move::Restore => {
            world.left.restores -= 1;
            // Etcd repeats uid and versions, but not the time.
            world.moment += 1;
            let epoch = world.object.epoch + 1;
            if let Some(backup) = world.backup.take() {
                world.object = Object { epoch, ..backup };
            }
            return;
        }
        _ => return,
    }
    world.object.version = version;
}

/// Time passes; what was under way too long never takes effect.
fn pass(world: &mut World, ticks: u16) {
    world.tick += ticks;
    let now = world.tick;
    world.requests.retain(|request| request.until >= now);
    world.retries.retain(|retry| retry.until >= now);
    world.writes.retain(|write| write.until >= now);
}

/// Whether the API server's `object` is later than a copy of it.
pub fn is_newer(object: &Object, copy: &Object) -> bool {
    (object.epoch, object.version) > (copy.epoch, copy.version)
}

/// A status write arrives at the API server. `false`: a conflict.
pub fn land(lab: &Lab, world: &mut World, write: LateWrite) -> Result<bool, Broken> {
    let LateWrite { uid, version, status, until: _ } = write;
    let guarded = lab.config.broken != Some(Break::IgnoreConflicts);
    if world.object.seen.uid != uid || (guarded && world.object.version != version) {
        return Ok(false);
    }
    rules::forward(lab.status(world.object.seen.status), lab.status(status))?;
    world.object.version = world.fresh_version();
    world.object.seen.status = status;
    Ok(true)
}

/// The last step of time at which a POST that is sent now may take effect. Lists may lag by one step, and
/// within the resolution delay it must show.
pub fn effect_until(lab: &Lab, world: &World) -> u16 {
    let late = lab.config.duplicates_happen || lab.config.broken == Some(Break::EffectTooLate);
    let late = u16::from(late);
    let delay = lab.config.delay / TICK;
    world.tick + delay - 1 + 4 * late
}

/// What a look for the pipeline of `wanted` brings.
pub fn look(lab: &Lab, world: &World, wanted: IntentId, content: Content, luck: Luck) -> Look {
    let lag = match (luck, lab.config.broken) {
        (Luck::CannotTell, _) => return Look::CannotTell,
        (Luck::Trouble, _) => return Look::Trouble,
        (Luck::Lagging, Some(Break::ListTooLate)) => 6,
        (Luck::Lagging, _) => 1,
        _ => 0,
    };
    let fire_id = &lab.intent(wanted).key.fire_id;
    let shown = |made: &Made| made.content == content && made.tick + lag <= world.tick;
    let mut candidates = (1..).zip(&world.pipelines).filter(|(_, made)| shown(made)).peekable();
    if candidates.peek().is_none() {
        return Look::NoCandidate;
    }
    if !lab.config.marked() {
        return Look::NoneOurs;
    }
    let mut ours = candidates.filter(|(_, made)| lab.intent(made.by).key.fire_id == *fire_id);
    match (ours.next(), ours.last()) {
        (None, _) => Look::NoneOurs,
        (Some((only, _)), None) => Look::Found(only, None),
        (Some((other, _)), Some((newest, _))) => Look::Found(newest, Some(other)),
    }
}
