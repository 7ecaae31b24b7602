//! Whether the finished image's entry point can start. The invariant: the answer is that of the kernel and of the program's own
//! loader, in their words, and nothing of the image is executed for it.

use std::collections::BTreeMap;

use containerfile::{Diagnostic, Span};
use image::{Area, DiffId, ImageConfig};
use rootfs::closure::{Closure, Finding, Resolver, Settings};
use rootfs::{NodeKind, Tree, TreePath};

use crate::build::Elsewhere;
use crate::error::BuildError;
use crate::execute::view_of;
use crate::graph::PlannedStage;
use crate::host::Host;
use crate::job::Executed;
use crate::key;
use crate::step::{CopyFrom, Label, StepKind};

/// What is known of the program that the image starts.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It starts, as far as its loader is concerned; the name is that of program and layers together.
    Starts(String),
    /// The image names none.
    Unnamed,
    /// It would not start.
    Broken(Box<Diagnostic>),
}

/// Looks at the image of `layers` that `stage` makes.
pub(crate) fn check(
    host: &Host<'_>,
    stage: &PlannedStage,
    executed: &Executed,
    layers: &[DiffId],
    elsewhere: &Elsewhere<'_>,
) -> Result<Verdict, BuildError> {
    let config = &stage.config;
    let Some(program) = program(config) else {
        return Ok(Verdict::Unnamed);
    };
    // What started once from the same layers starts again.
    let name = identity(config, &program, layers);
    let known = format!("starts/{name}");
    let place = host.store.subdir(Area::Cache).join(&known);
    if place.exists() || elsewhere.shared.starts(&name) {
        return Ok(Verdict::Starts(name));
    }
    elsewhere.bring(host, layers)?;
    let view = view_of(host.store, layers)?;
    let closure = match found(&view, config, &program) {
        Ok(path) => Resolver::new(&view, settings(config)).closure(&path),
        Err(message) => {
            let place = Place::of_entry(stage);
            return Ok(Verdict::Broken(Box::new(place.finding(message))));
        }
    };
    if closure.starts() {
        // Failing to remember costs time, not correctness.
        let _ = host.store.write_derived(Area::Cache, &known, b"");
        return Ok(Verdict::Starts(name));
    }
    let place = Place::of_copy(host, stage, executed, &closure).unwrap_or(Place::of_entry(stage));
    Ok(Verdict::Broken(Box::new(place.finding(sentence(&closure)))))
}

/// The first word of what is started.
fn program(config: &ImageConfig) -> Option<String> {
    let config = &config.config;
    let words = config.entrypoint.iter().flatten();
    words.chain(config.cmd.iter().flatten()).next().cloned()
}

fn identity(config: &ImageConfig, program: &str, layers: &[DiffId]) -> String {
    let layers: Vec<String> = layers.iter().map(ToString::to_string).collect();
    let mut parts: Vec<&[u8]> = vec![b"starts 1", program.as_bytes()];
    let architecture = config.platform().architecture;
    parts.extend([
        architecture.as_bytes(),
        config.config.working_dir.as_bytes(),
    ]);
    let env = config.config.env.iter();
    parts.extend(
        env.filter(|entry| is_searched(entry))
            .map(|entry| entry.as_bytes()),
    );
    parts.extend(layers.iter().map(|layer| layer.as_bytes()));
    key::hash(&parts).hex()
}

fn is_searched(entry: &str) -> bool {
    ["PATH=", "LD_LIBRARY_PATH="]
        .iter()
        .any(|name| entry.starts_with(name))
}

fn settings(config: &ImageConfig) -> Settings {
    let mut settings = Settings {
        architecture: Some(config.platform().architecture).filter(|name| !name.is_empty()),
        ..Settings::default()
    };
    for entry in &config.config.env {
        match entry.split_once('=') {
            Some(("PATH", value)) => settings.path = value.into(),
            Some(("LD_LIBRARY_PATH", value)) => settings.library_path = value.into(),
            _ => {}
        }
    }
    settings
}

/// Where the runtime finds the program, as execvpe(3) does; a relative name counts from the working directory.
fn found(tree: &dyn Tree, config: &ImageConfig, program: &str) -> Result<TreePath, String> {
    let path = |text: String| TreePath::clamped(text).map_err(|error| error.to_string());
    if program.starts_with('/') {
        return path(program.to_owned());
    }
    if program.contains('/') {
        return path(format!("{}/{program}", config.config.working_dir));
    }
    let directories = String::from_utf8_lossy(&settings(config).path).into_owned();
    for directory in directories
        .split(':')
        .filter(|directory| !directory.is_empty())
    {
        let candidate = path(format!("{directory}/{program}"))?;
        if let Ok(Some((_, meta))) = tree.lookup(&candidate)
            && meta.kind == NodeKind::File
            && meta.mode & 0o111 != 0
        {
            return Ok(candidate);
        }
    }
    Err(format!(
        "exec: {program:?}: executable file not found in $PATH"
    ))
}

/// What whoever starts a broken program reads.
pub(crate) fn sentence(closure: &Closure) -> String {
    let program = format!("/{}", closure.program);
    let program = program.replacen("//", "/", 1);
    let mut fatal = closure.findings.iter().filter(|finding| finding.fatal);
    // The kernel looks at a program's machine before it looks for its interpreter.
    let format = |finding: &&Finding| finding.message.starts_with("Exec format error");
    let Some(first) = fatal.clone().find(format).or_else(|| fatal.next()) else {
        return format!("{program} would not start");
    };
    let message = &first.message;
    // A name with a slash that is not there is an interpreter's, or the program's own: the kernel speaks, not the loader.
    match message.strip_suffix(": No such file or directory") {
        Some(name) if *name == program => format!("exec {program}: no such file or directory"),
        Some(name) if name.starts_with('/') && !name.contains(": ") => {
            format!(
                "exec {program}: no such file or directory: its interpreter {name} is not there"
            )
        }
        _ if message.contains("cannot open shared object file") => {
            format!("{program}: error while loading shared libraries: {message}")
        }
        _ if first.path == closure.program => format!("{program}: {message}"),
        _ => format!("{program}: {}: {message}", first.path),
    }
}

/// Where in the Containerfile something can be done about it.
struct Place {
    span: Span,
    /// Whether a comment above it would help.
    copies: bool,
}

impl Place {
    fn of_entry(stage: &PlannedStage) -> Self {
        Self {
            span: span(&stage.from_label).unwrap_or_default(),
            copies: false,
        }
    }

    /// The last COPY from a stage or an image whose layer has the program, or else the last one of all.
    fn of_copy(
        host: &Host<'_>,
        stage: &PlannedStage,
        executed: &Executed,
        closure: &Closure,
    ) -> Option<Self> {
        let steps = executed
            .chain
            .iter()
            .find(|steps| steps.stage == stage.id)?;
        let mut copies = stage.steps.iter().zip(&steps.steps).rev();
        let mut views: BTreeMap<DiffId, bool> = BTreeMap::new();
        let mut has = |layer: DiffId| {
            *views.entry(layer).or_insert_with(|| {
                let view = view_of(host.store, &[layer]);
                view.is_ok_and(|view| matches!(view.node(&closure.program), Ok(Some(_))))
            })
        };
        let (planned, _) = copies.find(|(planned, (layer, _))| {
            let from = match &planned.step.kind {
                StepKind::Copy(copy) => {
                    matches!(copy.from, CopyFrom::Stage(_) | CopyFrom::Image(_))
                }
                _ => false,
            };
            from && layer.diff_id().is_some_and(&mut has)
        })?;
        Some(Self {
            span: span(&planned.label)?,
            copies: true,
        })
    }

    fn finding(&self, message: String) -> Diagnostic {
        let help = match self.copies {
            true => "write on the line above: # rbuild:closure (or build with --closure auto)",
            false => "copy it into the image, or build with --closure off if that is meant",
        };
        Diagnostic::error(self.span, message).with_help(help)
    }
}

fn span(label: &Label) -> Option<Span> {
    label.span.map(|(start, end)| Span::new(start, end))
}
