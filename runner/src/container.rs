//! An image's configuration and a request become the description of one container. The invariant: [`ContainerSpec::new`] is
//! pure; whatever an image says is data in it and never a host path, an option or the name of a host variable.

use image::ContainerConfig;
use rootfs::accounts::Account;
use sandbox::{CapabilitySet, IdMap, UnknownCapability, UserSpec};
use thiserror::Error;

use crate::request::RunRequest;
use crate::signal::StopSignal;
use crate::userns::{Ids, Mapping, UsernsError, UsernsMode};

/// What Docker and Podman give a container whose image says nothing.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What Docker and Podman give a program with a terminal.
pub(crate) const TERM: &str = "xterm";

/// The longest host name, HOST_NAME_MAX of sethostname(2).
const HOSTNAME_MAX: usize = 64;

/// A request that an image cannot satisfy.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// Neither names a program.
    #[error("find a program: the image has no ENTRYPOINT and no CMD, and none is given")]
    NoProgram,
    /// A name of `--cap-add` or `--cap-drop`.
    #[error(transparent)]
    Capability(#[from] UnknownCapability),
    /// The ids do not fit the session.
    #[error(transparent)]
    Userns(#[from] UsernsError),
    /// Not what sethostname(2) takes.
    #[error("name the host {0:?}: a name has 1 to 64 letters, digits, dots and hyphens")]
    Hostname(String),
    /// A variable's name that no environment can hold.
    #[error("set the variable {0:?}: a name is not empty and has neither '=' nor NUL in it")]
    Variable(String),
    /// NUL ends a C string.
    #[error("pass {0:?} to the program: it contains a NUL byte")]
    Nul(String),
}

/// The user that is looked up in the image: the request's, else the image's, else the one that keep-id names; root when
/// there is none.
pub fn user_text(config: &ContainerConfig, request: &RunRequest) -> String {
    let chosen = request
        .program
        .user
        .as_ref()
        .filter(|text| !text.is_empty())
        .or(Some(&config.user));
    match (chosen.filter(|text| !text.is_empty()), request.userns) {
        (Some(text), _) => text.clone(),
        (
            None,
            UsernsMode::KeepId {
                uid: Some(uid),
                gid,
                ..
            },
        ) => format!("{uid}:{}", gid.unwrap_or(uid)),
        (None, _) => "0:0".to_owned(),
    }
}

/// The ids that a user of numbers will most likely get: a group that is not named is mostly the same number. Only a guess:
/// the image's own files decide.
pub(crate) fn numeric_ids(user: &str) -> Option<Ids> {
    let (uid, gid) = user.split_once(':').unwrap_or((user, user));
    Some(Ids {
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
    })
}

/// One container, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerSpec {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The working directory, absolute.
    pub cwd: String,
    /// As whom it runs.
    pub user: UserSpec,
    /// Who the invoking user is inside.
    pub mapping: Mapping,
    /// Ids inside to session ids.
    pub ids: IdMap,
    /// The capabilities it has.
    pub capabilities: CapabilitySet,
    /// The host name.
    pub hostname: String,
    /// What asks it to end.
    pub stop_signal: StopSignal,
    /// What the user should know.
    pub notices: Vec<String>,
}

impl ContainerSpec {
    /// Describes the container of an image with this configuration, in a session that stores `image_ids`. `given` are its
    /// maps where the request's mode does not tell them, and `name` is the host name when none is asked for.
    ///
    /// # Errors
    /// What of the request cannot be.
    pub fn new(
        config: &ContainerConfig,
        request: &RunRequest,
        account: &Account,
        image_ids: (u32, u32),
        given: Option<&IdMap>,
        name: &str,
    ) -> Result<Self, ContainerError> {
        let hostname = request.hostname.as_deref().unwrap_or(name);
        check_hostname(hostname)?;
        let process = Ids {
            uid: account.uid,
            gid: account.gid,
        };
        let mapping = match given {
            Some(map) => Mapping::Given(map.clone()),
            None => request.userns.mapping(process),
        };
        let ids = mapping.container_map(image_ids, process)?;
        Ok(Self {
            argv: argv(config, request)?,
            env: environment(config, request, account, hostname)?,
            cwd: working_directory(config, request)?,
            user: user_spec(account, &ids),
            mapping,
            capabilities: CapabilitySet::EMPTY
                .with(&request.cap_add)?
                .without(&request.cap_drop)?,
            hostname: hostname.to_owned(),
            notices: notices(config, request, account, &ids),
            stop_signal: stop_signal(config, request),
            ids,
        })
    }

    /// Has the process be another user of the image; returns the variables that change with it.
    pub(crate) fn become_user(&mut self, account: &Account) -> Vec<(String, String)> {
        self.user = user_spec(account, &self.ids);
        vec![("HOME".to_owned(), home(account).to_owned())]
    }

    /// The session's ids of the process.
    pub fn session_owner(&self) -> Ids {
        // The plan refuses an unmapped user by name; its pipes stay the caller's until then.
        Ids {
            uid: self.ids.uids.outside(self.user.uid).unwrap_or(0),
            gid: self.ids.gids.outside(self.user.gid).unwrap_or(0),
        }
    }
}

/// The account, with those of its groups that there are.
fn user_spec(account: &Account, ids: &IdMap) -> UserSpec {
    let mapped = |gid: &u32| ids.gids.outside(*gid).is_some();
    UserSpec {
        uid: account.uid,
        gid: account.gid,
        groups: account.groups.iter().copied().filter(mapped).collect(),
    }
}

fn home(account: &Account) -> &str {
    let home = account.home.as_deref();
    home.and_then(|home| std::str::from_utf8(home).ok())
        .filter(|home| home.starts_with('/'))
        .unwrap_or("/")
}

/// Docker's rule: an entry point from the command line leaves the image's CMD out.
fn argv(config: &ContainerConfig, request: &RunRequest) -> Result<Vec<String>, ContainerError> {
    let program = &request.program;
    let mut argv = match program.entrypoint.as_deref() {
        Some("") => Vec::new(),
        Some(entrypoint) => vec![entrypoint.to_owned()],
        None => config.entrypoint.clone().unwrap_or_default(),
    };
    if !program.args.is_empty() {
        argv.extend_from_slice(&program.args);
    } else if program.entrypoint.is_none() {
        argv.extend(config.cmd.clone().unwrap_or_default());
    }
    match argv.first() {
        None => Err(ContainerError::NoProgram),
        Some(_) => argv.into_iter().map(without_nul).collect(),
    }
}

pub(crate) fn without_nul(text: String) -> Result<String, ContainerError> {
    if text.contains('\0') {
        return Err(ContainerError::Nul(text));
    }
    Ok(text)
}

fn environment(
    config: &ContainerConfig,
    request: &RunRequest,
    account: &Account,
    hostname: &str,
) -> Result<Vec<(String, String)>, ContainerError> {
    let mut env: Vec<(String, String)> = Vec::new();
    let mut set = |key: &str, value: &str| match env.iter_mut().find(|(known, _)| known == key) {
        Some((_, old)) => value.clone_into(old),
        None => env.push((key.to_owned(), value.to_owned())),
    };
    set("PATH", PATH);
    if request.program.terminal {
        set("TERM", TERM);
    }
    set("HOSTNAME", hostname);
    set("HOME", home(account));
    for entry in &config.env {
        // Without a value Podman once took the host's: CVE-2020-14370.
        if let Some((key, value)) = entry.split_once('=').filter(|(key, _)| !key.is_empty()) {
            set(key, value);
        }
    }
    for (key, value) in &request.program.env {
        if key.is_empty() || key.contains(['=', '\0']) {
            return Err(ContainerError::Variable(key.clone()));
        }
        set(key, value);
    }
    match env
        .iter()
        .find(|(key, value)| key.contains('\0') || value.contains('\0'))
    {
        Some((key, _)) => Err(ContainerError::Nul(key.clone())),
        None => Ok(env),
    }
}

fn working_directory(
    config: &ContainerConfig,
    request: &RunRequest,
) -> Result<String, ContainerError> {
    let chosen = request
        .program
        .workdir
        .as_deref()
        .unwrap_or(&config.working_dir);
    let absolute = if chosen.starts_with('/') {
        chosen.to_owned()
    } else {
        format!("/{chosen}")
    };
    without_nul(absolute)
}

/// What an image says that is no signal was said when it was built; it counts as nothing.
fn stop_signal(config: &ContainerConfig, request: &RunRequest) -> StopSignal {
    let image = config.stop_signal.as_deref();
    let image = image.and_then(|text| text.parse().ok());
    request.stop.signal.or(image).unwrap_or(StopSignal::TERM)
}

/// Checks what sethostname(2) takes.
///
/// # Errors
/// [`ContainerError::Hostname`].
pub fn check_hostname(name: &str) -> Result<(), ContainerError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if name.is_empty() || name.len() > HOSTNAME_MAX || !name.bytes().all(plain) {
        return Err(ContainerError::Hostname(name.chars().take(100).collect()));
    }
    Ok(())
}

fn notices(
    config: &ContainerConfig,
    request: &RunRequest,
    account: &Account,
    ids: &IdMap,
) -> Vec<String> {
    let mut notices = Vec::new();
    let chooses = matches!(
        request.userns,
        UsernsMode::Default
            | UsernsMode::KeepId {
                uid: None,
                gid: None,
                size: None
            }
    ) && request.maps.is_none();
    if chooses && account.uid == 0 {
        let why = match (&request.program.user, config.user.as_str()) {
            (Some(user), _) => format!("user {user:?} is root"),
            (None, "") => "the image has no USER".to_owned(),
            (None, user) => format!("the image's USER {user} is root"),
        };
        notices.push(if ids.uids.len() == 1 {
            format!("{why}, and without subordinate ids root inside is you outside")
        } else {
            format!("{why}, so you are not in the container: running with --userns nomap")
        });
    }
    let lost: Vec<String> = account
        .groups
        .iter()
        .filter(|gid| ids.gids.outside(**gid).is_none())
        .map(u32::to_string)
        .collect();
    if !lost.is_empty() {
        notices.push(format!(
            "the user's groups {} are outside the subordinate ids and left out",
            lost.join(", ")
        ));
    }
    notices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Program;

    const RANGE: (u32, u32) = (65_536, 65_536);

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn config(user: &str) -> ContainerConfig {
        ContainerConfig {
            user: user.to_owned(),
            entrypoint: Some(strings(&["/app", "serve"])),
            cmd: Some(strings(&["--port", "80"])),
            env: strings(&["A=1", "PATH=/bin", "SECRET", "*", "=x", ""]),
            ..ContainerConfig::default()
        }
    }

    fn account(uid: u32, gid: u32) -> Account {
        Account {
            uid,
            gid,
            groups: vec![gid],
            home: None,
            name: None,
        }
    }

    fn spec(config: &ContainerConfig, request: &RunRequest, account: &Account) -> ContainerSpec {
        ContainerSpec::new(config, request, account, RANGE, None, "box").unwrap()
    }

    #[test]
    fn arguments_replace_cmd_and_an_entry_point_drops_it() {
        let argv = |entrypoint: Option<&str>, args: &[&str]| {
            let program = Program {
                entrypoint: entrypoint.map(str::to_owned),
                args: strings(args),
                ..Program::default()
            };
            let request = RunRequest {
                program,
                ..RunRequest::default()
            };
            ContainerSpec::new(&config("5:5"), &request, &account(5, 5), RANGE, None, "box")
                .map(|spec| spec.argv)
        };
        let cases: &[(Option<&str>, &[&str], &[&str])] = &[
            (None, &[], &["/app", "serve", "--port", "80"]),
            (None, &["-x"], &["/app", "serve", "-x"]),
            (Some("/sh"), &[], &["/sh"]),
            (Some("/sh"), &["-c"], &["/sh", "-c"]),
            (Some(""), &["/ls"], &["/ls"]),
        ];
        for (entrypoint, args, expected) in cases {
            assert_eq!(argv(*entrypoint, args).unwrap(), strings(expected));
        }
        assert!(matches!(
            argv(Some(""), &[]),
            Err(ContainerError::NoProgram)
        ));
    }

    #[test]
    fn s39_only_pairs_enter_the_environment() {
        let request = RunRequest {
            program: Program {
                env: vec![("A".into(), "2".into())],
                ..Program::default()
            },
            ..RunRequest::default()
        };
        let spec = spec(
            &config("5:5"),
            &request,
            &Account {
                home: Some("/home/a".into()),
                ..account(5, 5)
            },
        );
        let pairs: Vec<String> = spec.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(pairs, ["PATH=/bin", "HOSTNAME=box", "HOME=/home/a", "A=2"]);
    }

    #[test]
    fn the_images_user_is_the_invoking_user() {
        let spec = spec(
            &config("65532:65532"),
            &RunRequest::default(),
            &account(65_532, 65_532),
        );
        assert_eq!(spec.session_owner(), Ids { uid: 0, gid: 0 });
        assert!(spec.notices.is_empty() && spec.capabilities.is_empty());
        assert_eq!(spec.cwd, "/");
    }

    #[test]
    fn root_runs_without_the_user_and_says_so() {
        for user in ["", "0", "root"] {
            let spec = spec(&config(user), &RunRequest::default(), &account(0, 0));
            assert_eq!(spec.mapping, Mapping::Shifted, "{user:?}");
            assert_eq!(spec.notices.len(), 1, "{user:?}");
        }
        let request = RunRequest {
            userns: UsernsMode::Nomap,
            ..RunRequest::default()
        };
        assert!(
            spec(&config(""), &request, &account(0, 0))
                .notices
                .is_empty()
        );
    }

    #[test]
    fn numbers_are_guessed_and_names_are_not() {
        assert_eq!(numeric_ids("5:6"), Some(Ids { uid: 5, gid: 6 }));
        assert_eq!(numeric_ids("5"), Some(Ids { uid: 5, gid: 5 }));
        assert_eq!(numeric_ids("app"), None);
        assert_eq!(numeric_ids("5:app"), None);
    }

    #[test]
    fn keep_id_gives_a_user_to_an_image_without_one() {
        let userns = "keep-id:uid=7".parse().unwrap();
        let request = RunRequest {
            userns,
            ..RunRequest::default()
        };
        assert_eq!(user_text(&config(""), &request), "7:7");
        assert_eq!(user_text(&config("9"), &request), "9");
        assert_eq!(user_text(&config(""), &RunRequest::default()), "0:0");
    }

    #[test]
    fn capabilities_are_added_and_taken_away() {
        let request = RunRequest {
            cap_add: strings(&["NET_RAW", "CHOWN"]),
            cap_drop: strings(&["cap_chown"]),
            ..RunRequest::default()
        };
        let spec = spec(&config("5:5"), &request, &account(5, 5));
        assert_eq!(spec.capabilities.to_string(), "NET_RAW");
    }

    #[test]
    fn what_the_kernel_would_cut_off_is_refused() {
        let refused = |request: RunRequest| {
            ContainerSpec::new(&config("5:5"), &request, &account(5, 5), RANGE, None, "box")
                .is_err()
        };
        for hostname in ["", "a b", "a\n", &"a".repeat(65)] {
            assert!(refused(RunRequest {
                hostname: Some(hostname.into()),
                ..RunRequest::default()
            }));
        }
        for (key, value) in [("A=B", "x"), ("", "x"), ("A", "x\0y")] {
            let program = Program {
                env: vec![(key.into(), value.into())],
                ..Program::default()
            };
            assert!(refused(RunRequest {
                program,
                ..RunRequest::default()
            }));
        }
    }
}
