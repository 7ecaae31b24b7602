//! From the request to one plan for each platform. The invariant: all plans are made, and every image and URL that they name is
//! looked up, before anything is built; each is looked up once, whatever the number of plans that use it.

use std::fmt;

use containerfile::{Diagnostic, Parsed, Severity, Span};
use image::{Image, Platform};

use crate::depot::Depot;
use crate::error::BuildError;
use crate::event::BuildEvent;
use crate::graph::BuildPlan;
use crate::host::Host;
use crate::plan::{Draft, Outcome, Pins, PlanError, PlanOptions, WantedImage, WantedRemote};
use crate::provenance::Taken;
use crate::request::BuildRequest;
use crate::settings::RunLimits;
use crate::{remote, resolve};

/// What a build would do.
#[derive(Debug)]
pub struct Planned {
    /// What it would do for each platform, in the order of the request.
    pub targets: Vec<PlannedTarget>,
    /// How much each RUN may use up.
    pub limits: RunLimits,
    /// Findings that do not stop it.
    pub warnings: Vec<Diagnostic>,
    /// What ADD fetched.
    pub taken: Vec<Taken>,
}

/// What a build would do for one platform.
#[derive(Debug)]
pub struct PlannedTarget {
    /// The platform.
    pub platform: Platform,
    /// The plan.
    pub plan: BuildPlan,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.limits.fmt(f)?;
        self.targets
            .iter()
            .try_for_each(|target| write!(f, "{}", target.plan))
    }
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
    plan_with(request, host, None, events)
}

/// As [`plan`]; with a depot, layers of base images in registries are fetched only when they are needed.
pub(crate) fn plan_with(
    request: &BuildRequest,
    host: &Host<'_>,
    depot: Option<&Depot>,
    events: &(dyn Fn(BuildEvent) + Sync),
) -> Result<Planned, BuildError> {
    let _stops = host.stop_when_cancelled();
    let parsed = containerfile::parse(&request.containerfile);
    let mut pins = Pins::new();
    let mut planned = Planned {
        targets: Vec::new(),
        limits: request.limits.clone(),
        warnings: Vec::new(),
        taken: Vec::new(),
    };
    for platform in &request.platforms {
        let options = PlanOptions::of(request, platform);
        let resolve =
            |image: &WantedImage| resolve::resolve(host, image, request.pull, depot, events);
        let (mut plan, warnings) = plan_one(
            request,
            &parsed,
            &options,
            &mut pins,
            (host, &resolve),
            events,
        )?;
        // What is said about the file is the same for most platforms.
        let unsaid: Vec<_> = warnings
            .into_iter()
            .filter(|warning| !planned.warnings.contains(warning))
            .collect();
        planned.warnings.extend(unsaid);
        if request.platforms.len() > 1 {
            name_after(&mut plan, platform)?;
        }
        planned.targets.push(PlannedTarget {
            platform: platform.clone(),
            plan,
        });
    }
    planned.taken = pins.remotes().collect();
    Ok(planned)
}

/// Finds an image.
type Resolve<'r> = dyn Fn(&WantedImage) -> Result<Image, BuildError> + 'r;

fn plan_one(
    request: &BuildRequest,
    parsed: &Parsed,
    options: &PlanOptions<'_>,
    pins: &mut Pins,
    (host, resolve): (&Host<'_>, &Resolve<'_>),
    events: &(dyn Fn(BuildEvent) + Sync),
) -> Result<(BuildPlan, Vec<Diagnostic>), BuildError> {
    let mut draft = Draft::of(parsed, options).map_err(|error| refuse(parsed, error))?;
    draft
        .check_stages(&request.no_cache_stages)
        .map_err(|error| refuse(parsed, error))?;
    if let Some(planned) = draft.take_planned() {
        return Ok(planned);
    }
    let mut wanted = draft.images().to_vec();
    loop {
        for image in wanted {
            if !pins.contains_key(&image.key) {
                let found =
                    resolve(&image).map_err(|error| error.meaning(|| draft.meant(&image)))?;
                pins.insert(image.key, found);
            }
        }
        match draft.finish(pins).map_err(|error| refuse(parsed, error))? {
            Outcome::Planned(plan, warnings) => return Ok((plan, warnings)),
            Outcome::NeedsImages(more) => wanted = more,
            Outcome::NeedsRemotes(remotes) => {
                wanted = Vec::new();
                for wanted in remotes {
                    let pinned = remote::pin(&host.reach(), &wanted.source, events)
                        .map_err(|error| not_fetched(&*error, &wanted))?;
                    pins.insert_remote(wanted.source, pinned);
                }
            }
        }
    }
}

/// Tells the stages of several plans apart, and refuses a plan whose image an index would list wrongly.
fn name_after(plan: &mut BuildPlan, platform: &Platform) -> Result<(), BuildError> {
    for stage in &mut plan.stages {
        let name = match stage.name.parse::<usize>() {
            Ok(number) => format!("stage-{number}"),
            Err(_) => std::mem::take(&mut stage.name),
        };
        stage.name = format!("{platform} {name}");
        let made = stage.config.platform();
        if stage.id == plan.target && platform.fit(&made).is_none() {
            let span = stage
                .from_label
                .span
                .map_or(Span::default(), |(start, end)| Span::new(start, end));
            let message = format!("the image for {platform} would be for {made}, as its base is");
            let help = "an index lists images by platform: start from an image for each of them, or build this platform alone";
            return Err(BuildError::Plan(vec![
                Diagnostic::error(span, message).with_help(help),
            ]));
        }
    }
    Ok(())
}

/// The line that asks for it says more than its name.
fn not_fetched(error: &(dyn std::error::Error + 'static), wanted: &WantedRemote) -> BuildError {
    let message = format!("cannot {}", crate::job::chain(error));
    BuildError::Plan(vec![Diagnostic::error(wanted.span, message)])
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
                .map_or(Span::new(0, 0), |stage| stage.from.span);
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
