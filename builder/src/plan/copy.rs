//! `COPY`, and what `ADD` has in common with it. Invariant: a copy knows only what changes its result: neither the environment nor the user, and the working
//! directory only for a relative destination.

use containerfile::glob::{Glob, PatternError};
use containerfile::ignore::IgnoreFile;
use containerfile::mode::Mode;
use containerfile::{Copy, CopySource, Transfer, Word};

use super::evaluate::StageEvaluator;
use super::findings::{Checked, Site};
use super::gather::copied;
use super::scope::Scope;
use super::stages::Meaning;
use crate::graph::StageId;
use crate::remote::is_path;
use crate::step::{CopyFrom, CopyStep, Step, StepKind};

impl StageEvaluator<'_, '_> {
    pub(super) fn copy(&mut self, site: &Site<'_>, copy: &Copy) -> Checked<()> {
        let from = match copied(self.context.stages, self.index, site) {
            None => CopyFrom::Context,
            Some(meaning) => match self.source(&meaning?) {
                Some(from) => from,
                // Not looked up yet, or reported already.
                None => return Ok(()),
            },
        };
        let sources = self.sources(site, &copy.transfer.sources, copy.parents)?;
        let closure = self.closure(site, &from)?;
        let mut step = self.transfer(site, from, &copy.transfer, sources, copy.parents)?;
        step.closure = closure;
        let from = copy.from.as_ref().map(|from| from.value.as_str());
        self.copying(site, step, from, &[]);
        Ok(())
    }

    pub(super) fn source(&self, meaning: &Meaning) -> Option<CopyFrom> {
        match meaning {
            Meaning::Scratch(_) => None,
            Meaning::Stage(index) => Some(CopyFrom::Stage(StageId(*index))),
            Meaning::Directory(name) => Some(CopyFrom::NamedContext(name.clone())),
            Meaning::Image(wanted) => self
                .context
                .gathered
                .image_index(&wanted.key)
                .map(CopyFrom::Image),
        }
    }

    pub(super) fn transfer(
        &mut self,
        site: &Site<'_>,
        from: CopyFrom,
        transfer: &Transfer,
        sources: Vec<String>,
        parents: bool,
    ) -> Checked<CopyStep> {
        let scope = &self.state.scope;
        let destination = site.expand(&transfer.destination, scope)?;
        Ok(CopyStep {
            from,
            inline: inline(site, &transfer.sources, scope)?,
            destination: here_if_blank(destination),
            chown: optional(site, transfer.chown.as_deref(), scope)?,
            chmod: self.chmod(site, transfer.chmod.as_deref())?,
            excludes: excludes(site, &transfer.excludes, scope)?,
            parents,
            link: transfer.link,
            unpack: false,
            sources,
            fetched: Vec::new(),
            closure: None,
        })
    }

    fn sources(
        &mut self,
        site: &Site<'_>,
        written: &[CopySource],
        parents: bool,
    ) -> Checked<Vec<String>> {
        let paths = written.iter().filter_map(|source| match source {
            CopySource::Path(word) => Some(word),
            CopySource::Heredoc(_) => None,
        });
        let mut sources = Vec::new();
        for word in paths {
            let value = site.expand(word, &self.state.scope)?;
            if !is_path(&value) {
                let message = format!("COPY cannot fetch {}", word.raw);
                return Err(Box::new(
                    site.error(word.span, message).with_help("ADD can"),
                ));
            }
            sources.push(self.path(site, word, value, parents)?);
        }
        Ok(sources)
    }

    /// A path of the context. A blank one means the whole tree, as in BuildKit, which is hardly ever meant.
    pub(super) fn path(
        &mut self,
        site: &Site<'_>,
        word: &Word,
        value: String,
        parents: bool,
    ) -> Checked<String> {
        check_pattern(&value, parents).map_err(|error| {
            site.error(
                word.span,
                format!("source {value:?} is no pattern: {error}"),
            )
        })?;
        if value.is_empty() {
            let message = format!("{} is blank after expansion: it means everything", word.raw);
            let warning = site.warning("BlankSource", word.span, message);
            self.findings.push(warning);
        }
        Ok(here_if_blank(value))
    }

    fn chmod(&self, site: &Site<'_>, word: Option<&Word>) -> Checked<Option<String>> {
        let value = optional(site, word, &self.state.scope)?;
        if let (Some(word), Some(value)) = (word, &value) {
            value
                .parse::<Mode>()
                .map_err(|error| site.error(word.span, format!("--chmod: {error}")))?;
        }
        Ok(value)
    }

    /// Adds the step; `fetched` is how the remote sources are shown.
    pub(super) fn copying(
        &mut self,
        site: &Site<'_>,
        copy: CopyStep,
        from: Option<&str>,
        fetched: &[String],
    ) {
        let relative = !copy.destination.starts_with('/');
        let workdir = if relative {
            self.state.workdir().to_owned()
        } else {
            "/".to_owned()
        };
        let created_by = created_by(site.instruction.kind.keyword(), &copy, from, fetched);
        let step = Step {
            kind: StepKind::Copy(copy),
            env: Vec::new(),
            user: String::new(),
            workdir,
        };
        self.step(site, step, created_by);
    }
}

/// The files written in the Containerfile, with variables expanded unless the delimiter was quoted.
fn inline(
    site: &Site<'_>,
    written: &[CopySource],
    scope: &Scope,
) -> Checked<Vec<(String, String)>> {
    let heredocs = written.iter().filter_map(|source| match source {
        CopySource::Path(_) => None,
        CopySource::Heredoc(heredoc) => Some(heredoc),
    });
    heredocs
        .map(|heredoc| {
            let content = heredoc.content();
            let content = if heredoc.quoted {
                content.into_owned()
            } else {
                site.expand_heredoc(&content, heredoc.body, scope)?
            };
            Ok((heredoc.name.clone(), content))
        })
        .collect()
}

fn excludes(site: &Site<'_>, words: &[Word], scope: &Scope) -> Checked<Vec<String>> {
    let expand = |word: &Word| {
        let pattern = site.expand(word, scope)?;
        IgnoreFile::from_patterns([pattern.as_str()]).map_err(|error| {
            let message = format!("--exclude={pattern}: cannot {error}");
            site.error(word.span, message)
        })?;
        Ok(pattern)
    };
    words.iter().map(expand).collect()
}

/// Whether the matchers will understand a source: `**` exists only with `--parents`.
fn check_pattern(source: &str, parents: bool) -> Result<(), PatternError> {
    if parents {
        return Glob::parse_deep(source).map(drop);
    }
    source
        .split('/')
        .try_for_each(|component| Glob::parse(component).map(drop))
}

/// A blank path is the directory itself.
fn here_if_blank(path: String) -> String {
    if path.is_empty() {
        ".".to_owned()
    } else {
        path
    }
}

/// The value of a flag; a blank one is as good as none.
pub(super) fn optional(
    site: &Site<'_>,
    word: Option<&Word>,
    scope: &Scope,
) -> Checked<Option<String>> {
    let value = word.map(|word| site.expand(word, scope)).transpose()?;
    Ok(value.filter(|value| !value.is_empty()))
}

fn created_by(keyword: &str, copy: &CopyStep, from: Option<&str>, fetched: &[String]) -> String {
    let mut words = vec![keyword.to_owned()];
    let flags = [
        ("from", from),
        ("chown", copy.chown.as_deref()),
        ("chmod", copy.chmod.as_deref()),
    ];
    words.extend(
        flags
            .iter()
            .filter_map(|(name, value)| value.map(|value| format!("--{name}={value}"))),
    );
    let switches = [("link", copy.link), ("parents", copy.parents)];
    words.extend(
        switches
            .iter()
            .filter(|(_, set)| *set)
            .map(|(name, _)| format!("--{name}")),
    );
    words.extend(
        copy.excludes
            .iter()
            .map(|pattern| format!("--exclude={pattern}")),
    );
    words.extend(copy.sources.iter().chain(fetched).cloned());
    words.extend(copy.inline.iter().map(|(name, _)| format!("<<{name}")));
    words.push(copy.destination.clone());
    words.join(" ")
}
