//! Who is told that others mean to write the same.

use super::*;
use crate::decide::image_update::contention::Claims;
use crate::domain::image_update::{EditTarget, EditTemplate, When};
use crate::domain::{GitLabUrl, ImageUpdate, ProjectRef};

/// What a trigger writes, and where: its name, GitLab, project, path in `values.yaml`, `allowShared`.
type Writes<'a> = (&'a str, &'a str, &'a str, &'a str, bool);

const GITLAB: &str = "https://gitlab.example.com";

fn key(name: &str) -> ObjectKey {
    ObjectKey { namespace: "shop".into(), name: name.into() }
}

fn put(claims: &mut Claims, (name, url, project, path, allow_shared): Writes<'_>) {
    let target = EditTarget::Path {
        document: None,
        path: path.parse().unwrap(),
        part: None,
        value: "x".parse().unwrap(),
    };
    let update = ImageUpdate {
        project: None,
        access_token: None,
        branch: "main".parse().unwrap(),
        edits: vec![EditTemplate { file: "values.yaml".parse().unwrap(), target }],
        message: None,
        author: None,
        merge_request: None,
        when: When::Success,
        allow_shared,
        dry_run: false,
    };
    let at: (GitLabUrl, ProjectRef) = (url.parse().unwrap(), project.parse().unwrap());
    claims.put(&key(name), &owner(name), (&at.0, &at.1), &[update]);
}

fn claimed(all: &[Writes<'_>]) -> Claims {
    let mut claims = Claims::default();
    all.iter().for_each(|one| put(&mut claims, *one));
    claims
}

fn told(claims: &Claims, name: &str) -> Option<String> {
    claims.contended(&key(name)).remove(&0)
}

/// Which of `a`, `b` and `c` are told.
fn who(claims: &Claims) -> Vec<&'static str> {
    ["a", "b", "c"].into_iter().filter(|name| told(claims, name).is_some()).collect()
}

#[test]
fn specs_that_mean_one_scalar_are_told_unless_all_allow_it() {
    let of = |name, path, shared| (name, GITLAB, "platform/gitops", path, shared);
    let three = [of("a", "web.tag", false), of("b", "\"web\".tag", true), of("c", "api.tag", false)];
    let mut claims = claimed(&three);
    assert_eq!(who(&claims), ["a", "b"]);
    assert_eq!(
        told(&claims, "a").unwrap(),
        "values.yaml: path web.tag is written by shop/b as well: let one of them write it, or set `allowShared: true` on both"
    );
    put(&mut claims, of("a", "web.tag", true));
    assert_eq!(who(&claims), [""; 0]);
    put(&mut claims, of("a", "web.tag", false));
    claims.remove(&key("b"));
    assert_eq!(who(&claims), [""; 0], "nobody is in their own way");
}

#[test]
fn spellings_of_one_gitlab_and_project_are_one() {
    let of = |name, url, project| (name, url, project, "web.tag", false);
    for (one, other, same) in [
        (GITLAB, "https://GitLab.Example.com:443/", true),
        (GITLAB, "https://gitlab.example.com:8443", false),
        (GITLAB, "https://example.com/gitlab", false),
    ] {
        let claims = claimed(&[of("a", one, "platform/gitops"), of("b", other, "Platform/GitOps")]);
        assert_eq!(!who(&claims).is_empty(), same, "{other}");
    }
}

#[test]
fn a_project_by_path_and_by_id_is_one_once_gitlab_has_said_so() {
    let gitlab: GitLabUrl = GITLAB.parse().unwrap();
    let [path, id, other] = ["Platform/gitops", "7", "8"].map(|text| text.parse::<ProjectRef>().unwrap());
    let of = |name, project| (name, GITLAB, project, "web.tag", false);
    let entry = |name: &str| [(key(name), 0)];
    let both = || claimed(&[of("a", "platform/gitops"), of("b", "7")]);
    let claims = both();
    assert_eq!(who(&claims), [""; 0]);
    assert!(claims.is_unsure(&gitlab, &path, &entry("a")) && claims.is_unsure(&gitlab, &id, &entry("b")));
    // Whoever asks, by its own spelling.
    for (asks, tells) in [(&path, None), (&path, Some("platform/gitops")), (&id, Some("Platform/GitOps"))] {
        let mut claims = both();
        claims.learn(&gitlab, asks, 7, tells);
        assert_eq!(who(&claims), ["a", "b"], "{asks} {tells:?}");
        // Who comes later as well.
        claims.remove(&key("a"));
        put(&mut claims, of("c", "platform/gitops"));
        assert_eq!(who(&claims), ["b", "c"]);
    }
    // Another one: told to nobody, and asked once.
    let mut claims = claimed(&[of("a", "platform/gitops"), of("b", "8")]);
    claims.learn(&gitlab, &path, 7, Some("platform/gitops"));
    assert_eq!(who(&claims), [""; 0]);
    assert!(
        !claims.is_unsure(&gitlab, &path, &entry("a")) && !claims.is_unsure(&gitlab, &other, &entry("b"))
    );
}

#[test]
fn gitlab_is_asked_only_where_that_could_matter() {
    let gitlab: GitLabUrl = GITLAB.parse().unwrap();
    let id: ProjectRef = "7".parse().unwrap();
    let of = |name, url, project, path| (name, url, project, path, false);
    for (what, other) in [
        ("another scalar", of("a", GITLAB, "platform/gitops", "api.tag")),
        ("another GitLab", of("a", "https://gitlab.com", "platform/gitops", "web.tag")),
        ("by id as well", of("a", GITLAB, "8", "web.tag")),
    ] {
        let claims = claimed(&[other, of("b", GITLAB, "7", "web.tag")]);
        assert!(!claims.is_unsure(&gitlab, &id, &[(key("b"), 0)]), "{what}");
    }
}
