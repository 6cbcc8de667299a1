//! An edit changes exactly the scalar that is meant, as an independent YAML reader sees it, and no byte beside.
//!
//! `shapes/` are files as they stand in people's repositories, some of them ugly; every scalar in each is
//! edited. `generator` makes others. `oracle` judges, by libyaml, which shares no code with the parser that
//! finds the scalars and which Go's yaml and PyYAML descend from.

mod generator;
mod oracle;
mod shapes;

use proptest::prelude::*;

use oracle::{Outcome, judge, scalars};

/// New values: what stays plain, what must be quoted, what must be escaped.
const VALUES: &[&str] =
    &["v2", "1.10", "it's \"so\" \\ # x: y", "registry.example.com:5000/a/b:v2", "yes", "~x"];

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn an_edit_of_any_scalar_of_any_file_changes_that_scalar_alone(
        file in generator::file(),
        pick: prop::sample::Index,
        value in prop::sample::select(VALUES),
    ) {
        let found = scalars(file.as_bytes()).unwrap_or_else(|| panic!("the generator wrote no YAML:\n{file}"));
        prop_assume!(!found.is_empty());
        let target = &found[pick.index(found.len())];
        judge("generated.yaml", &file, target, value).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn no_bytes_are_too_odd_to_be_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), path in "[a-c.\\[\\]0-2]{1,6}") {
        oracle::edit_blindly(&bytes, &path);
    }

    #[test]
    fn no_text_near_yaml_is_too_odd_to_be_refused(
        text in "([ab\"'#&*!|>%@:,\\[\\]{}?~ \\t\\r\\n-]|: |- |<<: |\\*a|&a|\\u{feff}|ü|---\n|\\.\\.\\.\n){0,40}",
        path in "[ab](\\.[ab]|\\[[01]\\]){0,2}",
    ) {
        oracle::edit_blindly(text.as_bytes(), &path);
        for target in scalars(text.as_bytes()).unwrap_or_default() {
            judge("near.yaml", &text, &target, "v2").map_err(TestCaseError::fail)?;
        }
    }
}

/// More of them with `YAML_CASES=100000`.
fn cases() -> u32 {
    std::env::var("YAML_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(400)
}

#[test]
fn every_scalar_of_every_shape_can_be_edited_or_is_refused_with_a_reason() {
    let mut edited = 0;
    let mut refused = std::collections::BTreeMap::<String, usize>::new();
    assert!(shapes::ALL.len() >= 30);
    for (name, text) in shapes::ALL {
        let found = scalars(text.as_bytes()).unwrap_or_else(|| panic!("{name} is no YAML"));
        assert!(!found.is_empty(), "{name}");
        for target in &found {
            for value in VALUES {
                match judge(name, text, target, value) {
                    Ok(Outcome::Edited) => edited += 1,
                    Ok(Outcome::UpToDate) => {}
                    Ok(Outcome::Refused(why)) => *refused.entry(why).or_default() += 1,
                    Err(problem) => panic!("{problem}"),
                }
            }
        }
    }
    println!("{edited} edits; refused: {refused:?}");
    assert!(edited > 2000, "{edited}");
    let expected = ["Alias", "BlockScalar", "Empty", "Typed"];
    assert!(refused.keys().all(|why| expected.contains(&why.as_str())), "{refused:?}");
}
