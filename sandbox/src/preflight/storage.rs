//! Checks of the store: its filesystem, its directory, and overlays on it. Invariant: the store need not exist; then its
//! nearest existing ancestor is judged, and nothing is made.

use std::path::Path;

use rustix::io::Errno;

use super::kernel::{Release, release};
use super::remedy::path_word;
use super::{Check, FileFacts, Filesystem, Host, Loss, Verdict};

/// A small base image and a compiler stage need about this much.
const SCARCE: u64 = 1 << 30;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "store.directory",
        subject: "store directory",
        why: "images and working trees are kept there; setuid files of images must be out of other accounts' reach",
        loses: Loss::Nothing,
        quick: true,
        look: directory,
    },
    Check {
        id: "store.filesystem",
        subject: "store filesystem",
        why: "RUN writes through an overlay, whose upper layer needs user xattrs and files of subordinate ids",
        loses: Loss::Execution,
        quick: true,
        look: filesystem,
    },
    Check {
        id: "store.space",
        subject: "store space",
        why: "a build that fills the disk fails in the middle of a step",
        loses: Loss::Nothing,
        quick: false,
        look: space,
    },
    Check {
        id: "store.overlay",
        subject: "overlay in a user namespace",
        why: "each RUN step works on an overlay of the layers below it",
        loses: Loss::Execution,
        quick: false,
        look: overlay,
    },
];

/// The store, or the nearest ancestor that exists.
fn existing<'h>(host: &Host<'h>) -> Option<(&'h Path, FileFacts)> {
    host.view
        .store
        .ancestors()
        .find_map(|path| (host.probes.file)(path).ok().map(|facts| (path, facts)))
}

fn directory(host: &Host<'_>) -> Verdict {
    let store = host.view.store.as_path();
    let Some((path, facts)) = existing(host) else {
        return Verdict::failure(format!("{}: no such path", store.display()))
            .mend(elsewhere(host));
    };
    if !facts.directory {
        return Verdict::failure(format!("{} is not a directory", path.display()))
            .mend(elsewhere(host));
    }
    if path == store && facts.uid != host.view.uid {
        // Not -R: the files below belong to the subordinate ids, and must.
        let mend = format!("sudo chown {} {}", host.user_word(), path_word(path));
        return Verdict::failure(format!("{} belongs to uid {}", path.display(), facts.uid))
            .because("made with sudo, probably; a store is used by one account only")
            .mend(mend);
    }
    let read_only = (host.probes.filesystem)(path).is_ok_and(|filesystem| filesystem.read_only);
    if read_only || !facts.writable {
        let cause = if read_only {
            "is on a read-only filesystem"
        } else {
            "is not writable"
        };
        return Verdict::failure(format!("{} {cause}", path.display())).mend(elsewhere(host));
    }
    if path != store {
        return Verdict::ok(format!("{} will be made", store.display()));
    }
    match facts.mode & 0o777 {
        0o700 => Verdict::ok(format!("{}, mode 0700", path.display())),
        mode => Verdict::warning(format!("{}, mode {mode:04o}", path.display()))
            .mend(format!("chmod 0700 {}", path_word(path))),
    }
}

fn filesystem(host: &Host<'_>) -> Verdict {
    let Some((path, _)) = existing(host) else {
        return Verdict::not_applicable("no such path");
    };
    let kind = match (host.probes.filesystem)(path) {
        Ok(facts) => facts.kind,
        Err(errno) => return Verdict::warning(format!("{}: {errno}", path.display())),
    };
    let observed = format!("{} under {}", kind.name(), path.display());
    let refused = |why: &str| {
        Verdict::failure(&observed)
            .because(why)
            .mend(elsewhere(host))
    };
    match kind {
        Filesystem::Ext
        | Filesystem::Xfs
        | Filesystem::Btrfs
        | Filesystem::F2fs
        | Filesystem::Bcachefs
        | Filesystem::Zfs => Verdict::ok(observed),
        Filesystem::Tmpfs if release(host).is_some_and(|release| release < Release(6, 6)) => {
            refused("tmpfs has user xattrs from Linux 6.6 on only, and an overlay's upper layer needs them")
        }
        Filesystem::Tmpfs => Verdict::warning(observed)
            .because("it lives in memory and is empty after the next boot")
            .mend(elsewhere(host)),
        Filesystem::Nfs | Filesystem::Smb => refused(
            "a file server knows nothing of user namespaces: it refuses files of subordinate ids, and overlays on it",
        ),
        Filesystem::Overlay => refused(
            "an overlay cannot be the upper layer of another; inside a container, put the store on a volume",
        ),
        Filesystem::Plan9 | Filesystem::Ecryptfs | Filesystem::Fat => {
            refused("it cannot keep the owners, modes and xattrs of image files")
        }
        Filesystem::Fuse | Filesystem::Other(_) => Verdict::warning(observed)
            .because("it may lack user xattrs, or refuse access by subordinate ids; builds on it are not tested")
            .mend(elsewhere(host)),
    }
}

fn space(host: &Host<'_>) -> Verdict {
    let found = existing(host).map(|(path, _)| (host.probes.filesystem)(path));
    let Some(Ok(facts)) = found else {
        return Verdict::not_applicable("no such path");
    };
    let observed = format!("{} MiB free", facts.free >> 20);
    if facts.free >= SCARCE {
        Verdict::ok(observed)
    } else {
        Verdict::warning(observed).mend("rbuild prune".to_owned())
    }
}

fn overlay(host: &Host<'_>) -> Verdict {
    if host.userns().is_some_and(|tried| tried.is_err()) {
        return Verdict::not_applicable("no user namespace to try it in");
    }
    match host.probes.overlay.map(|probe| probe()) {
        None => by_version(host),
        Some(Ok(())) => Verdict::ok("works"),
        Some(Err(errno)) => overlay_refused(host, errno),
    }
}

fn by_version(host: &Host<'_>) -> Verdict {
    match release(host) {
        Some(release) if release < Release(5, 11) => {
            Verdict::failure("not before Linux 5.11").mend(host.family().upgrade_kernel())
        }
        _ => Verdict::not_applicable("not tried"),
    }
}

fn overlay_refused(host: &Host<'_>, errno: Errno) -> Verdict {
    let verdict = Verdict::failure(errno.to_string());
    match errno {
        Errno::NODEV => verdict
            .because("the kernel has no overlay filesystem, or its module is not loaded")
            .mend(
                "sudo modprobe overlay\necho overlay | sudo tee /etc/modules-load.d/overlay.conf"
                    .to_owned(),
            ),
        Errno::PERM if release(host).is_some_and(|release| release < Release(5, 11)) => verdict
            .because("overlays in user namespaces came with Linux 5.11")
            .mend(host.family().upgrade_kernel()),
        Errno::PERM | Errno::ACCESS => verdict
            .because("a security module or the container around rbuild forbids the mount")
            .mend(super::confinement::relaxed_container()),
        Errno::INVAL | Errno::OPNOTSUPP => verdict
            .because("the store's filesystem cannot be an upper layer")
            .mend(elsewhere(host)),
        _ => verdict,
    }
}

/// A place on the machine's own disk.
fn elsewhere(host: &Host<'_>) -> String {
    let (uid, setting) = (host.view.uid, &host.view.store_setting);
    format!("mkdir -m 0700 /var/tmp/rbuild-{uid}\n# then use: {setting}/var/tmp/rbuild-{uid}")
}
