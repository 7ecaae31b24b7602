//! `RUN --mount=type=cache`: directories that outlive builds and are in none of their results.

use std::time::{Duration, Instant};

use crate::build_oracle::Site;

#[test]
fn a_cache_outlives_builds_and_is_in_no_layer_and_no_key() {
    let site = site!(run);
    let file = |number: u32| {
        format!(
            "FROM busybox\nRUN --mount=type=cache,target=/var/cache/x echo {number} >>/var/cache/x/f && tr '\\n' , </var/cache/x/f\n"
        )
    };
    site.build(&file(1), &[]);
    let second = site.build(&file(2), &[]);
    assert!(second.said("| 1,2,"), "{}", second.stderr);
    assert_eq!(second.layers(), Vec::<Vec<String>>::new());
    assert_eq!(
        site.build(&file(1), &[]).cached(),
        1,
        "its content is no part of the key"
    );
    let other = site.build(
        "FROM busybox\nRUN --mount=type=cache,target=/elsewhere,id=/var/cache/x cat /elsewhere/f | wc -l\n",
        &[],
    );
    assert!(
        other.said("| 2"),
        "the cleaned target is the name: {}",
        other.stderr
    );
    let apart = site.build(
        "FROM busybox\nRUN --mount=type=cache,target=/var/cache/x ls /var/cache/x | wc -l\n",
        &["--build-arg", "BUILDKIT_CACHE_MOUNT_NS=other"],
    );
    assert!(apart.said("| 0"), "{}", apart.stderr);
}

#[test]
fn mode_and_owner_are_those_of_a_new_cache_only() {
    let site = site!(ids);
    let file = r"FROM busybox
RUN --mount=type=cache,target=/c,mode=0770,uid=1000,gid=1001 stat -c '%n %a %u:%g' /c
USER 1000:1001
RUN --mount=type=cache,target=/c,mode=0700,uid=5 stat -c 'again %a %u:%g' /c && echo x >/c/mine && stat -c %u:%g /c/mine
USER 0
RUN --mount=type=cache,target=/new stat -c '%n %a %u:%g' /new
RUN --mount=type=cache,target=/c,ro cat /c/mine && ! touch /c/other
RUN --mount=type=cache,target=/sub,id=/c,source=a/b touch /sub/file
RUN --mount=type=cache,target=/c ls /c/a/b
";
    let built = site.build(file, &[]);
    for line in [
        "| /c 770 1000:1001",
        "| again 770 1000:1001",
        "| 1000:1001",
        "| /new 755 0:0",
        "| x",
        "| file",
    ] {
        assert!(built.said(line), "{line} is missing in {}", built.stderr);
    }
}

#[test]
fn a_cache_is_filled_from_its_base_once() {
    let site = site!(run);
    let file = r"FROM busybox AS base
RUN mkdir -p /seed/deep && echo seeded >/seed/deep/f
FROM busybox
RUN --mount=type=cache,target=/c,from=base,source=/seed cat /c/deep/f && echo changed >/c/deep/f
RUN --mount=type=cache,target=/c,from=base,source=/seed,sharing=locked cat /c/deep/f
RUN --mount=type=cache,target=/c ls /c | wc -l
";
    let built = site.build(file, &[]);
    for line in ["| seeded", "| changed", "| 0"] {
        assert!(built.said(line), "{line} is missing in {}", built.stderr);
    }
}

/// S25 and S27: what an id or a source says, and what an earlier step left in the cache, never leads out of it.
#[test]
fn s27_a_cache_source_cannot_escape() {
    let site = site!(run);
    let file = r"FROM busybox
RUN --mount=type=cache,target=/c,id=../../../escape ln -s /etc /c/sel && ln -s ../../.. /c/up && mkdir /c/etc && echo own >/c/etc/hostname
RUN --mount=type=cache,target=/m,id=../../../escape,source=sel cat /m/hostname
RUN --mount=type=cache,target=/m,id=../../../escape,source=up ls /m | grep -c sel
RUN --mount=type=cache,target=/m,id=../../../escape,source=../../etc cat /m/hostname
";
    let built = site.build(file, &[]);
    assert_eq!(built.stderr.matches("| own").count(), 2, "{}", built.stderr);
    assert!(built.said("| 1"), "{}", built.stderr);
    let dangling = "FROM busybox\nRUN --mount=type=cache,target=/c ln -s /nowhere /c/sel\n\
                    RUN --mount=type=cache,target=/m,id=/c,source=sel true\n";
    let said = site.fails(dangling, &[]);
    assert!(said.contains("sel"), "{said}");
    let long = "x".repeat(300);
    site.build(
        &format!("FROM busybox\nRUN --mount=type=cache,target=/c,id={long} true\n"),
        &[],
    );
}

/// Exchanges two names of a directory until a third one is there (renameat2(2)).
const SWAP: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv) {
    while (access(argv[3], F_OK) != 0)
        if (renameat2(AT_FDCWD, argv[1], AT_FDCWD, argv[2], RENAME_EXCHANGE) != 0) { perror("exchange"); return 1; }
    return argc != 4;
}
"#;

/// How often a race is tried: a few times, or as often as RBUILD_TEST_ROUNDS says.
fn rounds() -> usize {
    let text = std::env::var("RBUILD_TEST_ROUNDS").unwrap_or_default();
    text.parse().unwrap_or(100)
}

/// S26: the source is a directory and a link to a directory of the host, by turns, while a parallel stage mounts it. Inside the cache
/// there is a directory of the same path, so that each mount has something to find.
#[test]
fn s26_a_source_that_a_parallel_stage_swaps_is_never_the_hosts() {
    requires!(program "gcc");
    let site = site!(run);
    site.place.write("swap.c", SWAP);
    let compiled = std::process::Command::new("gcc")
        .args(["-static", "-O1", "-o", "swap", "swap.c"])
        .current_dir(site.place.context())
        .status();
    assert!(compiled.expect("gcc starts").success());
    let canary = site.place.path().join("canary");
    std::fs::create_dir(&canary).expect("a directory");
    std::fs::write(canary.join("canary"), "of the host").expect("the canary");
    let mount = "--mount=type=cache,id=raced";
    let mut left = rounds();
    while left > 0 {
        let now = left.min(200);
        left -= now;
        let host = canary.display();
        let mut file = format!(
            "FROM busybox AS ready\nCOPY swap /swap\n\
             RUN {mount},target=/c rm -rf /c/* && mkdir -p /c{host} /c/sel && touch /c{host}/link /c/sel/dir && ln -s {host} /c/other\n\
             FROM ready AS swapping\nRUN {mount},target=/c /swap /c/sel /c/other /c/stop && touch /swapped\n\
             FROM ready AS mounting\n"
        );
        for round in 0..now {
            file += &format!("RUN {mount},target=/m,source=sel ls /m && : {round}\n");
        }
        file += &format!(
            "RUN {mount},target=/c touch /c/stop /mounted\n\
             FROM scratch\nCOPY --from=swapping /swapped /\nCOPY --from=mounting /mounted /\n"
        );
        let built = site.built(
            site.command(&file, &["--no-cache"])
                .timeout(Duration::from_secs(900)),
        );
        let seen = |line: &str| {
            let said = built.stderr.lines();
            said.filter(|known| known.ends_with(&format!("| {line}")))
                .count()
        };
        assert_eq!(seen("canary"), 0, "the host's directory was mounted");
        assert_eq!(seen("dir") + seen("link"), now, "{}", built.stderr);
        #[expect(clippy::print_stdout, reason = "how good the race was")]
        {
            println!(
                "{now} rounds: {} directories, {} links",
                seen("dir"),
                seen("link")
            );
        }
    }
}

/// Two steps at once that both find their part of a cache missing.
#[test]
fn a_new_part_of_a_cache_may_be_asked_for_twice_at_once() {
    let site = site!(run);
    for round in 0..20 {
        let stage = |name: &str| {
            format!(
                "FROM busybox AS {name}\nRUN --mount=type=cache,id=c,target=/m,source=a{round}/b touch /m/{name} /{name}\n"
            )
        };
        let file = format!(
            "{}{}FROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n",
            stage("one"),
            stage("two")
        );
        site.build(&file, &[]);
    }
}

fn busy(sharing: &str) -> String {
    let stage = |name: &str| {
        format!(
            "FROM busybox AS {name}\nRUN --mount=type=cache,target=/c,sharing={sharing} \
             echo {name} >>/c/log && n=$(ls /c | grep -c busy); touch /c/busy-{name}; sleep 1; \
             rm /c/busy-{name}; echo {name} saw $n of $(wc -l </c/log); touch /{name}\n"
        )
    };
    format!(
        "{}{}FROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n",
        stage("one"),
        stage("two")
    )
}

fn duration_of(site: &Site, file: &str) -> (String, Duration) {
    let started = Instant::now();
    let built = site.build(file, &[]);
    (built.stderr, started.elapsed())
}

#[test]
fn locked_caches_wait_and_shared_and_private_ones_do_not() {
    let site = site!(run);
    let (said, took) = duration_of(&site, &busy("locked"));
    assert!(took >= Duration::from_secs(2), "{took:?}: {said}");
    assert!(!said.contains("saw 1"), "{said}");
    assert!(said.contains("of 2"), "one directory: {said}");

    let site = site!(run);
    let (said, _) = duration_of(&site, &busy("private"));
    assert!(!said.contains("saw 1"), "{said}");
    assert!(!said.contains("of 2"), "each has its own: {said}");

    let site = site!(run);
    let (said, _) = duration_of(&site, &busy("shared"));
    assert!(said.contains("of 2"), "{said}");
}

#[test]
fn caches_in_another_order_do_not_wait_for_each_other() {
    let site = site!(run);
    let stage = |name: &str, first: &str, second: &str| {
        format!(
            "FROM busybox AS {name}\nRUN --mount=type=cache,target=/{first},sharing=locked \
             --mount=type=cache,target=/{second},sharing=locked \
             --mount=type=cache,target=/again,id=/{first},sharing=shared touch /{first}/x /{second}/x /{name}\n"
        )
    };
    let file = format!(
        "{}{}FROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n",
        stage("one", "a", "b"),
        stage("two", "b", "a")
    );
    for _ in 0..3 {
        site.build(&file, &["--no-cache"]);
    }
}

#[test]
fn f11_a_waiting_build_can_be_stopped_and_a_dead_holder_is_not_waited_for() {
    let site = site!(run);
    let holder =
        "FROM busybox\nRUN --mount=type=cache,target=/c,sharing=locked echo started && sleep 60\n";
    let mut first = crate::run_secrets::spawn(&site.command(holder, &[]));
    crate::run_secrets::wait_until_started(&mut first);
    let waiter = "FROM busybox\nRUN --mount=type=cache,target=/c,sharing=locked echo got it\n";
    let mut second = crate::run_secrets::spawn(&site.command(waiter, &[]));
    crate::run_secrets::wait_for(&mut second, "waiting for the cache");
    let asked = Instant::now();
    let pid = i32::try_from(second.id()).expect("a pid");
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).expect("a pid"),
        rustix::process::Signal::TERM,
    )
    .expect("it runs");
    let status = second.wait().expect("it ends");
    assert_eq!(status.code(), Some(128 + 15));
    assert!(asked.elapsed() < Duration::from_secs(5));
    first.kill().expect("it runs");
    first.wait().expect("it ended");
    let started = Instant::now();
    assert!(site.build(waiter, &[]).said("| got it"));
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn prune_all_removes_caches_and_prune_alone_keeps_them() {
    let site = site!(run);
    let file = |n: u32| {
        format!("FROM busybox\nRUN --mount=type=cache,target=/c ls /c | wc -l; touch /c/{n}\n")
    };
    site.build(&file(1), &[]);
    site.place.expect(0, &["prune"]);
    assert!(site.build(&file(2), &[]).said("| 1"));
    site.place.expect(0, &["prune", "--all"]);
    assert!(site.build(&file(3), &[]).said("| 0"));
}
