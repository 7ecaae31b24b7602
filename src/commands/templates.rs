//! What `rbuild init` writes: the files of `templates/`, compiled in. The invariant: every file of that directory is here (a test
//! looks), so what tests/examples.sh builds is what users get.

/// A small project.
#[derive(Debug)]
pub(crate) struct Template {
    /// How it is asked for.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// Paths and texts of its own files.
    pub files: &'static [(&'static str, &'static str)],
    /// Its unit of Quadlet.
    pub unit: &'static str,
    /// Its structure test.
    pub test: &'static str,
}

/// What a CI system needs.
#[derive(Debug)]
pub(crate) struct CiFile {
    /// How it is asked for.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// Where it goes.
    pub file: &'static str,
    /// The text.
    pub text: &'static str,
}

/// A file of `templates/`.
macro_rules! text {
    ($($part:literal),+) => {
        include_str!(concat!("../../templates/", $($part),+))
    };
}

/// A template whose files have the names that they get.
macro_rules! template {
    ($name:literal, $about:literal, $unit:expr, $test:expr, $($path:literal),+) => {
        Template {
            name: $name,
            about: $about,
            files: &[$(($path, text!($name, "/", $path))),+],
            unit: $unit,
            test: $test,
        }
    };
}

const SERVICE: &str = text!("shared/service.container");
const TOOL: &str = text!("shared/tool.container");
/// The structure test of the templates whose program is `/app`.
const APP: &str = text!("shared/app-test.yaml");

/// Files that every template has, but for the unit and the CI file.
pub(crate) const SHARED: [(&str, &str); 1] =
    [(".containerignore", text!("shared/containerignore"))];

/// The templates.
pub(crate) const TEMPLATES: [Template; 10] = [
    template!(
        "static-c",
        "a static program in C",
        SERVICE,
        APP,
        "Containerfile",
        "main.c"
    ),
    template!(
        "static-rust",
        "a static program in Rust (musl where it is to be had)",
        SERVICE,
        APP,
        "Containerfile",
        "Cargo.toml",
        "Cargo.lock",
        "src/main.rs"
    ),
    template!(
        "go",
        "a static program in Go, with certificate authorities",
        SERVICE,
        APP,
        "Containerfile",
        "go.mod",
        "main.go"
    ),
    template!(
        "cpp",
        "a dynamic program in C++, with its libraries",
        SERVICE,
        APP,
        "Containerfile",
        "main.cpp"
    ),
    template!(
        "python",
        "Python with its modules: ssl, sqlite3",
        SERVICE,
        text!("python/structure-test.yaml"),
        "Containerfile",
        "app.py"
    ),
    template!(
        "java",
        "a Java program with a runtime of its own",
        SERVICE,
        text!("java/structure-test.yaml"),
        "Containerfile",
        "App.java"
    ),
    template!(
        "nginx",
        "nginx on an unprivileged port, logs on standard output",
        SERVICE,
        text!("nginx/structure-test.yaml"),
        "Containerfile",
        "nginx.conf",
        "site/index.html"
    ),
    template!(
        "curl",
        "curl with certificate authorities",
        TOOL,
        text!("curl/structure-test.yaml"),
        "Containerfile"
    ),
    template!(
        "git",
        "git over https and ssh, with gpg",
        TOOL,
        text!("git/structure-test.yaml"),
        "Containerfile"
    ),
    template!(
        "psql",
        "PostgreSQL's client",
        TOOL,
        text!("psql/structure-test.yaml"),
        "Containerfile"
    ),
];

/// The CI systems; the first is that of templates.
pub(crate) const CI: [CiFile; 4] = [
    CiFile {
        name: "github",
        about: "a workflow of GitHub Actions",
        file: ".github/workflows/image.yaml",
        text: text!("ci/github.yaml"),
    },
    CiFile {
        name: "gitlab",
        about: "a pipeline of GitLab",
        file: ".gitlab-ci.yml",
        text: text!("ci/gitlab.yml"),
    },
    CiFile {
        name: "kubernetes",
        about: "a Job of Kubernetes without privileges",
        file: "rbuild-job.yaml",
        text: text!("ci/kubernetes.yaml"),
    },
    CiFile {
        name: "tekton",
        about: "a Task of Tekton without privileges",
        file: "rbuild-task.yaml",
        text: text!("ci/tekton.yaml"),
    },
];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn files(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => files(&path, found),
                false => found.push(path),
            }
        }
    }

    #[test]
    fn every_file_of_the_directory_is_compiled_in() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        let mut found = Vec::new();
        files(&root, &mut found);
        let known: Vec<&str> = TEMPLATES
            .iter()
            .flat_map(|one| {
                let own = one.files.iter().map(|(_, text)| *text);
                own.chain([one.unit, one.test])
            })
            .chain(SHARED.map(|(_, text)| text))
            .chain(CI.iter().map(|one| one.text))
            .collect();
        for path in found {
            let text = fs::read_to_string(&path).unwrap();
            assert!(known.contains(&text.as_str()), "{} is not", path.display());
        }
    }
}
