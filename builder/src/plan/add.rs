//! `ADD`: what is remote is fetched before the step exists. Invariant: a step that is planned holds the content of its remote
//! sources by digest; where they came from is only shown.

use containerfile::{Add, CopySource, Flag, Instruction, Span, Word};
use image::Digest;

use super::WantedRemote;
use super::copy::optional;
use super::evaluate::StageEvaluator;
use super::findings::{Checked, Site};
use crate::remote::{RemoteSource, is_path};
use crate::step::{CopyFrom, Fetched};

/// The sources of one instruction, told apart.
#[derive(Default)]
struct Sources {
    paths: Vec<String>,
    remotes: Vec<(RemoteSource, Word)>,
}

impl StageEvaluator<'_, '_> {
    pub(super) fn add(&mut self, site: &Site<'_>, add: &Add) -> Checked<()> {
        let sources = self.told_apart(site, add)?;
        let shown: Vec<String> = sources
            .remotes
            .iter()
            .map(|(source, _)| source.to_string())
            .collect();
        let fetched = self.fetched(site, add, sources.remotes)?;
        let mut step =
            self.transfer(site, CopyFrom::Context, &add.transfer, sources.paths, false)?;
        step.unpack = add.unpack != Some(false);
        let Some(fetched) = fetched else {
            return Ok(());
        };
        step.fetched = fetched;
        self.copying(site, step, None, &shown);
        Ok(())
    }

    fn told_apart(&mut self, site: &Site<'_>, add: &Add) -> Checked<Sources> {
        let mut sources = Sources::default();
        for source in &add.transfer.sources {
            let CopySource::Path(word) = source else {
                continue;
            };
            let value = site.expand(word, &self.state.scope)?;
            let remote = if is_path(&value) {
                None
            } else {
                RemoteSource::parse(&value)
                    .map_err(|error| site.error(word.span, format!("cannot {error}")))?
            };
            match remote {
                Some(remote) => sources.remotes.push((remote, word.clone())),
                None => sources.paths.push(self.path(site, word, value, false)?),
            }
        }
        self.apply_checksum(site, add, &mut sources)?;
        apply_keep_git_dir(site, add, &mut sources)?;
        Ok(sources)
    }

    fn apply_checksum(&self, site: &Site<'_>, add: &Add, sources: &mut Sources) -> Checked<()> {
        let (Some(word), Some(text)) = (
            &add.checksum,
            optional(site, add.checksum.as_deref(), &self.state.scope)?,
        ) else {
            return Ok(());
        };
        match &mut sources.remotes[..] {
            [(RemoteSource::Url { checksum, .. }, _)] if sources.paths.is_empty() => {
                let digest: Digest = text.parse().map_err(|error| {
                    let message = format!("--checksum={text}: cannot {error}");
                    site.error(word.span, message)
                })?;
                *checksum = Some(digest);
                Ok(())
            }
            [(RemoteSource::Git(source), _)] if sources.paths.is_empty() => {
                source.set_checksum(&text).map_err(|error| {
                    let message = format!("--checksum={text}: cannot {error}");
                    site.error(word.span, message)
                })
            }
            _ => Err(refused(
                site,
                "checksum",
                "it is for one URL or git repository",
            )),
        }
    }

    /// What the remote sources are; `None` where one is still to be fetched.
    fn fetched(
        &mut self,
        site: &Site<'_>,
        add: &Add,
        remotes: Vec<(RemoteSource, Word)>,
    ) -> Checked<Option<Vec<Fetched>>> {
        let mut fetched = Some(Vec::new());
        for (source, word) in remotes {
            match self.context.pins.remote(&source) {
                Some(pinned) => {
                    if let Some(fetched) = &mut fetched {
                        fetched.push(Fetched {
                            pinned: pinned.clone(),
                            unpack: add.unpack == Some(true),
                        });
                    }
                }
                None => {
                    fetched = None;
                    let span = site.place(word.span);
                    if self.remotes.iter().all(|wanted| wanted.source != source) {
                        self.remotes.push(WantedRemote { source, span });
                    }
                }
            }
        }
        Ok(fetched)
    }
}

fn apply_keep_git_dir(site: &Site<'_>, add: &Add, sources: &mut Sources) -> Checked<()> {
    let Some(keep) = add.keep_git_dir else {
        return Ok(());
    };
    let mut repositories = 0;
    for (source, _) in &mut sources.remotes {
        if let RemoteSource::Git(source) = source {
            if source.keep_git_dir.is_some_and(|asked| asked != keep) {
                let (url, flag) = (&source.url, format!("--keep-git-dir={keep}"));
                let span = flag_span(site, "keep-git-dir");
                let message = format!("ADD {flag}: the query of {url} says keep-git-dir={}", !keep);
                return Err(site.error(span, message));
            }
            source.keep_git_dir = Some(keep);
            repositories += 1;
        }
    }
    if keep && repositories == 0 {
        return Err(refused(site, "keep-git-dir", "there is no git repository"));
    }
    Ok(())
}

fn refused(site: &Site<'_>, name: &str, reason: &str) -> Box<containerfile::Diagnostic> {
    let message = format!("ADD --{name}: {reason} among the sources");
    site.error(flag_span(site, name), message)
}

fn flag_span(site: &Site<'_>, name: &str) -> Span {
    flag(site.instruction, name).map_or(site.instruction.span, |flag| flag.span)
}

fn flag<'i>(instruction: &'i Instruction, name: &str) -> Option<&'i Flag> {
    instruction
        .flags
        .iter()
        .find(|flag| flag.name.value.eq_ignore_ascii_case(name))
}
