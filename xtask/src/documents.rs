//! What the documents say is there: files, headings, tests and metrics.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ci_steps::output;
use crate::controlplane::{read, root};

/// How a page of the book names what is no page of it.
const OURS: &str = "https://github.com/pipekick/pipekick/blob/main/";

/// Files of the repository that end so.
fn files(ending: &str) -> Vec<PathBuf> {
    let mut git = Command::new("git");
    git.arg("-C").arg(root()).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let listed = output(git).unwrap();
    let files: Vec<PathBuf> =
        listed.lines().filter(|name| name.ends_with(ending)).map(|name| root().join(name)).collect();
    // What was deleted and is not committed yet is still listed.
    files.into_iter().filter(|file| file.exists()).collect()
}

/// The text outside of code blocks.
fn prose(page: &str) -> String {
    page.split("```").step_by(2).collect()
}

/// Where the links of a page lead to.
fn links(page: &str) -> Vec<String> {
    let prose = prose(page);
    let after = prose.split("](").skip(1);
    after.filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

/// The anchors of a page, as GitHub makes them of headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let prose = prose(page);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings.map(|heading| anchor(heading.trim_start_matches('#').trim())).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// Words between backticks.
fn quoted(page: &str) -> BTreeSet<&str> {
    page.split('`').skip(1).step_by(2).collect()
}

/// Whether a word is the name of a test, such as `a_redirect_is_not_followed`.
fn names_a_test(word: &str) -> bool {
    word.matches('_').count() >= 3
        && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[test]
fn every_link_leads_to_a_file_and_to_a_heading_of_it() {
    let mut broken = Vec::new();
    let mut followed = 0;
    for page in files(".md") {
        for link in links(&read(&page).unwrap()) {
            let (page, link) = match link.strip_prefix(OURS) {
                Some(rest) => (root().join("README.md"), rest.to_owned()),
                None => (page.clone(), link),
            };
            // Only those within the repository: the others are not ours to keep.
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            followed += 1;
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().unwrap_or(Path::new("")).join(file),
            };
            let found =
                target.exists() && (heading.is_empty() || anchors(&read(&target).unwrap()).contains(heading));
            if !found {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(followed > 50, "only {followed} links were found: are these the documents?");
    assert!(broken.is_empty(), "these lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn the_book_has_every_page_once_and_no_page_leads_out_of_it_by_a_path() {
    let docs = root().join("docs");
    let summary = links(&read(&docs.join("SUMMARY.md")).unwrap());
    let mut pages: Vec<String> = files(".md")
        .iter()
        .filter_map(|file| Some(file.strip_prefix(&docs).ok()?.display().to_string()))
        .filter(|page| page != "SUMMARY.md")
        .collect();
    pages.sort();
    let mut listed = summary.clone();
    listed.sort();
    assert_eq!(listed, pages);
    for page in pages {
        let text = read(&docs.join(&page)).unwrap();
        // One step up from docs/adr/ is docs/.
        let out = if page.contains('/') { "../../" } else { "../" };
        let leads_out: Vec<String> = links(&text).into_iter().filter(|link| link.starts_with(out)).collect();
        assert!(leads_out.is_empty(), "{page}: {leads_out:?}: write {OURS}…");
    }
}

#[test]
fn every_yaml_file_can_be_read() {
    // Templates are Helm's, and the shapes are odd on purpose.
    let odd = |file: &Path| {
        let path = file.strip_prefix(root()).unwrap();
        path.starts_with("core/tests/yaml/shapes")
            || path.components().any(|part| part.as_os_str() == "templates")
    };
    let mut read_so_far = 0;
    for file in files(".yaml").into_iter().chain(files(".yml")).filter(|file| !odd(file)) {
        for document in read(&file).unwrap().split("\n---\n") {
            let parsed: Result<serde_json::Value, _> = serde_saphyr::from_str(document);
            assert!(parsed.is_ok(), "{}: {}", file.display(), parsed.unwrap_err());
            read_so_far += 1;
        }
    }
    assert!(read_so_far > 30, "only {read_so_far} documents were read");
}

#[test]
fn workflows_have_few_rights_and_an_end() {
    for file in files(".yml").into_iter().filter(|file| file.to_string_lossy().contains("/workflows/")) {
        let name = file.display();
        let workflow: serde_json::Value = serde_saphyr::from_str(&read(&file).unwrap()).unwrap();
        // What a job needs beyond reading, it asks for itself.
        assert_eq!(workflow["permissions"], serde_json::json!({"contents": "read"}), "{name}");
        for (job, jobs) in workflow["jobs"].as_object().unwrap() {
            assert!(jobs["timeout-minutes"].is_u64(), "{name}: job {job} has no timeout");
            let rights = jobs["permissions"].as_object();
            let writes = rights.is_some_and(|rights| rights.values().any(|right| right == "write"));
            for step in jobs["steps"].as_array().unwrap() {
                let run = step["run"].as_str().unwrap_or_default();
                // What stands in a tag or a title would be taken for shell.
                assert!(!run.contains("${{"), "{name}: {run} takes its values from env");
                // What crates do while they are built is theirs.
                let builds = run.contains("cargo ") || run.contains(".ci/run");
                assert!(!(writes && builds), "{name}: job {job} may write, and builds crates: {run}");
                if let Some(action) = step["uses"].as_str() {
                    assert!(action.contains('@'), "{name}: {action} has no version");
                }
            }
        }
    }
}

#[test]
fn every_test_that_a_document_names_is_there() {
    let code: String = files(".rs").iter().map(|file| read(file).unwrap()).collect();
    let mut missing = Vec::new();
    let mut found = 0;
    for page in ["SECURITY.md", "docs/reliability.md", "docs/schedule-rules.md"] {
        let text = read(&root().join(page)).unwrap();
        for name in quoted(&text).into_iter().filter(|word| names_a_test(word)) {
            found += 1;
            if !code.contains(&format!("fn {name}(")) && !name.starts_with("pipekick_") {
                missing.push(format!("{page}: {name}"));
            }
        }
    }
    assert!(found > 20, "only {found} names of tests were found");
    assert!(missing.is_empty(), "no test has these names:\n{}", missing.join("\n"));
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_are_served() {
    let page = read(&root().join("docs/metrics.md")).unwrap();
    let served: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `pipekick_").and_then(|rest| Some(rest.split_once('`')?.0)))
        .collect();
    let mut asked = 0;
    for file in ["alerts.yaml", "dashboard.json"] {
        let text = read(&root().join("charts/pipekick/files").join(file)).unwrap();
        for rest in text.split("pipekick_").skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
            let name = &rest[..end];
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
            asked += 1;
            assert!(
                served.contains(name) || base.is_some_and(|base| served.contains(base)),
                "{file} asks for pipekick_{name}, which docs/metrics.md does not list"
            );
        }
    }
    assert!(asked > 5, "only {asked} metrics are asked for");
    // An operator that stands by for nobody serves its metrics too.
    let alerts = read(&root().join("charts/pipekick/files/alerts.yaml")).unwrap();
    let (_, down) = alerts.split_once("- alert: PipekickDown\n").unwrap();
    assert!(down.trim_start().starts_with("expr: absent(pipekick_leading == 1)\n"), "{down}");
}
