//! The parts of an image's name. Invariant: only the text is looked at, so nothing is known of the image but what its name says.

/// `[REGISTRY/]PATH[:TAG][@DIGEST]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ImageName<'n> {
    /// The registry, where one is named.
    pub(super) registry: Option<&'n str>,
    /// The path without the registry.
    pub(super) path: &'n str,
    pub(super) tag: Option<&'n str>,
    pub(super) digest: Option<&'n str>,
}

/// Distributions: a shell, a package manager and no USER in their images.
const DISTRIBUTIONS: [&str; 21] = [
    "debian",
    "ubuntu",
    "alpine",
    "fedora",
    "centos",
    "rockylinux",
    "almalinux",
    "archlinux",
    "amazonlinux",
    "oraclelinux",
    "opensuse/leap",
    "opensuse/tumbleweed",
    "opensuse",
    "photon",
    "clearlinux",
    "mageia",
    "sl",
    "alt",
    "kalilinux/kali-rolling",
    "gentoo/stage3",
    "buildpack-deps",
];

/// Official images of languages: no USER, and nothing in directories of one's own.
const LANGUAGES: [&str; 12] = [
    "node",
    "python",
    "golang",
    "rust",
    "ruby",
    "openjdk",
    "eclipse-temurin",
    "maven",
    "gcc",
    "perl",
    "elixir",
    "erlang",
];

/// Red Hat's base images.
const UBI: [&str; 9] = [
    "ubi7",
    "ubi8",
    "ubi9",
    "ubi10",
    "ubi7/ubi",
    "ubi8/ubi",
    "ubi9/ubi",
    "ubi10/ubi",
    "ubi9/ubi-minimal",
];

impl<'n> ImageName<'n> {
    /// Takes a name apart. As in Docker, the first part is a registry if it holds a dot or a colon, or is `localhost`.
    pub(super) fn parse(text: &'n str) -> Self {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let (registry, rest) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (Some(first), rest)
            }
            _ => (None, name),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        Self {
            registry,
            path,
            tag,
            digest,
        }
    }

    /// The path on Docker's registry, where the image is there.
    fn on_docker(&self) -> Option<&'n str> {
        let docker = [
            "docker.io",
            "index.docker.io",
            "public.ecr.aws",
            "mirror.gcr.io",
        ];
        let there = self
            .registry
            .is_none_or(|registry| docker.contains(&registry));
        let path = self
            .path
            .strip_prefix("docker/library/")
            .unwrap_or(self.path);
        there.then(|| path.strip_prefix("library/").unwrap_or(path))
    }

    /// Whether it is an image of a whole distribution.
    pub(super) fn is_distribution(&self) -> bool {
        let docker = self
            .on_docker()
            .is_some_and(|path| DISTRIBUTIONS.contains(&path));
        let red_hat = self
            .registry
            .is_some_and(|registry| registry.ends_with("redhat.com"))
            && UBI.contains(&self.path);
        let fedora = self.registry == Some("registry.fedoraproject.org") && self.path == "fedora";
        docker || red_hat || fedora
    }

    /// Whether it is an official image of a language, which is root's.
    pub(super) fn is_language(&self) -> bool {
        self.on_docker()
            .is_some_and(|path| LANGUAGES.contains(&path))
    }

    /// Whether its user is root for certain: distributions' images have no USER, distroless ones say it in the tag.
    pub(super) fn is_root(&self) -> bool {
        let busybox = self.on_docker() == Some("busybox");
        let distroless = self.is_distroless()
            && self.digest.is_none()
            && !self.tag.is_some_and(|tag| tag.contains("nonroot"));
        self.is_distribution() || busybox || distroless
    }

    /// Whether its user is numeric and not root for certain.
    pub(super) fn is_nonroot(&self) -> bool {
        self.is_distroless() && self.tag.is_some_and(|tag| tag.contains("nonroot"))
    }

    /// Whether it surely has no shell.
    pub(super) fn is_without_shell(&self) -> bool {
        self.is_distroless() && self.tag.is_some_and(|tag| !tag.contains("debug"))
    }

    fn is_distroless(&self) -> bool {
        self.registry == Some("gcr.io") && self.path.starts_with("distroless/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_as_docker_does() {
        let parts = |text| {
            let name = ImageName::parse(text);
            (name.registry, name.path, name.tag, name.digest)
        };
        assert_eq!(parts("debian"), (None, "debian", None, None));
        assert_eq!(
            parts("localhost:5000/a/b:1@sha256:00"),
            (Some("localhost:5000"), "a/b", Some("1"), Some("sha256:00"))
        );
        assert_eq!(parts("user/app:x"), (None, "user/app", Some("x"), None));
    }

    #[test]
    fn what_an_image_surely_is_is_told_from_its_name_only() {
        let name = ImageName::parse;
        assert!(name("docker.io/library/debian:13").is_distribution());
        assert!(!name("quay.io/me/debian:13").is_distribution());
        assert!(!name("node:22").is_root());
        assert!(name("gcr.io/distroless/static").is_root());
        assert!(name("gcr.io/distroless/static:nonroot").is_nonroot());
        assert!(!name("gcr.io/distroless/base:debug").is_without_shell());
    }
}
