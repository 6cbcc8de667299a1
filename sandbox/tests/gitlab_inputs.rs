//! Pipeline inputs against what the CI file declares, by both create routes, and what older versions do.

mod gitlab_client;

use std::collections::BTreeMap;

use gitlab_client::{Client, SHOP, Seen, send, started};
use pipekick_sandbox::gitlab::{Handle, InputKind, InputSpec, Seed};
use serde_json::{Map, Value, json};

/// `region` is required and one of two; the others have defaults.
fn with_inputs() -> (Handle, Client) {
    let mut seed = Seed::one_project("shop/checkout");
    let kind = |kind, default| InputSpec { kind, default: Some(default), options: Vec::new() };
    let region = InputSpec { options: vec![json!("eu"), json!("us")], ..InputSpec::default() };
    seed.projects[0].inputs = BTreeMap::from([
        ("debug".into(), kind(InputKind::Boolean, json!(false))),
        ("hosts".into(), kind(InputKind::Array, json!([]))),
        ("region".into(), region),
        ("replicas".into(), kind(InputKind::Number, json!(1))),
    ]);
    started(seed)
}

async fn create(client: &Client, inputs: &Value) -> Seen {
    let body = json!({ "ref": "main", "inputs": inputs });
    send(client.api("POST", &format!("{SHOP}/pipeline")).json(&body)).await
}

#[tokio::test]
async fn every_fault_is_named_and_a_trigger_keeps_the_failed_pipeline_where_an_access_token_does_not() {
    let (sim, client) = with_inputs();
    let required = "`region` input: required value has not been provided";
    for (inputs, text) in [
        (json!({}), required),
        (json!({ "region": 3 }), "`region` input: provided value is not a string"),
        (
            json!({ "region": "moon" }),
            "`region` input: `moon` cannot be used because it is not in the list of allowed options",
        ),
        (json!({ "region": "eu", "replicas": "many" }), "`replicas` input: provided value is not a number"),
        (json!({ "region": "eu", "hosts": {} }), "`hosts` input: provided value is not an array"),
        (json!({ "region": "eu", "speed": 1, "tint": 2 }), "unknown input arguments: speed, tint"),
        (
            json!({ "debug": 1, "hosts": 1, "replicas": true }),
            "`debug` input: provided value is not a boolean, `hosts` input: provided value is not an array, \
             `region` input: required value has not been provided",
        ),
    ] {
        let before = sim.ledger().pipelines.len();
        let refused = create(&client, &inputs).await;
        assert_eq!((refused.status, &refused.json()["message"]["base"][0]), (400, &json!(text)), "{inputs}");
        assert_eq!(sim.ledger().pipelines.len(), before);
        let kept = send(client.trigger(&json!({ "inputs": inputs }))).await;
        assert_eq!((kept.status, &kept.json()["message"]["base"][0]), (422, &json!(text)), "{inputs}");
        assert_eq!(sim.ledger().pipelines.len(), before + 1);
    }
}

#[tokio::test]
async fn inputs_are_typed_by_json_and_sent_as_json_text_by_a_form() {
    let (sim, client) = with_inputs();
    let inputs = json!({ "region": "us", "replicas": 3.5, "debug": true, "hosts": ["a", { "b": null }] });
    assert_eq!(create(&client, &inputs).await.status, 201);
    let token = Seed::TRIGGER_TOKEN;
    let form = format!(
        "token={token}&ref=main&inputs[replicas]=3&inputs[region]=us&inputs[debug]=true&inputs[hosts]=[\"a\"]"
    );
    let right = send(client.form(&format!("{SHOP}/trigger/pipeline"), form)).await;
    assert_eq!(right.status, 201, "{right:?}");
    let form = format!("token={token}&ref=main&inputs[region]=us&inputs[debug]=perhaps");
    let wrong = send(client.form(&format!("{SHOP}/trigger/pipeline"), form)).await;
    assert_eq!(wrong.status, 422, "{wrong:?}");
    assert_eq!(sim.ledger().pipelines[1].params["inputs"]["replicas"], "3", "the ledger keeps what was sent");
}

#[tokio::test]
async fn there_are_at_most_twenty_and_none_where_the_ci_file_declares_none() {
    let (_sim, client) = with_inputs();
    let many = |n: usize| Value::Object((0..n).map(|i| (format!("i{i}"), json!(i))).collect::<Map<_, _>>());
    let text = |seen: Seen| seen.json()["message"]["base"][0].as_str().unwrap().to_owned();
    assert!(text(create(&client, &many(21)).await).contains("20"));
    let (_sim, client) = gitlab_client::shop();
    assert_eq!(create(&client, &json!({})).await.status, 201);
    assert_eq!(
        text(create(&client, &many(1)).await),
        "Given inputs not defined in the `spec` section of the included configuration file"
    );
}

#[tokio::test]
async fn a_version_without_inputs_drops_them_without_a_word_and_misses_the_required_ones() {
    let (sim, client) = gitlab_client::shop();
    let version = |version: &str| {
        sim.add(Seed { version: Some(version.parse().unwrap()), ..Seed::default() }).unwrap();
    };
    for (release, trigger, access) in
        [("15.0", 201, 201), ("17.10", 201, 201), ("17.11", 422, 400), ("19.4", 422, 400)]
    {
        version(release);
        let shown = client.get("/version").await.json()["version"].as_str().unwrap().to_owned();
        assert!(shown.starts_with(&format!("{release}.")), "{shown}");
        let inputs = json!({ "no": "such" });
        assert_eq!(send(client.trigger(&json!({ "inputs": inputs }))).await.status, trigger, "{release}");
        assert_eq!(create(&client, &inputs).await.status, access, "{release}");
    }
    let (sim, client) = with_inputs();
    sim.add(Seed { version: Some("17.10".parse().unwrap()), ..Seed::default() }).unwrap();
    let missed = create(&client, &json!({ "region": "eu" })).await;
    assert_eq!(missed.status, 400, "what was dropped is missing: {missed:?}");
}

#[tokio::test]
async fn before_16_pipelines_have_no_names_to_be_told_set_or_looked_for() {
    let mut seed = Seed::one_project("shop/checkout");
    seed.projects[0].workflow_name = Some("nightly".into());
    let (sim, client) = started(seed);
    let id = send(client.trigger(&json!({}))).await.id();
    let one = format!("{SHOP}/pipelines/{id}");
    let looked_for = format!("{SHOP}/pipelines?name=other");
    for (release, told, found, renamed) in
        [("15.11", false, 1, 404), ("16.3", true, 1, 404), ("16.6", true, 1, 200), ("16.9", true, 0, 200)]
    {
        sim.add(Seed { version: Some(release.parse().unwrap()), ..Seed::default() }).unwrap();
        assert_eq!(client.get(&one).await.json().get("name").is_some(), told, "{release}");
        assert_eq!(client.get(&looked_for).await.each("id").len(), found, "{release}");
        let rename = send(client.api("PUT", &format!("{one}/metadata?name=nightly"))).await;
        assert_eq!(rename.status, renamed, "{release}");
    }
}
