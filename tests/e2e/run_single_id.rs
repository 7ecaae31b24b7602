//! RUN with the caller's id alone: users and owners are imitated, and the image is the one that sub-ids give.

use std::fs;

use crate::build_oracle::Site;
use crate::support::{Degree, degree};

const SINGLE: [&str; 2] = ["--userns-mode", "single"];

/// Owners by every call that changes them, seen by every call that shows them, in the same step and in later ones.
const OWNERS: &str = r#"FROM busybox
COPY --chown=7:8 Containerfile /copied
RUN touch /a && chown 33:44 /a && stat -c '%u:%g %n' /a /copied && ls -ln /a \
 && mkdir -p /d/e /d/f && touch /d/e/x && ln -s x /d/e/l && chown -hR 1000:1000 /d && chmod 2775 /d/f && touch /d/f/y && mkdir /d/f/g \
 && find /d -printf '%u:%g %m %p\n' | sort
RUN ln -s nothing /l && mkfifo /p && chown -h 5:6 /l && chown 9:9 /p && mv /l /moved && ln /a /hard && stat -c '%u:%g %n' /moved /p /hard
RUN stat -c '%u:%g %n' /moved /p /hard /d/e/l && mv /moved /d/again && chown -h 0:0 /d/e/l && mv /a /d/a && stat -c '%u:%g %n' /d/again /d/e/l /d/a
RUN install -o games -g 9 -m 4755 /bin/true /true && cd /d && tar cf /tmp/t . && mkdir /u && tar -C /u -xf /tmp/t --same-owner && cp -a /d /c \
 && find /u /c -user 1000 | sort && stat -c '%U %a' /true && chown 0:0 /true && stat -c '%U %a' /true && rm /tmp/t
RUN rm -rf /c && mkdir /c && touch /c/a && stat -c '%u:%g %n' /c /c/a
"#;

/// Users, by every call that changes them.
const USERS: &str = r#"FROM busybox
RUN useradd -m -u 1001 joe && su joe -c 'id && touch /tmp/j && mkdir /tmp/q && ln -s x /tmp/s && ls -ln /tmp' && stat -c %U /home/joe
RUN setpriv --reuid 1001 --regid 1001 --init-groups id && setpriv --reuid 7 --regid 8 --groups 9,10 sh -c 'id && sh -c id' && id
RUN perl -e '$) = "7 8 9"; print "$)\n"; $> = 33; print "$> $<\n"; open F, ">/tmp/p"; $> = 0; $( = 5; $) = 5; $< = 6; $> = 6; print "$< $> $( $)\n"; $> = 0; print "$>\n"' \
 && stat -c '%u:%g' /tmp/p
RUN cp /bin/cat /usr/local/bin/asjoe && chown joe /usr/local/bin/asjoe && chmod 4755 /usr/local/bin/asjoe && cp /usr/bin/id /usr/local/bin/whoelse \
 && chown 1001 /usr/local/bin/whoelse && chmod u+s /usr/local/bin/whoelse && setpriv --reuid 33 --regid 33 --clear-groups /usr/local/bin/whoelse -u
USER 1001:1001
WORKDIR /own
RUN id && touch f && stat -c '%u:%g %n' . f && bash -c 'ulimit -x'
"#;

/// A build's lines that steps printed.
fn printed(stderr: &str) -> Vec<&str> {
    stderr
        .lines()
        .filter_map(|line| line.split_once("| ").map(|(_, text)| text))
        .collect()
}

/// Builds with one id and compares: with the ids of the degree where it has more, and with these lines.
fn same_as_with_sub_ids(file: &str, lines: &[&str]) {
    let base = requires!(base "debian");
    requires!(execution);
    let site = Site::new(base);
    let args = ["--no-cache", "--timestamp", "0"];
    let single = site.build(file, &[&args[..], &SINGLE].concat());
    for line in lines {
        assert!(
            printed(&single.stderr).contains(line),
            "{line} is missing in\n{}",
            single.stderr
        );
    }
    if degree() == Degree::NoSub {
        // Nothing else is possible there.
        assert_eq!(site.build(file, &args).id, single.id);
        return;
    }
    let subids = site.build(file, &[&args[..], &["--userns-mode", "subids"]].concat());
    assert_eq!(printed(&single.stderr), printed(&subids.stderr));
    assert_eq!(single.layers(), subids.layers());
    assert_eq!(single.id, subids.id);
}

#[test]
fn owners_are_what_programs_asked_for_and_the_image_is_the_same() {
    same_as_with_sub_ids(
        OWNERS,
        &[
            "33:44 /a",
            "7:8 /copied",
            "root:1000 644 /d/f/y",
            "1000:1000 2775 /d/f",
            "5:6 /moved",
            "9:9 /p",
            "33:44 /hard",
            "5:6 /d/again",
            "0:0 /d/e/l",
            "games 4755",
            "root 755",
            "0:0 /c/a",
        ],
    );
}

#[test]
fn users_are_who_they_want_to_be_and_the_image_is_the_same() {
    same_as_with_sub_ids(
        USERS,
        &[
            "uid=1001(joe) gid=1001(joe) groups=1001(joe)",
            "uid=7(lp) gid=8(mail) groups=8(mail),9(news),10(uucp)",
            "uid=0(root) gid=0(root) groups=0(root)",
            "33 0",
            "33:7",
            "1001",
            "1001:1001 .",
            "1001:1001 f",
            "unlimited",
        ],
    );
}

#[test]
fn what_comes_from_outside_gets_no_notes_and_no_owners() {
    let base = requires!(base "debian");
    requires!(execution);
    let site = Site::new(base);
    let data = site.place.path().join("data");
    fs::create_dir(&data).expect("a directory");
    fs::write(data.join("file"), "the caller's\n").expect("a file");
    let flag = format!("{}:/v", data.display());
    let file = "FROM busybox\nRUN chown 33:33 /v/file && stat -c '%u:%g %n' /v/file && ln -s /v/file /l && chown 44 /l && stat -c '%u %n' /v/file\n";
    let mut args = SINGLE.to_vec();
    args.extend(["--volume", &flag]);
    let built = site.build(file, &args);
    assert!(built.said("| 33:33 /v/file"), "{}", built.stderr);
    assert!(built.said("| 44 /v/file"), "{}", built.stderr);
    let mut names = [0_u8; 256];
    let length = rustix::fs::listxattr(data.join("file"), &mut names[..]).expect("its attributes");
    let names = String::from_utf8_lossy(&names[..length]).into_owned();
    assert!(!names.contains("rbuild"), "{names}");
}

/// Two threads: one changes owners by a path in memory, the other exchanges the path between a file of the image and one of the
/// caller, seccomp_unotify(2) on time-of-check and time-of-use.
const RACE: &str = r#"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
static char path[64];
static volatile int done;
static void *exchange(void *unused) {
    while (!done) { strcpy(path, "/v/file"); strcpy(path, "/own/fi"); }
    return unused;
}
int main(void) {
    pthread_t other;
    struct stat status;
    int changed = 0;
    strcpy(path, "/own/fi");
    pthread_create(&other, NULL, exchange, NULL);
    for (int i = 0; i < 5000; i++) {
        if (chown(path, 33, 33) == 0) changed++;
        stat(path, &status);
    }
    done = 1;
    pthread_join(other, NULL);
    printf("changed some: %d\n", changed > 0);
    return 0;
}
"#;

#[test]
fn a_path_that_changes_meanwhile_leads_nowhere_outside() {
    let base = requires!(base "debian-gcc");
    requires!(execution);
    let site = Site::new(base);
    site.place.write("race.c", RACE);
    let data = site.place.path().join("data");
    fs::create_dir(&data).expect("a directory");
    fs::write(data.join("file"), "the caller's\n").expect("a file");
    let before = fs::metadata(data.join("file")).expect("its status");
    let flag = format!("{}:/v", data.display());
    let file = "FROM busybox\nCOPY race.c /\nRUN gcc -O1 -pthread -o /race /race.c && mkdir /own && touch /own/fi && /race && stat -c '%u %n' /own/fi\n";
    let mut args = SINGLE.to_vec();
    args.extend(["--volume", &flag]);
    let built = site.build(file, &args);
    assert!(built.said("| changed some: 1"), "{}", built.stderr);
    let after = fs::metadata(data.join("file")).expect("its status");
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!((before.uid(), before.gid()), (after.uid(), after.gid()));
    let mut names = [0_u8; 256];
    let length = rustix::fs::listxattr(data.join("file"), &mut names[..]).expect("its attributes");
    assert!(
        !String::from_utf8_lossy(&names[..length]).contains("rbuild"),
        "a note outside"
    );
}

#[test]
fn a_step_that_kills_everything_or_lies_about_its_ids_harms_itself_only() {
    let base = requires!(base "debian");
    requires!(execution);
    let site = Site::new(base);
    let file = "FROM busybox\nRUN for n in $(seq 12); do find / -xdev -user 3 & chown -R 5 /usr/share & kill -9 $!; kill -9 %1; done 2>/dev/null; \
                sh -c 'kill -9 -1'; echo went on\n";
    let built = site.build(file, &SINGLE);
    assert!(built.said("| went on"), "{}", built.stderr);
    // What stands where ids are remembered is not the program's to write.
    let file = "FROM busybox\nRUN prlimit --locks=77:77 true; ulimit -x 3; id -u; seq 1 2000 | while read n; do setpriv --reuid $n true || exit 1; done; id -u\n";
    let built = site.build(file, &SINGLE);
    assert!(built.said("| 0"), "{}", built.stderr);
}

#[test]
fn sub_ids_that_are_asked_for_and_not_there_are_an_error() {
    requires!(degree Degree::NoSub);
    requires!(execution);
    let base = requires!(base "busybox");
    let site = Site::new(base);
    let said = {
        let output = site
            .command("FROM busybox\nRUN id\n", &["--userns-mode", "subids"])
            .output()
            .expect("it starts");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(said.contains("/etc/subuid"), "{said}");
    let built = site.build("FROM busybox\nRUN id -u\n", &SINGLE);
    assert!(!built.stderr.contains("note:"), "{}", built.stderr);
}
