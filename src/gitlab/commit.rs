//! The one request that writes to a repository, and what is known after it.
//!
//! GitLab has no compare-and-swap for branches. `last_commit_id` refuses a file that somebody changed since it was read
//! (any commit at which it was read will do), and git refuses a branch that moved while the commit was made; both are
//! [`CommitAnswer::Conflict`]. A branch that is to begin here begins at the very commit that was read.

use http::Method;
use pipekick_core::decide::image_update::{CommitAnswer, CommitOrder, FileChange};
use pipekick_core::domain::{Author, GitRef};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::explain::{About, Call, Meaning, explain, unsent};
use super::fire::json;
use super::http::{Reply, Request, SendError, Token, Want};
use super::{Account, Class, Client, Endpoint, Leave, NoAnswer};
use crate::clock;

/// Where a commit goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On top of this branch.
    Branch(GitRef),
    /// To this branch, which is not there yet and begins at the commit that was read.
    NewBranch(GitRef),
}

impl Place {
    fn branch(&self) -> &GitRef {
        match self {
            Self::Branch(name) | Self::NewBranch(name) => name,
        }
    }
}

/// `POST /projects/:id/repository/commits`.
#[derive(Serialize)]
struct CommitBody<'a> {
    branch: &'a str,
    commit_message: &'a str,
    actions: Vec<ActionBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_sha: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author_email: Option<&'a str>,
    /// To count lines takes GitLab time, and nobody reads them.
    stats: bool,
}

#[derive(Serialize)]
struct ActionBody<'a> {
    action: &'static str,
    file_path: &'a str,
    content: &'a str,
    last_commit_id: &'a str,
}

#[derive(Deserialize)]
struct MadeWire {
    id: String,
}

impl Client {
    /// Sends a commit, once. Dropping the future leaves its outcome unknown.
    pub async fn commit(
        &self,
        at: &Endpoint,
        place: &Place,
        order: &CommitOrder,
        token: &SecretString,
    ) -> CommitAnswer {
        let Endpoint { url, project, trust } = at;
        let CommitOrder { head, message, author, files } = order;
        let actions = files.iter().map(|FileChange { file, content }| ActionBody {
            action: "update",
            file_path: file.as_str(),
            content,
            last_commit_id: head,
        });
        let body = CommitBody {
            branch: place.branch().short(),
            commit_message: message,
            actions: actions.collect(),
            start_sha: matches!(place, Place::NewBranch(_)).then_some(head),
            author_name: author.as_deref().map(Author::name),
            author_email: author.as_deref().map(Author::email),
            stats: false,
        };
        let call = Call::Commit;
        let path = call.route().replace(":id", &project.path_segment());
        let who = Account::access(url, self.fingerprint(token));
        let token = Token::Header(token, Some(json(&body)));
        let (method, query, hide, want) = (Method::POST, Vec::new(), Vec::new(), Want::JSON);
        let request = Request { method, url, trust, path, query, token, hide, want };
        let project = project.to_string();
        let about = About { call, project: &project, git_ref: place.branch().short() };
        match self.call(call, Leave::Ask(&who, Class::Firing), request).await {
            Ok(reply) => classify(about, &reply),
            Err(no_answer) => unanswered(no_answer, url.authority()),
        }
    }
}

fn unanswered(no_answer: NoAnswer, host: &str) -> CommitAnswer {
    match no_answer {
        NoAnswer::HeldBack(wait) => CommitAnswer::Throttled {
            message: format!("the rate limit of {host} is used up. Nothing was sent"),
            until: clock::after(wait),
        },
        NoAnswer::Failed(error) => match unsent(Call::Commit, host, error) {
            SendError::NotSent { reason: _, message } => CommitAnswer::NotSent { message },
            SendError::Lost { message } => CommitAnswer::Unknown { message },
        },
    }
}

/// What an answer tells about the commit.
fn classify(about: About<'_>, reply: &Reply) -> CommitAnswer {
    if (200..300).contains(&reply.status) {
        return match reply.value::<MadeWire>() {
            Ok(MadeWire { id }) => CommitAnswer::Committed { commit: id },
            // It is on the branch, as what is to be found by its trailers.
            Err(instead) => CommitAnswer::Unknown { message: format!("{} with {instead}", reply.status) },
        };
    }
    if let Some(redirect) = reply.redirect() {
        return CommitAnswer::Unknown { message: redirect.to_string() };
    }
    let said = reply.said();
    match explain(about, reply.status, &reply.meta, said.as_ref().map_err(String::as_str)) {
        Meaning::Refused { reason: _, message } => CommitAnswer::Refused { message },
        Meaning::Overtaken { message } => CommitAnswer::Conflict { message },
        Meaning::Throttled { reason: _, message, wait } => {
            CommitAnswer::Throttled { message, until: clock::after(wait) }
        }
        Meaning::FailedAtBirth { message } | Meaning::Unclear { message } => {
            CommitAnswer::Unknown { message }
        }
    }
}
