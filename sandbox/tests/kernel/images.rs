//! Images and mounts that want to lead the set-up astray: links where the kernel's file systems belong, devices that are
//! something else, working directories that are descriptors.

use std::fs;

use crate::drill::facts::Facts;
use crate::host;
use crate::stage::{Job, Node, StepReport, Volume};
use crate::trial::{Verdict, trials};

trials![
    s36_a_working_directory_is_never_a_descriptor,
    s36_a_working_directory_behind_a_link_lies_in_the_image,
    s66_what_an_image_calls_a_device_is_never_used,
    s68_proc_and_sys_must_be_real_directories,
    s69_a_link_at_dev_is_refused_and_nothing_is_made_behind_it,
    s70_a_mount_point_behind_links_is_made_inside_the_image,
    s70_a_mount_point_below_a_file_is_refused,
];

/// The small image with other nodes in the place of some.
fn image_with(nodes: &[Node]) -> Vec<Node> {
    let replaced = |node: &Node| nodes.iter().any(|new| new.path() == node.path());
    let kept = Node::small_image()
        .into_iter()
        .filter(|node| !replaced(node));
    kept.chain(nodes.iter().cloned()).collect()
}

fn facts_on(image: Vec<Node>) -> Job {
    Job {
        image,
        ..Job::drill(&["facts"])
    }
}

fn paths(report: &StepReport) -> Vec<&str> {
    report
        .upper
        .iter()
        .map(|entry| entry.path.as_str())
        .collect()
}

fn s36_a_working_directory_is_never_a_descriptor() -> Verdict {
    let plan = host::ranged()?;
    let descriptors = (3..64).step_by(4).map(|fd| format!("/proc/self/fd/{fd}"));
    let others = [
        "/proc/self/cwd",
        "/proc/self/root",
        "/proc/1/root/tmp",
        "/escape",
    ]
    .map(str::to_owned);
    for cwd in descriptors.chain(others) {
        let job = Job {
            cwd,
            ..facts_on(image_with(&[Node::link("escape", "/proc/self/fd/7")]))
        };
        let report = job.run_one(&plan);
        assert!(
            report.refused().contains("enter the working directory"),
            "{}",
            report.refused()
        );
    }
    Ok(())
}

fn s36_a_working_directory_behind_a_link_lies_in_the_image() -> Verdict {
    let image = image_with(&[Node::link("outside", "../../../../../../home")]);
    let report = Job {
        cwd: "/outside".to_owned(),
        ..facts_on(image)
    }
    .run_one(&host::ranged()?);
    let facts: Facts = serde_json::from_str(report.printed()).expect("the drill prints its facts");
    assert_eq!(facts.cwd, "/home");
    Ok(())
}

fn s66_what_an_image_calls_a_device_is_never_used() -> Verdict {
    let names = ["null", "zero", "console", "ptmx", "pts", "shm", "fd"];
    let links =
        names.map(|name| Node::link(&format!("dev/{name}"), "/proc/sys/kernel/core_pattern"));
    let report = facts_on(image_with(&links)).run_one(&host::ranged()?);
    let facts: Facts = serde_json::from_str(report.printed()).expect("the drill prints its facts");
    let expected = [
        ("fd", "link /proc/self/fd"),
        ("full", "char 1:7"),
        ("mqueue", "directory"),
        ("null", "char 1:3"),
        ("ptmx", "link pts/ptmx"),
        ("pts", "directory"),
        ("random", "char 1:8"),
        ("shm", "directory"),
        ("stderr", "link /proc/self/fd/2"),
        ("stdin", "link /proc/self/fd/0"),
        ("stdout", "link /proc/self/fd/1"),
        ("tty", "char 5:0"),
        ("urandom", "char 1:9"),
        ("zero", "char 1:5"),
    ];
    let expected = expected.map(|(name, kind)| (name.to_owned(), kind.to_owned()));
    assert_eq!(facts.dev, expected.into());
    assert_eq!(facts.null, "written");
    Ok(())
}

fn s68_proc_and_sys_must_be_real_directories() -> Verdict {
    let plan = host::ranged()?;
    for place in ["proc", "sys"] {
        for node in [
            Node::link(place, "/home"),
            Node::link(place, "home"),
            Node::file(place, ""),
        ] {
            let report = facts_on(image_with(&[node])).run_one(&plan);
            assert!(
                report
                    .refused()
                    .contains(&format!("open /{place} in the image")),
                "{}",
                report.refused()
            );
            assert!(
                !paths(&report).iter().any(|path| path.starts_with("home")),
                "{:?}",
                paths(&report)
            );
        }
    }
    Ok(())
}

fn s69_a_link_at_dev_is_refused_and_nothing_is_made_behind_it() -> Verdict {
    let plan = host::ranged()?;
    let canary = tempfile::tempdir().expect("the temporary directory is writable");
    fs::write(canary.path().join("ptmx"), "").expect("it is the test's own");
    let outside = format!("../../../../../../{}", canary.path().display());
    for target in ["/canary", "canary", &outside] {
        let image = image_with(&[Node::file("canary/ptmx", ""), Node::link("dev", target)]);
        let report = facts_on(image).run_one(&plan);
        assert!(
            report.refused().contains("open /dev in the image"),
            "{}",
            report.refused()
        );
        assert!(
            !paths(&report).iter().any(|path| path.starts_with("canary")),
            "{:?}",
            paths(&report)
        );
        assert_eq!(
            fs::read_dir(canary.path())
                .expect("it is still there")
                .count(),
            1
        );
    }
    Ok(())
}

fn s70_a_mount_point_behind_links_is_made_inside_the_image() -> Verdict {
    let plan = host::ranged()?;
    let volume = tempfile::tempdir().expect("the temporary directory is writable");
    let file = volume.path().join("file");
    fs::write(&file, "").expect("it is the test's own");
    let canary = tempfile::tempdir().expect("the temporary directory is writable");
    for source in [volume.path(), &file] {
        for target in [
            canary.path().display().to_string(),
            format!("../../../../..{}", canary.path().display()),
        ] {
            let volumes = vec![Volume {
                source: source.to_owned(),
                target: "/link/made".to_owned(),
            }];
            // The link leads to a directory that only the host has, or that the image has under the same name.
            let inside = canary
                .path()
                .strip_prefix("/")
                .expect("it is absolute")
                .to_string_lossy()
                .into_owned();
            let image = image_with(&[Node::link("link", &target), Node::directory(&inside)]);
            let report = Job {
                volumes,
                ..facts_on(image)
            }
            .run_one(&plan);
            report.printed();
            assert!(
                paths(&report).contains(&format!("{inside}/made").as_str()),
                "{:?}",
                paths(&report)
            );
            assert_eq!(
                fs::read_dir(canary.path())
                    .expect("it is still there")
                    .count(),
                0
            );
        }
    }
    Ok(())
}

fn s70_a_mount_point_below_a_file_is_refused() -> Verdict {
    let volume = tempfile::tempdir().expect("the temporary directory is writable");
    for target in ["/etc/passwd/below", "/dangling/below"] {
        let volumes = vec![Volume {
            source: volume.path().to_owned(),
            target: target.to_owned(),
        }];
        let image = image_with(&[Node::link("dangling", "/nowhere")]);
        let report = Job {
            volumes,
            ..facts_on(image)
        }
        .run_one(&host::ranged()?);
        assert!(
            report.refused().contains("in the image"),
            "{}",
            report.refused()
        );
    }
    Ok(())
}
