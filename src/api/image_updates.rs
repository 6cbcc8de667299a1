//! `outputs` and `imageUpdates`, as written.

use kube::KubeSchema;
use pipekick_core::domain::image_update::{EditTarget, EditTemplate, Part, When};
use pipekick_core::domain::{Author, ImageUpdate, Output, Pick, SpecProblem, Template, Via};
use pipekick_core::yaml::DocumentSelector;
use serde::{Deserialize, Serialize};

use super::merge_request::MergeRequestSpec;
use super::trigger::{SecretKeySelector, problem};

/// One value that image updates may write, read from the artifacts of a job of the pipeline.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.key) != has(self.jsonPath)").message("an output has either key (of a file with lines KEY=value) or jsonPath (of a JSON file): write one of them"),
)]
pub struct OutputSpec {
    /// Templates name it outputs.NAME: letters, digits and underscores.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub name: String,
    /// Name of the job whose artifacts have the file. Of a job that ran several times the newest counts.
    #[schemars(length(min = 1, max = 255))]
    pub job: String,
    /// Path of the file within the artifacts, such as build.env; at most 256 KiB are read. The job lists it under
    /// artifacts:paths; GitLab serves artifacts:reports:dotenv alone to no one.
    #[schemars(length(min = 1, max = 512), regex(pattern = "^[^/]+(/[^/]+)*$"))]
    pub artifact: String,
    /// The KEY of a line KEY=value; the last one of several counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = "^[A-Za-z_][A-Za-z0-9_.-]*$"))]
    pub key: Option<String>,
    /// Path of a text, whole number or boolean in a JSON file, such as image.tag or images[0].tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = "^[^\\n\\r]+$"))]
    pub json_path: Option<String>,
}

/// What is written into one branch of one repository: all of its edits in one commit, or none.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.mergeRequest) || (has(self.via) && self.via == 'MergeRequest')").message("mergeRequest says what the merge request is: write via: MergeRequest beside it, or leave it out"),
)]
pub struct ImageUpdateSpec {
    /// The project that is written to, in the same GitLab: its full path (platform/gitops), or its numeric id in quotes.
    /// Unset: gitlab.project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(
        validation = Rule::new("self.matches('^([1-9][0-9]*|[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+)$')").message("project: write the full path with its group (platform/gitops), or the numeric id in quotes"),
    )]
    pub project: Option<String>,
    /// Secret key with the access token that writes: scope api, and a user who may push to the branch. The Secret
    /// carries the label pipekick.dev/credential: "true". Unset: gitlab.accessTokenRef.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_ref: Option<SecretKeySelector>,
    /// The branch that is written to, or that the merge request goes to. It must exist.
    #[schemars(length(min = 1, max = 255))]
    pub branch: String,
    /// What is written, 1 to 20.
    #[schemars(length(min = 1, max = 20))]
    pub edits: Vec<EditSpec>,
    /// First line of the commit's message, a template as value is, such as "checkout: {{ pipeline.sha[:8] }}". Where
    /// the updates of several runs share a commit, each has its line, below one that the operator's flag
    /// --shared-commit-title says. Unset: what was edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub message: Option<String>,
    /// Whom the commit is said to be by. The token's user commits it all the same. Unset: that user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<AuthorSpec>,
    /// `kubectl explain` shows what stands at [`Via`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    /// What the merge request is, with via: MergeRequest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_request: Option<MergeRequestSpec>,
    /// `kubectl explain` shows what stands at [`When`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    /// true: other triggers may write the same values, if they say so too; the later pipeline wins. Unset: false, and
    /// triggers that mean to write one value are all refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_shared: Option<bool>,
    /// true: nothing is written; status and an Event tell what would be. Unset: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
}

/// The author of a commit, as git shows it.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorSpec {
    /// The name.
    #[schemars(length(min = 1, max = 100), regex(pattern = "^[^<>\\n\\r]+$"))]
    pub name: String,
    /// The address.
    #[schemars(length(min = 3, max = 254), regex(pattern = "^[^<>@\\s]+@[^<>@\\s]+$"))]
    pub email: String,
}

/// One edit of one file: exactly one of path, marker, image and line says where. Everything else in the file stays as it
/// is, byte by byte.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.path) ? 1 : 0) + (has(self.marker) ? 1 : 0) + (has(self.image) ? 1 : 0) + (has(self.line) ? 1 : 0) == 1").message("an edit says where by exactly one of path, marker, image (of a kustomization) and line (of an env file)"),
    validation = Rule::new("has(self.value) != has(self.image)").message("value is what path, marker or line get; with image write newTag, newName or digest instead"),
    validation = Rule::new("!has(self.image) || has(self.newTag) || has(self.newName) || has(self.digest)").message("image: write at least one of newTag, newName and digest beside it"),
    validation = Rule::new("has(self.image) || !(has(self.newTag) || has(self.newName) || has(self.digest) || has(self.create))").message("newTag, newName, digest and create belong to image; path, marker and line get a value"),
    validation = Rule::new("!has(self.document) || has(self.path)").message("document chooses where path begins: write path beside it, or leave it out"),
    validation = Rule::new("!has(self.part) || has(self.path) || has(self.marker)").message("part belongs to path or marker: leave it out"),
)]
pub struct EditSpec {
    /// The file, by its path from the root of the repository, such as apps/checkout/values.yaml. It must exist. *.json
    /// is read as JSON, *.env and .env.* as lines KEY=value, all else as YAML.
    #[schemars(length(min = 1, max = 512), regex(pattern = "^[^/]+(/[^/]+)*$"))]
    pub file: String,
    /// Way to a single value, such as image.tag, spec.template.spec.containers[name=app].image, images[0].newTag or
    /// metadata.annotations["example.com/version"]. It must exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = "^[^\\n\\r]+$"))]
    pub path: Option<String>,
    /// Which document path is in, where the file has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<DocumentSpec>,
    /// Name of a comment that marks lines whose value is written: checkout:tag of "# pipekick: checkout:tag", or
    /// flux-system:checkout:tag of Flux's {"$imagepolicy": "flux-system:checkout:tag"}. One that ends in :tag, :name or
    /// :digest says what the value is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[A-Za-z0-9._/-]+(:[A-Za-z0-9._/-]+){0,2}$"))]
    pub marker: Option<String>,
    /// The name of an entry of images in a kustomization.yaml.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub image: Option<String>,
    /// The KEY of a line KEY=value in an env file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = "^[A-Za-z_][A-Za-z0-9_.-]*$"))]
    pub line: Option<String>,
    /// The new value, a template: text with expressions such as {{ outputs.tag }} or {{ pipeline.sha[:8] }}. There are
    /// pipeline (id, iid, projectId, sha, ref, status, source, webUrl), variables (as spec says them; none that come
    /// from a Secret or ConfigMap), trigger (namespace, name), run (fireId, seq, firedAt) and outputs. A name that is not
    /// defined is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub value: Option<String>,
    /// `kubectl explain` shows what stands at [`Part`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// With image: its newTag, a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub new_tag: Option<String>,
    /// With image: its newName, a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub new_name: Option<String>,
    /// With image: its digest, a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub digest: Option<String>,
    /// With image: true adds an entry or a field that is not there yet. Unset: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<bool>,
}

/// One of the documents of a file.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("has(self.kind) || has(self.name)").message("document: write kind, name or both"),
)]
pub struct DocumentSpec {
    /// Its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub kind: Option<String>,
    /// Its metadata.name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
}

impl OutputSpec {
    pub(super) fn parse(&self) -> Result<Output, SpecProblem> {
        let Self { name, job, artifact, key, json_path } = self;
        let at = |field: &str| format!("outputs, {name}: {field}");
        let pick = match (key, json_path) {
            (Some(key), None) => Pick::Key(key.parse().map_err(|e| problem(&at("key"), &e))?),
            (None, Some(path)) => Pick::Json(path.parse().map_err(|e| problem(&at("jsonPath"), &e))?),
            (None, None) | (Some(_), Some(_)) => {
                return Err(SpecProblem(at("write either key or jsonPath")));
            }
        };
        Ok(Output {
            name: name.parse().map_err(|e| problem("outputs", &e))?,
            job: job.clone(),
            artifact: artifact.parse().map_err(|e| problem(&at("artifact"), &e))?,
            pick,
        })
    }
}

impl ImageUpdateSpec {
    /// The entry of this number, from 0.
    pub(super) fn parse(&self, number: usize) -> Result<ImageUpdate, SpecProblem> {
        let Self {
            project,
            access_token_ref,
            branch,
            edits,
            message,
            author,
            via,
            merge_request,
            when,
            allow_shared,
            dry_run,
        } = self;
        let at = |field: &str| format!("imageUpdates[{number}].{field}");
        let project = project.as_deref().map(str::parse).transpose();
        let merge_request = match (via.unwrap_or_default(), merge_request) {
            (Via::Commit, None) => None,
            (Via::MergeRequest, None) => Some(MergeRequestSpec::default().parse(&at("mergeRequest"))?),
            (Via::MergeRequest, Some(written)) => Some(written.parse(&at("mergeRequest"))?),
            (Via::Commit, Some(_)) => {
                return Err(SpecProblem(at("mergeRequest: write via: MergeRequest beside it")));
            }
        };
        let author = author.as_ref().map(|AuthorSpec { name, email }| Author::new(name, email)).transpose();
        let edits = edits.iter().enumerate().map(|(i, edit)| edit.parse(&at(&format!("edits[{i}]"))));
        Ok(ImageUpdate {
            project: project.map_err(|e| problem(&at("project"), &e))?,
            access_token: access_token_ref.as_ref().map(SecretKeySelector::to_domain),
            branch: branch.parse().map_err(|e| problem(&at("branch"), &e))?,
            edits: edits.collect::<Result<_, SpecProblem>>()?,
            message: template(message.as_ref(), &at("message"))?,
            author: author.map_err(|e| problem(&at("author"), &e))?.map(Box::new),
            merge_request: merge_request.map(Box::new),
            when: when.unwrap_or_default(),
            allow_shared: allow_shared.unwrap_or(false),
            dry_run: dry_run.unwrap_or(false),
        })
    }
}

impl EditSpec {
    fn parse(&self, at: &str) -> Result<EditTemplate, SpecProblem> {
        let Self {
            file,
            path,
            document,
            marker,
            image,
            line,
            value,
            part,
            new_tag,
            new_name,
            digest,
            create,
        } = self;
        let field = |name: &str| format!("{at}.{name}");
        let value = || -> Result<Template, SpecProblem> {
            let value = template(value.as_ref(), &field("value"))?;
            value.ok_or_else(|| SpecProblem(format!("{at}: write the value beside it")))
        };
        let document = document.as_ref().map(|DocumentSpec { kind, name }| {
            let selector = DocumentSelector::new(kind.clone(), name.clone());
            selector.ok_or_else(|| SpecProblem(format!("{}: write kind, name or both", field("document"))))
        });
        let target = match (path, marker, image, line) {
            (Some(path), None, None, None) => EditTarget::Path {
                document: document.transpose()?,
                path: path.parse().map_err(|e| problem(&field("path"), &e))?,
                part: *part,
                value: value()?,
            },
            (None, Some(marker), None, None) => EditTarget::Marker {
                marker: marker.parse().map_err(|e| problem(&field("marker"), &e))?,
                part: *part,
                value: value()?,
            },
            (None, None, Some(image), None) => EditTarget::Image {
                name: image.parse().map_err(|e| problem(&field("image"), &e))?,
                new_name: template(new_name.as_ref(), &field("newName"))?,
                new_tag: template(new_tag.as_ref(), &field("newTag"))?,
                digest: template(digest.as_ref(), &field("digest"))?,
                create: create.unwrap_or(false),
            },
            (None, None, None, Some(line)) => EditTarget::Line {
                key: line.parse().map_err(|e| problem(&field("line"), &e))?,
                value: value()?,
            },
            _ => {
                let message = format!("{at}: write exactly one of path, marker, image and line");
                return Err(SpecProblem(message));
            }
        };
        Ok(EditTemplate { file: file.parse().map_err(|e| problem(&field("file"), &e))?, target })
    }
}

fn template(text: Option<&String>, field: &str) -> Result<Option<Template>, SpecProblem> {
    text.map(|text| text.parse::<Template>()).transpose().map_err(|e| problem(field, &e))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(edit: &serde_json::Value) -> Result<ImageUpdate, String> {
        let update = json!({"branch": "main", "edits": [edit]});
        let update: ImageUpdateSpec = serde_json::from_value(update).unwrap();
        update.parse(1).map_err(|problem| problem.0)
    }

    #[test]
    fn every_way_to_say_where_is_read() {
        for edit in [
            json!({"file": "a/values.yaml", "path": "image.tag", "value": "{{ outputs.tag }}"}),
            json!({"file": "a.yaml", "path": "spec.image", "document": {"kind": "X"}, "part": "Tag", "value": "v"}),
            json!({"file": "a.yaml", "marker": "checkout:tag", "value": "{{ pipeline.sha[:8] }}"}),
            json!({"file": "kustomization.yaml", "image": "a/b", "newTag": "v1", "create": true}),
            json!({"file": ".env", "line": "TAG", "value": "v1"}),
        ] {
            assert!(parse(&edit).is_ok(), "{:?}", parse(&edit));
        }
    }

    #[test]
    fn a_problem_names_its_field_and_says_what_is_wrong() {
        for (edit, says) in [
            (
                json!({"file": "../a", "path": "a", "value": "v"}),
                "imageUpdates[1].edits[0].file: `../a` is no file",
            ),
            (
                json!({"file": "a", "path": "a..b", "value": "v"}),
                "imageUpdates[1].edits[0].path: `a..b` is no path",
            ),
            (
                json!({"file": "a", "path": "a", "value": "{{ x"}),
                "imageUpdates[1].edits[0].value: the template is not well-formed",
            ),
            (json!({"file": "a", "path": "a"}), "imageUpdates[1].edits[0]: write the value"),
            (
                json!({"file": "a", "image": "A B", "newTag": "v"}),
                "imageUpdates[1].edits[0].image: `A B` is no image name",
            ),
            (
                json!({"file": "a", "path": "a", "line": "A", "value": "v"}),
                "imageUpdates[1].edits[0]: write exactly one",
            ),
        ] {
            let problem = parse(&edit).unwrap_err();
            assert!(problem.starts_with(says), "{problem}");
        }
    }
}
