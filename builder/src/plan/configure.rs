//! The instructions that only configure. Invariant: none of them makes a step.

use std::time::Duration;

use containerfile::{Command, HealthProbe, Healthcheck, Spanned, Text, Word, ports};

use super::evaluate::StageEvaluator;
use super::findings::{Checked, Site};
use super::{history, signals};

/// What shell-form instructions are run by where nothing says otherwise.
const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];

impl StageEvaluator<'_, '_> {
    /// The last `CMD` wins.
    pub(super) fn cmd(&mut self, command: &Command) -> Checked<()> {
        let words = self.command(command);
        self.configured(history::command("CMD", &words));
        self.state.image.config.cmd = (!words.is_empty()).then_some(words);
        self.cmd_set = true;
        Ok(())
    }

    /// Clears a `CMD` that came from the base, which was meant for another program.
    pub(super) fn entrypoint(&mut self, command: &Command) -> Checked<()> {
        let words = self.command(command);
        self.configured(history::command("ENTRYPOINT", &words));
        self.state.image.config.entrypoint = (!words.is_empty()).then_some(words);
        if !self.cmd_set {
            self.state.image.config.cmd = None;
        }
        Ok(())
    }

    pub(super) fn expose(&mut self, site: &Site<'_>, words: &[Word]) -> Checked<()> {
        let mut exposed = Vec::new();
        for word in words {
            for port in site.expand_words(word, &self.state.scope)? {
                exposed.extend(
                    ports::parse(&port)
                        .map_err(|error| site.error(word.span, error.to_string()))?,
                );
            }
        }
        self.configured(history::list("EXPOSE", &exposed));
        let ports = exposed.into_iter().map(|port| (port, image::Empty {}));
        self.state.image.config.exposed_ports.extend(ports);
        Ok(())
    }

    pub(super) fn volume(&mut self, site: &Site<'_>, words: &[Word]) -> Checked<()> {
        let expand =
            |word: &Word| site.expand_name(word, &self.state.scope, "the path of a VOLUME");
        let paths = words.iter().map(expand).collect::<Checked<Vec<_>>>()?;
        self.configured(history::list("VOLUME", &paths));
        let volumes = paths.into_iter().map(|path| (path, image::Empty {}));
        self.state.image.config.volumes.extend(volumes);
        Ok(())
    }

    /// Stored as written, like Docker does.
    pub(super) fn stopsignal(&mut self, site: &Site<'_>, word: &Word) -> Checked<()> {
        let signal = site.expand(word, &self.state.scope)?;
        if !signals::is_signal(&signal) {
            let message = format!("{signal:?} is not a signal");
            let help = "write a name like SIGTERM or a number of 1 to 64";
            return Err(Box::new(site.error(word.span, message).with_help(help)));
        }
        self.configured(format!("STOPSIGNAL {signal}"));
        self.state.image.config.stop_signal = Some(signal);
        Ok(())
    }

    pub(super) fn shell(&mut self, words: &[Spanned<Text>]) -> Checked<()> {
        let words: Vec<String> = words.iter().map(|word| word.value.to_string()).collect();
        self.configured(history::list("SHELL", &words));
        self.state.image.config.shell = words;
        Ok(())
    }

    pub(super) fn healthcheck(&mut self, check: &Healthcheck) -> Checked<()> {
        let check = match check {
            Healthcheck::None => image::Healthcheck {
                test: vec!["NONE".to_owned()],
                ..image::Healthcheck::default()
            },
            Healthcheck::Check(probe) => health(probe),
        };
        self.configured(history::list("HEALTHCHECK", &check.test));
        self.state.image.config.healthcheck = Some(check);
        Ok(())
    }

    pub(super) fn maintainer(&mut self, author: &str) -> Checked<()> {
        self.configured(format!("MAINTAINER {author}"));
        self.state.image.author = Some(author.to_owned());
        Ok(())
    }

    /// Kept for children; BuildKit writes no history for it.
    pub(super) fn onbuild(&mut self, trigger: &str) -> Checked<()> {
        self.state.image.config.on_build.push(trigger.to_owned());
        Ok(())
    }

    /// A command line with the stage's shell in front of the shell form.
    fn command(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Shell(text) => self.in_shell(&text.value),
            Command::Exec(words) => words.iter().map(|word| word.value.to_string()).collect(),
        }
    }

    /// `SHELL` and the text as its last argument.
    pub(super) fn in_shell(&self, text: &str) -> Vec<String> {
        let shell = &self.state.image.config.shell;
        let mut argv = if shell.is_empty() {
            DEFAULT_SHELL.map(str::to_owned).to_vec()
        } else {
            shell.clone()
        };
        argv.push(text.to_owned());
        argv
    }
}

/// A shell-form probe is run by the runtime's shell, not by `SHELL`: that is Docker's format.
fn health(probe: &HealthProbe) -> image::Healthcheck {
    let test = match &probe.command {
        Command::Shell(text) => vec!["CMD-SHELL".to_owned(), text.value.to_string()],
        Command::Exec(words) => std::iter::once("CMD".to_owned())
            .chain(words.iter().map(|word| word.value.to_string()))
            .collect(),
    };
    image::Healthcheck {
        test,
        interval: nanoseconds(probe.interval),
        timeout: nanoseconds(probe.timeout),
        start_period: nanoseconds(probe.start_period),
        start_interval: nanoseconds(probe.start_interval),
        retries: probe.retries.map_or(0, i64::from),
        ..image::Healthcheck::default()
    }
}

/// Zero is the default; what does not fit is longer than any container lives.
fn nanoseconds(duration: Option<Duration>) -> i64 {
    duration.map_or(0, |duration| {
        i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
    })
}
