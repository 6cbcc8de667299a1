//! Fills in the templates of image updates with what is known of the run.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::decide::trigger::{UpdateEntry, UpdateKey, access_of};
use crate::domain::digest::Compared;
use crate::domain::image_update::{EditError, FileEdit, ValueError};
use crate::domain::merge_request::ProposalError;
use crate::domain::template::{PipelineFacts, RunFacts};
use crate::domain::variable::VariableValue;
use crate::domain::{
    Access, Context, GitRef, ImageUpdate, MergeRequestTemplate, ProjectRef, Proposal, Run, Spec, Template,
    TemplateError, Trigger, ValueSource,
};

/// Each output by name: its value, or why there is none.
pub(super) type Outputs = BTreeMap<String, Result<String, String>>;

/// What a run's templates are filled in with.
pub(super) struct Filler<'a> {
    run: &'a Run,
    trigger: &'a Trigger,
    spec: &'a Spec,
    outputs: &'a Outputs,
    /// Whether spec still says the variables that the run was fired with.
    as_fired: bool,
    context: Context,
}

impl<'a> Filler<'a> {
    pub(super) fn new(run: &'a Run, trigger: &'a Trigger, spec: &'a Spec, outputs: &'a Outputs) -> Self {
        let as_fired = trigger.firing.compare(&run.digest) != Compared::Changed;
        let context = context(run, trigger, spec, outputs, as_fired);
        Self { run, trigger, spec, outputs, as_fired, context }
    }

    /// The entry of this number, ready for its queue; or why it cannot be.
    pub(super) fn fill(&self, number: usize, now: Timestamp) -> Result<UpdateEntry, String> {
        let Some(update) = self.spec.image_updates.get(number) else {
            return Err("the entry was taken out of spec".into());
        };
        let ImageUpdate {
            project,
            access_token,
            branch,
            edits,
            message,
            author,
            merge_request,
            when: _,
            allow_shared,
            dry_run,
        } = update;
        let own = access_of(self.run, self.trigger);
        let bundle = own.as_ref().and_then(|access| access.ca_bundle.clone());
        let token = access_token.clone().or(own.map(|access| access.token));
        let token = token.ok_or("no token is named to write with: set gitlab.accessTokenRef")?;
        let project = match project {
            Some(project) => project.clone(),
            None => {
                let own = self.run.target.project.parse::<ProjectRef>();
                own.map_err(|error| format!("status.run.target: {error}"))?
            }
        };
        let edits: Result<Vec<FileEdit>, EditError> =
            edits.iter().map(|edit| edit.render(&self.context)).collect();
        let edits = edits.map_err(|EditError { file, field, why }| {
            let why = match &why {
                ValueError::Template(error) => self.explained(error),
                ValueError::Image(_) | ValueError::Text(_) | ValueError::Nothing => why.to_string(),
            };
            format!("{file}, {field}: {why}")
        })?;
        let proposal =
            merge_request.as_deref().map(|template| self.proposal(template, branch)).transpose()?;
        Ok(UpdateEntry {
            key: UpdateKey { fire_id: self.run.fire_id.clone(), entry: number, at: now },
            project,
            branch: branch.clone(),
            access: Access { token, ca_bundle: bundle },
            edits,
            title: message.as_ref().map(|template| self.title(template)).transpose()?,
            author: author.clone(),
            proposal,
            allow_shared: *allow_shared,
            dry_run: *dry_run,
            since: None,
            give_up: false,
        })
    }

    fn title(&self, template: &Template) -> Result<String, String> {
        template.render(&self.context).map_err(|error| format!("message: {}", self.explained(&error)))
    }

    fn proposal(&self, template: &MergeRequestTemplate, target: &GitRef) -> Result<Box<Proposal>, String> {
        let proposal = template.render(target, &self.context).map_err(|error| match &error {
            ProposalError::Template(field, why) => format!("mergeRequest.{field}: {}", self.explained(why)),
            ProposalError::Branch(_) | ProposalError::Title(_) => error.to_string(),
        })?;
        Ok(Box::new(proposal))
    }

    /// What is not defined, and why it is not.
    fn explained(&self, error: &TemplateError) -> String {
        if let TemplateError::Undefined { name, hint: _ } = error {
            let output = name.strip_prefix("outputs.").and_then(|name| self.outputs.get(name));
            if let Some(Err(why)) = output {
                return format!("`{name}` has no value: {why}");
            }
            if name.starts_with("variables.") && !self.as_fired {
                return format!(
                    "`{name}` is not known any more: spec was edited since the run was fired. The next run writes"
                );
            }
        }
        error.to_string()
    }
}

fn context(run: &Run, trigger: &Trigger, spec: &Spec, outputs: &Outputs, as_fired: bool) -> Context {
    let mut variables = BTreeMap::new();
    let mut secret_variables = BTreeSet::new();
    for variable in spec.variables.iter().filter(|_| as_fired) {
        let name = variable.name.to_string();
        match &variable.value {
            VariableValue::Text(value)
            | VariableValue::From {
                source: ValueSource::Field { path: _, value: Some(value) },
                optional: _,
            } => {
                variables.insert(name, value.clone());
            }
            VariableValue::From { source: ValueSource::Secret(_), optional: _ } => {
                secret_variables.insert(name);
            }
            // Read for the POST alone, and not kept.
            VariableValue::From {
                source: ValueSource::ConfigMap { .. } | ValueSource::Field { path: _, value: None },
                optional: _,
            } => {}
        }
    }
    let pipeline = run.pipeline.as_ref();
    Context {
        pipeline: PipelineFacts {
            id: pipeline.map(|pipeline| pipeline.id).unwrap_or_default(),
            iid: pipeline.and_then(|pipeline| pipeline.iid),
            project_id: pipeline.and_then(|pipeline| pipeline.project_id),
            sha: pipeline.and_then(|pipeline| pipeline.sha.clone()),
            git_ref: pipeline.and_then(|pipeline| pipeline.git_ref.clone()),
            status: pipeline.map(|pipeline| pipeline.status.to_string()).unwrap_or_default(),
            source: pipeline.and_then(|pipeline| pipeline.source.clone()),
            web_url: pipeline.and_then(|pipeline| pipeline.web_url.clone()),
        },
        variables,
        secret_variables,
        trigger: trigger.key.clone(),
        run: RunFacts {
            fire_id: run.fire_id.to_string(),
            seq: run.seq,
            fired_at: run.fired_at.map(|at| at.to_string()),
        },
        outputs: outputs
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.as_ref().ok()?.clone())))
            .collect(),
    }
}
