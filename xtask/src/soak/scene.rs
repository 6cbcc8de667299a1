//! Where the soak takes place: the simulated GitLab, what goes wrong there, and the namespaces with their Secrets.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use pipekick_sandbox::controlplane::ControlPlane;
use pipekick_sandbox::gitlab::{
    Fault, FaultRule, Handle, JobPlay, Outcome, Play, ProjectSeed, Role, Seed, Strike, TriggerSeed, When,
};

pub const NAMESPACES: usize = 3;
pub const PROJECTS: usize = 8;
pub const REFS: [&str; 4] = ["main", "next", "hotfix", "canary"];
/// The variable that chooses how a pipeline goes.
pub const PLAY: &str = "SOAK_PLAY";
pub const PLAYS: [&str; 4] = ["1", "2", "3", "fails"];

/// `--request-deadline`
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(2);
/// `--resolution-delay`: what the product asks of it is that nothing takes effect later than this. A process that is
/// stopped in the middle of sending sends when it goes on; the others wait the age of an intent (10 s), the
/// deadline and this before they send again, so no stop may be longer than all of these and [`LATE`] allow.
pub const RESOLUTION_DELAY: Duration = Duration::from_secs(8);
/// The latest that GitLab acts on a request it has answered.
const LATE: SignedDuration = SignedDuration::from_millis(1500);
/// Longer than the deadline: the operator does not see the answer.
const HANGS: SignedDuration = SignedDuration::from_secs(3);

pub fn namespace(number: usize) -> String {
    format!("soak-{number}")
}

pub fn project(number: usize) -> String {
    format!("soak/project-{number}")
}

/// Projects whose pipelines take one to three seconds, and now and then fail.
pub fn seed() -> Seed {
    let mut seed = Seed::one_project("soak/unused");
    let plays = PLAYS.map(|play| {
        let job = match play.parse() {
            Ok(seconds) => JobPlay::new("build", seconds),
            Err(_) => JobPlay::ending("unit-tests", 1, [Outcome::Failed]),
        };
        Play { when: When::Variable { key: PLAY.into(), value: play.into() }, ..Play::jobs([job]) }
    });
    seed.projects = (0..PROJECTS)
        .map(|number| ProjectSeed {
            path: project(number),
            branches: REFS.iter().map(|name| ((*name).to_owned(), None)).collect(),
            members: BTreeMap::from([("alice".into(), Role::Owner)]),
            triggers: vec![TriggerSeed {
                token: Seed::TRIGGER_TOKEN.into(),
                description: "ops".into(),
                owner: "alice".into(),
                expires_at: None,
            }],
            script: plays.to_vec(),
            ..ProjectSeed::default()
        })
        .collect();
    seed
}

/// What goes wrong at GitLab: some of it anywhere, and more of what loses a reply where pipelines are made.
pub fn spoil(gitlab: &Handle) -> anyhow::Result<()> {
    let anywhere = [
        Fault::Reset,
        Fault::EffectThenReset,
        Fault::HangThenAnswer { wait: HANGS },
        Fault::HangThenReset { wait: HANGS },
        Fault::TruncatedBody,
        Fault::BadGateway { effect: false },
        Fault::ServerError { effect: true },
        Fault::TooManyRequests { retry_after: 1 },
        Fault::Unavailable { retry_after: 1 },
    ];
    let where_pipelines_are_made = [
        Fault::LateEffect { after: LATE },
        Fault::EffectThenReset,
        Fault::BadGateway { effect: true },
        Fault::HangThenAnswer { wait: HANGS },
        Fault::ReadOnly,
        Fault::ResourceLock,
    ];
    let rule = |route: &str, chance: f64, fault: &Fault| FaultRule {
        route: route.into(),
        project: None,
        strike: Strike::Chance(chance),
        fault: fault.clone(),
    };
    for fault in &where_pipelines_are_made {
        gitlab.fault(rule("trigger", 0.015, fault))?;
        gitlab.fault(rule("create", 0.015, fault))?;
    }
    for fault in &anywhere {
        gitlab.fault(rule("*", 0.005, fault))?;
    }
    gitlab.fault(rule("pipelines", 0.1, &Fault::ListLag { younger_than: SignedDuration::from_secs(2) }))?;
    gitlab.latency("trigger", SignedDuration::from_millis(60))?;
    gitlab.latency("create", SignedDuration::from_millis(60))?;
    Ok(())
}

/// Namespaces, each with the Secret that its triggers name.
pub async fn furnish(plane: &ControlPlane) -> anyhow::Result<()> {
    for name in (0..NAMESPACES).map(namespace) {
        plane.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}")).await?;
        let (trigger, access) = (Seed::TRIGGER_TOKEN, Seed::ACCESS_TOKEN);
        plane
            .apply(&format!(
                "apiVersion: v1
kind: Secret
metadata: {{name: gitlab, namespace: {name}, labels: {{pipekick.dev/credential: \"true\"}}}}
stringData: {{trigger-token: {trigger}, access-token: {access}}}
"
            ))
            .await?;
    }
    Ok(())
}
