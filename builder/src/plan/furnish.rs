//! What a stage gets at its end: from its comments and the command line to steps. Invariant: comments count for the stage that they
//! stand in, the command line for the target alone; a flag that says off silences both.

use containerfile::{Diagnostic, Extension, ExtensionName, Spanned};
use rootfs::accounts::Accounts;
use rootfs::certificates::Bundle;

use super::evaluate::StageEvaluator;
use super::findings::Checked;
use crate::furnish::{
    AccountsPolicy, AccountsStep, CertificatesPolicy, CertificatesStep, Furnish, RecordsPolicy,
    RecordsStep, Roots,
};
use crate::step::{Label, Step, StepKind};

/// As distroless images have it.
const ACCOUNT: (u32, &str) = (65532, "nonroot");

impl StageEvaluator<'_, '_> {
    /// Adds the steps; `is_target` tells whether the command line is about this stage.
    pub(super) fn furnish(&mut self, is_target: bool) {
        let stages = self.context.stages;
        let of = |name| {
            let mut all = stages.extensions(self.index).iter();
            all.find(|extension| extension.name.value == name)
        };
        let certificates = of(ExtensionName::CaCertificates);
        let accounts = of(ExtensionName::Accounts);
        let checked = self.certificates(certificates, is_target);
        self.findings.keep(checked);
        let checked = self.accounts(accounts, is_target);
        self.findings.keep(checked);
        self.records(is_target);
    }

    /// Of a stage that copies from others. Who asks for nothing beyond the language gets what other builders make.
    fn records(&mut self, is_target: bool) {
        let stages = self.context.stages;
        let instructions = stages.instructions(self.index).iter();
        let asked = !stages.extensions(self.index).is_empty()
            || instructions.clone().any(|one| !one.extensions.is_empty())
            || self.context.completed.contains(&self.index)
            || self.is_furnished();
        match self.context.options.furnishing.records {
            RecordsPolicy::Off => return,
            RecordsPolicy::Auto if !asked => return,
            RecordsPolicy::Always if !asked && !is_target => return,
            RecordsPolicy::Auto | RecordsPolicy::Always => {}
        }
        let sources = self.copied_from();
        if !sources.is_empty() {
            let step = Furnish::Records(RecordsStep { sources });
            self.furnished(step, None, "package records");
        }
    }

    fn certificates(&mut self, written: Option<&Extension>, is_target: bool) -> Checked<()> {
        let policy = &self.context.options.furnishing.certificates;
        let own = || Roots::Own {
            mozilla: Bundle::mozilla().identity().to_string(),
        };
        let from = written.and_then(|extension| extension.value("from"));
        let (roots, flag) = match (policy, written) {
            (CertificatesPolicy::Off, _) => return Ok(()),
            (CertificatesPolicy::Given(pem), _) if is_target => {
                (Roots::Given(pem.clone()), "--ca FILE")
            }
            (CertificatesPolicy::Auto, None) if is_target => (own(), "--ca auto"),
            (_, None) => return Ok(()),
            (_, Some(_)) => match from {
                None => (own(), ""),
                Some(from) => match self.roots_of(from)? {
                    Some(roots) => (roots, ""),
                    // Not looked up yet, or reported already.
                    None => return Ok(()),
                },
            },
        };
        let extra = written.map(|extension| extension.list("extra"));
        let step = CertificatesStep {
            roots,
            extra: extra.into_iter().flatten().map(|one| one.value).collect(),
            if_needed: written.is_none() && flag == "--ca auto",
        };
        self.furnished(Furnish::Certificates(step), written, flag);
        Ok(())
    }

    fn roots_of(&self, from: &Spanned<String>) -> Checked<Option<Roots>> {
        let meaning = self.context.stages.copied(self.index, from)?;
        Ok(self.source(&meaning).map(Roots::Of))
    }

    fn accounts(&mut self, written: Option<&Extension>, is_target: bool) -> Checked<()> {
        let user = numbers(&self.state.image.config.user);
        let flag = match (self.context.options.furnishing.accounts, written) {
            (AccountsPolicy::Off, _) => return Ok(()),
            (_, Some(_)) => "",
            (AccountsPolicy::Auto, None) if is_target && user.is_some() => "--accounts auto",
            (_, None) => return Ok(()),
        };
        let option = |name| written.and_then(|extension| extension.value(name));
        let (uid, gid) = match option("uid") {
            None => user.unwrap_or((ACCOUNT.0, ACCOUNT.0)),
            Some(text) => {
                let uid = text
                    .value
                    .parse::<u32>()
                    .ok()
                    .filter(|uid| *uid != u32::MAX);
                let message = || format!("uid={}: expected a number", text.value);
                let uid = uid.ok_or_else(|| Box::new(Diagnostic::error(text.span, message())))?;
                // Of the same user its own group.
                (
                    uid,
                    user.filter(|user| user.0 == uid).map_or(uid, |user| user.1),
                )
            }
        };
        let name = match option("name") {
            None => ACCOUNT.1.to_owned(),
            Some(text) if Accounts::is_name(&text.value) => text.value.clone(),
            Some(text) => {
                let message = format!("name={}: no system takes this for a user", text.value);
                let help = "small letters, digits, _ and -, the first no digit and no -";
                let error = Diagnostic::error(text.span, message).with_help(help);
                return Err(Box::new(error));
            }
        };
        let step = AccountsStep { uid, gid, name };
        self.furnished(Furnish::Accounts(step), written, flag);
        Ok(())
    }

    fn furnished(&mut self, furnish: Furnish, written: Option<&Extension>, flag: &str) {
        let (text, span) = match written {
            Some(extension) => {
                let options = extension.options.iter();
                let options = options.map(|one| format!(" {}={}", one.name.value, one.value.value));
                let name = extension.name.value.as_str();
                let text = format!("# rbuild:{name}{}", options.collect::<String>());
                (text, Some((extension.span.start(), extension.span.end())))
            }
            None => (format!("# {flag}"), None),
        };
        let step = Step {
            kind: StepKind::Furnish(furnish),
            env: Vec::new(),
            user: String::new(),
            workdir: "/".to_owned(),
        };
        let label = Label {
            text: text.clone(),
            span,
        };
        self.labelled(step, label, text);
    }
}

/// A user that is numeric and not root, and its group; a group that is not said is the user's.
fn numbers(user: &str) -> Option<(u32, u32)> {
    let (uid, gid) = user.split_once(':').unwrap_or((user, user));
    let uid = uid.parse().ok().filter(|uid| *uid != 0)?;
    Some((uid, gid.parse().ok()?))
}
