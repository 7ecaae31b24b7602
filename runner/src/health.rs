//! An image's health check as a command. The invariant: the exec form runs without a shell; the shell form says which shell it needs.

use image::ContainerConfig;

/// What docker(1) takes where a check says nothing: 30 seconds for one, and three failures in a row.
const TIMEOUT: u64 = 30_000;
const RETRIES: u32 = 3;

/// How a container is asked whether it is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCommand {
    /// The command.
    pub argv: Vec<String>,
    /// Whether it is a text for a shell, which is the first word of `argv` then.
    pub shell: bool,
    /// Milliseconds that one check may take.
    pub timeout: u64,
    /// Milliseconds at the start in which failures do not count.
    pub start_period: u64,
    /// Failures in a row that count.
    pub retries: u32,
}

impl HealthCommand {
    /// The check of an image; `None` where it has none, or where it is switched off.
    pub fn of(config: &ContainerConfig) -> Option<Self> {
        let check = config.healthcheck.as_ref()?;
        let (kind, words) = check.test.split_first()?;
        let (argv, shell) = match (kind.as_str(), words) {
            ("CMD", [_, ..]) => (words.to_vec(), false),
            ("CMD-SHELL", [text]) => {
                let usual = || vec!["/bin/sh".to_owned(), "-c".to_owned()];
                let mut argv = match config.shell.is_empty() {
                    true => usual(),
                    false => config.shell.clone(),
                };
                argv.push(text.clone());
                (argv, true)
            }
            _ => return None,
        };
        let millis = |nanos: i64| u64::try_from(nanos / 1_000_000).unwrap_or(0);
        let or = |value: u64, usual: u64| if value == 0 { usual } else { value };
        Some(Self {
            argv,
            shell,
            timeout: or(millis(check.timeout), TIMEOUT),
            start_period: millis(check.start_period),
            retries: match u32::try_from(check.retries) {
                Ok(0) | Err(_) => RETRIES,
                Ok(retries) => retries,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use image::Healthcheck;

    use super::*;

    fn of(test: &[&str]) -> Option<HealthCommand> {
        let test = test.iter().map(|word| (*word).to_owned()).collect();
        HealthCommand::of(&ContainerConfig {
            healthcheck: Some(Healthcheck {
                test,
                timeout: 2_000_000_000,
                ..Healthcheck::default()
            }),
            ..ContainerConfig::default()
        })
    }

    #[test]
    fn the_exec_form_needs_no_shell_and_the_shell_form_says_which() {
        let exec = of(&["CMD", "/check", "-q"]).unwrap();
        assert_eq!(
            (exec.argv, exec.shell, exec.timeout),
            (vec!["/check".into(), "-q".into()], false, 2000)
        );
        let text = of(&["CMD-SHELL", "check || exit 1"]).unwrap();
        assert_eq!(
            (text.argv[0].as_str(), text.shell, text.retries),
            ("/bin/sh", true, 3)
        );
        for none in [&[][..], &["NONE"], &["CMD"]] {
            assert_eq!(of(none), None);
        }
    }
}
