//! Prints the table for people, who look for what they saw.

use std::fmt::Write as _;

use pipekick_core::domain::Reason;

use super::Call;
use super::table::{FIRE, On, REPOSITORY, Row, TABLE, Then};

/// A part of the page.
struct Part {
    title: &'static str,
    /// What the last column says in this part.
    again: fn(&Row) -> &'static str,
    holds: fn(&Row) -> bool,
}

const PARTS: &[Part] = &[
    Part {
        title: "GitLab refuses to start a pipeline",
        again: |row| match row.then {
            // No row of this part does that.
            Then::ReadAgain => "",
            Then::Refuse => "every 10 min",
            Then::Minute => "in a minute",
            Then::NextMinute => "when the next minute begins",
            Then::Asked => "when GitLab says, else in a minute",
            Then::FailedAtBirth => "no: a pipeline exists",
            Then::Unclear => "looked up first",
            Then::NotSent => "after 5 s, growing to 60 s",
        },
        holds: |row| answered(row) && row.calls.iter().any(|call| FIRE.contains(call)),
    },
    Part {
        title: "A pipeline cannot be looked at, or stopped",
        again: |row| match row.then {
            // Of a pipeline that is gone nothing is asked any more.
            _ if row.reason == Reason::PipelineGone => "no",
            Then::Refuse | Then::ReadAgain | Then::Unclear | Then::FailedAtBirth | Then::NotSent => {
                refused(row)
            }
            Then::Minute | Then::NextMinute => "in a minute",
            Then::Asked => "when GitLab says, else in a minute",
        },
        holds: |row| {
            answered(row) && row.calls.iter().any(|call| !FIRE.contains(call)) && !of_repository(row)
        },
    },
    Part {
        title: "A repository cannot be read, or not written",
        again: |row| match row.then {
            Then::ReadAgain => "at once, from what is there now",
            Then::Minute | Then::NextMinute => "in a minute",
            Then::Asked => "when GitLab says, else in a minute",
            Then::Refuse | Then::Unclear | Then::FailedAtBirth | Then::NotSent => "no",
        },
        holds: |row| answered(row) && of_repository(row),
    },
    Part {
        title: "Something else answers, or nobody, or too late",
        again: |_| "looked up first",
        holds: |row| row.then == Then::Unclear,
    },
    Part {
        title: "Nothing was sent",
        again: |row| match row.then {
            Then::Asked => "when the window ends",
            Then::Refuse => "every 10 min",
            Then::ReadAgain
            | Then::Minute
            | Then::NextMinute
            | Then::FailedAtBirth
            | Then::Unclear
            | Then::NotSent => "after 5 s, growing to 60 s",
        },
        holds: |row| row.on == On::NotSent,
    },
];

/// When what GitLab refuses is asked again. A cancel is kept up until the pipeline has ended; the other acts are done once.
fn refused(row: &Row) -> &'static str {
    const ONCE: &[Call] = &[Call::RetryPipeline, Call::NamePipeline, Call::DeletePipeline];
    let any = |of: fn(&Call) -> bool| row.calls.iter().any(of);
    let cancels = any(|call| *call == Call::Cancel);
    let once = any(|call| ONCE.contains(call));
    let looks = any(|call| !(*call == Call::Cancel || ONCE.contains(call) || FIRE.contains(call)));
    match (looks, cancels, once) {
        (true, false, false) => "at the next look",
        (true, true | false, true | false) => {
            "a look: at the next one; a cancel: every 10 min; to retry, name or delete: no"
        }
        (false, true, true) => "a cancel: every 10 min; to retry or name: no",
        (false, true, false) => "every 10 min",
        (false, false, true | false) => "no",
    }
}

/// About nothing but repositories, merge requests and artifacts.
fn of_repository(row: &Row) -> bool {
    row.calls.iter().all(|call| REPOSITORY.contains(call))
}

/// GitLab answered, and it is clear what that means.
fn answered(row: &Row) -> bool {
    row.then != Then::Unclear && row.on != On::NotSent
}

/// The whole table as Markdown.
#[must_use]
pub fn troubleshooting() -> String {
    let mut page = String::new();
    for Part { title, again, holds } in PARTS {
        let _ = writeln!(page, "### {title}\n");
        let _ = writeln!(page, "| you see | reason | it means | what to do | tried again by itself |");
        let _ = writeln!(page, "| --- | --- | --- | --- | --- |");
        for row in TABLE.iter().filter(|row| holds(row) && !row.seen.is_empty()) {
            let Row { calls, on, words: _, seen, reason, then: _, means, help } = row;
            let seen: Vec<String> = seen.iter().map(|text| format!("`{}`", cell(text))).collect();
            let _ = writeln!(
                page,
                "| {}{}{} | `{reason}` | {} | {} | {} |",
                status(*on),
                seen.join("<br>"),
                by(calls),
                cell(&sentence(means)),
                cell(&for_people(help)),
                again(row),
            );
        }
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn status(on: On) -> String {
    match on {
        On::Said(status) | On::Limiter(status) | On::Status(status) => format!("{status} "),
        // What is seen names the status, or there is none.
        On::SaidFrom(..) | On::Foreign(..) | On::NotSent | On::Lost => String::new(),
    }
}

/// To whom it is said, where not to all.
fn by(calls: &[Call]) -> &'static str {
    match calls {
        [Call::FireTrigger] => "<br>to a trigger token",
        [Call::FireAccess] => "<br>to an access token",
        [Call::Variables] => "<br>asked for variables",
        [Call::Branches, ..] => "<br>asked for branches, files or commits",
        [Call::Branch, Call::DeleteBranch] => "<br>asked for a branch",
        [Call::DeleteBranch] => "<br>asked to delete a branch",
        [Call::Branch, ..] => "<br>asked for anything of a repository",
        [Call::File] => "<br>asked for a file",
        [Call::Commit] => "<br>asked to commit",
        [Call::OpenMergeRequest] => "<br>asked to open a merge request",
        [Call::OpenMergeRequest, ..] => "<br>asked to open or change a merge request",
        [Call::MergeRequest, ..] => "<br>asked about a merge request",
        [Call::Merge] => "<br>asked to merge",
        [Call::Artifact] => "<br>asked for an artifact",
        [Call::Cancel, ..] => "<br>asked to cancel, retry or name",
        [Call::DeletePipeline] => "<br>asked to delete",
        [Call::NamePipeline] => "<br>asked to name",
        [Call::CreateSchedule] => "<br>asked to create a schedule",
        [Call::UpdateSchedule] => "<br>asked to change a schedule",
        [Call::TakeSchedule, ..] => "<br>asked to take or delete a schedule",
        [Call::AddScheduleVariable, ..] => "<br>asked to set a schedule's variables",
        _ => "",
    }
}

fn sentence(text: &str) -> String {
    let text = for_people(text);
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// With the names that the examples in the documentation have.
fn for_people(text: &str) -> String {
    text.replace("{project}", "shop/checkout")
        .replace("{ref}", "main")
        .replace("{host}", "gitlab.example.com")
}

/// What would end a cell is escaped.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
