//! What instructions and their flags mean, in a few words.
//!
//! Invariant: everything that the parser takes has an entry, which the tests check against its tables.

use crate::statement::Keyword;

/// How an instruction is written, and what it does.
pub(super) struct Entry {
    pub(super) usage: &'static str,
    pub(super) text: &'static str,
}

/// The entry of an instruction.
pub(super) fn instruction(keyword: Keyword) -> Entry {
    let (usage, text) = match keyword {
        Keyword::Add => (
            "ADD [FLAGS] SOURCE... DESTINATION",
            "Copies files from the context, from a URL or from a git repository; local archives are unpacked. COPY says more plainly what happens.",
        ),
        Keyword::Arg => (
            "ARG NAME[=DEFAULT]...",
            "Declares build arguments, set with `--build-arg`. They count from here to the end of the stage and are no part of the image. Before the first FROM they count for FROM, and in stages that declare them again.",
        ),
        Keyword::Cmd => (
            "CMD [\"PROGRAM\", \"ARGUMENT\"...]",
            "What a container starts, or the arguments of ENTRYPOINT. Without brackets a shell runs it, which `FROM scratch` has not.",
        ),
        Keyword::Copy => (
            "COPY [FLAGS] SOURCE... DESTINATION",
            "Copies files from the context, or with `--from` from a stage or an image. They belong to root unless `--chown` says otherwise.",
        ),
        Keyword::Entrypoint => (
            "ENTRYPOINT [\"PROGRAM\", \"ARGUMENT\"...]",
            "The program of a container. CMD, and what is said when it is started, are its arguments.",
        ),
        Keyword::Env => (
            "ENV NAME=VALUE...",
            "Sets environment variables, for the steps that follow and for containers of the image.",
        ),
        Keyword::Expose => (
            "EXPOSE PORT[/tcp|/udp]...",
            "Notes the ports that the program listens on. Nothing is published by it. Without root a program cannot listen below 1024.",
        ),
        Keyword::From => (
            "FROM [--platform=PLATFORM] IMAGE [AS NAME]",
            "Begins a stage, from an image, an earlier stage or `scratch`, which is empty.",
        ),
        Keyword::Healthcheck => (
            "HEALTHCHECK [FLAGS] CMD COMMAND | HEALTHCHECK NONE",
            "How to find out whether a container still works: exit code 0 is healthy, 1 is not. NONE forgets the base image's.",
        ),
        Keyword::Label => (
            "LABEL NAME=VALUE...",
            "Notes something in the image. Usual names are those of `org.opencontainers.image`.",
        ),
        Keyword::Maintainer => (
            "MAINTAINER NAME",
            "Deprecated: write `LABEL org.opencontainers.image.authors=NAME`.",
        ),
        Keyword::Onbuild => (
            "ONBUILD INSTRUCTION",
            "An instruction for builds that start from this image: they do it right after their FROM.",
        ),
        Keyword::Run => (
            "RUN [FLAGS] COMMAND | RUN [\"PROGRAM\", \"ARGUMENT\"...] | RUN <<EOF",
            "Runs a command, and keeps what it changes as a layer.",
        ),
        Keyword::Shell => (
            "SHELL [\"PROGRAM\", \"ARGUMENT\"...]",
            "What runs commands that are written without brackets; `[\"/bin/sh\", \"-c\"]` unless something is said.",
        ),
        Keyword::Stopsignal => (
            "STOPSIGNAL SIGNAL",
            "The signal that asks a container to end; SIGTERM unless something is said.",
        ),
        Keyword::User => (
            "USER UID[:GID]",
            "Who runs the steps that follow, and containers of the image. Numbers need no passwd file, and show that it is not root: `USER 65532:65532`.",
        ),
        Keyword::Volume => (
            "VOLUME [\"PATH\"...]",
            "Directories whose data outlives a container. A new volume takes its owner from the directory in the image.",
        ),
        Keyword::Workdir => (
            "WORKDIR PATH",
            "The directory of the steps that follow, and of containers. It is made where it is missing, and then belongs to the USER in effect or to root, as builders differ.",
        ),
    };
    Entry { usage, text }
}

/// What a flag of an instruction does.
pub(super) fn flag(keyword: Keyword, name: &str) -> Option<&'static str> {
    Some(match (keyword, name) {
        (Keyword::From, "platform") => {
            "The platform of the image, as `linux/arm64`; `$BUILDPLATFORM` for a stage that cross-compiles."
        }
        (Keyword::From, "after") => "A stage that has to be finished before this one starts.",
        (Keyword::Copy, "from") => {
            "The stage, image or named context to copy from. Variables are not expanded here."
        }
        (Keyword::Copy, "parents") => "Keeps the directories in front of the sources.",
        (Keyword::Copy | Keyword::Add, "chown") => {
            "Who owns the files: `UID:GID`. Names are looked up in the image."
        }
        (Keyword::Copy | Keyword::Add, "chmod") => {
            "Their mode: octal as `0555`, or as chmod(1) writes it."
        }
        (Keyword::Copy | Keyword::Add, "link") => {
            "Makes a layer that does not depend on those below it."
        }
        (Keyword::Copy | Keyword::Add, "exclude") => {
            "A pattern of what not to copy; may be repeated."
        }
        (Keyword::Add, "checksum") => {
            "What a download has to be: `sha256:` and 64 digits, or a commit of a git repository."
        }
        (Keyword::Add, "keep-git-dir") => "Keeps `.git` of a git repository.",
        (Keyword::Add, "unpack") => "Whether an archive is unpacked.",
        (Keyword::Healthcheck, "interval") => "The time between two checks: `30s`.",
        (Keyword::Healthcheck, "timeout") => "How long a check may take.",
        (Keyword::Healthcheck, "start-period") => {
            "How long the container may take to start; failures do not count."
        }
        (Keyword::Healthcheck, "start-interval") => "The time between two checks while it starts.",
        (Keyword::Healthcheck, "retries") => "How many failures in a row make it unhealthy.",
        (Keyword::Run, "mount") => {
            "Something that this step alone sees: `type=bind`, `cache`, `tmpfs`, `secret` or `ssh`."
        }
        (Keyword::Run, "network") => {
            "`default`, `none` or `host`. With `none` the step cannot depend on what is elsewhere."
        }
        (Keyword::Run, "security") => "`sandbox`; `insecure` is refused without root.",
        (Keyword::Run, "device") => "A device of the host; none can be given without root.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instructions::known_flags;
    use crate::statement::KEYWORDS;

    #[test]
    fn every_instruction_and_every_flag_is_explained() {
        for (name, keyword) in KEYWORDS {
            assert!(instruction(keyword).usage.starts_with(name), "{name}");
            for (known, _) in known_flags(keyword) {
                assert!(flag(keyword, known).is_some(), "{name} --{known}");
            }
        }
    }
}
