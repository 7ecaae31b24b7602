//! `rbuild quadlet`. The invariant: what is written says of the image what its configuration and its accounts say, and nothing is run.

use std::path::{Path, PathBuf};

use image::{ContainerConfig, Reference};
use rootfs::accounts::Accounts;
use runner::quadlet::{QuadletRequest, UnitFile, kube_unit};
use runner::{Ids, RequestedMount};

use super::opened::Opened;
use crate::args::quadlet::{QuadletArgs, QuadletSettings};
use crate::failure::{Failure, Kind};
use crate::show;
use crate::stdout::print;
use crate::surroundings::Surroundings;

/// The kernel's default where it cannot be read.
const FIRST_PORT: u16 = 1024;

/// Writes the units of an image, or the command line that does the same.
pub(super) fn quadlet(
    args: QuadletArgs,
    place: &dyn Fn() -> Result<PathBuf, Failure>,
    here: &Surroundings,
) -> Result<(), Failure> {
    let (output, podman_run) = (args.output.clone(), args.podman_run);
    if let Some(yaml) = args.kube.clone() {
        return write(&[of_kubernetes(args, &yaml)?], output.as_deref());
    }
    let request = request(args.settings(here)?, &place()?, here)?;
    if podman_run {
        return print(&format!("{}\n", request.podman_run().map_err(unwritable)?));
    }
    write(&request.units().map_err(unwritable)?, output.as_deref())
}

fn unwritable(error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(Kind::Usage, error)
}

fn of_kubernetes(args: QuadletArgs, yaml: &Path) -> Result<UnitFile, Failure> {
    let path = std::path::absolute(yaml).ok().filter(|path| path.is_file());
    let path = path.ok_or_else(|| {
        Failure::usage(format!("--kube {}: there is no such file", yaml.display()))
    })?;
    let (name, publish) = args.for_kube();
    let name = QuadletArgs::unit_name(name, &path.display().to_string())?;
    kube_unit(&name, &path.display().to_string(), &publish).map_err(unwritable)
}

fn write(units: &[UnitFile], output: Option<&Path>) -> Result<(), Failure> {
    let Some(directory) = output else {
        return units.iter().try_for_each(|unit| print(&unit.text));
    };
    for unit in units {
        let path = directory.join(&unit.file);
        std::fs::write(&path, &unit.text).map_err(|error| {
            let context = format!("write {}", path.display());
            Failure::new(Kind::Failed, anyhow::Error::new(error).context(context))
        })?;
        show::note(&format!("wrote {}", path.display()));
    }
    Ok(())
}

fn request(
    settings: QuadletSettings,
    place: &Path,
    here: &Surroundings,
) -> Result<QuadletRequest, Failure> {
    let opened = Opened::open(place, &settings.image, None)?;
    let config = opened.image.config().config.clone();
    let image = whole_name(&settings.image, &opened)?;
    let plain = settings.plain;
    let mut request = QuadletRequest {
        name: QuadletArgs::unit_name(settings.name, &image)?,
        ids: ids(plain.user.as_deref(), &config, &opened),
        image,
        config,
        user: plain.user,
        entrypoint: plain.entrypoint,
        args: settings.arguments,
        env: settings.env,
        workdir: plain.workdir,
        publish: settings.publish,
        volumes: Vec::new(),
        named: Vec::new(),
        tmpfs: settings.tmpfs,
        read_only: plain.read_only,
        userns: plain.userns,
        cap_add: settings.cap_add,
        network: settings.network,
        hostname: plain.hostname,
        init: plain.init,
        memory: plain.memory,
        pids_limit: plain.pids_limit,
        stop_timeout: plain.stop_timeout,
        restart: plain.restart,
        auto_update: settings.auto_update,
        volume_units: plain.volume_units,
        home: here.home(),
        first_port: first_port(),
    };
    for mount in settings.mounts {
        match mount {
            RequestedMount::Bind(volume) => {
                request.volumes.push(volume.based_on(&here.directory));
            }
            RequestedMount::Named(volume) => request.named.push(volume),
            // `--volume` means none.
            RequestedMount::Tmpfs(tmpfs) => request.tmpfs.push(tmpfs),
        }
    }
    Ok(request)
}

/// The name with its registry: Podman takes no ids in units, and asks about short names.
fn whole_name(text: &str, opened: &Opened) -> Result<String, Failure> {
    let named = text.parse::<Reference>().ok();
    let known = named.filter(|name| opened.store.lookup(name).is_ok_and(|found| found.is_some()));
    known.map(|name| name.to_string()).ok_or_else(|| {
        Failure::usage(format!("write a unit for {text}: it is no image's name"))
            .hint("a service needs a name that Podman can find again; `rbuild -t NAME` gives one")
    })
}

/// Whom the program runs as; nothing where the image does not know.
fn ids(user: Option<&str>, config: &ContainerConfig, opened: &Opened) -> Option<Ids> {
    let user = user.unwrap_or(&config.user);
    if user.is_empty() {
        return Some(Ids { uid: 0, gid: 0 });
    }
    let accounts = Accounts::of(&opened.view).unwrap_or_default();
    let account = accounts.resolve_user(user).ok()?;
    Some(Ids {
        uid: account.uid,
        gid: account.gid,
    })
}

/// That of this machine, where the unit most likely runs.
fn first_port() -> u16 {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let port = text.ok().and_then(|text| text.trim().parse().ok());
    port.unwrap_or(FIRST_PORT)
}
