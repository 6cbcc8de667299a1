fn main() {
    for (f, v) in pipekick::api::crd::crds() {
        println!("{f}\n{}", serde_json::to_string_pretty(&v).unwrap());
    }
}
