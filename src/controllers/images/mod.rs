//! Image updates on their way to a branch: one queue per (host, project, branch), and one for each branch that merge
//! requests to it come from. Each has a task of its own while it has something to do.
//!
//! ```text
//! trigger's decision ── hand_in ──▶ waiting ──▶ decide (core) ──▶ read, commit (hands.rs)
//!        ▲                                          │
//!        └── poked; `seen` tells it the verdict ◀───┘
//! ```
//!
//! Every rule is in `core/src/decide/image_update.rs`. What is in a queue stands in its trigger's status as
//! `Committing`, so a process may lose it at any time: the next one finds it there, and looks at the branch first.

mod arrival;
mod contention;
mod hands;
mod requests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use pipekick_core::decide::image_update::contention::Claims;
use pipekick_core::decide::image_update::{
    Affirmed, Change, ChangeKey, Effect, Flight, Observed, Plan, Policy, Seen, Snapshot, Verdict, decide,
    default_source, scalars, waits_for,
};
use pipekick_core::decide::trigger::{UpdateKey, UpdateOrder, UpdateSeen};
use pipekick_core::domain::{GitLabUrl, ObjectKey, Reason, Trigger, TriggerStatus};
use tokio::sync::Notify;

use crate::clock;
use crate::cluster::secrets::Secrets;
use crate::controllers::schedule::ScheduleRef;
use crate::controllers::trigger;
use crate::gitlab;
use crate::runtime::{Handle, Rank};
use crate::server::Metrics;
pub use arrival::BranchKey;
use arrival::{change, owner_of};
use requests::Look;

/// Should a wake be lost, a queue with something in it looks again this soon.
const IDLE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Queue {
    waiting: Vec<Change>,
    flight: Option<Flight>,
    /// Something came, or changed.
    news: Arc<Notify>,
}

/// An update that was handed in and of which its trigger has not taken in the end yet.
struct Ticket {
    object: ObjectKey,
    branch: BranchKey,
    key: UpdateKey,
    seen: UpdateSeen,
}

#[derive(Default)]
struct State {
    queues: HashMap<BranchKey, Queue>,
    tickets: HashMap<ChangeKey, Ticket>,
    /// Triggers that are about to hand something in.
    coming: HashMap<ObjectKey, HashSet<BranchKey>>,
    claims: Claims,
    /// By branch that is written to, however that goes.
    affirmed: Affirmed<BranchKey>,
}

/// All queues.
pub struct Images {
    gitlab: Arc<gitlab::Client>,
    secrets: Arc<Secrets>,
    handle: Handle<trigger::Record>,
    default_url: GitLabUrl,
    metrics: Arc<Metrics>,
    policy: Policy,
    state: Mutex<State>,
}

impl Images {
    /// Queues with nothing in them. `handle` is called when a trigger has something to take in.
    #[must_use]
    pub fn new(
        gitlab: Arc<gitlab::Client>,
        secrets: Arc<Secrets>,
        handle: Handle<trigger::Record>,
        default_url: GitLabUrl,
        policy: Policy,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { gitlab, secrets, handle, default_url, metrics, policy, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The watch shows a trigger: what it means to write.
    pub fn seen_object(&self, trigger: &Trigger, schedule: Option<&ScheduleRef>) {
        // A spec that cannot be read claims what it did before.
        if let Ok(spec) = &trigger.spec {
            let (owner, at) = (owner_of(&trigger.key, schedule), (&spec.url, &spec.project));
            self.lock().claims.put(&trigger.key, &owner, at, &spec.image_updates);
        }
    }

    /// The trigger is gone: what has not been sent is not sent any more.
    pub fn gone(&self, object: &ObjectKey) {
        let keys: Vec<UpdateKey> = {
            let mut state = self.lock();
            state.claims.remove(object);
            state.coming.remove(object);
            state.tickets.values().filter(|t| t.object == *object).map(|t| t.key.clone()).collect()
        };
        self.give_up(&keys);
    }

    /// Who else means to write what entries of this trigger write.
    pub(super) fn contended(&self, object: &ObjectKey) -> BTreeMap<usize, String> {
        self.lock().claims.contended(object)
    }

    /// How far the updates of this trigger are.
    pub(super) fn seen(&self, object: &ObjectKey) -> Vec<(UpdateKey, UpdateSeen)> {
        let state = self.lock();
        let own = state.tickets.values().filter(|ticket| ticket.object == *object);
        own.map(|ticket| (ticket.key.clone(), ticket.seen.clone())).collect()
    }

    /// Ends that the trigger has taken in, by its status, are forgotten.
    pub(super) fn taken_in(&self, object: &ObjectKey, status: &TriggerStatus) {
        let on_record = |key: &UpdateKey| {
            let run = status.run.as_deref().filter(|run| run.fire_id == key.fire_id);
            run.and_then(|run| run.image_updates.get(key.entry)?.at) == Some(key.at)
        };
        let is_over = |ticket: &Ticket| {
            let is_settled = matches!(ticket.seen, UpdateSeen::Settled(_));
            ticket.object == *object && is_settled && !on_record(&ticket.key)
        };
        self.lock().tickets.retain(|_, ticket| !is_over(ticket));
    }

    /// Updates of this trigger come within moments, or come no more: those that wait elsewhere go at once.
    pub(super) fn expect(&self, object: &ObjectKey, branches: HashSet<BranchKey>) {
        let mut state = self.lock();
        let before = if branches.is_empty() {
            state.coming.remove(object)
        } else {
            state.coming.insert(object.clone(), branches)
        };
        for branch in before.into_iter().flatten() {
            if let Some(queue) = state.queues.get(&branch) {
                queue.news.notify_one();
            }
        }
    }

    /// Takes updates whose intents are on record.
    pub(super) fn hand_in(
        self: &Arc<Self>,
        object: &ObjectKey,
        schedule: Option<&ScheduleRef>,
        order: UpdateOrder,
    ) {
        let UpdateOrder { url, pipeline, begun, entries } = order;
        let owner = owner_of(object, schedule);
        // It was one when the run was fired.
        let Ok(url) = url.parse::<GitLabUrl>() else { return };
        for entry in entries {
            let source = entry.proposal.as_ref().map(|proposal| {
                proposal.source.clone().unwrap_or_else(|| default_source(&owner, entry.key.entry))
            });
            let (url, project) = (url.clone(), entry.project.clone());
            let branch = BranchKey { url, project, branch: entry.branch.clone(), source };
            self.put(object, branch, change(object, &owner, (pipeline, begun), entry));
        }
        self.expect(object, HashSet::new());
    }

    fn put(self: &Arc<Self>, object: &ObjectKey, branch: BranchKey, (key, change): (UpdateKey, Change)) {
        let mut state = self.lock();
        let seen = UpdateSeen::Held { given_up: change.give_up, trouble: None };
        let ticket = Ticket { object: object.clone(), branch: branch.clone(), key, seen };
        state.tickets.insert(change.key.clone(), ticket);
        let is_new = !state.queues.contains_key(&branch);
        let queue = state.queues.entry(branch.clone()).or_default();
        queue.waiting.retain(|waiting| waiting.key != change.key);
        queue.waiting.push(change);
        queue.news.notify_one();
        drop(state);
        if is_new {
            tokio::spawn(Arc::clone(self).drive(branch));
        }
    }

    /// Nothing of these is sent any more. What was sent already is looked for.
    pub(super) fn give_up(&self, keys: &[UpdateKey]) {
        let mut poked = Vec::new();
        let mut state = self.lock();
        for key in keys {
            let of = ChangeKey { fire_id: key.fire_id.clone(), entry: key.entry };
            let State { queues, tickets, .. } = &mut *state;
            let Some(ticket) = tickets.get_mut(&of).filter(|ticket| ticket.key == *key) else { continue };
            let UpdateSeen::Held { given_up, trouble: _ } = &mut ticket.seen else { continue };
            *given_up = true;
            let Some(queue) = queues.get_mut(&ticket.branch) else { continue };
            let flying = queue.flight.iter_mut().flat_map(|flight| &mut flight.changes);
            for change in queue.waiting.iter_mut().chain(flying).filter(|change| change.key == of) {
                (change.give_up, change.not_before) = (true, None);
            }
            // Of what waits, nothing may be on its way.
            let before = queue.waiting.len();
            queue.waiting.retain(|change| change.key != of || change.sent_at.is_some());
            if queue.waiting.len() < before {
                ticket.seen = UpdateSeen::Settled(Verdict::Absent);
                poked.push(ticket.object.clone());
            }
            queue.news.notify_one();
        }
        drop(state);
        for object in poked {
            self.handle.poke(&object, Rank::Firing);
        }
    }

    /// Works on one queue until it is empty.
    async fn drive(self: Arc<Self>, branch: BranchKey) {
        let mut seen = None;
        loop {
            let Some((plan, news)) = self.decide(&branch, seen.as_ref()) else { return };
            let work = AssertUnwindSafe(self.follow(&branch, plan, &news)).catch_unwind();
            seen = match work.await {
                Ok(seen) => seen,
                Err(_) => {
                    tracing::error!(project = %branch.project, branch = %branch.branch, "work on a branch panicked");
                    let message = "the operator met a bug while reading or writing the branch".to_owned();
                    Some(Seen::Unreadable { message })
                }
            };
        }
    }

    /// Decides, and takes in what was decided. `None` when the queue is empty, and gone.
    fn decide(&self, branch: &BranchKey, seen: Option<&Seen>) -> Option<(Plan, Arc<Notify>)> {
        let mut state = self.lock();
        let coming = state.coming.values().filter(|branches| branches.contains(branch)).count();
        // Who waits to be worked on may be about to announce itself.
        let crowd = usize::from(self.handle.stats().waiting[Rank::Following as usize] > 0);
        let State { queues, tickets, affirmed, .. } = &mut *state;
        let queue = queues.get_mut(branch)?;
        let now = clock::now();
        let observed = Observed {
            now,
            policy: &self.policy,
            waiting: &queue.waiting,
            coming: coming + crowd,
            flight: queue.flight.as_ref(),
            seen,
        };
        let plan = decide(&observed);
        let trouble = waits_for(&observed, &plan).map(|message| (Reason::UpdateDelayed, message));
        let mut batch = queue.flight.take().map(|flight| flight.changes).unwrap_or_default();
        batch.extend(queue.waiting.extract_if(.., |change| plan.taken.contains(&change.key)));
        let mut concerned = HashSet::new();
        for (key, verdict) in &plan.settled {
            log(branch, key, verdict);
            let Some(change) = batch.iter().find(|change| change.key == *key) else { continue };
            if let (Verdict::UpToDate, false, Some(target)) = (verdict, change.dry_run, target_of(seen)) {
                affirmed.put(branch.target(), scalars(change, target), change.pipeline);
            }
            let Some(ticket) = tickets.get_mut(key) else { continue };
            if let Verdict::PutBack { reason, message, until, sent_at } = verdict {
                let (sent_at, not_before) = (*sent_at, Some(*until));
                queue.waiting.push(Change { sent_at, not_before, ..change.clone() });
                let trouble = Some((*reason, message.clone()));
                ticket.seen = UpdateSeen::Held { given_up: change.give_up, trouble };
            } else {
                ticket.seen = UpdateSeen::Settled(verdict.clone());
            }
            concerned.insert(ticket.object.clone());
        }
        for change in plan.flight.iter().filter(|_| trouble.is_some()).flat_map(|flight| &flight.changes) {
            let Some(ticket) = tickets.get_mut(&change.key) else { continue };
            let seen = UpdateSeen::Held { given_up: change.give_up, trouble: trouble.clone() };
            if ticket.seen != seen {
                ticket.seen = seen;
                concerned.insert(ticket.object.clone());
            }
        }
        queue.flight.clone_from(&plan.flight);
        let news = Arc::clone(&queue.news);
        let is_empty = queue.waiting.is_empty() && queue.flight.is_none();
        if is_empty {
            queues.remove(branch);
        }
        // Of an object that is gone, nobody takes anything in.
        tickets.retain(|_, ticket| {
            matches!(ticket.seen, UpdateSeen::Held { .. }) || self.handle.entry(&ticket.object).is_some()
        });
        drop(state);
        for object in concerned {
            self.handle.poke(&object, Rank::Firing);
        }
        (!is_empty).then_some((plan, news))
    }

    /// Does what was decided; what it brought.
    async fn follow(&self, branch: &BranchKey, plan: Plan, news: &Notify) -> Option<Seen> {
        if let Some(credential) = plan.effect.reads_with() {
            let changes = plan.flight.as_ref().map_or(&[][..], |flight| &flight.changes);
            let contention = Box::pin(self.contention(branch, changes, credential)).await;
            if contention.is_some() {
                return contention;
            }
        }
        match plan.effect {
            Effect::Nothing => {
                let wait = plan.wake.map_or(IDLE, clock::until);
                let until = clock::instant() + wait.min(IDLE);
                tokio::select! {
                    () = tokio::time::sleep_until(until) => {}
                    () = news.notified() => {}
                }
                None
            }
            Effect::Read { files, since, merged, credential } => {
                Some(self.read(branch, &files, (since, merged), &credential).await)
            }
            Effect::ReadRequest { files, since, source, people, credential } => {
                let look = Look { files: &files, since, source: &source, people: &people };
                Some(Box::pin(self.read_request(branch, look, &credential)).await)
            }
            Effect::Request { deed, credential } => {
                Some(Box::pin(self.ask(branch, &deed, &credential)).await)
            }
            Effect::Commit { order, onto, credential } => {
                let changes = plan.flight.map_or(0, |flight| flight.changes.len());
                Some(self.commit(branch, &order, onto, &credential, changes).await)
            }
        }
    }
}

/// The branch that is written to, as it was seen.
fn target_of(seen: Option<&Seen>) -> Option<&Snapshot> {
    match seen? {
        Seen::Branch(snapshot) => Some(snapshot),
        Seen::Request(seen) => Some(&seen.target),
        Seen::Contended(_)
        | Seen::Unreadable { .. }
        | Seen::Trouble { .. }
        | Seen::Missing { .. }
        | Seen::Answer(_)
        | Seen::Asked(_) => None,
    }
}

fn log(branch: &BranchKey, key: &ChangeKey, verdict: &Verdict) {
    let BranchKey { url: _, project, branch, source: _ } = branch;
    let (fire_id, entry) = (&key.fire_id, key.entry);
    match verdict {
        Verdict::Committed { commit } => {
            tracing::info!(%fire_id, entry, %project, %branch, commit, "image update was committed");
        }
        Verdict::Proposed { request, source, commit: _, auto_merge: _ } => {
            let (iid, state) = (request.iid, request.state);
            tracing::info!(%fire_id, entry, %project, %branch, %source, iid, ?state, "image update is in a merge request");
        }
        Verdict::UpToDate => {
            tracing::info!(%fire_id, entry, %project, %branch, "image update had nothing to write");
        }
        Verdict::Superseded { by } => {
            tracing::info!(%fire_id, entry, %project, %branch, by, "image update came after a later pipeline's");
        }
        Verdict::Refused { message } => {
            tracing::info!(%fire_id, entry, %project, %branch, detail = message, "image update was refused");
        }
        Verdict::DryRun { diff: _ } => {
            tracing::info!(%fire_id, entry, %project, %branch, "image update was told and not made");
        }
        Verdict::Absent => {
            tracing::info!(%fire_id, entry, %project, %branch, "image update was given up");
        }
        Verdict::PutBack { reason, message, until, sent_at: _ } => {
            tracing::info!(%fire_id, entry, %project, %branch, %reason, detail = message, %until, "image update was put back");
        }
    }
}
