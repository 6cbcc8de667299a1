//! Which faults meet which requests.

use jiff::SignedDuration;
use pipekick_sandbox::gitlab::Fault;

/// Cases that are told in one story.
pub struct Group {
    pub name: String,
    pub course: Course,
    pub cases: Vec<Case>,
}

/// How the runs of a group go, but for the faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    Succeeds,
    Fails,
    /// Without a trigger token, and with a variable.
    ByAccessToken,
    /// A job fails once, and is started again.
    Retries,
    /// It takes longer than its timeout, and is cancelled.
    TimesOut,
    /// Succeeds, and a tag is committed to the project's own branch.
    Commits,
    /// The same by merge request.
    Proposes,
}

/// An object and its project, both of this name.
pub struct Case {
    pub name: String,
    /// Route and fault; each strikes once, in this order.
    pub faults: Vec<(&'static str, Fault)>,
}

/// The requests that a fault makes sense for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    All,
    Posts,
    Lists,
}

/// The groups of the ordinary test command.
const SAMPLE: [&str; 6] = ["post", "list-after-a-lost-reply", "jobs", "retry", "cancel", "pairs-reply-lost"];

/// Longer than the request's deadline of [`crate::FLAGS`].
const HANGS: SignedDuration = SignedDuration::from_secs(4);
/// Within the resolution delay of [`crate::FLAGS`].
const LATE: SignedDuration = SignedDuration::from_secs(2);
/// Less than the age of an intent at which absence begins to count.
const LAGS: SignedDuration = SignedDuration::from_secs(8);

#[rustfmt::skip]
fn faults() -> Vec<(&'static str, On, Fault)> {
    vec![
        ("no-effect", On::All, Fault::Reset),
        ("reply-lost", On::All, Fault::EffectThenReset),
        ("late-reply", On::All, Fault::HangThenAnswer { wait: HANGS }),
        ("hangs", On::All, Fault::HangThenReset { wait: HANGS }),
        ("late-effect", On::Posts, Fault::LateEffect { after: LATE }),
        ("truncated", On::All, Fault::TruncatedBody),
        ("html-502", On::All, Fault::BadGateway { effect: false }),
        ("html-502-acted", On::Posts, Fault::BadGateway { effect: true }),
        ("json-500", On::All, Fault::ServerError { effect: false }),
        ("json-500-acted", On::Posts, Fault::ServerError { effect: true }),
        ("too-many", On::All, Fault::TooManyRequests { retry_after: 1 }),
        ("unavailable", On::All, Fault::Unavailable { retry_after: 1 }),
        ("read-only", On::Posts, Fault::ReadOnly),
        ("locked", On::Posts, Fault::ResourceLock),
        ("redirect", On::All, Fault::Redirect { location: "/users/sign_in".into() }),
        ("lags", On::Lists, Fault::ListLag { younger_than: LAGS }),
    ]
}

fn faults_of(route: &str) -> Vec<(&'static str, Fault)> {
    let fits = |on: On| match on {
        On::All => true,
        On::Posts => matches!(
            route,
            "trigger" | "create" | "retry" | "cancel" | "commit_create" | "merge_request_create"
        ),
        On::Lists => route == "pipelines",
    };
    faults().into_iter().filter(|(_, on, _)| fits(*on)).map(|(name, _, fault)| (name, fault)).collect()
}

/// What the ordinary test command runs: few groups, of the pairs every third, and nothing that waits a minute.
pub fn sample(mut groups: Vec<Group>) -> Vec<Group> {
    groups.retain(|group| SAMPLE.contains(&group.name.as_str()));
    for group in &mut groups {
        let step = if group.name.starts_with("pairs") { 3 } else { 1 };
        let quick = group.cases.drain(..).filter(|case| case.name != "read-only");
        group.cases = quick.step_by(step).collect();
    }
    groups
}

/// Each request of a run, and each fault at it.
pub fn singles() -> Vec<Group> {
    let lost = || Some(("trigger", Fault::EffectThenReset));
    let requests = [
        ("post", None, "trigger", Course::Succeeds),
        ("post-by-access-token", None, "create", Course::ByAccessToken),
        ("post-sent-again", Some(("trigger", Fault::Reset)), "trigger", Course::Succeeds),
        ("list-after-a-lost-reply", lost(), "pipelines", Course::Succeeds),
        ("marks-after-a-lost-reply", lost(), "variables", Course::Succeeds),
        ("pipeline-that-was-found", lost(), "pipeline", Course::Succeeds),
        ("pipeline", None, "pipeline", Course::Succeeds),
        ("jobs", None, "jobs", Course::Fails),
        ("tests", None, "test_report_summary", Course::Succeeds),
        ("downstream", None, "bridges", Course::Succeeds),
        ("retry", None, "retry", Course::Retries),
        ("jobs-before-a-retry", None, "jobs", Course::Retries),
        ("jobs-after-a-lost-retry", Some(("retry", Fault::EffectThenReset)), "jobs", Course::Retries),
        ("cancel", None, "cancel", Course::TimesOut),
        ("commit", None, "commit_create", Course::Commits),
        ("branch", None, "branch", Course::Commits),
        ("file", None, "file_raw", Course::Commits),
        ("history", None, "commits", Course::Commits),
        ("commit-to-propose", None, "commit_create", Course::Proposes),
        ("merge-request", None, "merge_request_create", Course::Proposes),
        ("merge-requests", None, "merge_requests", Course::Proposes),
    ];
    let group =
        |(name, before, route, course): (&str, Option<(&'static str, Fault)>, &'static str, Course)| {
            let case = |(name, fault): (&'static str, Fault)| Case {
                name: name.into(),
                faults: before.clone().into_iter().chain([(route, fault)]).collect(),
            };
            Group { name: name.into(), course, cases: faults_of(route).into_iter().map(case).collect() }
        };
    requests.into_iter().map(group).collect()
}

/// A fault at the POST, and a fault at the look that follows it.
pub fn pairs() -> Vec<Group> {
    let group = |(first, at_post): (&str, Fault)| {
        let mut cases = Vec::new();
        for route in ["pipelines", "variables"] {
            cases.extend(faults_of(route).into_iter().map(|(second, at_look)| Case {
                name: format!("{second}-at-{route}"),
                faults: vec![("trigger", at_post.clone()), (route, at_look)],
            }));
        }
        Group { name: format!("pairs-{first}"), course: Course::Succeeds, cases }
    };
    faults_of("trigger").into_iter().map(group).collect()
}
