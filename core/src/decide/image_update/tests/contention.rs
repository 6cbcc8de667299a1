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

fn at_path(path: &str) -> EditTarget {
    EditTarget::Path { document: None, path: path.parse().unwrap(), part: None, value: "x".parse().unwrap() }
}

fn update(file: &str, target: EditTarget) -> ImageUpdate {
    ImageUpdate {
        project: None,
        access_token: None,
        branch: "main".parse().unwrap(),
        edits: vec![EditTemplate { file: file.parse().unwrap(), target }],
        message: None,
        author: None,
        merge_request: None,
        when: When::Success,
        allow_shared: false,
        dry_run: false,
    }
}

fn put(claims: &mut Claims, (name, url, project, path, allow_shared): Writes<'_>) {
    let update = ImageUpdate { allow_shared, ..update("values.yaml", at_path(path)) };
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

#[test]
fn a_dry_run_is_told_of_the_others_and_they_are_not_told_of_it() {
    let gitlab: GitLabUrl = GITLAB.parse().unwrap();
    let project: ProjectRef = "platform/gitops".parse().unwrap();
    let mut claims = claimed(&[("a", GITLAB, "platform/gitops", "web.tag", true)]);
    let dry = ImageUpdate { dry_run: true, ..update("values.yaml", at_path("web.tag")) };
    claims.put(&key("b"), &owner("b"), (&gitlab, &project), std::slice::from_ref(&dry));
    assert_eq!(who(&claims), ["b"]);
    let shared = ImageUpdate { allow_shared: true, ..dry };
    claims.put(&key("b"), &owner("b"), (&gitlab, &project), &[shared]);
    assert_eq!(who(&claims), [""; 0]);
    claims.remove(&key("b"));
    claims.remove(&key("a"));
    assert_eq!(who(&claims), [""; 0]);
}

/// What a spec says in another way is found in the file.
#[test]
fn one_scalar_is_one_however_two_specs_spell_it() {
    const VALUES: &str =
        "images:\n- name: shop/web\n  newTag: v1 # pipekick: web:tag\n- name: shop/api\n  newTag: v1\n";
    let gitlab: GitLabUrl = GITLAB.parse().unwrap();
    let project: ProjectRef = "platform/gitops".parse().unwrap();
    let main = "main".parse().unwrap();
    let image = |name: &str| EditTarget::Image {
        name: name.parse().unwrap(),
        new_name: None,
        new_tag: Some("x".parse().unwrap()),
        digest: None,
        create: false,
    };
    let marker =
        EditTarget::Marker { marker: "web:tag".parse().unwrap(), part: None, value: "x".parse().unwrap() };
    let mine = |allow_shared| {
        let edits = vec![edit("kustomization.yaml", "images[name=shop/web].newTag", "v2")];
        Change { allow_shared, ..change("mine", "f1", 705, edits) }
    };
    for (what, theirs, clashes) in [
        ("by index", at_path("images[0].newTag"), true),
        ("by marker", marker, true),
        ("by image", image("shop/web"), true),
        ("another item", at_path("images[1].newTag"), false),
        ("another image", image("shop/api"), false),
        ("nothing there", at_path("images[7].newTag"), false),
    ] {
        for (shared, own, both) in [(false, "theirs", true), (true, "theirs", false), (false, "mine", false)]
        {
            let mut claims = Claims::default();
            let update = ImageUpdate { allow_shared: shared, ..update("kustomization.yaml", theirs.clone()) };
            claims.put(&key(own), &owner(own), (&gitlab, &project), &[update]);
            let seen = Snapshot {
                claimed: claims.elsewhere((&gitlab, &project, &main), &[path("kustomization.yaml")].into()),
                ..snapshot(&[("kustomization.yaml", VALUES)], &[])
            };
            let Draft { commit, verdicts } = draft(&[mine(shared)], &seen);
            assert_eq!(commit.is_none(), clashes && both, "{what} {shared} {own}: {verdicts:?}");
            if let Some(Verdict::Refused { message }) = verdicts.get(&0) {
                let says =
                    "kustomization.yaml: `images[name=shop/web].newTag` is written by shop/theirs as well";
                assert!(message.starts_with(says), "{message}");
            }
        }
    }
    // Elsewhere is elsewhere.
    let mut claims = Claims::default();
    let theirs = update("kustomization.yaml", at_path("images[0].newTag"));
    claims.put(&key("theirs"), &owner("theirs"), (&gitlab, &project), &[theirs]);
    let other = "staging".parse().unwrap();
    for (branch, file) in [(&other, "kustomization.yaml"), (&main, "values.yaml")] {
        assert_eq!(claims.elsewhere((&gitlab, &project, branch), &[path(file)].into()), []);
    }
}
