//! One build from the request to the outputs, in one direction: plan, execute, commit, export. The invariant: each phase takes
//! what the one before made; nothing is written into the store's records before all steps of all platforms succeeded.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use containerfile::{Diagnostic, Severity};
use image::{DiffId, Digest, Image, Index, Platform, cached};
use rootfs::accounts::Accounts;
use sandbox::StepCgroups;

use crate::attest;
use crate::cache::{Cache, keep_borrowed};
use crate::cancel::Cancel;
use crate::commit::{self, Draft, Settings};
use crate::context::ContextFiles;
use crate::depot::Depot;
use crate::error::BuildError;
use crate::event::{BuildEvent, StageSummary};
use crate::execute::{DISTURBED_ENV, Workshop, needs_session, needs_trees, run_all, view_of};
use crate::explain::Cause;
use crate::export::{Exported, Outlet};
use crate::foreign;
use crate::graph::{BuildPlan, PlannedStage, StageId};
use crate::host::Host;
use crate::job::{Executed, Job, JobCgroups, JobImage, JobNetwork, StepFailure, chain};
use crate::memos::Memos;
use crate::mounts::{RunMount, RunMountSource};
use crate::named::NamedFiles;
use crate::plan::proxy_environment;
use crate::plan::user_policy::{self, FoundIds, UserVerdict};
use crate::planning::{Planned, plan_with};
use crate::ready::{self, Unpacker};
use crate::reproduce::{BuiltStep, steps_of};
use crate::request::{
    AnnotationLevel, BuildRequest, CacheDestination, CacheTo, ClosurePolicy, Comparison, Context,
    Network, Output, Squash, UserPolicy, annotations_of,
};
use crate::session::run_remotely;
use crate::settings::{RunAccess, RunLimits};
use crate::shared::{Shareable, SharedRecords, Writer};
use crate::squash;
use crate::starts::{self, Verdict};
use crate::step::{RunStep, StepKind};
use crate::times::{OLDEST, Times, from_rfc3339};

/// A finished build.
#[derive(Debug)]
pub struct Built {
    /// The images, one for each platform, in the order of the request; at least one. Their layers are in the store.
    pub images: Vec<BuiltImage>,
    /// The index of them, where there are several.
    pub index: Option<Index>,
    /// What the outputs have, in the order in which they were written.
    pub exported: Vec<Exported>,
    /// Findings that did not stop the build.
    pub warnings: Vec<Diagnostic>,
    /// The steps of all stages, where the request is one of a [`Comparison`].
    pub steps: Vec<BuiltStep>,
}

/// The image of one platform.
#[derive(Debug)]
pub struct BuiltImage {
    /// The image.
    pub image: Image,
    /// Bytes of its layers, uncompressed.
    pub size: u64,
    /// Whether it has new layers that no session has unpacked yet: those of a final stage that only copies.
    pub packed: bool,
}

impl Built {
    /// What a pinned name of the result says: the digest of the manifest, or else of the index.
    #[must_use]
    pub fn digest(&self) -> Digest {
        digest_of(self.index.as_ref(), &self.images)
    }

    /// What Docker calls the result's id: the digest of the configuration, or else of the index.
    #[must_use]
    pub fn id(&self) -> Digest {
        match &self.index {
            Some(index) => index.digest(),
            None => *self.images[0].image.id().digest(),
        }
    }
}

fn digest_of(index: Option<&Index>, images: &[BuiltImage]) -> Digest {
    index.map_or_else(|| *images[0].image.digest(), Index::digest)
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
    let depot = Depot::default();
    // Whoever has a cache most likely needs no base image.
    let lazy = (!request.caches.from.is_empty()).then_some(&depot);
    let planned = plan_with(request, host, lazy, events)?;
    let named = NamedFiles::open(&host.reach(), &request.named_contexts, &planned, events)
        .map_err(BuildError::Context)?;
    let mut warnings = planned.warnings.clone();
    let targets = &planned.targets;
    for target in targets {
        let verdict = user_policy::check(target_of(&target.plan)?);
        check_user(request.user_policy, &verdict, &mut warnings)?;
    }
    let mut elsewhere = Elsewhere {
        shared: SharedRecords::import(host, &request.caches.from, &depot, events),
        depot: &depot,
        events,
    };
    loop {
        let warned = warnings.clone();
        let result = build_all(request, host, (&planned, &named), &elsewhere, warned);
        let Err(error) = result else {
            return result;
        };
        // What a cache promised and has not is built here.
        if host.cancel.is_cancelled() || !elsewhere.give_up_broken() {
            return Err(error);
        }
    }
}

/// What is known of layers and results that are not in the store.
pub(crate) struct Elsewhere<'e> {
    pub(crate) shared: SharedRecords,
    pub(crate) depot: &'e Depot,
    pub(crate) events: &'e (dyn Fn(BuildEvent) + Sync),
}

impl Elsewhere<'_> {
    /// Brings layers into the store.
    pub(crate) fn bring(&self, host: &Host<'_>, layers: &[DiffId]) -> Result<(), BuildError> {
        let fetched = self.depot.fetch(host.store, layers, self.events);
        fetched.map_err(|error| BuildError::Commit(error.into()))
    }

    /// Forgets the caches that are broken, if any are.
    fn give_up_broken(&mut self) -> bool {
        let broken = self.depot.take_broken();
        for (cache, why) in &broken {
            let name = self.shared.name(*cache);
            let message = format!("the cache {name} is used no more: {why}");
            (self.events)(BuildEvent::Notice { message });
            self.shared.forget(*cache);
        }
        !broken.is_empty()
    }
}

/// Builds every platform and writes the outputs.
fn build_all(
    request: &BuildRequest,
    host: &Host<'_>,
    (planned, named): (&Planned, &NamedFiles),
    elsewhere: &Elsewhere<'_>,
    mut warnings: Vec<Diagnostic>,
) -> Result<Built, BuildError> {
    let events = elsewhere.events;
    let mut images = Vec::with_capacity(planned.targets.len());
    let mut steps = Vec::new();
    let mut shareable = Shareable::default();
    for target in &planned.targets {
        let plan = (&target.plan, named);
        let (image, made) = build_one(
            request,
            host,
            plan,
            elsewhere,
            &mut warnings,
            &mut shareable,
        )?;
        images.push(image);
        steps.extend(made);
    }
    let made: Vec<&Image> = images.iter().map(|built| &built.image).collect();
    let index = (made.len() > 1).then(|| index_of(request, &made));
    events(BuildEvent::Committed {
        digest: digest_of(index.as_ref(), &images).to_string(),
    });
    let mut taken = planned.taken.clone();
    taken.extend(named.origins());
    if let Context::Packed(packed) = &request.context {
        taken.extend(packed.origin().cloned());
    }
    if !request.attestations.sboms.is_empty() {
        let layers = made.iter().flat_map(|image| image.layers());
        let layers: Vec<DiffId> = layers.map(|layer| layer.diff_id).collect();
        elsewhere.bring(host, &layers)?;
    }
    let attested = attest::documents(request, host, planned, &taken, &images)?;
    for text in attested.unread {
        let message = format!("the bill of materials lacks something: {text}");
        events(BuildEvent::Notice { message });
    }
    let outlet = Outlet {
        host,
        request,
        images: &made,
        elsewhere,
        documents: &attested.documents,
        events,
    };
    let exported = outlet.write_all()?;
    share(request, host, elsewhere, &shareable)?;
    let kept = keep_borrowed(host.store, &shareable.borrowed);
    let kept = kept.and_then(|()| elsewhere.depot.name_images(host.store));
    kept.map_err(|error| BuildError::Commit(error.into()))?;
    Ok(Built {
        images,
        index,
        exported,
        warnings,
        steps,
    })
}

/// Writes the caches that were asked for.
fn share(
    request: &BuildRequest,
    host: &Host<'_>,
    elsewhere: &Elsewhere<'_>,
    shareable: &Shareable,
) -> Result<(), BuildError> {
    let writer = Writer {
        host,
        depot: elsewhere.depot,
        shareable,
        events: elsewhere.events,
    };
    for to in &request.caches.to {
        let place = to.place.to_string();
        match writer.write(to) {
            Ok(()) => {}
            Err(source) if to.ignore_error && !host.cancel.is_cancelled() => {
                let message = format!("the cache {place} is not written: {}", chain(&*source));
                (elsewhere.events)(BuildEvent::Notice { message });
            }
            Err(source) => return Err(BuildError::CacheExport { place, source }),
        }
    }
    Ok(())
}

/// An image that brings its cache along, where that is asked for.
fn with_cache(
    request: &BuildRequest,
    executed: &Executed,
    image: Image,
) -> Result<Image, BuildError> {
    let inline = |to: &CacheTo| to.place == CacheDestination::Inline;
    if !request.caches.to.iter().any(inline) {
        return Ok(image);
    }
    let mut own = Shareable::default();
    let layers: Vec<DiffId> = image.layers().iter().map(|layer| layer.diff_id).collect();
    own.take(executed, &layers);
    let note = (cached::INLINE.to_owned(), own.inline(&layers));
    image
        .annotated(&BTreeMap::from([note]))
        .map_err(|error| BuildError::Commit(error.into()))
}

fn index_of(request: &BuildRequest, images: &[&Image]) -> Index {
    Index {
        annotations: annotations_of(&request.shape.annotations, AnnotationLevel::Index, None),
        ..Index::of(images.iter().copied())
    }
}

/// The image of one plan, and the steps that were asked for; nothing is recorded.
fn build_one(
    request: &BuildRequest,
    host: &Host<'_>,
    (plan, named): (&BuildPlan, &NamedFiles),
    elsewhere: &Elsewhere<'_>,
    warnings: &mut Vec<Diagnostic>,
    shareable: &mut Shareable,
) -> Result<(BuiltImage, Vec<BuiltStep>), BuildError> {
    let events = elsewhere.events;
    let target = target_of(plan)?;
    let verdict = user_policy::check(target);
    let summary = |stage: &PlannedStage| StageSummary {
        stage: stage.id,
        name: stage.name.clone(),
        steps: stage.steps.len(),
    };
    events(BuildEvent::Planned {
        stages: plan.stages.iter().map(summary).collect(),
    });
    let mut job = job_of(request, host, plan, named);
    job.shared.clone_from(&elsewhere.shared);
    let recorded = !needs_trees(&job, target);
    let limits = &request.limits;
    let executed = if recorded && is_to_be_ready(request, target) {
        ready::beside(host, events, |unpacker| {
            execute(job, limits, host, Some(unpacker), elsewhere)
        })
    } else {
        execute(job, limits, host, None, elsewhere)
    }?;
    if host.cancel.is_cancelled() {
        return Err(BuildError::Cancelled);
    }
    let user = settle_user(
        request,
        host,
        (plan, &executed),
        &verdict,
        elsewhere,
        warnings,
    )?;
    let settings = Settings {
        epoch: request.times.epoch(),
        user,
        env: added_env(&executed, &request.unset_env),
    };
    let draft = commit::draft_of(plan, &executed, &settings);
    let starts = check_start(request, host, (target, &executed), &draft, elsewhere)?;
    shareable.starts.extend(starts);
    shareable.take(&executed, draft.diff_ids());
    let image = squash(request.shape.squash, host, draft, elsewhere)?
        .image(&request.shape)
        .map_err(|error| BuildError::Commit(error.into()))?;
    let image = with_cache(request, &executed, image)?;
    let squashed = request.shape.squash != Squash::No;
    let packed = (recorded || squashed) && host.store.image(image.digest()).is_err();
    let size = image
        .layers()
        .iter()
        .map(|layer| {
            let stored = host.store.blob_size(layer.diff_id.digest());
            stored.unwrap_or(layer.descriptor.size)
        })
        .sum();
    let built = BuiltImage {
        image,
        size,
        packed,
    };
    Ok((built, steps_of(plan, &executed)))
}

/// The variables that steps give to the image, without those that the command line takes away.
fn added_env(executed: &Executed, unset: &[String]) -> Vec<(String, String)> {
    let mut env = executed.env.clone();
    env.retain(|(name, _)| !unset.contains(name));
    env
}

/// Whether the image is one that will be started here: it has a name in the store, and its programs are this machine's.
fn is_to_be_ready(request: &BuildRequest, target: &PlannedStage) -> bool {
    let stored = |output: &Output| matches!(output, Output::Store(_));
    let kept = !request.tags.is_empty() && request.outputs.iter().any(stored);
    let native = Platform::host().fit(&target.config.platform()).is_some();
    kept && native && request.shape.squash == Squash::No
}

/// Merges the layers that are to be one.
fn squash(
    which: Squash,
    host: &Host<'_>,
    draft: Draft,
    elsewhere: &Elsewhere<'_>,
) -> Result<Draft, BuildError> {
    let kept = match which {
        Squash::No => return Ok(draft),
        Squash::Built => draft.of_base,
        Squash::All => 0,
    };
    elsewhere.bring(host, draft.diff_ids())?;
    let layer = squash::squash(host.store, draft.diff_ids(), kept)?;
    Ok(draft.squashed(kept, &layer))
}

fn target_of(plan: &BuildPlan) -> Result<&PlannedStage, BuildError> {
    plan.stages
        .iter()
        .find(|stage| stage.id == plan.target)
        .ok_or(BuildError::Cancelled)
}

pub(crate) fn job_of(
    request: &BuildRequest,
    host: &Host<'_>,
    plan: &BuildPlan,
    named: &NamedFiles,
) -> Job {
    let image = |pinned: &crate::graph::PinnedImage| JobImage {
        name: pinned.name.clone(),
        digest: *pinned.image.digest(),
        layers: pinned
            .image
            .layers()
            .iter()
            .map(|layer| layer.diff_id)
            .collect(),
        created: created(&pinned.image),
    };
    let mut ambient_env = match request.http_proxy {
        true => host.proxy_env.clone(),
        false => Vec::new(),
    };
    ambient_env.extend(proxy_environment(&request.build_args));
    let disturbed = request.comparison == Comparison::Second;
    if disturbed {
        let owned = DISTURBED_ENV.map(|(name, value)| (name.to_owned(), value.to_owned()));
        ambient_env.extend(owned);
    }
    Job {
        store: host.store.path().to_owned(),
        stages: plan.stages.clone(),
        target: plan.target,
        images: plan.images.iter().map(image).collect(),
        context: match &request.context {
            Context::Directory(path) => Some(ContextFiles::Directory(path.clone())),
            Context::Packed(packed) => Some(packed.files()),
            Context::Empty => None,
        },
        named_contexts: named.files().clone(),
        ignore: request.ignore.clone(),
        fresh: fresh_stages(request, plan),
        explain: request.explain_cache,
        lineage: request.lineage.clone(),
        shared: SharedRecords::default(),
        share: request.caches.mode(),
        every_layer: request.comparison != Comparison::None,
        disturbed,
        publish: request.comparison != Comparison::Second,
        jobs: request.jobs,
        single_id: false,
        network: match &request.network {
            Network::None => JobNetwork::None,
            Network::Host => JobNetwork::Host,
            Network::Pasta(program) => JobNetwork::Pasta(program.clone()),
        },
        emulators: Vec::new(),
        no_new_privileges: request.no_new_privileges,
        cgroups: None,
        access: access_of(request, plan),
        ambient_env,
        times: if request.rewrite_timestamp {
            request.times
        } else {
            Times::Newest
        },
        now: request.now,
        closure_rules: request.closure_rules.clone(),
        tree_stages: OnceLock::new(),
    }
}

/// When an image was made. Bazel and others write 1970, which is no time either.
fn created(image: &Image) -> i64 {
    let text = image.config().created.as_deref();
    text.and_then(from_rfc3339).unwrap_or(OLDEST).max(OLDEST)
}

/// What the steps may use, without the secrets and agents that none of them names.
fn access_of(request: &BuildRequest, plan: &BuildPlan) -> RunAccess {
    let mut access = request.access.clone();
    let runs: Vec<&RunStep> = plan
        .stages
        .iter()
        .flat_map(|stage| &stage.steps)
        .filter_map(|planned| match &planned.step.kind {
            StepKind::Run(run) => Some(run),
            StepKind::Copy(_) | StepKind::Furnish(_) | StepKind::Workdir => None,
        })
        .collect();
    let named = |wanted: &str| {
        runs.iter().any(|run| {
            let file = |mount: &RunMount| {
                matches!(&mount.source, RunMountSource::Secret { id, .. } if id == wanted)
            };
            run.mounts.iter().any(file) || run.secret_env.iter().any(|secret| secret.id == wanted)
        })
    };
    access.secrets.retain(|id, _| named(id));
    access.ssh.retain(|wanted, _| {
        let agent = |mount: &RunMount| {
            matches!(&mount.source, RunMountSource::Ssh { id, .. } if id == wanted)
        };
        runs.iter().any(|run| run.mounts.iter().any(agent))
    });
    access
}

/// The stages that take nothing from the cache, and why.
fn fresh_stages(request: &BuildRequest, plan: &BuildPlan) -> BTreeMap<StageId, Cause> {
    let filtered = |stage: &PlannedStage| {
        let number = stage.id.0.to_string();
        let mut wanted = request.no_cache_stages.iter();
        // Of several platforms the name begins with the platform.
        let own = stage.name.rsplit(' ').next().unwrap_or_default();
        wanted.any(|name| name.eq_ignore_ascii_case(own) || *name == number)
    };
    let cause = |stage: &PlannedStage| {
        if request.comparison != Comparison::None {
            Some(Cause::CheckReproducible)
        } else if request.no_cache {
            Some(Cause::NoCache)
        } else {
            filtered(stage).then_some(Cause::NoCacheFilter)
        }
    };
    plan.stages
        .iter()
        .filter_map(|stage| Some((stage.id, cause(stage)?)))
        .collect()
}

/// Does the steps: here if no stage needs a session or all is cached, else in a session.
fn execute(
    mut job: Job,
    limits: &RunLimits,
    host: &Host<'_>,
    unpacker: Option<&Unpacker>,
    elsewhere: &Elsewhere<'_>,
) -> Result<Executed, BuildError> {
    let events = elsewhere.events;
    let supply = |layers: &[DiffId]| {
        let fetched = elsewhere.depot.fetch(host.store, layers, events);
        fetched.map_err(|error| StepFailure::of_build(&error))
    };
    // A stage that fails stops the others, which is not the caller's cancellation: that one is only passed on.
    let stop = Arc::new(Cancel::default());
    let stopped = Arc::clone(&stop);
    let _passed_on = host.cancel.watch(move || stopped.cancel());
    let here = |job: &Job, act: &dyn Fn(&Workshop<'_>) -> Result<Option<Executed>, StepFailure>| {
        let workshop = Workshop {
            job,
            store: host.store,
            cache: Cache::new(host.store),
            memos: Memos::new(host.store),
            cancel: &stop,
            events,
            forecast: false,
            session: None,
            unpacker,
            supply: &supply,
        };
        let result = act(&workshop);
        workshop.memos.save(matches!(result, Ok(Some(_))));
        result
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
    job.emulators = foreign::emulators(&job, &host.program_dirs)?;
    let plan = session.map_err(BuildError::Session)?;
    // It is held until the session has ended.
    let place = (!limits.is_default())
        .then(|| StepCgroups::prepare(&limits.limits, limits.parent.as_deref()))
        .transpose()
        .map_err(BuildError::Limits)?;
    job.cgroups = place.as_ref().map(|place| JobCgroups {
        place: place.path(),
        limits: limits.limits.clone(),
    });
    let place = (host.store, elsewhere.depot);
    Ok(run_remotely(&job, place, &plan, host.cancel, events)?)
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

/// Whether the program that the image starts is complete; what it is remembered by.
fn check_start(
    request: &BuildRequest,
    host: &Host<'_>,
    (target, executed): (&PlannedStage, &Executed),
    draft: &Draft,
    elsewhere: &Elsewhere<'_>,
) -> Result<Option<String>, BuildError> {
    let makes_image = request
        .outputs
        .iter()
        .any(|output| output.image().is_some());
    if request.closure == ClosurePolicy::Off || !makes_image {
        return Ok(None);
    }
    match starts::check(host, target, executed, draft.diff_ids(), elsewhere)? {
        Verdict::Starts(name) => Ok(Some(name)),
        Verdict::Unnamed => {
            (elsewhere.events)(BuildEvent::Notice {
                message: "the image has neither ENTRYPOINT nor CMD: whether a program starts is not checked".to_owned(),
            });
            Ok(None)
        }
        Verdict::Broken(diagnostic) => Err(BuildError::Start(diagnostic)),
    }
}

/// Looks a user by name up in the finished image.
fn settle_user(
    request: &BuildRequest,
    host: &Host<'_>,
    (plan, executed): (&BuildPlan, &Executed),
    verdict: &UserVerdict,
    elsewhere: &Elsewhere<'_>,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Option<String>, BuildError> {
    let UserVerdict::NeedsLookup(named) = verdict else {
        return Ok(None);
    };
    if request.user_policy == UserPolicy::Off {
        return Ok(None);
    }
    let settings = Settings {
        epoch: None,
        user: None,
        env: Vec::new(),
    };
    let draft = commit::draft_of(plan, executed, &settings);
    elsewhere.bring(host, draft.diff_ids())?;
    let accounts = Accounts::of(&view_of(host.store, draft.diff_ids())?)
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
