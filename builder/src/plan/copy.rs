//! `COPY` and `ADD`. Invariant: a copy knows only what changes its result: neither the environment nor the user, and the working
//! directory only for a relative destination.

use containerfile::glob::Glob;
use containerfile::ignore::IgnoreFile;
use containerfile::mode::Mode;
use containerfile::{Add, Copy, CopySource, Transfer, Word};

use super::evaluate::StageEvaluator;
use super::findings::{Checked, Site};
use super::gather::copied;
use super::refusal;
use super::stages::Meaning;
use crate::graph::StageId;
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
        let step = self.transfer(site, from, &copy.transfer, copy.parents)?;
        self.copying(
            site,
            step,
            copy.from.as_ref().map(|from| from.value.as_str()),
        );
        Ok(())
    }

    pub(super) fn add(&mut self, site: &Site<'_>, add: &Add) -> Checked<()> {
        let mut step = self.transfer(site, CopyFrom::Context, &add.transfer, false)?;
        step.unpack = add.unpack != Some(false);
        let written = add
            .transfer
            .sources
            .iter()
            .filter_map(|source| match source {
                CopySource::Path(word) => Some(word),
                CopySource::Heredoc(_) => None,
            });
        for (word, value) in written.zip(&step.sources) {
            // What is remote as written was refused before expansion.
            if let (None, Some(kind)) = (refusal::remote(&word.raw), refusal::remote(value)) {
                return Err(site.error(word.span, refusal::not_fetched(kind)));
            }
        }
        self.copying(site, step, None);
        Ok(())
    }

    fn source(&self, meaning: &Meaning) -> Option<CopyFrom> {
        match meaning {
            Meaning::Scratch => None,
            Meaning::Stage(index) => Some(CopyFrom::Stage(StageId(*index))),
            Meaning::Directory(name) => Some(CopyFrom::NamedContext(name.clone())),
            Meaning::Image(wanted) => self
                .context
                .gathered
                .image_index(&wanted.key)
                .map(CopyFrom::Image),
        }
    }

    fn transfer(
        &mut self,
        site: &Site<'_>,
        from: CopyFrom,
        transfer: &Transfer,
    ) -> Checked<CopyStep> {
        let scope = &self.state.scope;
        let (mut sources, mut inline) = (Vec::new(), Vec::new());
        for source in &transfer.sources {
            match source {
                CopySource::Path(word) => sources.push((word, site.expand(word, scope)?)),
                CopySource::Heredoc(heredoc) => {
                    let content = heredoc.content();
                    let content = match heredoc.quoted {
                        true => content.into_owned(),
                        false => site.expand_heredoc(&content, heredoc.body, scope)?,
                    };
                    inline.push((heredoc.name.clone(), content));
                }
            }
        }
        let destination = site.expand(&transfer.destination, scope)?;
        let step = CopyStep {
            from,
            sources: Vec::new(),
            inline,
            destination: if destination.is_empty() {
                ".".to_owned()
            } else {
                destination
            },
            chown: optional(site, transfer.chown.as_ref(), scope)?,
            chmod: self.chmod(site, transfer.chmod.as_ref())?,
            excludes: transfer
                .excludes
                .iter()
                .map(|word| site.expand(word, scope))
                .collect::<Checked<_>>()?,
            parents,
            link: transfer.link,
            unpack: false,
        };
        for (word, value) in sources.iter().filter(|(_, value)| value.is_empty()) {
            let message = format!(
                "{} is blank after expansion, which means everything{value}",
                word.raw
            );
            self.findings
                .push(site.warning("BlankSource", word.span, message));
        }
        let sources = sources.into_iter().map(|(_, value)| {
            if value.is_empty() {
                ".".to_owned()
            } else {
                value
            }
        });
        Ok(CopyStep {
            sources: sources.collect(),
            ..step
        })
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

    fn copying(&mut self, site: &Site<'_>, copy: CopyStep, from: Option<&str>) {
        let relative = !copy.destination.starts_with('/');
        let workdir = if relative {
            self.state.workdir().to_owned()
        } else {
            "/".to_owned()
        };
        let created_by = created_by(site.instruction.kind.keyword(), &copy, from);
        let step = Step {
            kind: StepKind::Copy(copy),
            env: Vec::new(),
            user: String::new(),
            workdir,
        };
        self.step(site, step, created_by);
    }
}

/// The value of a flag; a blank one is as good as none.
fn optional(
    site: &Site<'_>,
    word: Option<&Word>,
    scope: &super::scope::Scope,
) -> Checked<Option<String>> {
    let value = word.map(|word| site.expand(word, scope)).transpose()?;
    Ok(value.filter(|value| !value.is_empty()))
}

fn created_by(keyword: &str, copy: &CopyStep, from: Option<&str>) -> String {
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
    words.extend(copy.sources.iter().cloned());
    words.extend(copy.inline.iter().map(|(name, _)| format!("<<{name}")));
    words.push(copy.destination.clone());
    words.join(" ")
}
