//! `rbuild build`: read the files, call the builder, show what happens and what came out. The invariant: the image's id goes to
//! standard output only after everything that was asked for is written.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use builder::{
    Attestations, BuildError, BuildEvent, BuildRequest, Built, BuiltImage, Cancel, Comparison,
    Host, NamedContext, Network, Output, Reach, RunAccess, Secret, StepFailure, Times,
};
use containerfile::{Diagnostic, InstructionKind, Severity, Source, Span};
use image::{Platform, Reference, Store};

use super::containerfile::{Inputs, read};
use super::keys;
use super::metadata;
use super::named_registry::{self, Meant};
use super::ready;
use super::secrets;
use crate::args::build::{BuildSettings, ContextSource, Results};
use crate::credentials;
use crate::failure::{Failure, Kind};
use crate::host::{self, NetworkChoice};
use crate::show::{self, Display, Finding, Place, Progress};
use crate::signals::Interrupts;
use crate::stdout::{human_size, print};
use crate::surroundings::Surroundings;
use crate::worktree::{self, Commit};

/// Builds, or shows the plan.
pub(super) fn build(
    settings: BuildSettings,
    place: &Path,
    here: &Surroundings,
) -> Result<(), Failure> {
    let log = settings
        .results
        .logfile
        .as_deref()
        .map(create)
        .transpose()?;
    let display = Display::new(settings.results.progress, here.colour(), log);
    let build = Build {
        settings,
        place,
        here,
        display,
    };
    let result = build.perform();
    build.display.finish();
    result.map_err(|failure| build.told_as_asked(failure))
}

fn create(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|error| {
        let what = format!("write the log to {}", path.display());
        Failure::new(Kind::Failed, anyhow::Error::new(error).context(what))
    })
}

/// One build and how it is shown.
struct Build<'b> {
    settings: BuildSettings,
    place: &'b Path,
    here: &'b Surroundings,
    display: Display,
}

mod furnishing;
mod lineage;
mod linted;
mod reproducible;

impl Build<'_> {
    fn perform(&self) -> Result<(), Failure> {
        let started = Instant::now();
        let store = Store::open(self.place)?;
        let cancel = Arc::new(Cancel::default());
        let ask = cancel.clone();
        let interrupts = Interrupts::listen(move || ask.cancel())?;
        let secrets = secrets::read(&self.settings.steps.secrets, self.here)?;
        let inputs = self
            .inputs(&store, &cancel, &secrets)
            .map_err(|failure| interrupts.failure().unwrap_or(failure))?;
        if self.settings.check {
            return self.check(&inputs);
        }
        self.lint(&inputs)?;
        let request = self.request(inputs, secrets)?;
        let result = self.call(&request, &store, &cancel).and_then(|outcome| {
            if self.settings.check_reproducible
                && let Outcome::Built(first) = &outcome
            {
                self.check_reproducible(&request, &store, &cancel, first)?;
            }
            Ok(outcome)
        });
        self.display.finish();
        match result {
            Ok(Outcome::Plan(text)) => print(&text),
            Ok(Outcome::Built(built)) => {
                self.warn(&request.containerfile, &built.warnings);
                self.make_ready(&request, &store, &built);
                self.summarise(&built, &request.tags, started);
                self.hand_over(&built)
            }
            Err(failure) => Err(interrupts.failure().unwrap_or(failure)),
        }
    }

    fn inputs(
        &self,
        store: &Store,
        cancel: &Cancel,
        secrets: &BTreeMap<String, Secret>,
    ) -> Result<Inputs, Failure> {
        let reach = Reach {
            store,
            cancel,
            proxies: self.here.proxies(),
            authorities: self.settings.registry.authorities.clone(),
            git: self.here.git(),
            secrets,
        };
        read(&self.settings.sources, &reach, &|event| {
            self.display.event(&event);
        })
    }

    /// The named contexts; which of them are tars is known only now.
    fn named_contexts(&self) -> BTreeMap<String, NamedContext> {
        let looked_at = |context: &NamedContext| match context {
            NamedContext::Directory(path) if path.is_file() => NamedContext::Archive(path.clone()),
            other => other.clone(),
        };
        let named = &self.settings.sources.named;
        named
            .iter()
            .map(|(name, context)| (name.clone(), looked_at(context)))
            .collect()
    }

    /// Calls the library. What keeps the session from starting is remembered whole, since the library can only pass a text on.
    fn call(
        &self,
        request: &BuildRequest,
        store: &Store,
        cancel: &Cancel,
    ) -> Result<Outcome, Failure> {
        let meant: Meant = named_registry::of_creds(&self.settings, &request.containerfile)?;
        let no_session: RefCell<Option<Failure>> = RefCell::default();
        let (here, place) = (self.here, self.place);
        let host = Host {
            store,
            session: &|| {
                self.session().map_err(|failure| {
                    let text = failure.to_string();
                    no_session.replace(Some(failure));
                    text.into()
                })
            },
            unpacking: &|| {
                let found = host::execution(here, place);
                found.and_then(host::Execution::required).ok()
            },
            credentials: &|name| match &meant {
                Some((registry, given)) if *registry == name.registry() => Ok(given.clone()),
                _ => credentials::find(&self.settings.registry.auth, name),
            },
            registries: &self.settings.registry.options(),
            cancel,
            program_dirs: self.here.program_dirs(),
            proxy_env: self.here.proxies(),
            git: self.here.git(),
            secrets: &request.access.secrets,
        };
        let events = |event: BuildEvent| self.display.event(&event);
        let result = if self.settings.dry_run {
            planned(request, &host, &events)
        } else {
            builder::build(request, &host, &events).map(|built| Outcome::Built(Box::new(built)))
        };
        result.map_err(|error| {
            findings(&error, &request.containerfile, &|finding| {
                self.display.find(finding);
            });
            let told_before = no_session.take();
            match (told_before, error) {
                (Some(failure), _) => failure,
                (None, BuildError::Limits(error)) => self.not_limited(error),
                (None, error) => explain(error, &request.containerfile, self.here.colour()),
            }
        })
    }

    /// Makes the rest ready of what a first start would make of a named image whose layers were unpacked beside the build, or
    /// were not: of a squashed one. Where it is not possible the image is as good: `rbuild run` does it, or says what is missing.
    fn make_ready(&self, request: &BuildRequest, store: &Store, built: &Built) {
        let machine = Platform::host();
        let native = |one: &&BuiltImage| machine.fit(&one.image.config().platform()).is_some();
        let Some(native) = built.images.iter().find(native) else {
            return;
        };
        if !native.packed || request.tags.is_empty() || !stored(&request.outputs) {
            return;
        }
        ready::make_ready(&native.image, store, self.place, self.here);
    }

    /// The ids of the session, at the first step that needs one.
    fn session(&self) -> Result<sandbox::SessionPlan, Failure> {
        let found = host::execution(self.here, self.place)?;
        if let Some(caution) = found.caution() {
            self.notice(caution);
        }
        found.required()
    }

    fn not_limited(&self, error: sandbox::CgroupError) -> Failure {
        let limits = &self.settings.limits;
        host::not_limited("RUN steps", limits, error, self.here, self.place)
    }

    fn request(
        &self,
        inputs: Inputs,
        secrets: BTreeMap<String, Secret>,
    ) -> Result<BuildRequest, Failure> {
        let image = self.settings.image.clone();
        let steps = self.settings.steps.clone();
        Ok(BuildRequest {
            network: self.network(&inputs.containerfile)?,
            explain_cache: self.settings.results.explain_cache,
            lineage: lineage::of(&self.settings.sources),
            attestations: self.attestations()?,
            containerfile: inputs.containerfile,
            context: inputs.context,
            ignore: inputs.ignore,
            named_contexts: self.named_contexts(),
            build_args: image.build_args,
            target: image.target,
            first_base: image.first_base,
            unused_stages: image.unused_stages,
            platforms: image.platforms,
            labels: image.labels,
            inherit_labels: image.inherit_labels,
            shape: image.shape,
            no_cache_stages: image.no_cache_stages,
            pull: image.pull,
            no_cache: image.no_cache,
            http_proxy: self.settings.isolation.http_proxy,
            comparison: match self.settings.check_reproducible {
                true => Comparison::First,
                false => Comparison::None,
            },
            jobs: image.jobs,
            allow_host_network: self.settings.isolation.allow_host_network,
            no_new_privileges: self.settings.isolation.no_new_privileges,
            run: steps.run,
            access: RunAccess {
                secrets,
                ssh: steps.ssh,
                volumes: steps.volumes,
                dns: steps.dns,
            },
            limits: self.settings.limits.run.clone(),
            env: steps.env,
            unset_env: steps.unset_env,
            unset_labels: steps.unset_labels,
            furnishing: furnishing::of(&self.settings.furnish)?,
            user_policy: image.user_policy,
            closure: image.closure,
            closure_rules: image.closure_rules,
            tags: image.tags,
            outputs: self.settings.results.outputs.clone(),
            caches: self.settings.caches.clone(),
            times: match (image.times.asked, inputs.commit_time) {
                (Some(asked), _) => asked,
                (None, Some(seconds)) => Times::Commit(seconds),
                (None, None) => self.times_of_context(),
            },
            rewrite_timestamp: image.times.rewrite,
            now: self.here.now,
        })
    }

    /// The commit's time, in a git work tree; the newest input's elsewhere.
    fn times_of_context(&self) -> Times {
        let context = match &self.settings.sources.context {
            ContextSource::Path(path) if path.is_dir() => path,
            _ => return Times::Newest,
        };
        match worktree::commit_of(context) {
            Commit::At(seconds) => Times::Commit(seconds),
            Commit::None => Times::Newest,
            Commit::Unreadable(why) => {
                self.notice(format!(
                    "the commit of the build context cannot be read ({why}): the image has the time of its newest input"
                ));
                Times::Newest
            }
        }
    }

    fn network(&self, source: &Source) -> Result<Network, Failure> {
        match host::network(self.settings.isolation.network, self.here, self.place)? {
            NetworkChoice::Host => Ok(Network::Host),
            NetworkChoice::Pasta(program) => Ok(Network::Pasta(program)),
            NetworkChoice::None(missing) => {
                if self.settings.steps.run.names_the_host() && runs_something(source) {
                    let why = missing
                        .as_deref()
                        .unwrap_or("--network none leaves RUN alone");
                    return Err(Failure::usage(format!(
                        "--add-host with host-gateway needs a network that leads to this machine: {why}"
                    )));
                }
                if let Some(text) = missing.filter(|_| runs_something(source)) {
                    self.notice(text);
                }
                Ok(Network::None)
            }
        }
    }

    fn attestations(&self) -> Result<Attestations, Failure> {
        let asked = &self.settings.attest;
        let key = asked.sign_by.as_deref();
        let signer = key.map(|path| keys::signer(path, self.here)).transpose()?;
        Ok(Attestations {
            sboms: asked.sboms.clone(),
            provenance: asked.provenance.clone(),
            signer: signer.map(Arc::new),
        })
    }

    fn notice(&self, message: String) {
        self.display.event(&BuildEvent::Notice { message });
    }

    fn progress(&self) -> Progress {
        self.settings.results.progress
    }

    fn warn(&self, source: &Source, warnings: &[Diagnostic]) {
        match self.progress() {
            Progress::Quiet => {}
            Progress::Json => warnings
                .iter()
                .for_each(|warning| self.display.find(&Finding::of(source, warning))),
            Progress::Plain | Progress::Tty => {
                show::eprint(&show::diagnostics(source, warnings, self.here.colour()))
            }
        }
    }

    /// The last line: digest, size, user, time.
    fn summarise(&self, built: &Built, tags: &[Reference], started: Instant) {
        if matches!(self.progress(), Progress::Quiet | Progress::Json) {
            return;
        }
        for (platform, one) in several(built) {
            show::eprint(&format!("{platform}: {}\n", one.image.digest()));
        }
        let first = &built.images[0].image;
        let user = match first.config().config.user.as_str() {
            "" => "root".to_owned(),
            user => show::escape(user),
        };
        let names: String = tags
            .iter()
            .map(|tag| format!(" {}", tag.familiar()))
            .collect();
        show::eprint(&format!(
            "built {}{names}: {}, user {user}, {}\n",
            built.digest(),
            human_size(built.images.iter().map(|one| one.size).sum()),
            show::human_duration(started.elapsed()),
        ));
    }

    fn hand_over(&self, built: &Built) -> Result<(), Failure> {
        let Results {
            outputs,
            iidfile,
            metadata_file,
            ..
        } = &self.settings.results;
        let id = built.id().to_string();
        if let Some(path) = iidfile {
            write(path, "the image's id", &id)?;
        }
        if let Some(path) = metadata_file {
            write(path, "the metadata", &metadata::of(built))?;
        }
        if outputs.iter().any(Output::is_stdout) {
            return Ok(());
        }
        print(&format!("{id}\n"))
    }

    /// With `--progress json` every line of standard error is JSON, the last one of a failed build too.
    fn told_as_asked(&self, failure: Failure) -> Failure {
        if self.progress() != Progress::Json || failure.text().is_empty() {
            return failure;
        }
        let event = serde_json::json!({ "event": "failed", "exit-code": failure.code(), "message": failure.text() });
        Failure::silent(failure.code()).excerpt(event.to_string())
    }
}

/// The images of an index, with their platforms.
fn several(built: &Built) -> impl Iterator<Item = (Platform, &BuiltImage)> {
    let images = built.index.iter().flat_map(|_| &built.images);
    images.map(|one| (one.image.config().platform(), one))
}

fn write(path: &Path, what: &str, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| {
        let what = format!("write {what} to {}", path.display());
        Failure::new(Kind::Failed, anyhow::Error::new(error).context(what))
    })
}

fn stored(outputs: &[Output]) -> bool {
    outputs
        .iter()
        .any(|output| matches!(output, Output::Store(_)))
}

enum Outcome {
    Plan(String),
    Built(Box<Built>),
}

/// The plan; nothing is done.
fn planned(
    request: &BuildRequest,
    host: &Host<'_>,
    events: &(dyn Fn(BuildEvent) + Sync),
) -> Result<Outcome, BuildError> {
    let planned = builder::plan(request, host, events)?;
    if request.explain_cache {
        builder::forecast(request, host, &planned, events)?;
    }
    Ok(Outcome::Plan(planned.to_string()))
}

/// Whether a missing network is worth a word.
fn runs_something(source: &Source) -> bool {
    let parsed = containerfile::parse(source);
    let mut instructions = parsed
        .file
        .stages
        .iter()
        .flat_map(|stage| &stage.instructions);
    instructions.any(|instruction| matches!(instruction.kind, InstructionKind::Run(_)))
}

/// The library's error with its place, its hint and its exit code.
fn explain(error: BuildError, source: &Source, colour: bool) -> Failure {
    let found = |diagnostics: &[Diagnostic]| {
        Failure::silent(Kind::Failed.code()).excerpt(show::diagnostics(source, diagnostics, colour))
    };
    match error {
        BuildError::Plan(diagnostics) => {
            // Errors come last, where they are seen.
            let (errors, rest): (Vec<_>, Vec<_>) =
                diagnostics.into_iter().partition(|found| found.severity == Severity::Error);
            found(&[rest, errors].concat())
        }
        BuildError::Policy(diagnostic) => found(&[*diagnostic]).hint(
            "--user-policy rewrite turns names into numbers, warn and off let the image be as it is",
        ),
        BuildError::Start(diagnostic) => found(&[*diagnostic])
            .hint("--closure auto copies what programs need from where they come from, off lets the image be as it is"),
        BuildError::Emulator(diagnostic) => Failure::silent(Kind::Host.code())
            .excerpt(show::diagnostics(source, &[*diagnostic], colour)),
        BuildError::Step(failure) => step_failed(&failure, source, colour),
        BuildError::Image { registry, ref meant, .. } => {
            let meant = meant.clone();
            let kind = if registry { Kind::Registry } else { Kind::Failed };
            meant.into_iter().fold(Failure::new(kind, error), Failure::hint)
        }
        BuildError::Push { .. } | BuildError::CacheExport { .. } => Failure::new(Kind::Registry, error),
        BuildError::Session(_) | BuildError::Limits(_) => Failure::new(Kind::Host, error)
            .hint("`rbuild doctor` says what this machine lacks, and the commands that mend it"),
        BuildError::Context(_) | BuildError::Commit(_) | BuildError::Attest(_) | BuildError::Export { .. } | BuildError::Cancelled => {
            Failure::new(Kind::Failed, error)
        }
    }
}

/// What an error says of the Containerfile, one by one.
fn findings(error: &BuildError, source: &Source, tell: &dyn Fn(&Finding<'_>)) {
    match error {
        BuildError::Plan(diagnostics) => diagnostics
            .iter()
            .for_each(|diagnostic| tell(&Finding::of(source, diagnostic))),
        BuildError::Policy(diagnostic) | BuildError::Start(diagnostic) => {
            tell(&Finding::of(source, diagnostic));
        }
        BuildError::Step(failure) => {
            let span = failure.label.as_ref().and_then(|label| label.span);
            tell(&Finding {
                severity: Severity::Error,
                rule: None,
                message: &step_message(failure),
                help: failure.hint.as_deref().into_iter().collect(),
                place: span.and_then(|(start, end)| Place::of(source, Span::new(start, end))),
                exit_code: failure.exit_code,
            });
        }
        _ => {}
    }
}

fn step_message(failure: &StepFailure) -> String {
    let mut message = failure.message.clone();
    if let Some(code) = failure.exit_code
        && !message.contains(&code.to_string())
    {
        message.push_str(&format!(" (exit code {code})"));
    }
    let stage = &failure.stage;
    if !stage.is_empty() {
        message = format!("stage {stage}: {message}");
    }
    message
}

/// The end of its output, its lines, and how it ended.
fn step_failed(failure: &StepFailure, source: &Source, colour: bool) -> Failure {
    let message = step_message(failure);
    let hints: Vec<String> = failure.hint.iter().cloned().collect();
    let tail: String = failure
        .tail
        .iter()
        .map(|line| format!("  | {}\n", show::escape(line.trim_end_matches('\n'))))
        .collect();
    let shown = Failure::silent(Kind::Failed.code()).excerpt(tail);
    match failure
        .label
        .as_ref()
        .map(|label| (label.span, &label.text))
    {
        Some((Some((start, end)), _)) => shown.excerpt(show::located(
            source,
            Span::new(start, end),
            &message,
            &hints,
            colour,
        )),
        other => {
            // A trigger of the base image stands in no file that could be shown.
            let instruction = other.map_or(String::new(), |(_, text)| {
                format!("\n  in the base image's trigger: {}", show::escape(text))
            });
            let text = format!("error: {}{instruction}", show::escape(&message));
            hints.into_iter().fold(shown.excerpt(text), Failure::hint)
        }
    }
}

#[cfg(test)]
mod tests {
    use builder::Label;

    use super::*;

    fn failure(span: Option<(usize, usize)>) -> StepFailure {
        builder::FailureDetails {
            stage: "builder".into(),
            label: Some(Label {
                text: "RUN make".into(),
                span,
            }),
            message: "run the program".into(),
            hint: Some("install make".into()),
            exit_code: Some(127),
            tail: vec!["sh: make: not found \u{1b}[0m".into()],
            cancelled: false,
        }
        .into()
    }

    #[test]
    fn a_failed_step_shows_its_output_its_lines_and_its_exit_code() {
        let source = Source::new("Containerfile", "FROM debian AS builder\nRUN make\n");
        let shown = step_failed(&failure(Some((23, 31))), &source, false);
        assert_eq!(shown.code(), 1);
        insta::assert_snapshot!(shown.text(), @r"
          | sh: make: not found \u{1b}[0m
        error: stage builder: run the program (exit code 127)
         --> Containerfile:2:1
          |
        2 | RUN make
          | ^^^^^^^^
          |
          = help: install make
        ");
    }

    #[test]
    fn a_failed_trigger_shows_its_instruction() {
        let source = Source::new("Containerfile", "FROM debian\n");
        let text = step_failed(&failure(None), &source, false).text();
        assert!(
            text.contains("trigger: RUN make") && text.contains("hint: install make"),
            "{text}"
        );
    }

    #[test]
    fn exit_codes_tell_registry_host_and_build_apart() {
        let source = Source::new("Containerfile", "");
        let code = |error| explain(error, &source, false).code();
        let image = |registry| BuildError::Image {
            name: "x".into(),
            registry,
            meant: None,
            source: "gone".into(),
        };
        assert_eq!(code(image(true)), 4);
        assert_eq!(code(image(false)), 1);
        assert_eq!(code(BuildError::Session("no".into())), 3);
        assert_eq!(code(BuildError::Plan(Vec::new())), 1);
        assert_eq!(code(BuildError::Step(failure(None))), 1);
    }
}
