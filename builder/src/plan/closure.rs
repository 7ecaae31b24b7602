//! `# rbuild:closure` above a COPY, and `--closure auto`. Invariant: a COPY that completes its programs says all that decides
//! which files that are, beside the files themselves.

use std::collections::BTreeSet;

use containerfile::suggest::suggestion;
use containerfile::{ExtensionName, Spanned};

use super::evaluate::StageEvaluator;
use super::findings::{Checked, Site};
use super::stages::{Meaning, Stages};
use crate::step::{CopyClosure, CopyFrom};

/// The stages whose files are in the image: the target, and those that it starts from.
pub(super) fn of_image(stages: &Stages<'_>, target: usize) -> BTreeSet<usize> {
    let mut chain = BTreeSet::new();
    let mut at = Some(target);
    while let Some(index) = at.filter(|index| chain.insert(*index)) {
        at = match stages.base(index) {
            Some(Meaning::Stage(base)) => Some(*base),
            _ => None,
        };
    }
    chain
}

impl StageEvaluator<'_, '_> {
    /// What a COPY adds to the programs that it copies.
    pub(super) fn closure(&self, site: &Site<'_>, from: &CopyFrom) -> Checked<Option<CopyClosure>> {
        let mut extensions = site.instruction.extensions.iter();
        let written = extensions.find(|one| one.name.value == ExtensionName::Closure);
        let of_image = matches!(from, CopyFrom::Stage(_) | CopyFrom::Image(_));
        let Some(written) = written else {
            let wanted = of_image && self.context.completed.contains(&self.index);
            return Ok(wanted.then(|| self.completion(false)));
        };
        if !of_image {
            let message = "rbuild:closure needs a stage or an image: a directory of the host is no root file system";
            let help = "copy it into a stage first, and from there with rbuild:closure";
            let error = site.error(written.span, message);
            return Err(Box::new(error.with_help(help)));
        }
        let names = |option| self.rule_names(site, written.list(option));
        let mut also = Vec::new();
        for path in written.values("also") {
            if !path.value.starts_with('/') {
                let message = format!("also={} is no absolute path", path.value);
                return Err(site.error(path.span, message));
            }
            also.push(path.value.clone());
        }
        Ok(Some(CopyClosure {
            with: names("with")?,
            without: names("without")?,
            also,
            ..self.completion(true)
        }))
    }

    /// Names of rules that there are.
    fn rule_names(&self, site: &Site<'_>, written: Vec<Spanned<String>>) -> Checked<Vec<String>> {
        let rules = self.context.options.closure_rules.set();
        for name in &written {
            if !rules.knows(&name.value) {
                let message = format!("there is no closure rule {:?}", name.value);
                let all: Vec<&str> = rules.names().map(|(name, _)| name).collect();
                let help = match suggestion(&name.value, all.iter().copied()) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("there are: {}", all.join(", ")),
                };
                return Err(Box::new(site.error(name.span, message).with_help(help)));
            }
        }
        Ok(written.into_iter().map(|name| name.value).collect())
    }

    fn completion(&self, asked: bool) -> CopyClosure {
        let env = &self.state.scope.env;
        let variables = self.context.options.closure_rules.set().variables();
        let value = |name| env.get(name).unwrap_or_default().to_owned();
        CopyClosure {
            asked,
            path: value("PATH"),
            library_path: value("LD_LIBRARY_PATH"),
            architecture: self.state.image.platform().architecture,
            env: variables
                .into_iter()
                .filter_map(|name| Some((name.to_owned(), env.get(name)?.to_owned())))
                .collect(),
            rules: self.context.options.closure_rules.digest(),
            ..CopyClosure::default()
        }
    }
}
