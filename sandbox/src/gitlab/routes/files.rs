//! Files of a repository: read one, as JSON or raw; create, update and delete one, each as a commit of its own.
//!
//! The writes tell no commit, and refuse a protected branch by 400 where the commits route says 403.

use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    Request,
    commits::{self, Act, Action, Start},
};
use crate::gitlab::{
    auth,
    git::Blob,
    row::{Answer, Row},
    rows,
    state::World,
};

pub(super) fn show(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let found = find(world, request, true)?;
    let mut entity = found.entity();
    entity["content"] = BASE64.encode(&found.blob.content).into();
    Ok(found.head(rows::FILE_SHOWN.entity(&entity)))
}

/// All but the content, in headers.
pub(super) fn head(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let found = find(world, request, true)?;
    Ok(found.head(rows::FILE_HEAD.answer()))
}

pub(super) fn raw(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    let found = find(world, request, false)?;
    Ok(found.head(rows::FILE_RAW.raw(found.blob.content.clone())))
}

pub(super) fn create(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    write(world, request, Act::Create, &rows::FILE_CREATED)
}

pub(super) fn update(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    write(world, request, Act::Update, &rows::FILE_UPDATED)
}

pub(super) fn delete(world: &mut World, request: &Request<'_>) -> Result<Answer, Answer> {
    write(world, request, Act::Delete, &rows::FILE_DELETED)
}

struct Found {
    path: String,
    named: Option<String>,
    commit: String,
    last_commit: Option<String>,
    blob: Blob,
}

fn find(world: &World, request: &Request<'_>, needs_ref: bool) -> Result<Found, Answer> {
    let named = request.text("ref").filter(|name| !name.is_empty());
    if needs_ref && named.is_none() {
        return Err(rows::FILE_PARAMETER.filled("ref is missing"));
    }
    let project = auth::project(world, request)?;
    auth::allow(auth::may_read_code(project, request))?;
    let name = named.unwrap_or(&project.settings.default_branch);
    let commit = project.commit_of(name)?.ok_or_else(|| rows::COMMIT_NOT_FOUND.answer())?;
    let (repository, path) = (project.repository()?, request.arg("file_path"));
    let blob = repository.blob(&commit, path)?.ok_or_else(|| rows::FILE_NOT_FOUND.answer())?;
    let last_commit = repository.last_commit(&commit, path)?;
    Ok(Found { path: path.to_owned(), named: named.map(str::to_owned), commit, last_commit, blob })
}

impl Found {
    fn entity(&self) -> Value {
        let Self { path, named, commit, last_commit, blob } = self;
        json!({
            "file_name": path.rsplit('/').next(), "file_path": path, "size": blob.content.len(),
            "encoding": "base64", "content_sha256": HEXLOWER.encode(&Sha256::digest(&blob.content)),
            "ref": named, "blob_id": blob.id, "commit_id": commit, "last_commit_id": last_commit,
            "execute_filemode": blob.executable,
        })
    }

    fn head(&self, answer: Answer) -> Answer {
        let entity = self.entity();
        HEADERS.iter().fold(answer, |answer, (name, key)| {
            let value = match &entity[*key] {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                other => other.to_string(),
            };
            answer.header(name, value)
        })
    }
}

const HEADERS: &[(&str, &str)] = &[
    ("X-Gitlab-File-Name", "file_name"),
    ("X-Gitlab-File-Path", "file_path"),
    ("X-Gitlab-Size", "size"),
    ("X-Gitlab-Encoding", "encoding"),
    ("X-Gitlab-Content-Sha256", "content_sha256"),
    ("X-Gitlab-Ref", "ref"),
    ("X-Gitlab-Blob-Id", "blob_id"),
    ("X-Gitlab-Commit-Id", "commit_id"),
    ("X-Gitlab-Last-Commit-Id", "last_commit_id"),
    ("X-Gitlab-Execute-Filemode", "execute_filemode"),
];

fn write(world: &mut World, request: &Request<'_>, act: Act, row: &'static Row) -> Result<Answer, Answer> {
    let needed: &[&str] = match act {
        Act::Create | Act::Update => &["branch", "commit_message", "content"],
        Act::Move | Act::Delete | Act::Chmod => &["branch", "commit_message"],
    };
    let missing = needed.iter().filter(|name| request.text(name).is_none_or(str::is_empty));
    let missing: Vec<String> = missing.map(|name| format!("{name} is missing")).collect();
    if !missing.is_empty() {
        return Err(rows::FILE_PARAMETER.filled(&missing.join(", ")));
    }
    let project = auth::project(world, request)?;
    let (branch, user) = (request.text("branch").unwrap_or_default(), request.user.unwrap_or_default());
    auth::allow(auth::may_push_code(project, request))?;
    if !project.may_push(user, branch) {
        return Err(rows::FILE_BRANCH_FORBIDDEN.answer());
    }
    let path = request.arg("file_path").to_owned();
    // DELETE declares no `last_commit_id`, so it is dropped there.
    let seen = request.text("last_commit_id").filter(|_| act == Act::Update);
    let start = request.text("start_branch").unwrap_or(branch);
    if let Some(seen) = seen
        && commits::has_changed(project, start, &path, seen)?
    {
        return Err(rows::FILE_CHANGED.answer());
    }
    let content = commits::content(request.text("content"), request.text("encoding"));
    let action =
        Action { act, path: path.clone(), previous: None, content, last_commit: None, executable: None };
    let order = commits::Order {
        project: project.id,
        branch: branch.to_owned(),
        start: Start::Branch(start.to_owned()),
        force: false,
        message: request.text("commit_message").unwrap_or_default().to_owned(),
        author_name: request.text("author_name").map(str::to_owned),
        author_email: request.text("author_email").map(str::to_owned),
        actions: vec![action],
    };
    commits::make(world, request, &order)?;
    let entity = json!({ "file_path": path, "branch": order.branch });
    Ok(if act == Act::Delete { row.answer() } else { row.entity(&entity) })
}
