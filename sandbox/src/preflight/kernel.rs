//! Checks of the kernel's version. Invariant: a version decides only what cannot be tried; features are named with the
//! release that brought them (man pages of the system calls; Documentation/filesystems/overlayfs.rst).

use super::{Check, Host, Loss, Verdict};

/// A kernel release, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Release(pub(super) u32, pub(super) u32);

/// mount_setattr(2), which makes read-only trees; the youngest of what RUN cannot do without: openat2 is of 5.6,
/// overlays in user namespaces of 5.11.
const NEEDED: Release = Release(5, 12);
/// openat2(2): without it no path in a foreign tree can be followed safely.
const OPENAT2: Release = Release(5, 6);

/// What younger kernels add, and what rbuild does without it.
const IMPROVEMENTS: [(Release, &str); 3] = [
    (
        Release(6, 6),
        "user xattrs on tmpfs (6.6): a store on tmpfs cannot serve RUN",
    ),
    (
        Release(6, 8),
        "overlay layers one by one, lowerdir+ (6.8): fewer layers fit into one mount",
    ),
    (
        Release(6, 16),
        "data-only overlay layers for users (6.16): keep-id copies files of large owners once per image",
    ),
];

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "kernel.version",
        subject: "kernel",
        why: "RUN and containers need openat2 (5.6), overlays in user namespaces (5.11) and mount_setattr (5.12)",
        loses: Loss::Execution,
        quick: true,
        look: version,
    },
    Check {
        id: "kernel.features",
        subject: "kernel features",
        why: "everything works without them, some of it slower or with smaller limits",
        loses: Loss::Nothing,
        quick: false,
        look: features,
    },
];

/// The running kernel's release.
pub(super) fn release(host: &Host<'_>) -> Option<Release> {
    let text = host.sysctl("kernel.osrelease")?;
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Some(Release(major, minor)),
        _ => None,
    }
}

fn version(host: &Host<'_>) -> Verdict {
    let text = host.sysctl("kernel.osrelease").unwrap_or_default();
    match release(host) {
        None => Verdict::not_applicable("its version cannot be read"),
        Some(release) if release < OPENAT2 => Verdict::failure(format!("{text}, older than 5.6"))
            .because("without openat2 paths in images and contexts cannot be followed safely: no build at all")
            .mend(host.family().upgrade_kernel()),
        Some(release) if release < NEEDED => {
            Verdict::failure(format!("{text}, older than 5.12")).mend(host.family().upgrade_kernel())
        }
        Some(_) => Verdict::ok(text),
    }
}

fn features(host: &Host<'_>) -> Verdict {
    let Some(release) = release(host) else {
        return Verdict::not_applicable("its version cannot be read");
    };
    let missing: Vec<&str> = IMPROVEMENTS
        .iter()
        .filter(|(since, _)| release < *since)
        .map(|(_, text)| *text)
        .collect();
    if missing.is_empty() {
        return Verdict::ok("all that rbuild can use");
    }
    Verdict::warning(format!("without {}", missing.join("; "))).mend(host.family().upgrade_kernel())
}
