//! The time of a work tree's commit, with repositories that git itself makes.

use std::process::Command;

use super::*;

const TIME: i64 = 1_700_000_123;

fn git(directory: &Path, args: &[&str]) -> bool {
    let mut command = Command::new("git");
    command.current_dir(directory).args(args);
    for name in ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"] {
        command.env(name, "/dev/null");
    }
    for name in ["GIT_AUTHOR", "GIT_COMMITTER"] {
        command.env(format!("{name}_NAME"), "A > B");
        command.env(format!("{name}_EMAIL"), "a@example.org");
    }
    command.env("GIT_AUTHOR_DATE", "1500000000 +0100");
    command.env("GIT_COMMITTER_DATE", format!("{TIME} -0730"));
    command.output().is_ok_and(|output| output.status.success())
}

/// A repository with a commit, or nothing where git is not installed.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn repository(args: &[&str]) -> Option<tempfile::TempDir> {
    let directory = tempfile::tempdir().unwrap();
    if !git(directory.path(), &[&["init", "-q"], args].concat()) {
        println!("SKIP git: it is not installed, or has no {args:?}");
        return None;
    }
    fs::create_dir(directory.path().join("sub")).unwrap();
    for text in ["1", "2", "3"] {
        fs::write(directory.path().join("sub/file"), text).unwrap();
        assert!(git(directory.path(), &["add", "."]));
        assert!(git(directory.path(), &["commit", "-q", "-m", text]));
    }
    Some(directory)
}

#[test]
fn the_time_is_the_committers_of_head() {
    let Some(repository) = repository(&[]) else {
        return;
    };
    let root = repository.path();
    assert_eq!(commit_of(root), Commit::At(TIME));
    assert_eq!(commit_of(&root.join("sub")), Commit::At(TIME));
    assert!(git(root, &["checkout", "-q", "--detach"]));
    assert_eq!(commit_of(root), Commit::At(TIME));
    assert!(git(root, &["worktree", "add", "-q", "other", "HEAD~1"]));
    assert_eq!(commit_of(&root.join("other")), Commit::At(TIME));
}

#[test]
fn packed_commits_and_references_are_read() {
    for format in ["--object-format=sha1", "--object-format=sha256"] {
        let Some(repository) = repository(&[format]) else {
            return;
        };
        let root = repository.path();
        assert!(git(root, &["repack", "-adfq", "--depth=50"]));
        assert!(git(root, &["pack-refs", "--all"]));
        assert!(git(root, &["prune-packed"]));
        assert_eq!(commit_of(root), Commit::At(TIME), "{format}");
    }
}

#[test]
fn objects_of_another_repository_are_found() {
    let Some(repository) = repository(&[]) else {
        return;
    };
    let clone = tempfile::tempdir().unwrap();
    let from = repository.path().to_string_lossy().into_owned();
    assert!(git(clone.path(), &["clone", "-q", "--shared", &from, "."]));
    assert_eq!(commit_of(clone.path()), Commit::At(TIME));
}

#[test]
fn a_directory_without_a_commit_has_no_time() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(commit_of(directory.path()), Commit::None);
    if git(directory.path(), &["init", "-q"]) {
        assert_eq!(commit_of(directory.path()), Commit::None);
    }
}

#[test]
fn s35_a_hostile_repository_is_neither_obeyed_nor_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let dot_git = directory.path().join(".git");
    let head = |text: &str| {
        fs::create_dir_all(&dot_git).unwrap();
        fs::write(dot_git.join("HEAD"), text).unwrap();
        commit_of(directory.path())
    };
    for text in [
        "ref: ../../../../etc/passwd\n",
        "ref: refs/../../../etc/passwd\n",
        "../../etc/passwd",
        "",
    ] {
        assert!(matches!(head(text), Commit::Unreadable(_)), "{text}");
    }
    let id = "0123456789012345678901234567890123456789";
    fs::create_dir_all(dot_git.join("objects/pack")).unwrap();
    fs::write(dot_git.join("objects/pack/pack-1.idx"), [0xff; 2000]).unwrap();
    assert!(matches!(head(id), Commit::Unreadable(_)));
    fs::create_dir_all(dot_git.join("objects/01")).unwrap();
    fs::write(dot_git.join("objects/01").join(&id[2..]), b"no zlib").unwrap();
    assert!(matches!(head(id), Commit::Unreadable(_)));
    fs::remove_file(dot_git.join("HEAD")).unwrap();
    let fifo = dot_git.join("HEAD");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    assert!(matches!(commit_of(directory.path()), Commit::Unreadable(_)));
}

#[test]
fn a_delta_that_leaves_its_base_is_refused() {
    // Size 4, size 8; four bytes of the base from 2 on, then two new ones.
    let delta = [4, 6, 0x91, 0, 4, 2, b'x', b'y'];
    assert_eq!(pack::applied(b"abcd", &delta).unwrap(), b"abcdxy");
    assert!(pack::applied(b"abcd", &[4, 8, 0x91, 1, 4]).is_err());
    assert!(pack::applied(b"abcd", &[4, 8, 5, b'x']).is_err());
    assert!(pack::applied(b"abcd", &[0x80]).is_err());
}
