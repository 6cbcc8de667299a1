//! Who calls, and what they may see and do.

use super::{
    call::Call,
    ledger::Credential,
    pipeline::Pipeline,
    routes::Request,
    row::{Answer, Row},
    rows,
    seed::{Role, Scope, Visibility},
    state::{AccessToken, Named, Project, World},
};

/// What a route asks of the caller before it looks at anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nobody is authenticated: the trigger route.
    Open,
    /// Reading; anonymous callers see what is public.
    Public,
    /// Reading files, for which `read_repository` suffices.
    Code,
    /// Reading by a signed-in user.
    SignedIn,
    /// Reading about oneself: `read_user` suffices.
    Oneself,
    /// Writing by a signed-in user.
    Write,
}

impl Access {
    fn admits(self, scope: Scope) -> bool {
        match (self, scope) {
            (_, Scope::Api) => true,
            (Self::Open | Self::Public | Self::Code | Self::SignedIn | Self::Oneself, Scope::ReadApi) => true,
            (Self::Code, Scope::ReadRepository) => true,
            (Self::Oneself, Scope::ReadUser) => true,
            (Self::Open | Self::Public | Self::Code | Self::SignedIn | Self::Write, Scope::ReadUser) => false,
            (Self::Write, Scope::ReadApi) | (_, Scope::ReadRepository | Scope::WriteRepository) => false,
        }
    }
}

/// The caller, as far as the token tells.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The token's name, even if it is refused.
    pub(crate) credential: Option<Credential>,
    /// The user; none if no token came; a row if the token is refused.
    pub(crate) user: Result<Option<u64>, &'static Row>,
}

/// Looks at the access token of a call. A bad token is refused even where none is needed.
pub(crate) fn identify(world: &World, call: &Call) -> Identity {
    let Some((token, bearer)) = presented(call) else { return Identity { credential: None, user: Ok(None) } };
    let Some(known) = world.access_tokens.get(&token) else {
        let row = if bearer { &rows::BEARER_UNKNOWN } else { &rows::UNAUTHORIZED };
        return Identity { credential: None, user: Err(row) };
    };
    let AccessToken { credential, user, scopes: _, expires_at, revoked } = known;
    let user = if *revoked {
        Err(&rows::TOKEN_REVOKED)
    } else if expires_at.is_some_and(|end| end <= call.at) {
        Err(&rows::TOKEN_EXPIRED)
    } else if world.users.get(user).is_some_and(|user| user.blocked) {
        Err(&rows::USER_BLOCKED)
    } else {
        Ok(Some(*user))
    };
    Identity { credential: Some(credential.clone()), user }
}

/// Whether this caller may use a route at all.
pub(crate) fn admit(world: &World, call: &Call, access: Access, user: Option<u64>) -> Result<(), Answer> {
    if user.is_none() {
        return match access {
            Access::Open | Access::Public | Access::Code => Ok(()),
            Access::SignedIn | Access::Oneself | Access::Write => Err(rows::UNAUTHORIZED.answer()),
        };
    }
    let scopes = presented(call).and_then(|(token, _)| world.access_tokens.get(&token)).map(|t| &t.scopes);
    if scopes.is_some_and(|scopes| scopes.iter().any(|scope| access.admits(*scope))) {
        return Ok(());
    }
    Err(rows::SCOPE_TOO_SMALL.filled(if access == Access::Write { "api" } else { "api read_api" }))
}

fn presented(call: &Call) -> Option<(String, bool)> {
    if let Some(token) = call.header("private-token") {
        return Some((token.to_owned(), false));
    }
    if let Some(token) = call.header("authorization").and_then(|value| value.strip_prefix("Bearer ")) {
        return Some((token.to_owned(), true));
    }
    if let Some(token) = call.query_param("private_token") {
        return Some((token, false));
    }
    call.query_param("access_token").map(|token| (token, true))
}

/// The project a request names, if the caller can see it.
pub(crate) fn project<'w>(world: &'w World, request: &Request<'_>) -> Result<&'w Project, Answer> {
    let not_found = || rows::PROJECT_NOT_FOUND.answer();
    let named = world.named(request.arg("id")).ok_or_else(not_found)?;
    let (Named::Current(id) | Named::Moved(id)) = named;
    let project = world.projects.get(&id).ok_or_else(not_found)?;
    if !visible(project, request.user) {
        return Err(not_found());
    }
    match named {
        Named::Current(_) => Ok(project),
        Named::Moved(_) if request.route.method == "GET" => {
            let rest =
                request.call.path.splitn(6, '/').nth(5).map(|rest| format!("/{rest}")).unwrap_or_default();
            let query = if request.call.query.is_empty() { "" } else { "?" };
            let location =
                format!("{}/api/v4/projects/{id}{rest}{query}{}", world.base_url, request.call.query);
            Err(rows::PROJECT_MOVED.filled(&location).header("Location", location))
        }
        Named::Moved(_) => Err(rows::PROJECT_MOVED_WRITE.answer()),
    }
}

/// Whether a caller can see that the project exists.
pub(crate) fn visible(project: &Project, user: Option<u64>) -> bool {
    match project.settings.visibility {
        Visibility::Public => true,
        Visibility::Internal => user.is_some(),
        Visibility::Private => user.is_some_and(|user| project.role(user).is_some()),
    }
}

pub(crate) fn role(project: &Project, request: &Request<'_>) -> Option<Role> {
    project.role(request.user?)
}

/// Reading pipelines and jobs: Reporter, or whoever sees the project if pipelines are public.
pub(crate) fn may_read_pipelines(project: &Project, request: &Request<'_>) -> Result<(), Answer> {
    allow(project.settings.public_pipelines || role(project, request) >= Some(Role::Reporter))
}

/// Cancel, retry, rename: Developer, with the right to the ref.
pub(crate) fn may_update(project: &Project, request: &Request<'_>, pipeline: &Pipeline) -> bool {
    role(project, request) >= Some(Role::Developer)
        && request.user.is_some_and(|user| project.may_update(user, &pipeline.git_ref))
}

/// Variables: a Maintainer, or who triggered it and may still update it.
pub(crate) fn may_read_variables(project: &Project, request: &Request<'_>, pipeline: &Pipeline) -> bool {
    let update = may_update(project, request, pipeline);
    update && (role(project, request) >= Some(Role::Maintainer) || request.user == Some(pipeline.user))
}

/// A private project's code is for Reporters.
pub(crate) fn may_read_code(project: &Project, request: &Request<'_>) -> bool {
    project.settings.visibility != Visibility::Private || role(project, request) >= Some(Role::Reporter)
}

/// Some branch or other.
pub(crate) fn may_push_code(project: &Project, request: &Request<'_>) -> bool {
    role(project, request) >= Some(Role::Developer)
}

pub(crate) fn allow(allowed: bool) -> Result<(), Answer> {
    if allowed { Ok(()) } else { Err(rows::FORBIDDEN.answer()) }
}
