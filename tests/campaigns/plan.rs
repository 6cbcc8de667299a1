//! How much of a campaign runs, and how its cases are run side by side.

use std::any::Any;
use std::thread;

use futures::future::LocalBoxFuture;

use crate::harness::{Seen, Story};

/// What a user does in a story, up to the end of it.
pub type Tale = for<'a> fn(&'a Story) -> LocalBoxFuture<'a, ()>;

/// Phases that are not an end.
const ACTIVE: [&str; 6] = ["", "Pending", "Firing", "Unknown", "Running", "Retrying"];

/// How many cases of each story run: `PIPEKICK_CAMPAIGN_SAMPLE=all`, a number, or unset for a few.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    All,
    Few(usize),
}

impl Sample {
    pub fn from_env(unset: usize) -> Self {
        match std::env::var("PIPEKICK_CAMPAIGN_SAMPLE").ok().as_deref() {
            Some("all") => Self::All,
            Some(number) => Self::Few(number.parse().expect("PIPEKICK_CAMPAIGN_SAMPLE is `all` or a number")),
            None => Self::Few(unset),
        }
    }

    /// The first ones, and others spread evenly over the rest: the same in every run.
    pub fn of<T>(self, interesting: Vec<T>, rest: Vec<T>) -> Vec<T> {
        let mut all = interesting;
        let Self::Few(most) = self else {
            all.extend(rest);
            return all;
        };
        all.truncate(most);
        let wanted = most - all.len();
        let step = (rest.len() / (wanted + 1)).max(1);
        all.extend(rest.into_iter().skip(step / 2).step_by(step).take(wanted));
        all
    }
}

/// Whether a story is wanted: `PIPEKICK_CAMPAIGN_STORY` names a part of one's name.
pub fn is_wanted(name: &str) -> bool {
    !std::env::var("PIPEKICK_CAMPAIGN_STORY").is_ok_and(|part| !name.contains(&part))
}

/// Plays all, as many at once as the harness has places, and says how each went. A thread's name is its
/// story's namespace.
pub fn side_by_side<C: Sync, T: Send>(
    cases: &[C],
    name: impl Fn(&C) -> String,
    play: impl Fn(&C) -> T + Sync,
) -> Vec<Result<T, String>> {
    let play = &play;
    thread::scope(|scope| {
        let spawn =
            |case| thread::Builder::new().name(name(case)).spawn_scoped(scope, move || play(case)).unwrap();
        let threads: Vec<_> = cases.iter().map(spawn).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|panic| words(&*panic))).collect()
    })
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
}

/// Waits until nothing is under way for the object, and every annotation on it was answered.
pub async fn settled(story: &Story, name: &str) -> Seen {
    story.until(name, "come to an end", is_settled).await
}

pub fn is_settled(seen: &Seen) -> bool {
    let answered = ["fire", "resolve", "cancel"].iter().all(|verb| {
        let asked = &seen.0["metadata"]["annotations"][format!("pipekick.dev/{verb}")];
        asked.is_null() || *asked == seen.0["status"]["lastHandled"][*verb]["value"]
    });
    answered && seen.is_current() && !ACTIVE.contains(&seen.phase())
}
