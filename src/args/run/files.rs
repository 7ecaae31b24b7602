//! Flags of `run` about what the container sees: volumes, memory, secrets.

use runner::{Mounts, RequestedMount};

use super::super::csv;
use super::super::secret::{SecretSource, secret};
use super::misused;
use crate::failure::Failure;
use crate::surroundings::Surroundings;

/// What it sees.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Files")]
pub(super) struct FileArgs {
    /// Show a file or directory of this machine inside, or a volume by its name, which begins with what the image has there; U gives
    /// it, and all in it, to the container's user first; repeatable
    #[arg(
        short,
        long = "volume",
        value_name = "SOURCE|NAME:TARGET[:ro|rw|U|z|Z|nocopy]"
    )]
    volumes: Vec<String>,
    /// The same in other words; repeatable
    #[arg(
        long = "mount",
        value_name = "type=bind|volume,src=SOURCE,dst=TARGET[,ro]|type=tmpfs,dst=TARGET"
    )]
    mounts: Vec<String>,
    /// Put an empty directory in memory there; repeatable
    #[arg(long, value_name = "TARGET[:size=BYTES,mode=OCTAL]")]
    tmpfs: Vec<String>,
    /// Show a secret at /run/secrets/NAME, in memory, for the container's user alone; repeatable
    #[arg(
        long = "secret",
        value_name = "id=NAME[,src=FILE|,env=VARIABLE][,target=PATH,mode=OCTAL,uid=N,gid=N]"
    )]
    secrets: Vec<String>,
    /// Make the image's files read-only
    #[arg(long)]
    read_only: bool,
}

/// `--secret` of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SecretFile {
    /// Its name, for messages.
    pub id: String,
    /// Where it is.
    pub source: SecretSource,
    /// Where it is shown, absolute.
    pub target: String,
    /// Its permissions.
    pub mode: u32,
    /// Whose it is; the container's user by default.
    pub owner: (Option<u32>, Option<u32>),
}

impl FileArgs {
    pub(super) fn settings(
        self,
        here: &Surroundings,
    ) -> Result<(Mounts, Vec<SecretFile>), Failure> {
        let tmpfs = self.tmpfs.iter().map(|text| text.parse().map_err(misused));
        let mut mounts = Mounts {
            tmpfs: tmpfs.collect::<Result<_, _>>()?,
            read_only: self.read_only,
            ..Mounts::default()
        };
        for text in &self.volumes {
            add(&mut mounts, text.parse().map_err(misused)?);
        }
        for text in &self.mounts {
            let fields =
                csv::pairs(text).map_err(|why| Failure::usage(format!("--mount {text}: {why}")))?;
            add(
                &mut mounts,
                RequestedMount::of_fields(text, &fields).map_err(misused)?,
            );
        }
        let secrets = self.secrets.iter().map(|text| secret_file(text, here));
        Ok((mounts, secrets.collect::<Result<_, _>>()?))
    }
}

fn add(mounts: &mut Mounts, mount: RequestedMount) {
    match mount {
        RequestedMount::Bind(volume) => mounts.volumes.push(volume),
        RequestedMount::Named(volume) => mounts.named.push(volume),
        RequestedMount::Tmpfs(tmpfs) => mounts.tmpfs.push(tmpfs),
    }
}

fn secret_file(text: &str, here: &Surroundings) -> Result<SecretFile, Failure> {
    let wrong = |why: String| Failure::usage(format!("--secret {text}: {why}"));
    let (mut target, mut mode, mut uid, mut gid) = (None, 0o400, None, None);
    let mut source = Vec::new();
    for (key, value) in csv::pairs(text).map_err(&wrong)? {
        let bad = || wrong(format!("{key}={value} is out of place"));
        match key.as_str() {
            "target" | "dst" | "destination" => target = Some(value),
            "mode" => {
                let octal = u32::from_str_radix(&value, 8).ok();
                mode = octal.filter(|mode| *mode <= 0o777).ok_or_else(bad)?;
            }
            "uid" => uid = Some(value.parse().map_err(|_| bad())?),
            "gid" => gid = Some(value.parse().map_err(|_| bad())?),
            _ => source.push((key, value)),
        }
    }
    let (id, source) = secret(text, source, here)?;
    let target = match target {
        None => format!("/run/secrets/{id}"),
        Some(path) if path.starts_with('/') => path,
        Some(name) => format!("/run/secrets/{name}"),
    };
    if target.split('/').any(|part| part == "..") || target.ends_with('/') {
        return Err(wrong(format!("{target} is no place for a file")));
    }
    Ok(SecretFile {
        id,
        source,
        target,
        mode,
        owner: (uid, gid),
    })
}
