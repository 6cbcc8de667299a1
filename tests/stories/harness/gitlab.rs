//! GitLabs to begin with.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use pipekick_sandbox::gitlab::{
    JobPlay, Outcome, Play, ProjectSeed, RepositorySeed, Role, Seed, TriggerSeed,
};

pub const PROJECT: &str = "shop/checkout";
/// What image updates are written to.
pub const GITOPS: &str = "platform/gitops";
/// A job that takes this long ends when the story moves the simulator's clock.
pub const LONG: SignedDuration = SignedDuration::from_hours(1);

/// Over before the operator's first look.
pub fn quick() -> Play {
    Play::jobs([JobPlay { lasts: SignedDuration::from_millis(300), ..JobPlay::new("build", 0) }])
}

/// Under way until [`super::Story::end_pipelines`].
pub fn long() -> Play {
    Play::jobs([JobPlay { lasts: LONG, ..JobPlay::new("build", 0) }])
}

/// As [`long`], and then its job fails.
pub fn failing(lasts: SignedDuration) -> Play {
    Play::jobs([JobPlay { lasts, ..JobPlay::ending("unit-tests", 0, [Outcome::Failed]) }])
}

/// Its job fails, and succeeds when it is started again.
pub fn flaky(lasts: SignedDuration) -> Play {
    Play::jobs([JobPlay { lasts, ..JobPlay::ending("unit-tests", 0, [Outcome::Failed, Outcome::Success]) }])
}

/// One project, [`PROJECT`], with the branches `main` and `next`, of which `alice` is the owner. Its pipelines go
/// like this.
pub fn playing(play: Play) -> Seed {
    let mut seed = Seed::one_project(PROJECT);
    seed.projects[0] = project(PROJECT, play);
    seed
}

/// As [`playing`], with a repository beside it, [`GITOPS`], that has these files on `main`.
pub fn with_gitops(play: Play, files: &[(&str, &str)]) -> Seed {
    let mut seed = playing(play);
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    seed.projects.push(ProjectSeed {
        path: GITOPS.into(),
        members: BTreeMap::from([("alice".into(), Role::Maintainer)]),
        repository: Some(RepositorySeed { files }),
        ..ProjectSeed::default()
    });
    seed
}

/// A project like the one of [`playing`], for stories with several. All have the same trigger token.
pub fn project(path: &str, play: Play) -> ProjectSeed {
    ProjectSeed {
        path: path.into(),
        branches: BTreeMap::from([("main".into(), None), ("next".into(), None)]),
        members: BTreeMap::from([("alice".into(), Role::Owner)]),
        triggers: vec![TriggerSeed {
            token: Seed::TRIGGER_TOKEN.into(),
            description: "ops".into(),
            owner: "alice".into(),
            expires_at: None,
        }],
        script: vec![play],
        ..ProjectSeed::default()
    }
}
