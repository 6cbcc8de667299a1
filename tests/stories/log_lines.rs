//! What the operator logs of runs, as those read it who collect lines of JSON.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::Value;

use crate::harness::gitlab::{failing, playing, project, quick};
use crate::harness::{Trigger, story};

#[test]
fn each_run_has_one_line_at_its_end_and_lines_of_a_run_carry_its_fire_id() {
    let mut seed = playing(quick());
    seed.projects.push(project("shop/failing", failing(SignedDuration::from_millis(300))));
    story(seed, async |story| {
        story.operator(&["--log-format", "json", "--log-level", "info"]);
        story.apply(&Trigger::new("checkout")).await;
        story.until_run("checkout", 1, "Succeeded").await;
        story.ask("checkout", "again").await;
        story.apply(&Trigger::new("fails").with("spec.gitlab.project", "shop/failing")).await;
        story.apply(&Trigger::new("refused").with("spec.ref", "mian")).await;
        story.apply(&Trigger::new("unfollowed").without("spec.gitlab.accessTokenRef")).await;
        let ends = [
            ("checkout", 1, "Succeeded"),
            ("checkout", 2, "Succeeded"),
            ("fails", 1, "Failed"),
            ("refused", 1, "Rejected"),
            ("unfollowed", 1, "Fired"),
        ];
        let mut expected = Vec::new();
        for (name, seq, phase) in ends.into_iter().rev() {
            if (name, seq) != ("checkout", 1) {
                story.until_run(name, seq, phase).await;
            }
            expected.push((format!("{}/{name}", story.namespace), seq, phase.to_owned()));
        }
        // Whatever is looked at once more is not told once more. In order: a line comes after its status.
        story.terminate_operators();
        let first = story.log();
        story.operator(&[]);
        story.let_pass().await;
        let again = story.log_of(2);
        let mut again = again.lines().filter(|line| line.contains("run ended"));
        assert!(again.all(|line| line.contains("/marker-")), "an end is told once");

        let lines: Vec<Value> = first
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect();
        let fields = lines.iter().map(|line| &line["fields"]);
        let (mut told, mut of_runs) = (Vec::new(), BTreeMap::<&str, usize>::new());
        for line in fields {
            if let Some(fire_id) = line["fire_id"].as_str() {
                *of_runs.entry(fire_id).or_default() += 1;
            }
            if line["message"] == "run ended" {
                let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
                told.push((text("object"), line["run"].as_i64().unwrap_or_default(), text("phase")));
            }
        }
        told.sort();
        expected.sort();
        assert_eq!(told, expected);
        for pipeline in story.pipelines_of("checkout") {
            let fire_id = pipeline.fire_id.unwrap();
            assert_eq!(of_runs.get(fire_id.as_str()), Some(&2), "its creation and its end: {lines:#?}");
        }
    });
}
