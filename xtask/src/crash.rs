//! `cargo xtask crash`: the campaigns in full. `docs/campaigns.md` says what they do.

use clap::Args;

use crate::ci_steps::{cargo, run};

/// Kill the operator just before and just after each effect of each story, and compare the ends.
#[derive(Debug, Args)]
pub struct Crash {
    /// Only stories (with --faults: groups) whose name contains this.
    #[arg(long, value_name = "NAME")]
    story: Option<String>,
    /// Only this many cases of each story (with --faults: the groups of the ordinary tests).
    #[arg(long, value_name = "N")]
    sample: Option<u32>,
    /// Meet each request with each fault, and a POST and its follow-up with pairs, instead.
    #[arg(long)]
    faults: bool,
}

pub fn crash(wanted: &Crash) -> anyhow::Result<()> {
    let Crash { story, sample, faults } = wanted;
    let campaign = if *faults { "faults::" } else { "crash::" };
    let mut test = cargo(["test", "--package", "pipekick", "--features", "crash-points"]);
    test.args(["--test", "campaigns", "--", campaign, "--nocapture"]);
    test.env("PIPEKICK_CAMPAIGN_SAMPLE", sample.map_or("all".into(), |sample| sample.to_string()));
    if let Some(story) = story {
        test.env("PIPEKICK_CAMPAIGN_STORY", story);
    }
    run(test).map(|_| ())
}
