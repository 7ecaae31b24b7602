//! `--userns` of a build. The invariant: root of an image is never the caller, and what is the caller reaches none of the caller's
//! programs.
//!
//! The words are podman's and buildah's. Where podman's `keep-id` says nothing, the ids are the caller's own.

use builder::KeepId;
use runner::UsernsMode;

use super::Isolation;
use crate::failure::{Failure, Kind};
use crate::surroundings::Surroundings;

/// Words of podman and buildah for a namespace of RUN's own that the caller has no id in, which is how it is anyway.
const SO_ANYWAY: [&str; 4] = ["", "private", "auto", "nomap"];

/// `keep-id[:uid=UID,gid=GID]`.
pub(super) fn userns(text: &str, here: &Surroundings) -> Result<Option<KeepId>, Failure> {
    if SO_ANYWAY.contains(&text) {
        return Ok(None);
    }
    let mode: UsernsMode = text
        .parse()
        .map_err(|error| Failure::new(Kind::Usage, anyhow::Error::new(error)))?;
    let refused = |why: &str| Failure::usage(format!("--userns {text}: {why}"));
    let UsernsMode::KeepId {
        uid,
        gid,
        size: None,
    } = mode
    else {
        return Err(refused("root of an image is never you in RUN")
            .hint("--userns keep-id:uid=UID,gid=GID makes another user you"));
    };
    let kept = KeepId {
        uid: uid.unwrap_or(here.uid),
        gid: gid.unwrap_or(here.gid),
    };
    if kept.uid == 0 || kept.gid == 0 {
        return Err(
            refused("root of an image is never you in RUN, nor is its group yours")
                .hint("name a user: --userns keep-id:uid=UID,gid=GID"),
        );
    }
    Ok(Some(kept))
}

/// Programs of the caller know their friends by user id, and abstract sockets are shared with the network.
pub(super) fn check(kept: Option<KeepId>, isolation: &Isolation) -> Result<(), Failure> {
    match kept {
        Some(_) if isolation.allow_host_network => Err(Failure::usage(
            "--userns keep-id cannot be had with the host's network: a step that is you could speak to your programs",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Surroundings {
        let mut here = Surroundings::of(&[]);
        (here.uid, here.gid) = (1000, 1001);
        here
    }

    #[test]
    fn keep_id_is_the_callers_own_ids_unless_others_are_named() {
        for (text, ids) in [
            ("keep-id", (1000, 1001)),
            ("keep-id:uid=5", (5, 1001)),
            ("keep-id:uid=5,gid=6", (5, 6)),
        ] {
            let kept = userns(text, &here()).unwrap().unwrap();
            assert_eq!((kept.uid, kept.gid), ids, "{text}");
        }
        for text in SO_ANYWAY {
            assert_eq!(userns(text, &here()).unwrap(), None, "{text}");
        }
    }

    #[test]
    fn root_is_never_the_caller() {
        let mut root = here();
        (root.uid, root.gid) = (0, 0);
        for (text, here) in [
            ("host", &here()),
            ("keep-id:uid=0", &here()),
            ("keep-id:gid=0", &here()),
            ("keep-id", &root),
        ] {
            let failure = userns(text, here).expect_err(text);
            assert!(failure.to_string().contains("never you"), "{failure}");
        }
        for text in ["/proc/1/ns/user", "keep-id:size=3", "container:x"] {
            assert_eq!(userns(text, &here()).expect_err(text).code(), 2);
        }
    }
}
