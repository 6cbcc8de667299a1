//! The settings of Argo CD that carry the scripts of `integrations/argocd`.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::controlplane::{read, root};

const DIR: &str = "integrations/argocd";
/// Each kind, and its actions in the order in which a person meets them.
const KINDS: [(&str, &[&str]); 2] = [
    ("PipelineTrigger", &["fire", "retry", "cancel", "suspend", "resume"]),
    ("PipelineSchedule", &["fire", "suspend", "resume"]),
];

/// Where they stand.
pub fn path() -> PathBuf {
    root().join(DIR).join("argocd-cm.yaml")
}

/// A patch of the ConfigMap `argocd-cm`.
pub fn settings() -> anyhow::Result<String> {
    let mut out = String::from(
        "# Written by `cargo xtask generated` from the scripts beside it.\n\
         #\n\
         #   kubectl patch configmap argocd-cm --namespace argocd --type merge --patch-file argocd-cm.yaml\n\
         data:\n",
    );
    for (kind, actions) in KINDS {
        let dir = kind.to_lowercase();
        let script = |path: &str| read(&root().join(DIR).join(path));
        let _ = writeln!(out, "  resource.customizations.health.pipekick.dev_{kind}: |");
        indent(&mut out, &script(&format!("health/{dir}.lua"))?, 4);
        let _ = writeln!(out, "  resource.customizations.actions.pipekick.dev_{kind}: |");
        out.push_str("    discovery.lua: |\n");
        indent(&mut out, &script(&format!("actions/{dir}/discovery.lua"))?, 6);
        out.push_str("    definitions:\n");
        for action in actions {
            let _ = writeln!(out, "    - name: {action}\n      action.lua: |");
            indent(&mut out, &script(&format!("actions/{dir}/{action}.lua"))?, 8);
        }
    }
    Ok(out)
}

fn indent(out: &mut String, text: &str, by: usize) {
    for line in text.lines() {
        let blank = if line.is_empty() { 0 } else { by };
        let _ = writeln!(out, "{:blank$}{line}", "");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_argo_cd_reads_from_it_is_the_scripts() {
        let patch: Value = serde_saphyr::from_str(&settings().unwrap()).unwrap();
        for (kind, actions) in KINDS {
            let dir = kind.to_lowercase();
            let script = |path: String| read(&root().join(DIR).join(path)).unwrap();
            let health = &patch["data"][format!("resource.customizations.health.pipekick.dev_{kind}")];
            assert_eq!(health.as_str().unwrap(), script(format!("health/{dir}.lua")));
            let text = &patch["data"][format!("resource.customizations.actions.pipekick.dev_{kind}")];
            let read: Value = serde_saphyr::from_str(text.as_str().unwrap()).unwrap();
            assert_eq!(read["discovery.lua"], script(format!("actions/{dir}/discovery.lua")));
            for (place, action) in actions.iter().enumerate() {
                let definition = &read["definitions"][place];
                assert_eq!(definition["name"], *action);
                assert_eq!(definition["action.lua"], script(format!("actions/{dir}/{action}.lua")));
            }
        }
    }
}
