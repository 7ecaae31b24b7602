//! `RUN`. Invariant: its text reaches the shell as it was written; only the environment is evaluated.

use containerfile::{NetworkMode, Run, RunCommand};

use super::evaluate::StageEvaluator;
use super::findings::{Checked, Site};
use super::history;
use crate::settings::RunSettings;
use crate::step::{RunNetwork, RunStep, Step, StepKind};

impl StageEvaluator<'_, '_> {
    pub(super) fn run(&mut self, site: &Site<'_>, run: &Run) -> Checked<()> {
        let (argv, script) = self.program(site, &run.command)?;
        if argv.iter().chain(&script).any(|text| text.contains('\0')) {
            let message = "RUN holds a NUL character, which no argument can";
            return Err(site.error(site.instruction.span, message));
        }
        let network = match run.network.as_ref().map(|mode| mode.value) {
            None | Some(NetworkMode::Default) => RunNetwork::Default,
            Some(NetworkMode::None) => RunNetwork::None,
            Some(NetworkMode::Host) => RunNetwork::Host,
        };
        let (mounts, secret_env) = self.mounts(site, &run.mounts)?;
        let args = self.state.scope.visible_args();
        let created_by = match &script {
            Some(script) => history::run(&args, std::slice::from_ref(script)),
            None => history::run(&args, &argv),
        };
        let step = Step {
            kind: StepKind::Run(RunStep {
                argv,
                script,
                network,
                args,
                mounts,
                secret_env,
                settings: self.settings(),
            }),
            env: self.state.scope.env.pairs().to_vec(),
            user: self.state.image.config.user.clone(),
            workdir: self.state.workdir().to_owned(),
        };
        self.step(site, step, created_by);
        Ok(())
    }

    /// What the command line says, and the host name that a build argument gives, as in BuildKit.
    fn settings(&self) -> RunSettings {
        let hostname = self.context.globals.build_arg("BUILDKIT_SANDBOX_HOSTNAME");
        RunSettings {
            hostname: hostname.map(str::to_owned),
            ..self.context.options.run.clone()
        }
    }

    /// The arguments, or the script that is executed as a file.
    fn program(
        &self,
        site: &Site<'_>,
        command: &RunCommand,
    ) -> Checked<(Vec<String>, Option<String>)> {
        if let RunCommand::Exec(words) = command {
            let words: Vec<String> = words.iter().map(|word| word.value.to_string()).collect();
            if words.first().is_none_or(String::is_empty) {
                return Err(site.error(site.instruction.span, "RUN names no program"));
            }
            return Ok((words, None));
        }
        let text = command.shell_text().unwrap_or_default();
        if matches!(command, RunCommand::Script(_)) && text.starts_with("#!") {
            return Ok((Vec::new(), Some(text.into_owned())));
        }
        Ok((self.in_shell(&text), None))
    }
}
