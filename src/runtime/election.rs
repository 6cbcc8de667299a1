//! One of several operators leads, and the others stand by: the hands of [`pipekick_core::decide::lease`].
//!
//! Whoever leads no more ends its process: nothing that it was about to do may go on.

use std::time::Duration;

use pipekick_core::decide::lease::{Loss, Observed, Plan, Policy, Record, decide};
use tokio::time::{Instant, sleep};

use crate::clock;
use crate::cluster::causes::causes;
use crate::cluster::leases::{LeaseError, Leases};

/// Of the time that a leader may be silent, what one request may take: a second one must fit in.
const OF_SILENCE: u32 = 2;
/// The last write, at the end of the process.
const RELEASE_WITHIN: Duration = Duration::from_secs(2);

/// A process that stands by or leads.
#[derive(Debug)]
pub struct Election {
    leases: Leases,
    me: String,
    policy: Policy,
    began: Instant,
    record: Option<Record>,
    changed_at: Duration,
    renewed_at: Option<Duration>,
    /// Whom we told of last as the leader.
    told: Option<String>,
    /// What we told of last as keeping us from reading the Lease, and from writing it, until it does no more.
    unread: Option<String>,
    unwritten: Option<String>,
}

impl Election {
    /// A process named `me` that stands by.
    #[must_use]
    pub fn new(leases: Leases, me: String, policy: Policy) -> Self {
        Self {
            leases,
            me,
            policy,
            began: clock::instant(),
            record: None,
            changed_at: Duration::ZERO,
            renewed_at: None,
            told: None,
            unread: None,
            unwritten: None,
        }
    }

    /// Stands by until this process leads.
    pub async fn win(&mut self) {
        while self.renewed_at.is_none() {
            self.look(self.policy.give_up_after()).await;
            let plan = self.decide();
            match plan {
                Plan::Write { takes_over, within } => {
                    if self.write(within).await {
                        tracing::info!(takes_over, "this operator leads");
                        return;
                    }
                    sleep(self.policy.look_every()).await;
                }
                Plan::Wait(delay) => {
                    let holder = self.record.as_ref().and_then(|record| record.holder.clone());
                    if holder != self.told {
                        tracing::info!(
                            leader = holder.as_deref().unwrap_or_default(),
                            "this operator stands by"
                        );
                        self.told = holder;
                    }
                    sleep(delay).await;
                }
                // Only who leads can lose.
                Plan::Lost(_) => return,
            }
        }
    }

    /// Leads; returns when this process does so no more.
    pub async fn keep(&mut self) -> Loss {
        loop {
            match self.decide() {
                Plan::Write { within, .. } => {
                    if !self.write(within).await {
                        sleep(self.policy.look_every().min(within)).await;
                    }
                }
                Plan::Wait(delay) => sleep(delay).await,
                Plan::Lost(loss) => return loss,
            }
        }
    }

    /// Lets the next one begin at once. What fails here costs them the Lease's duration.
    pub async fn release(&mut self) {
        let released = tokio::time::timeout(RELEASE_WITHIN, async {
            // A renewal may have been on its way.
            self.leases.read(RELEASE_WITHIN).await?;
            self.leases.write(None, self.policy.duration, RELEASE_WITHIN).await
        });
        match released.await {
            Ok(Ok(_)) => tracing::info!("the Lease was released"),
            Ok(Err(error)) => tracing::warn!(error = causes(&error), "the Lease was not released"),
            Err(_) => tracing::warn!("the Lease was not released in time"),
        }
    }

    fn decide(&self) -> Plan {
        decide(&Observed {
            me: &self.me,
            now: self.now(),
            policy: self.policy,
            record: self.record.as_ref(),
            changed_at: self.changed_at,
            renewed_at: self.renewed_at,
        })
    }

    fn now(&self) -> Duration {
        clock::instant().saturating_duration_since(self.began)
    }

    async fn look(&mut self, within: Duration) {
        match self.leases.read(self.limit(within)).await {
            Ok(record) => {
                self.unread = None;
                self.saw(record);
            }
            // It is judged by what was seen last: a holder whose record cannot be read may well be alive, and a
            // write that is guarded by an old version fails.
            Err(error) => tell("the Lease could not be read", &error, &mut self.unread),
        }
    }

    fn saw(&mut self, record: Option<Record>) {
        if record != self.record {
            self.changed_at = self.now();
            self.record = record;
        }
    }

    /// Whether the write came through, after `within` at most. It counts from when it was sent.
    async fn write(&mut self, within: Duration) -> bool {
        let sent_at = self.now();
        match self.leases.write(Some(&self.me), self.policy.duration, self.limit(within)).await {
            Ok(record) => {
                self.saw(Some(record));
                self.renewed_at = Some(sent_at);
                self.unwritten = None;
                return true;
            }
            Err(LeaseError::Conflict) => {}
            Err(error) => tell("the Lease could not be written", &error, &mut self.unwritten),
        }
        // The next write must be guarded by what is there now: nobody knows whether this one came through.
        let left = within.saturating_sub(self.now().saturating_sub(sent_at));
        if !left.is_zero() {
            self.look(left).await;
        }
        false
    }

    fn limit(&self, within: Duration) -> Duration {
        within.min(self.policy.give_up_after() / OF_SILENCE)
    }
}

/// It is met twice a second, and told once.
fn tell(what: &str, error: &LeaseError, told: &mut Option<String>) {
    let error = causes(error);
    if told.as_ref() != Some(&error) {
        tracing::warn!(error, "{what}");
        *told = Some(error);
    }
}

/// Waits for the loss of `election`'s leadership, and says what it was as an error; releases the Lease once
/// `release` is ready.
///
/// # Errors
/// This process leads no more.
pub async fn lead(mut election: Election, release: impl Future<Output = ()>) -> Result<(), Lost> {
    let loss = tokio::select! {
        loss = election.keep() => loss,
        () = release => {
            election.release().await;
            return Ok(());
        }
    };
    Err(Lost(loss))
}

/// This process leads no more.
#[derive(Debug, thiserror::Error)]
#[error("this operator leads no more, and ends: {}", said(.0))]
pub struct Lost(Loss);

fn said(loss: &Loss) -> String {
    match loss {
        Loss::Silent(time) => format!("the Lease could not be renewed for {} s", time.as_secs()),
        Loss::Taken(holder) => format!("{holder} holds the Lease"),
        Loss::Gone => "somebody deleted or emptied the Lease".into(),
    }
}
