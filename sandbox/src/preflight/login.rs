//! Checks of the login session: its runtime directory, and lingering. Invariant: neither can stop a build.

use super::remedy::path_word;
use super::{Check, Host, Loss, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "login.runtime-dir",
        subject: "XDG_RUNTIME_DIR",
        why: "the user's systemd, which gives containers their cgroups and runs Quadlet units, is reached through it",
        loses: Loss::Nothing,
        quick: false,
        look: runtime_dir,
    },
    Check {
        id: "login.linger",
        subject: "lingering",
        why: "without it, containers that run as user services stop at logout and do not start at boot",
        loses: Loss::Nothing,
        quick: false,
        look: linger,
    },
];

fn runtime_dir(host: &Host<'_>) -> Verdict {
    if host.is_root() {
        return Verdict::not_applicable("root needs none");
    }
    let uid = host.view.uid;
    let remedy = format!(
        "sudo loginctl enable-linger {}\nexport XDG_RUNTIME_DIR=/run/user/{uid}",
        host.user_word()
    );
    let Some(path) = host.view.runtime_dir.as_deref() else {
        return Verdict::warning("not set, as after `su` or `sudo -u`").mend(remedy);
    };
    let shown = path.display();
    match (host.probes.file)(path) {
        Err(errno) => Verdict::warning(format!("{shown}: {errno}")).mend(remedy),
        Ok(facts) if !facts.directory => {
            Verdict::warning(format!("{shown} is not a directory")).mend(remedy)
        }
        Ok(facts) if facts.uid != uid => Verdict::warning(format!(
            "{shown} belongs to uid {}, as after `su` or `sudo -u`",
            facts.uid
        ))
        .mend(remedy),
        Ok(facts) if facts.mode & 0o077 != 0 => Verdict::warning(format!(
            "{shown} has mode {:04o}",
            facts.mode
        ))
        .because("others could replace the sockets in it (XDG base directory specification: 0700)")
        .mend(format!("chmod 0700 {}", path_word(path))),
        Ok(_) => Verdict::ok(shown.to_string()),
    }
}

fn linger(host: &Host<'_>) -> Verdict {
    // sd_booted(3): this directory exists exactly when systemd is the init of the machine.
    if !host.view.run.join("systemd/system").is_dir() {
        return Verdict::not_applicable("no systemd here");
    }
    let Ok(account) = host.account() else {
        return Verdict::not_applicable("no account");
    };
    if host.is_root()
        || host
            .view
            .var
            .join("lib/systemd/linger")
            .join(&account.name)
            .exists()
    {
        return Verdict::ok("on");
    }
    Verdict::ok("off (only services need it)")
        .mend(format!("sudo loginctl enable-linger {}", host.user_word()))
}
