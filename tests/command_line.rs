//! What the binary answers on the command line: where it prints, and how it exits.
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

use std::process::{Command, Output};

fn pipekick(line: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pipekick")).args(line).env_clear().output().unwrap()
}

/// Exit code, and what was printed.
fn says(line: &[&str]) -> (i32, String, String) {
    let output = pipekick(line);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn what_is_answered_goes_to_standard_output_and_exits_with_0() {
    let line = ["next", "30 2 * * *", "--from", "2026-11-02T00:00:00Z", "--count", "1"];
    assert_eq!(says(&line), (0, "2026-11-02T02:30:00Z  Mon\n".into(), String::new()));
    for command in ["crds", "reasons", "metrics", "troubleshooting"] {
        let (code, answer, error) = says(&[command]);
        assert!((code, error.as_str()) == (0, "") && answer.lines().count() > 10, "{command}");
    }
}

#[test]
fn a_wrong_input_exits_with_2_and_a_message_and_prints_nothing() {
    let simulate = |file, until| ["simulate", "-f", file, "--from", "2026-11-02T09:00:00Z", "--until", until];
    let (missing, later) = ("/no/such/file.yaml", "2026-11-02T10:00:00Z");
    let cases: [(&[&str], &str); 28] = [
        (&["next", "61 * * * *"], "61 in the minute field: 0-59"),
        (&["next", "TZ=UTC 0 2 * * *"], "write the zone into --time-zone"),
        (&["next", "0 0 2 * * *"], "seconds are not supported"),
        (&["next", "0 0 31 2 *"], "never fires"),
        (&["next", "@daily", "--time-zone", "Mars"], "--time-zone: \"Mars\" is no time zone"),
        (&["next", "@daily", "--from", "today"], "--from \"today\""),
        (&["next", "@daily", "--count", "0"], "--count"),
        (&["next", "@daily", "--count", "1", "--until", later], "cannot be used with"),
        (&["next"], "EXPR"),
        (&simulate(missing, later), missing),
        (&simulate("/dev/null", later), "the manifest"),
        (&["fire"], "unrecognized subcommand"),
        (&["wait", "checkout"], "write KIND/NAME"),
        (&["wait", "pod/checkout"], "the kind is pipelinetrigger"),
        (&["wait", "ptrig/checkout", "--timeout", "30"], "write it like 90s"),
        (&["wait", "ptrig/Check_Out"], "no object can have this name"),
        (&["wait", "ptrig/.."], "no object can have this name"),
        (&["wait", "ptrig/checkout", "-n", "shop/other"], "write the name of a namespace"),
        (&["release"], "<--namespace <NAME>|--all>"),
        (&["release", "-n", "shop", "--all"], "cannot be used with"),
        (&["release", "-n", "../shop"], "write the name of a namespace"),
        (&["release", "--all", "--lease-name", "a/b"], "write a name in lower case"),
        (&["check", "--namespace=shop,Billing"], "write the name of a namespace"),
        (&["run", "--log-level=infoo"], "--log-level infoo: write a level"),
        (&["run", "--leader-elect", "--lease-name=a/b"], "write a name in lower case"),
        (&["run", "--leader-elect", "--lease-namespace=A"], "write the name of a namespace"),
        (&["run", "--log-lvel=debug"], "a similar argument exists: '--log-level'"),
        (&["run", "--first-sight=Fired"], "a similar value exists: 'Fire'"),
    ];
    for (line, why) in cases {
        let (code, answer, error) = says(line);
        assert_eq!((code, answer.as_str()), (2, ""), "{line:?}: {error}");
        assert!(error.contains(why), "{line:?}: {error}");
    }
}

#[test]
fn what_is_typed_goes_before_the_environment_and_that_before_the_file() {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("pipekick.yaml");
    std::fs::write(&file, "gitlab-url: http://of-the-file.example.com").unwrap();
    let file = file.to_str().unwrap();
    let says = |line: &[&str], env: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipekick"));
        let output = command.arg("run").args(line).env_clear().envs(env.iter().copied()).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let in_env = ("PIPEKICK_GITLAB_URL", "http://of-the-environment.example.com");
    let typed = "--gitlab-url=http://typed.example.com";
    for (line, env, names) in [
        (&["--config", file][..], &[][..], "http://of-the-file.example.com"),
        (&[], &[("PIPEKICK_CONFIG", file)], "http://of-the-file.example.com"),
        (&["--config", file], &[in_env], "http://of-the-environment.example.com"),
        (&["--config", file, typed], &[in_env], "http://typed.example.com"),
        (&["--config", "/no/such.yaml"], &[], "--config /no/such.yaml: No such file"),
    ] {
        let (code, error) = says(line, env);
        // Plain http is refused, and the refusal names the URL that was taken.
        assert!(code == 2 && error.contains(names), "{line:?} {env:?}: {error}");
    }
}

#[test]
fn who_waits_without_a_cluster_is_told_so_by_a_code_of_its_own() {
    let (code, answer, error) = says(&["wait", "ptrig/checkout"]);
    assert_eq!((code, answer.as_str()), (4, ""), "{error}");
    assert!(error.contains("cannot connect to the Kubernetes API"), "{error}");
    assert_eq!(error.matches("failed to read kubeconfig").count(), 1, "once is enough: {error}");
}

#[test]
fn simulate_reads_the_standard_input() {
    use std::io::Write as _;
    use std::process::Stdio;

    let manifest = "{apiVersion: pipekick.dev/v1alpha1, kind: PipelineSchedule, metadata: {name: nightly}, spec: {schedule: '30 9 * * *', triggerTemplate: {spec: {gitlab: {project: a/b, triggerTokenRef: {name: s, key: k}}, ref: main}}}}";
    let line = ["simulate", "-f", "-", "--from", "2026-11-02T09:00:00Z", "--until", "2026-11-02T10:00:00Z"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipekick"));
    let mut process = command.args(line).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(manifest.as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && answer.contains("1 fired, 0 missed"), "{answer}");
}
