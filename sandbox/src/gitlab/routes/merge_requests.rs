//! Merge requests: list, show, create, change, merge or arm for merging, disarm.

use serde_json::{Value, json};

use super::{Request, commits::flag};
use crate::gitlab::{
    auth,
    clock::iso,
    merge_requests::{Armed, MergeRequest, MergeRequestState, Merging, Standing},
    page::Page,
    pipeline::Status,
    repositories::Pusher,
    row::Answer,
    rows,
    state::{Project, World},
};

pub(super) fn list(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let page = Page::of(&request.params)?;
    let state = match request.text("state") {
        None | Some("all") => None,
        Some("opened") => Some(MergeRequestState::Opened),
        Some("closed") => Some(MergeRequestState::Closed),
        Some("merged") => Some(MergeRequestState::Merged),
        Some(_) => return Err(rows::FILTER_INVALID.filled("state")),
    };
    let project = auth::project(world, request)?;
    auth::allow(auth::may_read_code(project, request))?;
    let id = project.id;
    let is = |name: &str, value: &str| request.text(name).is_none_or(|wanted| wanted == value);
    let iids = ids(request.params.get("iids"));
    let fits = |found: &&MergeRequest| {
        state.is_none_or(|state| found.state == state)
            && is("source_branch", &found.source_branch)
            && is("target_branch", &found.target_branch)
            && iids.as_ref().is_none_or(|iids| iids.contains(&found.iid))
    };
    let mut all: Vec<&MergeRequest> = project.merge_requests.values().rev().filter(fits).collect();
    if request.text("order_by") == Some("updated_at") {
        all.sort_by_key(|request| std::cmp::Reverse(request.updated_at));
    }
    let (found, total) = page.cut(all.into_iter());
    let found: Vec<u64> = found.into_iter().map(|request| request.iid).collect();
    let items = found.into_iter().map(|iid| entity(world, id, iid)).collect::<Result<_, _>>()?;
    Ok(page.head(rows::MERGE_REQUESTS.entity(&Value::Array(items)), world, request, total))
}

pub(super) fn show(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let (project, iid) = find(world, request)?;
    Ok(rows::MERGE_REQUEST_SHOWN.entity(&entity(world, project, iid)?))
}

pub(super) fn create(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let needed = ["title", "source_branch", "target_branch"];
    let missing = needed.into_iter().filter(|name| request.text(name).is_none_or(str::is_empty));
    let missing: Vec<String> = missing.map(|name| format!("{name} is missing")).collect();
    if !missing.is_empty() {
        return Err(rows::MERGE_REQUEST_PARAMETER.filled(&missing.join(", ")));
    }
    let project = auth::project(world, request)?;
    auth::allow(auth::may_push_code(project, request))?;
    project.repository()?;
    let [title, source, target] = needed.map(|name| request.text(name).unwrap_or_default().to_owned());
    let branches = &project.settings.branches;
    for (which, name) in [("Source", &source), ("Target", &target)] {
        if !branches.contains_key(name) {
            let told = format!("{which} branch \"{name}\" does not exist");
            return Err(rows::MERGE_REQUEST_BRANCH_MISSING.filled(&told));
        }
    }
    let twin = project
        .merge_requests
        .values()
        .find(|known| known.is_open() && known.source_branch == source && known.target_branch == target);
    if let Some(twin) = twin {
        return Err(rows::MERGE_REQUEST_EXISTS.filled(&twin.iid.to_string()));
    }
    if source == target {
        return Err(rows::MERGE_REQUEST_SAME_BRANCH.answer());
    }
    let now = request.call.at;
    let mut new = MergeRequest {
        id: 0,
        iid: 0,
        title,
        description: None,
        sha: branches[&source].clone(),
        source_branch: source,
        target_branch: target,
        state: MergeRequestState::Opened,
        labels: Vec::new(),
        assignees: Vec::new(),
        reviewers: Vec::new(),
        remove_source_branch: false,
        squash: false,
        author: request.user.unwrap_or_default(),
        armed: None,
        checked: None,
        merge_commit: None,
        squash_commit: None,
        created_at: now,
        updated_at: now,
        ended_at: None,
        merged_by: None,
    };
    let id = project.id;
    write(world, request, &mut new);
    let iid = world.open_request(id, new, &pusher(request));
    Ok(rows::MERGE_REQUEST_CREATED.entity(&entity(world, id, iid)?))
}

pub(super) fn update(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    const FIELDS: [&str; 12] = [
        "title",
        "description",
        "labels",
        "add_labels",
        "remove_labels",
        "assignee_id",
        "assignee_ids",
        "reviewer_ids",
        "remove_source_branch",
        "squash",
        "target_branch",
        "state_event",
    ];
    if !FIELDS.iter().any(|name| request.params.contains_key(*name)) {
        let told = format!("{} are missing, at least one parameter must be provided", FIELDS.join(", "));
        return Err(rows::MERGE_REQUEST_PARAMETER.filled(&told));
    }
    let event = request.text("state_event");
    if event.is_some_and(|event| !matches!(event, "close" | "reopen")) {
        return Err(rows::FILTER_INVALID.filled("state_event"));
    }
    let (project, iid) = find(world, request)?;
    let found = &world.projects[&project];
    let mut changed = found.merge_requests[&iid].clone();
    auth::allow(auth::may_push_code(found, request) || request.user == Some(changed.author))?;
    write(world, request, &mut changed);
    if let Some(title) = request.text("title").filter(|title| !title.is_empty()) {
        title.clone_into(&mut changed.title);
    }
    if let Some(target) = request.text("target_branch").filter(|name| !name.is_empty()) {
        target.clone_into(&mut changed.target_branch);
    }
    let now = request.call.at;
    world.change_request(project, iid, now, |request| *request = changed);
    match event {
        Some("close") => world.close_request(project, iid, now),
        Some(_) => world.change_request(project, iid, now, |request| {
            if request.state == MergeRequestState::Closed {
                (request.state, request.ended_at) = (MergeRequestState::Opened, None);
            }
        }),
        None => {}
    }
    Ok(rows::MERGE_REQUEST_UPDATED.entity(&entity(world, project, iid)?))
}

/// In the order of the copy of 2026: who may, whether it can be merged now or later, conflicts, the head that was meant.
pub(super) fn merge(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let (project, iid) = find(world, request)?;
    let (now, user) = (request.call.at, request.user.unwrap_or_default());
    world.settled(project, now);
    let found = &world.projects[&project];
    let known = &found.merge_requests[&iid];
    if !found.may_push(user, &known.target_branch) {
        return Err(rows::MERGE_UNAUTHORIZED.answer());
    }
    let asked = |name| flag(&request.params, name) == Some(true);
    let auto =
        asked("merge_when_pipeline_succeeds") || (world.version.has_auto_merge() && asked("auto_merge"));
    let standing = found.standing(known)?;
    let pipeline = found.head_pipeline(known).map(|pipeline| pipeline.status);
    let running = pipeline.is_some_and(|status| !status.is_terminal());
    let later = auto
        && match standing {
            Standing::NotOpen => false,
            Standing::Draft | Standing::PipelineMissing => running || world.version.has_auto_merge(),
            Standing::Conflict | Standing::Mergeable => running,
        };
    let now_too = match standing {
        Standing::NotOpen | Standing::Draft | Standing::PipelineMissing => false,
        Standing::Conflict | Standing::Mergeable => !auto || pipeline == Some(Status::Success),
    };
    if !later && !now_too {
        return Err(rows::MERGE_NOT_ALLOWED.answer());
    }
    if !later && standing == Standing::Conflict {
        return Err(rows::MERGE_CONFLICT.answer());
    }
    if request.text("sha").is_some_and(|sha| sha != known.sha) {
        return Err(rows::MERGE_SHA_DIFFERS.filled(&known.sha));
    }
    let text = |name| request.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let how = Merging {
        remove_source: asked("should_remove_source_branch"),
        squash: asked("squash"),
        message: text("merge_commit_message"),
        squash_message: text("squash_commit_message"),
    };
    let by = pusher(request);
    if later {
        let sha = known.sha.clone();
        world.change_request(project, iid, now, |request| request.armed = Some(Armed { by, sha, how }));
        return Ok(rows::MERGE_ARMED.entity(&entity(world, project, iid)?));
    }
    if !world.merge(project, iid, &how, &by, now)? {
        return Err(rows::MERGE_CONFLICT.answer());
    }
    Ok(rows::MERGED.entity(&entity(world, project, iid)?))
}

pub(super) fn disarm(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let (project, iid) = find(world, request)?;
    let found = &world.projects[&project];
    let user = request.user.unwrap_or_default();
    if !found.may_push(user, &found.merge_requests[&iid].target_branch) {
        return Err(rows::MERGE_UNAUTHORIZED.answer());
    }
    world.change_request(project, iid, request.call.at, |request| request.armed = None);
    Ok(rows::MERGE_DISARMED.answer())
}

/// Users by their name: the way from a name to the ids that reviewers and assignees are named by.
pub(super) fn users(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let page = Page::of(&request.params)?;
    let wanted = request.text("username").map(str::to_lowercase);
    let fits = |id: &&u64| {
        let name = world.users[*id].username.to_lowercase();
        wanted.as_ref().is_none_or(|wanted| *wanted == name)
    };
    let (found, total) = page.cut(world.users.keys().filter(fits));
    let items = found.into_iter().map(|id| world.user_entity(*id)).collect();
    Ok(page.head(rows::USERS.entity(&Value::Array(items)), world, request, total))
}

fn pusher(request: &Request<'_>) -> Pusher {
    let (user, credential) = (request.user.unwrap_or_default(), request.credential.clone());
    Pusher { user, credential, call: request.call.number }
}

fn find(world: &World, request: &Request<'_>) -> Result<(u64, u64), Answer> {
    let project = auth::project(world, request)?;
    auth::allow(auth::may_read_code(project, request))?;
    let iid: Option<u64> = request.arg("merge_request_iid").parse().ok();
    let known = iid.filter(|iid| project.merge_requests.contains_key(iid));
    known.map(|iid| (project.id, iid)).ok_or_else(|| rows::MERGE_REQUEST_NOT_FOUND.answer())
}

/// The fields that create and update share; what is not named stays.
fn write(world: &World, request: &Request<'_>, to: &mut MergeRequest) {
    if let Some(text) = request.text("description") {
        to.description = Some(text.to_owned());
    }
    to.labels = words(request.params.get("labels")).unwrap_or_else(|| std::mem::take(&mut to.labels));
    for label in words(request.params.get("add_labels")).unwrap_or_default() {
        if !to.labels.contains(&label) {
            to.labels.push(label);
        }
    }
    let gone = words(request.params.get("remove_labels")).unwrap_or_default();
    to.labels.retain(|label| !gone.contains(label));
    let users = |name: &str| {
        let given = ids(request.params.get(name))?;
        Some(given.into_iter().filter(|id| world.users.contains_key(id)).collect::<Vec<u64>>())
    };
    if let Some(assignees) = users("assignee_ids").or_else(|| users("assignee_id")) {
        to.assignees = assignees;
    }
    if let Some(reviewers) = users("reviewer_ids") {
        to.reviewers = reviewers;
    }
    to.remove_source_branch =
        flag(&request.params, "remove_source_branch").unwrap_or(to.remove_source_branch);
    to.squash = flag(&request.params, "squash").unwrap_or(to.squash);
}

/// An array, or words with commas between them.
fn words(given: Option<&Value>) -> Option<Vec<String>> {
    let split = |text: &str| -> Vec<String> {
        text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    match given? {
        Value::Array(items) => Some(items.iter().filter_map(Value::as_str).flat_map(split).collect()),
        Value::String(text) => Some(split(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

/// The same of numbers.
fn ids(given: Option<&Value>) -> Option<Vec<u64>> {
    match given? {
        Value::Array(items) => Some(items.iter().filter_map(number).collect()),
        Value::String(text) => Some(text.split(',').filter_map(|word| word.trim().parse().ok()).collect()),
        Value::Number(number) => Some(number.as_u64().into_iter().collect()),
        Value::Null | Value::Bool(_) | Value::Object(_) => None,
    }
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// `MergeRequest`. Showing it has mergeability computed, for the next look.
fn entity(world: &mut World, project: u64, iid: u64) -> Result<Value, Answer> {
    let found = &world.projects[&project];
    let request = found.merge_requests[&iid].clone();
    let target = found.settings.branches.get(&request.target_branch).cloned().unwrap_or_default();
    let heads = (request.sha.clone(), target);
    let standing = found.standing(&request)?;
    let fresh = request.checked.as_ref() == Some(&heads);
    let known = world.projects.get_mut(&project).and_then(|p| p.merge_requests.get_mut(&iid));
    if let Some(known) = known {
        known.checked = Some(heads);
    }
    Ok(shown(world, &world.projects[&project], &request, standing, fresh))
}

fn shown(world: &World, project: &Project, r: &MergeRequest, standing: Standing, fresh: bool) -> Value {
    let detailed = match standing {
        Standing::NotOpen => "not_open",
        _ if !fresh => "checking",
        Standing::Draft => "draft_status",
        Standing::PipelineMissing => "ci_must_pass",
        Standing::Conflict => "conflict",
        Standing::Mergeable => "mergeable",
    };
    let status = match (fresh, standing) {
        (false, _) => "checking",
        (true, Standing::Conflict) => "cannot_be_merged",
        (true, _) => "can_be_merged",
    };
    let users = |ids: &[u64]| ids.iter().map(|id| world.user_entity(*id)).collect::<Vec<_>>();
    let merged = r.state == MergeRequestState::Merged;
    let ended = |is: bool| r.ended_at.filter(|_| is).map(iso);
    let armed = r.armed.is_some();
    let pipeline = project.head_pipeline(r).map(|pipeline| world.pipeline_basic(project, pipeline));
    json!({
        "id": r.id, "iid": r.iid, "project_id": project.id, "title": r.title, "description": r.description,
        "state": r.state, "created_at": iso(r.created_at), "updated_at": iso(r.updated_at),
        "merged_at": ended(merged), "closed_at": ended(r.state == MergeRequestState::Closed),
        "merge_user": r.merged_by.map(|id| world.user_entity(id)),
        "source_branch": r.source_branch, "target_branch": r.target_branch,
        "source_project_id": project.id, "target_project_id": project.id,
        "author": world.user_entity(r.author), "assignees": users(&r.assignees),
        "assignee": r.assignees.first().map(|id| world.user_entity(*id)), "reviewers": users(&r.reviewers),
        "labels": r.labels, "draft": r.is_draft(), "work_in_progress": r.is_draft(), "milestone": null,
        "merge_when_pipeline_succeeds": armed, "merge_status": status, "detailed_merge_status": detailed,
        "has_conflicts": standing == Standing::Conflict, "sha": r.sha, "merge_commit_sha": r.merge_commit,
        "squash_commit_sha": r.squash_commit, "should_remove_source_branch": null,
        "force_remove_source_branch": r.remove_source_branch, "squash": r.squash,
        "head_pipeline": pipeline, "references": { "short": format!("!{}", r.iid) },
        "web_url": format!("{}/{}/-/merge_requests/{}", world.base_url, project.path, r.iid),
    })
}
