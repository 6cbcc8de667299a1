//! Commits: list, show, compare, and make one of several actions.
//!
//! `last_commit_id` compares histories of a path and is no lock; a branch that moved meanwhile is found only when git
//! is to move it.

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::Request;
use crate::gitlab::{
    auth,
    git::{Change, Commit, Entry, Log, NewCommit, Person},
    page::Page,
    params::Params,
    repositories::Pusher,
    row::Answer,
    rows,
    state::{Project, World},
};

pub(super) fn list(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let page = Page::of(&request.params)?;
    let project = auth::project(world, request)?;
    auth::allow(auth::may_read_code(project, request))?;
    let repository = project.repository()?;
    let name = request.text("ref_name").filter(|name| !name.is_empty());
    let name = name.unwrap_or(&project.settings.default_branch);
    let log = Log {
        path: request.text("path").filter(|path| !path.is_empty()),
        since: request.text("since"),
        until: request.text("until"),
        first_parent: flag(&request.params, "first_parent") == Some(true),
        skip: page.first(),
        most: page.size(),
    };
    // What resolves to nothing has no commits.
    let commits = match repository.resolve(name)? {
        Some(head) => repository.log(&head, &log)?,
        None => Vec::new(),
    };
    let full = commits.len() == log.most;
    let trailers = flag(&request.params, "trailers") == Some(true);
    let items = commits.iter().map(|commit| entity(world, project, commit, trailers)).collect();
    Ok(page.head_uncounted(rows::COMMITS.entity(&Value::Array(items)), world, request, full))
}

pub(super) fn show(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let project = auth::project(world, request)?.id;
    world.settled(project, request.call.at);
    let project = &world.projects[&project];
    auth::allow(auth::may_read_code(project, request))?;
    let missing = || rows::COMMIT_NOT_FOUND.answer();
    let id = project.commit_of(request.arg("sha"))?.ok_or_else(missing)?;
    let commit = project.repository()?.show(&id)?.ok_or_else(missing)?;
    let stats = flag(&request.params, "stats") != Some(false);
    Ok(rows::COMMIT_SHOWN.entity(&details(world, project, &commit, stats)?))
}

pub(super) fn compare(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let missing = ["from", "to"].into_iter().filter(|name| request.text(name).is_none_or(str::is_empty));
    let missing: Vec<String> = missing.map(|name| format!("{name} is missing")).collect();
    if !missing.is_empty() {
        return Err(rows::COMPARE_PARAMETER.filled(&missing.join(", ")));
    }
    let project = auth::project(world, request)?;
    auth::allow(auth::may_read_code(project, request))?;
    let end = |name| project.commit_of(request.text(name).unwrap_or_default());
    let (Some(from), Some(to)) = (end("from")?, end("to")?) else {
        return Err(rows::COMPARE_NOT_FOUND.answer());
    };
    let repository = project.repository()?;
    let all = Log { most: 1000, ..Log::default() };
    let mut commits = repository.log(&format!("{from}..{to}"), &all)?;
    commits.reverse();
    let differences = repository.differences(&from, &to)?;
    let diffs = differences.iter().map(|file| {
        json!({
            "old_path": file.path, "new_path": file.path, "a_mode": file.old_mode, "b_mode": file.new_mode,
            "new_file": file.old_mode == "000000", "deleted_file": file.new_mode == "000000",
            "renamed_file": false, "diff": file.patch,
        })
    });
    let items: Vec<Value> = commits.iter().map(|commit| entity(world, project, commit, false)).collect();
    Ok(rows::COMPARED.entity(&json!({
        "commit": items.last(), "commits": items, "diffs": diffs.collect::<Vec<_>>(),
        "compare_timeout": false, "compare_same_ref": from == to,
        "web_url": format!("{}/{}/-/compare/{from}...{to}", world.base_url, project.path),
    })))
}

pub(super) fn create(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let project = auth::project(world, request)?;
    auth::allow(auth::may_read_code(project, request))?;
    project.repository()?;
    let branch = request.text("branch").unwrap_or_default();
    if !project.may_push(request.user.unwrap_or_default(), branch) {
        return Err(rows::COMMIT_BRANCH_FORBIDDEN.answer());
    }
    let order = Order::of(project, request)?;
    let id = make(world, request, &order)?;
    let project = &world.projects[&order.project];
    let commit = project.repository()?.show(&id)?.ok_or_else(|| rows::COMMIT_NOT_FOUND.answer())?;
    let stats = flag(&request.params, "stats") != Some(false);
    let mut made = details(world, project, &commit, stats)?;
    // Its pipeline comes after the push, and so after this answer.
    (made["status"], made["last_pipeline"]) = (Value::Null, Value::Null);
    Ok(rows::COMMIT_CREATED.entity(&made))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Create,
    Update,
    Move,
    Delete,
    Chmod,
}

/// One action of a commit.
pub(super) struct Action {
    pub(super) act: Act,
    pub(super) path: String,
    pub(super) previous: Option<String>,
    /// None: as it was.
    pub(super) content: Option<Vec<u8>>,
    pub(super) last_commit: Option<String>,
    pub(super) executable: Option<bool>,
}

pub(super) enum Start {
    Branch(String),
    Sha(String),
}

/// A commit to be made.
pub(super) struct Order {
    pub(super) project: u64,
    pub(super) branch: String,
    pub(super) start: Start,
    pub(super) force: bool,
    pub(super) message: String,
    pub(super) author_name: Option<String>,
    pub(super) author_email: Option<String>,
    pub(super) actions: Vec<Action>,
}

impl Order {
    /// The route's own checks of its body, in their order; the first complaint counts.
    fn of(project: &Project, request: &Request<'_>) -> Result<Self, Answer> {
        let invalid = |why: &str| Err(rows::COMMIT_INVALID.filled(why));
        let text = |name| request.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
        let Some(branch) = text("branch") else { return invalid("branch is required") };
        let Some(message) = text("commit_message") else { return invalid("commit_message is required") };
        let actions = match request.params.get("actions") {
            Some(Value::Array(actions)) if !actions.is_empty() => actions,
            None | Some(Value::Null | Value::Array(_)) => return invalid("actions is required"),
            Some(_) => return invalid("actions must be an array"),
        };
        let start = match (text("start_branch"), text("start_sha")) {
            (Some(_), Some(_)) => return invalid("start_branch, start_sha are mutually exclusive"),
            (Some(start), None) => Start::Branch(start),
            (None, Some(sha)) => Start::Sha(sha),
            (None, None) => Start::Branch(branch.clone()),
        };
        let read = |(at, action): (usize, &Value)| {
            Action::of(action).map_err(|why| rows::COMMIT_INVALID.filled(&format!("actions[{at}]{why}")))
        };
        Ok(Self {
            project: project.id,
            branch,
            start,
            force: flag(&request.params, "force") == Some(true),
            message,
            author_name: text("author_name"),
            author_email: text("author_email"),
            actions: actions.iter().enumerate().map(read).collect::<Result<_, _>>()?,
        })
    }
}

impl Action {
    fn of(action: &Value) -> Result<Self, String> {
        let text = |name: &str| action.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let kind = text("action").ok_or("[action] is required")?;
        let path = text("file_path").ok_or("[file_path] is required")?;
        let act = match kind {
            "create" => Act::Create,
            "update" => Act::Update,
            "move" => Act::Move,
            "delete" => Act::Delete,
            "chmod" => Act::Chmod,
            _ => return Err("[action] must be one of: create, update, move, delete, chmod".into()),
        };
        let encoding = action.get("encoding").map(|encoding| encoding.as_str().unwrap_or_default());
        if encoding.is_some_and(|encoding| !matches!(encoding, "text" | "base64")) {
            return Err("[encoding] must be text or base64".into());
        }
        let given = action.get("content").and_then(Value::as_str);
        let executable = action.as_object().and_then(|action| flag(action, "execute_filemode"));
        match act {
            Act::Update if action.get("content").is_none() => {
                return Err("[content] is required for update action".into());
            }
            Act::Move if text("previous_path").is_none() => {
                return Err("[previous_path] is required for move action".into());
            }
            Act::Chmod if action.get("execute_filemode").is_none() => {
                return Err("[execute_filemode] is required for chmod action".into());
            }
            Act::Chmod if executable.is_none() => return Err("[execute_filemode] must be a boolean".into()),
            Act::Create | Act::Update | Act::Move | Act::Delete | Act::Chmod => {}
        }
        Ok(Self {
            act,
            path: path.to_owned(),
            previous: text("previous_path").map(str::to_owned),
            content: content(given, encoding),
            last_commit: text("last_commit_id").map(str::to_owned),
            executable,
        })
    }
}

/// A content as it is to be written; base64 that is none is taken as it stands.
pub(super) fn content(given: Option<&str>, encoding: Option<&str>) -> Option<Vec<u8>> {
    let text = given?;
    let decoded = (encoding == Some("base64")).then(|| BASE64.decode(text.as_bytes()).ok()).flatten();
    Some(decoded.unwrap_or_else(|| text.as_bytes().to_vec()))
}

/// The service behind both routes: it judges the start, then each path, and makes one commit of everything.
pub(super) fn make(world: &mut World, request: &Request<'_>, order: &Order) -> Result<String, Answer> {
    let Order { project, branch, start, force, message, author_name, author_email, actions } = order;
    let found = &world.projects[project];
    let repository = found.repository()?;
    let empty = found.settings.branches.is_empty();
    let (parent, elsewhere) = match start {
        Start::Branch(name) => {
            let head = found.settings.branches.get(name).cloned();
            if head.is_none() && !empty {
                return Err(rows::COMMIT_NOT_ON_BRANCH.answer());
            }
            (head, name != branch)
        }
        Start::Sha(sha) => {
            let full = sha.len() == 40 && sha.bytes().all(|b| b.is_ascii_hexdigit());
            if !full {
                return Err(rows::COMMIT_START_INVALID.filled(sha));
            }
            let head = repository.resolve(sha)?.ok_or_else(|| rows::COMMIT_START_UNKNOWN.filled(sha))?;
            (Some(head), true)
        }
    };
    if elsewhere && !force && found.settings.branches.contains_key(branch) {
        return Err(rows::COMMIT_BRANCH_EXISTS.filled(branch));
    }
    if (elsewhere || empty) && !repository.valid_branch_name(branch)? {
        return Err(rows::COMMIT_BRANCH_INVALID.filled(branch));
    }
    for action in actions {
        let path = action.previous.as_ref().unwrap_or(&action.path);
        let Some(seen) = &action.last_commit else { continue };
        let Start::Branch(name) = start else { continue };
        if action.act != Act::Create && has_changed(found, name, path, seen)? {
            return Err(rows::COMMIT_FILE_CHANGED.filled(path));
        }
    }
    let changes = changes(found, parent.as_deref(), actions)?;
    let committer = world.person(request.user.unwrap_or_default());
    let author = Person {
        name: author_name.clone().unwrap_or_else(|| committer.name.clone()),
        email: author_email.clone().unwrap_or_else(|| committer.email.clone()),
    };
    let new = NewCommit {
        branch,
        parent: parent.as_deref(),
        changes: &changes,
        message,
        author: &author,
        committer: &committer,
        at: request.call.at,
        force: *force && elsewhere,
    };
    let id = repository.commit(&new)?.ok_or_else(|| rows::COMMIT_LOST_RACE.filled(branch))?;
    let (user, credential) = (request.user.unwrap_or_default(), request.credential.clone());
    let by = Pusher { user, credential, call: request.call.number };
    world.pushed(*project, branch, &id, &by, request.call.at)?;
    Ok(id)
}

/// What the actions do to the paths, as seen from the commit they start at.
fn changes(project: &Project, parent: Option<&str>, actions: &[Action]) -> Result<Vec<Change>, Answer> {
    let repository = project.repository()?;
    let mut changes: Vec<Change> = Vec::new();
    for action in actions {
        let entry = |path: &str| parent.map_or(Ok(None), |parent| repository.entry(parent, path));
        let old = |path: &str| parent.map_or(Ok(None), |parent| repository.blob(parent, path));
        let path = action.path.trim_start_matches('/').to_owned();
        let outside = |path: &str| path.split('/').any(|step| step == "..");
        if outside(&path) || action.previous.as_deref().is_some_and(outside) {
            return Err(rows::COMMIT_PATH_TRAVERSAL.answer());
        }
        let there = entry(&path)?;
        let made = changes.iter().any(|change| change.path() == path);
        let from = if action.act == Act::Move { action.previous.clone() } else { None };
        match (action.act, there) {
            (Act::Create | Act::Move, Some(Entry::Directory)) => {
                return Err(rows::COMMIT_DIRECTORY_EXISTS.answer());
            }
            (Act::Create | Act::Move, Some(Entry::File { .. })) => {
                return Err(rows::COMMIT_FILE_EXISTS.answer());
            }
            (Act::Create, None) if made => return Err(rows::COMMIT_FILE_EXISTS.answer()),
            (Act::Update | Act::Delete | Act::Chmod, None | Some(Entry::Directory)) if !made => {
                return Err(rows::COMMIT_FILE_MISSING.answer());
            }
            (Act::Create | Act::Update | Act::Move | Act::Delete | Act::Chmod, _) => {}
        }
        if action.act == Act::Delete {
            changes.push(Change::Delete { path });
            continue;
        }
        let before = old(from.as_deref().unwrap_or(&path))?;
        if action.act == Act::Move && before.is_none() {
            return Err(rows::COMMIT_FILE_MISSING.answer());
        }
        let was_executable = before.as_ref().is_some_and(|blob| blob.executable);
        let content = action.content.clone().or_else(|| before.map(|blob| blob.content));
        let executable = action.executable.unwrap_or(was_executable);
        changes.extend(from.map(|path| Change::Delete { path }));
        changes.push(Change::Put { path, executable, content: content.unwrap_or_default() });
    }
    Ok(changes)
}

/// Whether a path has another last commit on the branch than as of the commit that was seen. What cannot be told is
/// no change.
pub(super) fn has_changed(project: &Project, branch: &str, path: &str, seen: &str) -> Result<bool, Answer> {
    let repository = project.repository()?;
    let last =
        |commit: Option<String>| commit.map_or(Ok(None), |commit| repository.last_commit(&commit, path));
    let here = last(project.settings.branches.get(branch).cloned())?;
    let then = last(repository.resolve(seen)?)?;
    Ok(here.is_some() && then.is_some() && here != then)
}

/// `Commit`.
pub(super) fn entity(world: &World, project: &Project, commit: &Commit, trailers: bool) -> Value {
    let Commit { id, parents, author, authored_at, committer, committed_at, message, .. } = commit;
    let mut plain = serde_json::Map::new();
    let mut extended = serde_json::Map::new();
    for (key, value) in commit.trailers.iter().filter(|_| trailers) {
        plain.insert(key.clone(), value.clone().into());
        let all = extended.entry(key.clone()).or_insert_with(|| json!([]));
        all.as_array_mut().into_iter().for_each(|all| all.push(value.clone().into()));
    }
    json!({
        "id": id, "short_id": id.get(..8), "created_at": committed_at, "parent_ids": parents,
        "title": message.lines().next().unwrap_or_default(), "message": message,
        "author_name": author.name, "author_email": author.email, "authored_date": authored_at,
        "committer_name": committer.name, "committer_email": committer.email,
        "committed_date": committed_at, "trailers": plain, "extended_trailers": extended,
        "web_url": format!("{}/{}/-/commit/{id}", world.base_url, project.path),
    })
}

/// `CommitDetail`.
fn details(world: &World, project: &Project, commit: &Commit, stats: bool) -> Result<Value, Answer> {
    let mut entity = entity(world, project, commit, false);
    if stats {
        let (additions, deletions) = project.repository()?.stats(&commit.id)?;
        let total = additions + deletions;
        entity["stats"] = json!({ "additions": additions, "deletions": deletions, "total": total });
    }
    let last = project.pipelines.values().rev().find(|pipeline| pipeline.sha == commit.id);
    entity["status"] = last.map(|pipeline| json!(pipeline.status)).into();
    entity["last_pipeline"] = last.map(|pipeline| world.pipeline_basic(project, pipeline)).into();
    entity["project_id"] = project.id.into();
    Ok(entity)
}

/// A boolean, however it was sent.
pub(super) fn flag(params: &Params, name: &str) -> Option<bool> {
    match params.get(name)? {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "1" | "on" | "t" | "true" | "y" | "yes" => Some(true),
            "0" | "off" | "f" | "false" | "n" | "no" => Some(false),
            _ => None,
        },
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
