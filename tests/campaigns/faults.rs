//! Each request of a run meets each fault; a POST and its follow-up meet pairs of them. Whatever happens on the
//! wire, there is one pipeline for the one cause, and the run comes to its end.
//!
//! A group of cases is one story: a project and an object for each case, one operator for all of them.

mod groups;
mod redirects;
mod tokens;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use pipekick_sandbox::gitlab::{
    CallRecord, Fault, FaultRule, GitlabSim, ProjectSeed, RepositorySeed, Seed, Status, Strike,
};
use serde_json::json;

use crate::harness::gitlab::{failing, flaky, long, playing, project, quick};
use crate::harness::{Seen, Story, Trigger, story};
use crate::plan::{Sample, is_settled, is_wanted, side_by_side};
use crate::{DEADLINE, FLAGS, canary};
use groups::{Case, Course, Group, pairs, sample, singles};

/// The first project's number; the others follow.
const FIRST_ID: u64 = 201;
/// After the end: whatever was still to come may come.
const AFTERMATH: Duration = Duration::from_millis(1500);
const CALLS: usize = 12;
const VALUES: &str = "image: {tag: v1} # ours\n";

/// How the cases of a group went.
#[derive(Debug, Default)]
struct Figures {
    cases: usize,
    /// Cases whose last fault struck a request. In a pair the first fault may leave the second nothing to strike.
    struck: usize,
    took: Duration,
}

#[test]
fn whatever_fault_meets_a_request_one_pipeline_is_made_and_followed_to_its_end() {
    campaign(singles());
}

#[test]
fn whatever_pair_of_faults_meets_a_post_and_its_follow_up_one_pipeline_is_made_and_followed() {
    campaign(pairs());
}

fn campaign(mut groups: Vec<Group>) {
    let began = Instant::now();
    groups.retain(|group| is_wanted(&group.name));
    if Sample::from_env(0) != Sample::All {
        groups = sample(groups);
    }
    let played = side_by_side(&groups, |group| group.name.clone(), play);
    let (mut failures, mut total) = (Vec::new(), Figures::default());
    println!("| faults | cases | struck | time |\n| --- | ---: | ---: | ---: |");
    for (group, played) in groups.iter().zip(played) {
        match played {
            Ok(Figures { cases, struck, took }) => {
                println!("| {} | {cases} | {struck} | {:.0} s |", group.name, took.as_secs_f32());
                total.cases += cases;
                total.struck += struck;
            }
            Err(words) => failures.push(format!("{}: {words}", group.name)),
        }
    }
    let took = began.elapsed().as_secs_f32();
    println!("| total | {} | {} | {took:.0} s |", total.cases, total.struck);
    assert!(failures.is_empty(), "{} of {} groups:\n{}", failures.len(), groups.len(), failures.join("\n\n"));
}

fn play(group: &Group) -> Figures {
    let mut figures = None;
    story(seed(group), async |story| {
        story.operator(&[&FLAGS[..], &["--log-level", "trace"]].concat());
        canary::refused(story).await;
        figures = Some(suffer(story, group).await);
        canary::search(story).await;
    });
    figures.unwrap()
}

/// A project for each case.
fn seed(group: &Group) -> Seed {
    let play = || match group.course {
        Course::Fails => failing(quick().jobs[0].lasts),
        Course::Succeeds | Course::ByAccessToken | Course::Commits | Course::Proposes => quick(),
        Course::Retries => flaky(quick().jobs[0].lasts),
        Course::TimesOut => long(),
    };
    let files = [("values.yaml".to_owned(), VALUES.to_owned())];
    let of_case = |(id, case): (u64, &Case)| {
        let plain = ProjectSeed { id: Some(id), ..project(&path(case), play()) };
        match group.course {
            Course::Commits | Course::Proposes => ProjectSeed {
                repository: Some(RepositorySeed { files: files.clone().into() }),
                branches: BTreeMap::new(),
                ..plain
            },
            Course::Succeeds | Course::Fails | Course::ByAccessToken | Course::Retries | Course::TimesOut => {
                plain
            }
        }
    };
    Seed { projects: (FIRST_ID..).zip(&group.cases).map(of_case).collect(), ..playing(quick()) }
}

fn path(case: &Case) -> String {
    format!("shop/{}", case.name)
}

/// Fires an object for each case of the group, at once, and waits for the end of all.
async fn suffer(story: &Story, group: &Group) -> Figures {
    let began = Instant::now();
    let elsewhere = GitlabSim::start(playing(quick())).unwrap();
    for (id, case) in (FIRST_ID..).zip(&group.cases) {
        for (route, fault) in &case.faults {
            strike(story, case, id, route, &aimed(fault, elsewhere.url()));
        }
    }
    for case in &group.cases {
        story.apply(&object(group.course, case)).await;
    }
    let all = story.until_all(DEADLINE, "come to an end", is_settled).await;
    story.rest(AFTERMATH).await;

    let mut failures = Vec::new();
    let mut struck = 0;
    for (id, case) in (FIRST_ID..).zip(&group.cases) {
        let seen = all.iter().find(|seen| seen.text("metadata.name") == case.name).unwrap();
        let calls = calls_of(story, case, id);
        struck += usize::from(was_struck(case, &calls));
        if let Err(why) = judge(story, group.course, case, seen) {
            failures.push(format!("{}: {why}; {}\n{}", case.name, seen.message(), tell(&calls)));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), group.cases.len(), failures.join("\n"));
    assert_eq!(
        elsewhere.ledger().calls.len(),
        0,
        "a redirect is not followed: it would carry the token away"
    );
    Figures { cases: group.cases.len(), struck, took: began.elapsed() }
}

/// The operator names a project by its path, and by its number once it knows that.
fn strike(story: &Story, case: &Case, id: u64, route: &str, fault: &Fault) {
    // A list that lags does so until what it leaves out is old enough.
    let strike = if matches!(fault, Fault::ListLag { .. }) { Strike::Always } else { Strike::Next };
    for project in [path(case), id.to_string()] {
        let rule = FaultRule { strike, ..FaultRule::next(route, fault.clone()) };
        story.gitlab.fault(rule.of(&project)).unwrap();
    }
}

/// Redirects lead to a GitLab that must never be asked.
fn aimed(fault: &Fault, elsewhere: &str) -> Fault {
    match fault {
        Fault::Redirect { location } => Fault::Redirect { location: format!("{elsewhere}{location}") },
        other => other.clone(),
    }
}

fn object(course: Course, case: &Case) -> Trigger {
    let trigger = Trigger::new(&case.name).with("spec.gitlab.project", path(case));
    match course {
        Course::Succeeds | Course::Fails => trigger,
        // With a variable beside it, the request carries its mark.
        Course::ByAccessToken => trigger.without("spec.gitlab.triggerTokenRef").variables(&[("A", "1")]),
        Course::Retries => trigger.with("spec.retry", json!({"limit": 2, "backoff": "1s"})),
        Course::TimesOut => trigger.with("spec.timeout", "2s").with("spec.cancelOnTimeout", true),
        Course::Commits | Course::Proposes => {
            let via = if course == Course::Commits { "Commit" } else { "MergeRequest" };
            let edit = json!({"file": "values.yaml", "path": "image.tag", "value": "v2"});
            trigger.with("spec.imageUpdates", json!([{"branch": "main", "via": via, "edits": [edit]}]))
        }
    }
}

/// One pipeline, the run's own, and the run at its end.
fn judge(story: &Story, course: Course, case: &Case, seen: &Seen) -> Result<(), String> {
    let ledger = story.ledger();
    let made = ledger.pipelines_of(&path(case));
    let [pipeline] = made.as_slice() else { return Err(format!("{} pipelines", made.len())) };
    if pipeline.fire_id.as_deref() != Some(seen.text("status.run.fireId")) {
        return Err("the pipeline is not the run's".into());
    }
    let expected = match course {
        Course::Succeeds | Course::ByAccessToken | Course::Commits | Course::Proposes => ("Succeeded", 1),
        Course::Fails => ("Failed", 1),
        Course::Retries => ("Succeeded", 1),
        Course::TimesOut => ("TimedOut", 1),
    };
    let ended = (seen.phase(), seen.number("status.run.seq"));
    if ended != expected {
        return Err(format!("{ended:?} instead of {expected:?} ({})", seen.reason()));
    }
    match course {
        Course::Succeeds | Course::ByAccessToken | Course::Fails => Ok(()),
        Course::Commits => written(story, case, seen, "main", "ImagesUpdated"),
        Course::Proposes => {
            let requests = story.gitlab.merge_requests(&path(case));
            let [request] = requests.as_slice() else {
                return Err(format!("{} merge requests", requests.len()));
            };
            written(story, case, seen, &request.source_branch, "MergeRequestOpen")
        }
        Course::Retries => match seen.number("status.run.retry.count") {
            1 => Ok(()),
            count => Err(format!("{count} retries of a job that failed once")),
        },
        Course::TimesOut => match story.gitlab.pipeline_status(pipeline.id) {
            Some(Status::Canceled) => Ok(()),
            status => Err(format!("the pipeline is {status:?}")),
        },
    }
}

/// One commit of ours on this branch, and what the object says of it; git tells.
fn written(story: &Story, case: &Case, seen: &Seen, branch: &str, says: &str) -> Result<(), String> {
    let told = seen.reason_of("ImagesUpdated");
    if told != says {
        return Err(format!("ImagesUpdated says {told}"));
    }
    let repository = story.gitlab.repository(&path(case)).ok_or("no repository")?;
    let git = |args: [&str; 3]| {
        let output = Command::new("git").current_dir(&repository).args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let commits = git(["rev-list", "--count", branch]);
    let text = git(["show", "--format=", &format!("{branch}:values.yaml")]);
    if commits.trim() == "2" && text == VALUES.replace("v1", "v2") {
        Ok(())
    } else {
        Err(format!("{} commits on {branch}, and {text:?}", commits.trim()))
    }
}

fn calls_of(story: &Story, case: &Case, id: u64) -> Vec<CallRecord> {
    let (path, number) = (format!("/projects/shop%2F{}/", case.name), format!("/projects/{id}/"));
    let calls = story.ledger().calls.into_iter();
    let of = |call: &CallRecord| {
        let called = call.path.split('?').next().unwrap().to_owned() + "/";
        called.contains(&path) || called.contains(&number)
    };
    calls.filter(of).collect()
}

fn was_struck(case: &Case, calls: &[CallRecord]) -> bool {
    let on = |route: &str| calls.iter().filter(|c| c.route == Some(route) && c.fault.is_some()).count();
    let (last, _) = case.faults.last().unwrap();
    on(last) >= case.faults.iter().filter(|(route, _)| route == last).count()
}

fn tell(calls: &[CallRecord]) -> String {
    let line = |c: &CallRecord| {
        format!("    {} {} {} → {:?} {}", c.at, c.method, c.path, c.status, c.fault.unwrap_or_default())
    };
    calls.iter().rev().take(CALLS).rev().map(line).collect::<Vec<_>>().join("\n")
}
