//! The GitLab client: what the operator asks of GitLab, and what the answers mean.
//!
//! It sends each request at most once, says honestly what is known afterwards, and keeps count of what GitLab
//! still takes. It decides nothing, retries nothing and stores nothing but that count.
//!
//! ```text
//! fire.rs, act.rs, read.rs, jobs.rs, … ─► budget.rs ─► http.rs ─► GitLab
//!               ▲                                              │
//!               └───────── explain.rs ◄── says.rs ◄── meta.rs ◄┘
//! ```
//!
//! Dropping the future of a POST leaves its outcome as unknown as a timeout does.

mod act;
mod artifacts;
mod budget;
mod clocks;
mod commit;
mod explain;
mod fire;
mod http;
mod jobs;
mod merge_requests;
mod meta;
mod read;
mod repository;
mod says;
mod schedules;
mod trust;
mod versions;
mod wire;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::http::Method;
use jiff::Timestamp;
use pipekick_core::domain::{GitLabUrl, ProjectRef};
use secrecy::SecretString;

pub use budget::{Account, BudgetLeft, Class, Fingerprint};
use budget::{Budget, Taken};
pub use commit::Place;
pub use explain::{too_old_for_inputs, troubleshooting};
pub use fire::{FireOrder, SentVariable, firing_route};
pub use http::{BuildError, DEFAULT_DEADLINE, Options};
pub(crate) use http::{causes_of, client_believing};
pub use jobs::{Job, JobFilter, JobPage};
pub use meta::{Rate, ResponseMeta};
pub use read::{Page, PipelineFilter, ReadError, ReadKind, Source};
pub use repository::{Branch, HISTORY};
pub use schedules::{PipelineSchedule, ScheduleFields, SchedulePage, ScheduleVariable, VariableKind};
pub use trust::{CaBundle, Trust};
pub use wire::{PipelineVariables, Project, TestSummary, User, Version};

use crate::clock;
use explain::Call;
use http::{Http, Reply, Request, SendError, Token, Want};

/// A project of a GitLab.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The instance.
    pub url: GitLabUrl,
    /// The project; its number once it is known, for a path changes when the project is moved.
    pub project: ProjectRef,
    /// Whom to believe that it is this instance.
    pub trust: Trust,
}

/// How a request ended, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// An answer with this HTTP status.
    Status(u16),
    /// Nothing was sent.
    NotSent,
    /// It may have been sent, and no answer came.
    Lost,
    /// It was held back, for the rate limit is used up.
    HeldBack,
}

/// Told of every request: its route, how it ended and how long it took.
pub type Hook = Arc<dyn Fn(&'static str, Outcome, Duration) + Send + Sync>;

/// The one client of the process.
pub struct Client {
    http: Http,
    budget: Arc<Mutex<Budget>>,
    versions: versions::Versions,
    fingerprints: budget::Fingerprints,
    clocks: clocks::Clocks,
    hook: Option<Hook>,
}

/// Why there is no answer.
#[derive(Debug)]
enum NoAnswer {
    /// The budget does not allow it yet.
    HeldBack(Duration),
    Failed(SendError),
}

/// Leave to send one request, taken before anything is written for it. What was not sent is there for others again
/// when this is dropped.
pub struct Permit {
    who: Account,
    taken: Taken,
    spent: bool,
    budget: Arc<Mutex<Budget>>,
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("who", &self.who).field("spent", &self.spent).finish_non_exhaustive()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        lock(&self.budget).put_down(&self.who, self.taken, self.spent);
    }
}

/// How a request comes by its leave.
enum Leave<'a> {
    /// It asks when it is sent.
    Ask(&'a Account, Class),
    /// It was asked for before.
    Held(Permit),
}

impl Client {
    /// Sets up TLS and the connection pool; `HTTPS_PROXY` and `NO_PROXY` are honoured.
    ///
    /// # Errors
    /// No crypto provider is installed, or no CA certificate was found.
    pub fn new(options: Options) -> Result<Self, BuildError> {
        Ok(Self {
            http: Http::new(options)?,
            budget: Arc::default(),
            versions: versions::Versions::default(),
            fingerprints: budget::Fingerprints::default(),
            clocks: clocks::Clocks::default(),
            hook: None,
        })
    }

    /// Has `hook` told of every request.
    #[must_use]
    pub fn with_hook(self, hook: Hook) -> Self {
        Self { hook: Some(hook), ..self }
    }

    /// A name for an access token that can be kept where the token may not.
    #[must_use]
    pub fn fingerprint(&self, token: &SecretString) -> Fingerprint {
        self.fingerprints.of(token)
    }

    /// Leave for one request on this account.
    ///
    /// # Errors
    /// How long to wait before asking again.
    pub fn permit(&self, who: &Account, class: Class) -> Result<Permit, Duration> {
        let taken = self.budget().take(who, class, clock::instant())?;
        Ok(Permit { who: who.clone(), taken, spent: false, budget: Arc::clone(&self.budget) })
    }

    /// What is left of the rate limits of this GitLab, and of all others.
    #[must_use]
    pub fn budget_left(&self, url: &GitLabUrl) -> BudgetLeft {
        self.budget().left(url.authority(), clock::instant())
    }

    /// The host's clock as it stands now: what its last answer told, and the time since by our monotonic clock. It is
    /// behind by as long as that answer took, and it does not follow when our wall clock is stepped.
    #[must_use]
    pub fn now_at(&self, url: &GitLabUrl) -> Option<Timestamp> {
        self.clocks.at(url, clock::instant())
    }

    async fn get(
        &self,
        call: Call,
        at: &Endpoint,
        path: String,
        query: Vec<(&'static str, String)>,
        token: &SecretString,
        want: Want,
    ) -> Result<Reply, NoAnswer> {
        let Endpoint { url, project: _, trust } = at;
        let who = Account::access(url, self.fingerprint(token));
        let token = Token::Header(token, None);
        let request = Request { method: Method::GET, url, trust, path, query, token, hide: Vec::new(), want };
        self.call(call, Leave::Ask(&who, Class::Following), request).await
    }

    /// Takes a permit, sends, and learns from the answer.
    async fn call(&self, call: Call, leave: Leave<'_>, request: Request<'_>) -> Result<Reply, NoAnswer> {
        let (route, method, began) = (call.route(), request.method.clone(), clock::instant());
        let url = request.url.clone();
        let mut permit = match leave {
            Leave::Ask(who, class) => self.permit(who, class),
            Leave::Held(permit) => Ok(permit),
        };
        let result = match &mut permit {
            Err(wait) => Err(NoAnswer::HeldBack(*wait)),
            Ok(permit) => {
                permit.spent = true;
                self.http.send(request).await.map_err(NoAnswer::Failed)
            }
        };
        let now = clock::instant();
        let took = now.saturating_duration_since(began);
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let outcome = match &result {
            Ok(reply) => {
                if let Ok(permit) = &permit {
                    self.budget().observe(&permit.who, &reply.meta, now);
                }
                if let Some(date) = reply.meta.date {
                    self.clocks.told(url, date, now);
                }
                tracing::debug!(%method, route, status = reply.status, ms, "gitlab answered");
                Outcome::Status(reply.status)
            }
            Err(NoAnswer::HeldBack(wait)) => {
                tracing::debug!(%method, route, wait_s = wait.as_secs(), "request was held back");
                Outcome::HeldBack
            }
            Err(NoAnswer::Failed(error @ SendError::NotSent { .. })) => {
                tracing::debug!(%method, route, ms, %error, "request was not sent");
                Outcome::NotSent
            }
            Err(NoAnswer::Failed(error @ SendError::Lost { .. })) => {
                tracing::debug!(%method, route, ms, %error, "request got no answer");
                Outcome::Lost
            }
        };
        if let Some(hook) = &self.hook {
            hook(route, outcome, took);
        }
        result
    }

    fn budget(&self) -> std::sync::MutexGuard<'_, Budget> {
        lock(&self.budget)
    }
}

fn lock(budget: &Mutex<Budget>) -> std::sync::MutexGuard<'_, Budget> {
    // Each change of a budget is whole before anything can panic.
    budget.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
