//! One build from the request to the outputs, in one direction: parse, plan, resolve, execute, commit, export. The invariant:
//! each phase takes what the one before made; nothing is written into the store's records before all steps succeeded.

use std::sync::Arc;

use containerfile::{Diagnostic, Parsed, Severity};
use image::Image;
use rootfs::accounts::Accounts;

use crate::cache::Cache;
use crate::cancel::Cancel;
use crate::commit::{self, Settings};
use crate::error::BuildError;
use crate::event::{BuildEvent, StageSummary};
use crate::execute::{Workshop, needs_session, needs_trees, run_all, view_of};
use crate::graph::{BuildPlan, PlannedStage};
use crate::host::Host;
use crate::job::{Executed, Job, JobImage, JobNetwork, StepFailure};
use crate::plan::user_policy::{self, FoundIds, UserVerdict};
use crate::plan::{Draft, Outcome, Pins, PlanError, PlanOptions, proxy_environment};
use crate::request::{BuildRequest, Context, NamedContext, Network, Output, UserPolicy};
use crate::session::run_remotely;
use crate::{export, resolve};

/// A finished build.
#[derive(Debug)]
pub struct Built {
    /// The image; it is in the store.
    pub image: Image,
    /// Bytes of its layers, uncompressed.
    pub size: u64,
    /// Whether it has new layers that no session has unpacked yet: those of a final stage that only copies.
    pub packed: bool,
    /// Findings that did not stop the build.
    pub warnings: Vec<Diagnostic>,
}

/// What a build would do.
#[derive(Debug)]
pub struct Planned {
    /// The plan.
    pub plan: BuildPlan,
    /// Findings that do not stop it.
    pub warnings: Vec<Diagnostic>,
}

/// Plans a build without doing anything but getting the images that it starts from.
///
/// # Errors
/// See [`BuildError`].
pub fn plan(
    request: &BuildRequest,
    host: &Host<'_>,
    events: &(dyn Fn(BuildEvent) + Sync),
) -> Result<Planned, BuildError> {
    let _stops = host.stop_when_cancelled();
    let parsed = containerfile::parse(&request.containerfile);
    let options = PlanOptions::from(request);
    let draft = Draft::of(&parsed, &options).map_err(|error| refuse(&parsed, error))?;
    let mut pins = Pins::new();
    let mut wanted = draft.images().to_vec();
    loop {
        for image in wanted {
            let found = resolve::resolve(host, &image, events)?;
            pins.insert(image.key, found);
        }
        match draft
            .finish(&pins)
            .map_err(|error| refuse(&parsed, error))?
        {
            Outcome::Planned(plan, warnings) => return Ok(Planned { plan, warnings }),
            Outcome::NeedsImages(more) => wanted = more,
        }
    }
}

fn refuse(parsed: &Parsed, error: PlanError) -> BuildError {
    match error {
        PlanError::Invalid(diagnostics) => BuildError::Plan(diagnostics),
        PlanError::UnknownTarget {
            name,
            nearest,
            stages,
        } => {
            let help = nearest.map_or_else(
                || format!("the stages are {}", stages.join(", ")),
                |nearest| format!("did you mean {nearest:?}?"),
            );
            let span = parsed
                .file
                .stages
                .last()
                .map_or(containerfile::Span::new(0, 0), |stage| stage.from.span);
            BuildError::Plan(vec![Diagnostic {
                rule: None,
                severity: Severity::Error,
                span,
                message: format!("no stage is called {name:?}"),
                help: Some(help),
                fix: None,
            }])
        }
    }
}

/// Builds.
///
/// # Errors
/// See [`BuildError`].
pub fn build(
    request: &BuildRequest,
    host: &Host<'_>,
    events: &(dyn Fn(BuildEvent) + Sync),
) -> Result<Built, BuildError> {
    let _stops = host.stop_when_cancelled();
    build_in_order(request, host, events).map_err(|error| match error {
        // What fails because it was stopped is not the reason.
        _ if host.cancel.is_cancelled() => BuildError::Cancelled,
        error => error,
    })
}

fn build_in_order(
    request: &BuildRequest,
    host: &Host<'_>,
    events: &(dyn Fn(BuildEvent) + Sync),
) -> Result<Built, BuildError> {
    let Planned { plan, mut warnings } = plan(request, host, events)?;
    let target = target_of(&plan)?;
    let verdict = user_policy::check(target);
    check_user(request.user_policy, &verdict, &mut warnings)?;
    let summary = |stage: &PlannedStage| StageSummary {
        stage: stage.id,
        name: stage.name.clone(),
        steps: stage.steps.len(),
    };
    events(BuildEvent::Planned {
        stages: plan.stages.iter().map(summary).collect(),
    });
    let job = job_of(request, host, &plan);
    let recorded = !needs_trees(&job, target);
    let executed = execute(job, host, events)?;
    if host.cancel.is_cancelled() {
        return Err(BuildError::Cancelled);
    }
    let user = settle_user(request, host, &plan, &executed, &verdict, &mut warnings)?;
    let timestamp = request.source_date_epoch.unwrap_or(request.now);
    let settings = Settings {
        annotations: &request.annotations,
        timestamp,
        user,
    };
    let fail = |error: Box<dyn std::error::Error + Send + Sync>| BuildError::Commit(error);
    let image =
        commit::image_of(&plan, &executed, &settings).map_err(|error| fail(error.into()))?;
    let packed = recorded && host.store.image(image.digest()).is_err();
    if request.outputs.contains(&Output::Store) {
        host.store
            .add_image(&image, &request.tags)
            .map_err(|error| fail(error.into()))?;
    }
    events(BuildEvent::Committed {
        digest: image.digest().to_string(),
    });
    for output in &request.outputs {
        export::write(host.store, &image, &request.tags, output)?;
    }
    let size = image
        .layers()
        .iter()
        .filter_map(|layer| host.store.blob_size(layer.diff_id.digest()))
        .sum();
    Ok(Built {
        image,
        size,
        packed,
        warnings,
    })
}

fn target_of(plan: &BuildPlan) -> Result<&PlannedStage, BuildError> {
    plan.stages
        .iter()
        .find(|stage| stage.id == plan.target)
        .ok_or(BuildError::Cancelled)
}

fn job_of(request: &BuildRequest, host: &Host<'_>, plan: &BuildPlan) -> Job {
    let image = |pinned: &crate::graph::PinnedImage| JobImage {
        name: pinned.name.clone(),
        layers: pinned
            .image
            .layers()
            .iter()
            .map(|layer| layer.diff_id)
            .collect(),
    };
    let directories = request
        .named_contexts
        .iter()
        .filter_map(|(name, context)| match context {
            NamedContext::Directory(path) => Some((name.clone(), path.clone())),
            NamedContext::OciLayout { .. } | NamedContext::Image(_) => None,
        });
    let mut ambient_env = host.proxy_env.clone();
    ambient_env.extend(proxy_environment(&request.build_args));
    Job {
        store: host.store.path().to_owned(),
        stages: plan.stages.clone(),
        target: plan.target,
        images: plan.images.iter().map(image).collect(),
        context: match &request.context {
            Context::Directory(path) => Some(path.clone()),
            Context::Empty => None,
        },
        named_contexts: directories.collect(),
        ignore: request.ignore.clone(),
        no_cache: request.no_cache,
        jobs: request.jobs,
        single_id: false,
        network: match &request.network {
            Network::None => JobNetwork::None,
            Network::Host => JobNetwork::Host,
            Network::Pasta(program) => JobNetwork::Pasta(program.clone()),
        },
        no_new_privileges: request.no_new_privileges,
        ambient_env,
        source_date_epoch: request.source_date_epoch,
        now: request.now,
    }
}

/// Does the steps: here if no stage needs a session or all is cached, else in a session.
fn execute(
    mut job: Job,
    host: &Host<'_>,
    events: &(dyn Fn(BuildEvent) + Sync),
) -> Result<Executed, BuildError> {
    // A stage that fails stops the others, which is not the caller's cancellation: that one is only passed on.
    let stop = Arc::new(Cancel::default());
    let stopped = Arc::clone(&stop);
    let _passed_on = host.cancel.watch(move || stopped.cancel());
    let here = |job: &Job, act: &dyn Fn(&Workshop<'_>) -> Result<Option<Executed>, StepFailure>| {
        act(&Workshop {
            job,
            store: host.store,
            cache: Cache::new(host.store),
            cancel: &stop,
            events,
            session: None,
        })
    };
    if !needs_session(&job) {
        let executed = here(&job, &|workshop| run_all(workshop).map(Some))?;
        return executed.ok_or(BuildError::Cancelled);
    }
    let session = (host.session)();
    job.single_id = session.as_ref().is_ok_and(|plan| plan.image_ids().0 == 0);
    if let Some(executed) = here(&job, &|workshop| workshop.all_cached())? {
        return Ok(executed);
    }
    let plan = session.map_err(BuildError::Session)?;
    Ok(run_remotely(&job, host.store, &plan, host.cancel, events)?)
}

/// What the policy makes of a user that is known to be wrong.
fn refuse_user(
    policy: UserPolicy,
    diagnostic: Diagnostic,
    warnings: &mut Vec<Diagnostic>,
) -> Result<(), BuildError> {
    match policy {
        UserPolicy::Enforce | UserPolicy::Rewrite => Err(BuildError::Policy(Box::new(diagnostic))),
        UserPolicy::Warn => {
            warnings.push(Diagnostic {
                severity: Severity::Warning,
                ..diagnostic
            });
            Ok(())
        }
        UserPolicy::Off => Ok(()),
    }
}

/// What is certain before anything ran is said before anything runs.
fn check_user(
    policy: UserPolicy,
    verdict: &UserVerdict,
    warnings: &mut Vec<Diagnostic>,
) -> Result<(), BuildError> {
    match verdict {
        UserVerdict::Refused(diagnostic) => refuse_user(policy, diagnostic.clone(), warnings),
        UserVerdict::NoGroup(diagnostic) if policy != UserPolicy::Off => {
            warnings.push(diagnostic.clone());
            Ok(())
        }
        UserVerdict::NoGroup(_) | UserVerdict::Accepted | UserVerdict::NeedsLookup(_) => Ok(()),
    }
}

/// Looks a user by name up in the finished image.
fn settle_user(
    request: &BuildRequest,
    host: &Host<'_>,
    plan: &BuildPlan,
    executed: &Executed,
    verdict: &UserVerdict,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Option<String>, BuildError> {
    let UserVerdict::NeedsLookup(named) = verdict else {
        return Ok(None);
    };
    if request.user_policy == UserPolicy::Off {
        return Ok(None);
    }
    let settings = Settings {
        annotations: &[],
        timestamp: 0,
        user: None,
    };
    let image = commit::image_of(plan, executed, &settings)
        .map_err(|error| BuildError::Commit(error.into()))?;
    let layers: Vec<_> = image.layers().iter().map(|layer| layer.diff_id).collect();
    let accounts = Accounts::of(&view_of(host.store, &layers)?)
        .map_err(|error| BuildError::Commit(error.into()))?;
    let written = [Some(named.user()), named.group()]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(":");
    let found = accounts.resolve_user(&written).ok();
    let decision = named.decide(found.map(|account| FoundIds {
        uid: account.uid,
        gid: account.gid,
    }));
    match (request.user_policy, decision.numbers) {
        (UserPolicy::Rewrite, Some(numbers)) => Ok(Some(numbers)),
        (policy, _) => refuse_user(policy, decision.diagnostic, warnings).map(|()| None),
    }
}
