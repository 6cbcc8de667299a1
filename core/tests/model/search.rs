//! Breadth first through every state; the first rule that breaks is told with the shortest way to it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::config::Config;
use crate::lab::{Lab, TICK};
use crate::moves::{Luck, Move, first, is_newer, make, possible, sights};
use crate::rules::{Broken, Rule, duplicate_is_told, every_cause_is_answered, retries_are_counted};
use crate::world::{At, Left, World};

/// A rule that broke, and the moves that lead there from the first state.
#[derive(Debug, Clone)]
pub struct Counterexample {
    pub broken: Broken,
    pub way: Vec<Move>,
    pub told: String,
}

/// What a search went through.
#[derive(Debug)]
pub struct Searched {
    pub states: usize,
    pub transitions: usize,
    pub decisions: usize,
    pub took: Duration,
    pub found: Option<Counterexample>,
}

/// 128 bits of a state: the chance that two of ten million states share them is below 10^-24.
fn print_of(world: &World) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        world.hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

/// Goes through every state of `config`, or to the first counterexample.
pub fn search(config: Config) -> Searched {
    #[expect(clippy::disallowed_methods, reason = "the time a search takes is told, and decides nothing")]
    let began = std::time::Instant::now();
    let mut lab = Lab::new(config);
    let start = first(&mut lab);
    let mut known = HashMap::from([(print_of(&start), 0_u32)]);
    // How each state was reached, by its number.
    let mut came: Vec<(u32, Option<Move>)> = vec![(0, None)];
    let mut rests = HashSet::new();
    let mut queue = VecDeque::from([(0_u32, start)]);
    let (mut transitions, mut found) = (0, None);
    'all: while let Some((number, world)) = queue.pop_front() {
        if config.liveness
            && let Err(broken) = comes_to_rest(&mut lab, &world, &mut rests)
        {
            found = Some((broken, way_to(&came, number)));
            break;
        }
        for happens in possible(&mut lab, &world) {
            transitions += 1;
            match make(&mut lab, &world, happens) {
                Ok(next) => {
                    let fresh = u32::try_from(came.len()).expect("fewer states than 2^32");
                    if *known.entry(print_of(&next)).or_insert(fresh) == fresh {
                        came.push((number, Some(happens)));
                        queue.push_back((fresh, next));
                    }
                }
                Err(broken) => {
                    let mut way = way_to(&came, number);
                    way.push(happens);
                    found = Some((broken, way));
                    break 'all;
                }
            }
        }
    }
    let found = found.map(|(broken, way)| Counterexample { told: tell(&mut lab, &way), broken, way });
    let searched = Searched {
        states: came.len(),
        transitions,
        decisions: lab.decisions(),
        took: began.elapsed(),
        found,
    };
    println!(
        "{}: {} states, {} transitions, {} decisions, {:.1} s{}",
        config.name,
        searched.states,
        searched.transitions,
        searched.decisions,
        searched.took.as_secs_f64(),
        searched.found.as_ref().map_or(String::new(), |c| format!(
            "\n  {:?} after {} moves: {}\n{}",
            c.broken.rule,
            c.way.len(),
            c.broken.how,
            c.told
        )),
    );
    searched
}

fn way_to(came: &[(u32, Option<Move>)], number: u32) -> Vec<Move> {
    let mut way = Vec::new();
    let mut at = number;
    while let (before, Some(by)) = came[at as usize] {
        way.push(by);
        at = before;
    }
    way.reverse();
    way
}

/// The way again, each move with where the run stands after it.
fn tell(lab: &mut Lab, way: &[Move]) -> String {
    let mut world = first(lab);
    let mut told = String::new();
    for happens in way {
        let line = match make(lab, &world, *happens) {
            Ok(next) => {
                world = next;
                let run = lab.status(world.object.seen.status).run.as_deref();
                run.map_or("no run".into(), |run| {
                    let attempt = run.attempt.as_ref().map(|a| (a.count, a.last, a.by.clone()));
                    format!(
                        "run {} {:?} {attempt:?}, {} pipelines",
                        run.seq,
                        run.phase,
                        world.pipelines.len()
                    )
                })
            }
            Err(broken) => format!("{:?}", broken.rule),
        };
        told.push_str(&format!("    {:4} s  {:28} {line}\n", world.tick * TICK, format!("{happens:?}")));
    }
    told
}

/// Longest way to rest: a refused run waits ten minutes, and each decision is a move.
const MOVES_TO_REST: usize = 400;

/// Without further faults, edits and accidents: everybody does what is to be done, in turn, and time passes
/// when all wait. `rests` are states of which this is known to end well.
fn comes_to_rest(lab: &mut Lab, world: &World, rests: &mut HashSet<u128>) -> Result<(), Broken> {
    let mut world = world.clone();
    world.requests.clear();
    world.retries.clear();
    world.writes.clear();
    world.backup = None;
    // What was still to come is none of this way's: more of the ways then meet.
    world.left = Left::default();
    let mut way = Vec::new();
    for _ in 0..MOVES_TO_REST {
        world.renumber();
        let print = print_of(&world);
        if rests.contains(&print) {
            rests.extend(way);
            return Ok(());
        }
        way.push(print);
        let Some(happens) = next_in_turn(lab, &world) else {
            every_cause_is_answered(lab, &world)?;
            duplicate_is_told(lab, &world)?;
            retries_are_counted(lab, &world)?;
            rests.extend(way);
            return Ok(());
        };
        if happens == Move::Tick {
            world.tick = soonest(&world).unwrap_or(world.tick + 1);
        } else {
            world = make(lab, &world, happens)?;
        }
    }
    let how = format!("does not come to rest: {:?}", lab.status(world.object.seen.status).run);
    Err(Broken { rule: Rule::EveryCauseIsAnswered, how })
}

/// When the next of them has something to do.
fn soonest(world: &World) -> Option<u16> {
    let due = world.operators.iter().map(|operator| match &operator.turn {
        Some(turn) => match turn.at {
            At::Await { until, .. } | At::Looking { until } => Some(until),
            _ => None,
        },
        None => operator.wake,
    });
    due.flatten().min()
}

fn next_in_turn(lab: &Lab, world: &World) -> Option<Move> {
    for (number, operator) in (0..).zip(&world.operators) {
        if operator.paused {
            return Some(Move::Continue(number));
        }
        if operator.store.is_none_or(|known| is_newer(&world.object, &known)) {
            return Some(Move::Watch(number));
        }
        if operator.is_busy(world.tick) {
            return Some(Move::Go(number, Luck::Well));
        }
    }
    // Of what may be seen, the end.
    let sights = (0..lab.config.operators).find_map(|number| sights(lab, world, number).pop());
    if sights.is_some() {
        return sights;
    }
    soonest(world).map(|_| Move::Tick)
}
