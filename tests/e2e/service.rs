//! Containers in the background: `rbuild run -d` and the commands about them, with real processes.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Degree, Place, binary, degree};

/// A store with an image of busybox, and a runtime directory of its own, where no container is left when the test is over.
struct Services(Place);

impl Services {
    fn new() -> Option<Self> {
        let base = crate::support::base("busybox")?;
        let place = Place::new();
        let context = format!("busybox=oci-layout:{}", base.display());
        let more = [
            "--network",
            "none",
            "-t",
            "box",
            "--build-context",
            &context,
        ];
        place.build("FROM busybox\nRUN echo app:x:65532: >/etc/group\nUSER 65532:65532\nENV KIND=image\nWORKDIR /tmp\n", &more);
        Some(Self(place))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(args)
            .current_dir(self.0.context())
            .env("RBUILD_ROOT", self.0.store())
            .env("XDG_RUNTIME_DIR", self.0.context().join("run"))
            .stdin(Stdio::null());
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("it starts")
    }

    fn expect(&self, code: i32, args: &[&str]) -> (String, String) {
        let output = self.output(args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(
            output.status.code(),
            Some(code),
            "{args:?}\nstdout:\n{stdout}\nstderr:\n{stderr}"
        );
        (stdout, stderr)
    }

    /// Starts a shell script in the background.
    fn start(&self, flags: &[&str], script: &str) -> String {
        let mut args = vec!["run", "-d", "--stop-timeout", "1"];
        if !flags.contains(&"--network") {
            args.extend(["--network", "none"]);
        }
        args.extend(flags);
        args.extend(["box", "sh", "-c", script]);
        self.expect(0, &args).0.trim().to_owned()
    }

    fn ps(&self) -> Vec<serde_json::Value> {
        let (text, _) = self.expect(0, &["ps", "-a", "--format", "json"]);
        serde_json::from_str(&text).expect("JSON")
    }

    fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(Stdio::piped()).spawn().expect("it starts")
    }

    /// How many entries containers have made at the top of their writable layers.
    fn written(&self) -> usize {
        let layers = fs::read_dir(self.0.store().join("trees/writable")).expect("writable layers");
        let uppers = layers.map(|layer| layer.expect("a layer").path().join("upper"));
        uppers
            .map(|upper| fs::read_dir(upper).into_iter().flatten().count())
            .sum()
    }

    /// The processes whose command lines have the text in them.
    fn processes(&self, text: &str) -> usize {
        let output = Command::new("pgrep").args(["-f", "--", text]).output();
        let output = output.expect("pgrep starts");
        String::from_utf8_lossy(&output.stdout).lines().count()
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        let _ = self.output(&["kill", "-a"]);
        let until = Instant::now() + Duration::from_secs(20);
        let run = self.0.context().join("run/rbuild/containers");
        while fs::read_dir(&run).is_ok_and(|all| all.flatten().any(|one| one.path().is_dir()))
            && Instant::now() < until
        {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

macro_rules! services {
    () => {{
        requires!(execution);
        match Services::new() {
            Some(services) => services,
            None => skip!("bases", "RBUILD_TEST_BASES has no busybox"),
        }
    }};
}

fn until<T>(what: &str, mut seen: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(seen) = seen() {
            return seen;
        }
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process has a connection and sleeps, which is when it has asked and waits.
fn waits_for_an_answer(child: &Child) -> bool {
    let process = format!("/proc/{}", child.id());
    let stat = fs::read_to_string(format!("{process}/stat")).unwrap_or_default();
    let sleeps = stat
        .rsplit(')')
        .next()
        .is_some_and(|rest| rest.starts_with(" S"));
    let descriptors = fs::read_dir(format!("{process}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    let mut targets = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    sleeps && targets.any(|target| target.to_string_lossy().starts_with("socket:"))
}

/// What a container waits for before it does anything, so that somebody can be there to see it.
struct Gate<'s> {
    all: &'s Services,
    directory: PathBuf,
}

impl<'s> Gate<'s> {
    fn of(all: &'s Services) -> Self {
        let directory = all.0.context().join("gate");
        fs::create_dir(&directory).expect("a directory");
        Self { all, directory }
    }

    fn start(&self, flags: &[&str], script: &str) {
        let volume = format!("{}:/gate", self.directory.display());
        let flags = [&["-v", &volume], flags].concat();
        let script = format!("until [ -e /gate/open ]; do sleep 0.02; done; {script}");
        self.all.start(&flags, &script);
    }

    /// Opens it when a command that asks about the container waits for what there is to hear.
    fn opened_for(&self, asking: Child) -> Child {
        until("it waits for an answer", || {
            waits_for_an_answer(&asking).then_some(())
        });
        fs::write(self.directory.join("open"), "").expect("a file");
        asking
    }
}

/// Runs until it is told to end.
const FOREVER: &str = "trap 'exit 3' TERM; while :; do sleep 0.05; done";

#[test]
fn a_service_is_started_seen_logged_and_stopped_and_nothing_of_it_is_left() {
    let all = services!();
    let script = format!("echo out; echo err >&2; {FOREVER}");
    let id = all.start(&["--name", "web"], &script);
    assert_eq!(id.len(), 64);
    let [web] = &all.ps()[..] else {
        panic!("{:?}", all.ps())
    };
    assert_eq!(web["Id"], id.as_str());
    assert_eq!(
        (&web["Names"][0], &web["State"]),
        (&"web".into(), &"running".into())
    );
    assert_eq!(web["Command"][0], "sh");
    let (table, _) = all.expect(0, &["ps"]);
    assert!(
        table.starts_with("CONTAINER ID") && table.contains(&id[..12]) && table.contains("Up "),
        "{table}"
    );
    assert_eq!(all.expect(0, &["ps", "-q"]).0.trim(), &id[..12]);
    until("it has written", || {
        (all.expect(0, &["logs", "web"]).0 == "out\n").then_some(())
    });
    assert_eq!(
        all.expect(0, &["logs", &id[..8]]),
        ("out\n".into(), "err\n".into())
    );
    let (stamped, _) = all.expect(0, &["logs", "--timestamps", "web"]);
    assert!(
        stamped.starts_with("20") && stamped.ends_with("Z out\n"),
        "{stamped}"
    );
    let waiting = all.spawn(&["wait", "web"]);
    until("it waits for an answer", || {
        waits_for_an_answer(&waiting).then_some(())
    });
    assert_eq!(all.expect(0, &["stop", "web"]).0, "web\n");
    let waited = waiting.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&waited.stdout), "3\n");
    assert!(all.ps().is_empty());
    let (_, stderr) = all.expect(125, &["logs", "web"]);
    assert!(
        stderr.contains("web") && stderr.contains("hint:"),
        "{stderr}"
    );
    assert!(!all.0.context().join("run/rbuild/containers/web").exists());
}

#[test]
fn a_service_that_cannot_start_says_why_with_the_codes_of_docker() {
    let all = services!();
    let run = |image_and_program: &[&str]| {
        let args = [&["run", "-d", "--network", "none"], image_and_program].concat();
        let output = all.output(&args);
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, stderr) = run(&["box", "/no/such"]);
    assert_eq!(code, Some(127), "{stderr}");
    assert!(stderr.contains("/no/such"), "{stderr}");
    assert_eq!(run(&["box", "/tmp"]).0, Some(126));
    assert_eq!(run(&["no-such-image"]).0, Some(125));
    let (code, stderr) = run(&["-u", "nobodys", "box", "true"]);
    assert_eq!(code, Some(125));
    assert!(stderr.contains("nobodys"), "{stderr}");
    assert!(all.ps().is_empty());
    for wrong in [
        &["--name", "web"][..],
        &["--restart", "always"],
        &["-d", "--name", "../x"],
        &["-d", "--restart", "never"],
    ] {
        let args = [&["run", "--network", "none"], wrong, &["box", "true"]].concat();
        all.expect(2, &args);
    }
}

#[test]
fn a_name_is_taken_until_it_is_replaced() {
    let all = services!();
    let first = all.start(&["--name", "web"], FOREVER);
    let (_, stderr) = all.expect(
        125,
        &[
            "run",
            "-d",
            "--name",
            "web",
            "--network",
            "none",
            "box",
            "true",
        ],
    );
    assert!(
        stderr.contains(&first) && stderr.contains("--replace"),
        "{stderr}"
    );
    let second = all.start(&["--name", "web", "--replace"], FOREVER);
    assert_ne!(first, second);
    let found = all.ps();
    assert_eq!((found.len(), &found[0]["Id"]), (1, &second.as_str().into()));
    let unnamed = all.start(&[], FOREVER);
    let name = format!("box-{}", &unnamed[..6]);
    assert_eq!(all.expect(0, &["stop", "-a"]).0.lines().count(), 2);
    all.expect(125, &["stop", &name]);
}

#[test]
fn what_ended_is_started_again_as_its_policy_says_and_keeps_what_it_wrote() {
    let all = services!();
    let gate = Gate::of(&all);
    gate.start(
        &["--name", "again", "--restart", "on-failure:2"],
        "echo run >>/tmp/runs; wc -l </tmp/runs; exit 4",
    );
    let mut following = gate.opened_for(all.spawn(&["logs", "-f", "again"]));
    let mut text = String::new();
    following
        .stdout
        .take()
        .expect("a pipe")
        .read_to_string(&mut text)
        .expect("text");
    assert_eq!(text, "1\n2\n3\n");
    assert!(following.wait().expect("it ends").success());
    assert!(all.ps().is_empty());
    // A stop is the end, whatever the policy; so is a SIGKILL, but no other signal.
    all.start(
        &["--name", "always", "--restart", "always"],
        "trap 'exit 0' HUP TERM; echo started; while :; do sleep 0.05; done",
    );
    let starts = |count: usize| {
        until("it is started", || {
            (all.expect(0, &["logs", "always"]).0.lines().count() == count).then_some(())
        });
    };
    starts(1);
    all.expect(0, &["kill", "-s", "HUP", "always"]);
    starts(2);
    assert_eq!(all.ps()[0]["Restarts"], 1);
    all.expect(0, &["stop", "always"]);
    assert!(all.ps().is_empty());
    all.start(&["--name", "always", "--restart", "always"], FOREVER);
    all.expect(0, &["kill", "always"]);
    until("it ends", || all.ps().is_empty().then_some(()));
}

#[test]
fn exec_joins_the_container_and_has_its_confinement() {
    let all = services!();
    all.start(
        &[
            "--name",
            "web",
            "-v",
            ".:/data",
            "--ulimit",
            "nofile=99:100",
        ],
        FOREVER,
    );
    let exec = |flags: &[&str], script: &str| {
        let args = [&["exec"], flags, &["web", "sh", "-c", script]].concat();
        all.expect(0, &args).0
    };
    assert_eq!(
        exec(&["-e", "A=1"], "echo $KIND $A; pwd; id -u"),
        "image 1\n/tmp\n65532\n"
    );
    assert_eq!(exec(&["-w", "/data"], "pwd; touch made"), "/data\n");
    assert!(all.0.context().join("made").exists());
    let inside = "cat /proc/1/status /proc/self/status | grep -E '^(Cap|NoNew|Seccomp:|Uid|Gid|Groups)' | sort | uniq -c | awk '{print $1}' | sort -u; ulimit -n; hostname >/dev/null; for n in user pid net ipc uts mnt cgroup; do [ $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) ] || echo $n differs; done";
    assert_eq!(exec(&[], inside), "2\n99\n");
    // Nothing of rbuild's is open in it, and it makes no namespaces.
    assert_eq!(
        exec(
            &[],
            "ls /proc/self/fd | wc -l; unshare -U true 2>/dev/null || echo refused"
        ),
        "4\nrefused\n"
    );
    let (_, stderr) = all.expect(127, &["exec", "web", "/no/such"]);
    assert!(stderr.contains("/no/such"), "{stderr}");
    all.expect(126, &["exec", "web", "/tmp"]);
    all.expect(125, &["exec", "-u", "nobodys", "web", "true"]);
    all.expect(9, &["exec", "web", "sh", "-c", "exit 9"]);
    all.expect(143, &["exec", "web", "sh", "-c", "kill -TERM $$"]);
    if degree() != Degree::NoSub {
        assert_eq!(
            exec(&["-u", "7:8"], "id -u; id -g; echo through >/dev/stdout"),
            "7\n8\nthrough\n"
        );
    }
    let mut cat = all.spawn(&["exec", "-i", "web", "cat"]);
    cat.stdin
        .take()
        .expect("a pipe")
        .write_all(&[b'x'; 100_000])
        .expect("written");
    let output = cat.wait_with_output().expect("it ends");
    assert_eq!(output.stdout.len(), 100_000);
    let many = exec(&[], "head -c 3000000 /dev/zero; echo");
    assert_eq!(many.len(), 3_000_001);
}

#[test]
fn a_process_that_joined_ends_with_its_command_and_with_the_container() {
    let all = services!();
    all.start(&["--name", "web"], FOREVER);
    let mut alone = all.spawn(&["exec", "web", "sleep", "7731"]);
    let both = all.spawn(&["exec", "web", "sleep", "7732"]);
    let started = |text: &str| {
        until("it runs", || {
            all.expect(0, &["exec", "web", "ps"])
                .0
                .contains(text)
                .then_some(())
        })
    };
    started("sleep 7731");
    started("sleep 7732");
    alone.kill().expect("killed");
    alone.wait().expect("it ends");
    until("it is gone", || {
        (!all
            .expect(0, &["exec", "web", "ps"])
            .0
            .contains("sleep 7731"))
        .then_some(())
    });
    all.expect(0, &["stop", "web"]);
    assert_eq!(
        both.wait_with_output().expect("it ends").status.code(),
        Some(137)
    );
}

#[test]
fn logs_are_followed_to_the_end_and_tails_are_short() {
    let all = services!();
    let gate = Gate::of(&all);
    gate.start(
        &["--name", "talk"],
        "for i in 1 2 3; do echo $i; done; printf 'open '; sleep 0.3; echo end; cat /dev/null; sleep 0.2; echo last",
    );
    let following = gate.opened_for(all.spawn(&["logs", "-f", "talk"]));
    let output = following.wait_with_output().expect("it ends");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "1\n2\n3\nopen end\nlast\n"
    );
    all.start(&["--name", "tail"], &format!("seq 1 100; {FOREVER}"));
    until("it has written", || {
        all.expect(0, &["logs", "tail"])
            .0
            .ends_with("100\n")
            .then_some(())
    });
    assert_eq!(
        all.expect(0, &["logs", "--tail", "2", "tail"]).0,
        "99\n100\n"
    );
    assert_eq!(all.expect(0, &["logs", "--tail", "0", "tail"]).0, "");
}

#[test]
fn attach_gives_input_and_passes_the_exit_code_on() {
    let all = services!();
    all.start(
        &["-i", "--name", "cat"],
        "while read line; do [ $line = bye ] && exit 5; echo got $line; done",
    );
    let mut attached = all.spawn(&["attach", "cat"]);
    let mut stdin = attached.stdin.take().expect("a pipe");
    writeln!(stdin, "hello").expect("written");
    let mut stdout = attached.stdout.take().expect("a pipe");
    let mut heard = [0; 10];
    stdout.read_exact(&mut heard).expect("heard");
    assert_eq!(&heard, b"got hello\n");
    writeln!(stdin, "bye").expect("written");
    assert_eq!(attached.wait().expect("it ends").code(), Some(5));
}

#[test]
fn after_sigkill_of_a_supervisor_the_container_is_gone_and_that_is_said_once() {
    let all = services!();
    let mark = format!("sleep 98{}", std::process::id());
    all.start(
        &["--name", "web"],
        &format!("echo wrote >/tmp/file; echo said; {mark}"),
    );
    until("it has written", || {
        (all.expect(0, &["logs", "web"]).0 == "said\n").then_some(())
    });
    assert_ne!(all.written(), 0);
    let pid = all.ps()[0]["Pid"].to_string();
    assert_eq!(all.processes(&format!("^{mark}")), 1);
    let killed = Command::new("kill").args(["-KILL", &pid]).status();
    assert!(killed.expect("kill starts").success());
    until("its processes are gone", || {
        (all.processes(&format!("^{mark}")) == 0).then_some(())
    });
    let (table, stderr) = all.expect(0, &["ps"]);
    assert!(table.contains("Dead: its supervisor was killed"), "{table}");
    assert!(
        stderr.contains("web") && stderr.contains("removed"),
        "{stderr}"
    );
    assert!(all.ps().is_empty());
    assert!(!all.0.context().join("run/rbuild/containers/web").exists());
    assert_eq!(all.written(), 0, "what it wrote is still there");
}

#[test]
fn after_sigkill_of_a_run_in_the_foreground_nothing_of_the_container_is_left() {
    let all = services!();
    let mark = format!("sleep 97{}", std::process::id());
    let mut run = all.spawn(&[
        "run",
        "--network",
        "none",
        "box",
        "sh",
        "-c",
        &format!("echo x >/tmp/file; {mark} & wait"),
    ]);
    until("it runs", || {
        (all.processes(&format!("^{mark}")) == 1).then_some(())
    });
    assert_ne!(all.written(), 0);
    run.kill().expect("killed");
    run.wait().expect("it ends");
    until("its processes are gone", || {
        (all.processes(&format!("^{mark}")) == 0).then_some(())
    });
    all.expect(0, &["run", "--network", "none", "box", "true"]);
    assert_eq!(all.written(), 0, "what it wrote is still there");
}

#[test]
fn a_caller_that_reads_to_the_end_waits_for_no_service_and_its_descriptors_stay_its_own() {
    let all = services!();
    let (read, write) = std::io::pipe().expect("a pipe");
    let mut command = all.command(&[
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "web",
        "box",
        "sh",
        "-c",
        FOREVER,
    ]);
    command
        .stdout(write.try_clone().expect("a copy"))
        .stderr(write);
    let start = Instant::now();
    assert!(command.status().expect("it starts").success());
    drop(command);
    let mut text = String::new();
    (&read).read_to_string(&mut text).expect("text");
    assert_eq!(text.lines().last().map(str::len), Some(64), "{text}");
    assert!(start.elapsed() < Duration::from_secs(20));
    // The supervisor holds little: it is a copy of a process that did little.
    let pid = all.ps()[0]["Pid"].to_string();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let own = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let own: u64 = own
        .and_then(|text| text.trim().strip_suffix(" kB"))
        .and_then(|text| text.parse().ok())
        .expect("a size");
    assert!(own < 10 << 10, "{own} kB");
}

/// A terminal of the test's: its own side, and the side for a program.
fn terminal() -> (fs::File, fs::File) {
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let own = openpt(flags).expect("a terminal");
    grantpt(&own)
        .and_then(|()| unlockpt(&own))
        .expect("granted");
    let other = ioctl_tiocgptpeer(&own, flags).expect("its other side");
    let size = rustix::termios::Winsize {
        ws_row: 41,
        ws_col: 101,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(&other, size).expect("a size");
    (own.into(), other.into())
}

/// Starts a command in a terminal, types a line, and returns what it shows up to a text.
fn typed(all: &Services, args: &[&str], line: &[u8], end: &str) -> (Child, fs::File, String) {
    let (mut own, other) = terminal();
    let mut command = all.command(args);
    let copy = || other.try_clone().expect("a copy");
    let child = command.stdin(copy()).stdout(copy()).stderr(copy()).spawn();
    let child = child.expect("it starts");
    own.write_all(line).expect("typed");
    let mut shown = String::new();
    let mut piece = [0; 4096];
    while !shown.contains(end) {
        let length = own.read(&mut piece).unwrap_or(0);
        assert!(length > 0, "{args:?} ended after:\n{shown}");
        shown.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
    (child, own, shown)
}

#[test]
fn a_terminal_is_the_containers_own_and_has_the_callers_size() {
    let all = services!();
    all.start(&["--name", "web"], FOREVER);
    let line = b"stty size; tty; echo TERM=$TERM; ls -l $(tty) | awk '{print $1, $3}'; exit 6\n";
    for args in [
        &["exec", "-it", "web", "sh"][..],
        &["run", "-it", "--network", "none", "box", "sh"],
    ] {
        let (mut child, mut own, mut shown) = typed(&all, args, line, "crw");
        assert_eq!(child.wait().expect("it ends").code(), Some(6), "{shown}");
        let mut rest = [0; 4096];
        let length = own.read(&mut rest).unwrap_or(0);
        shown.push_str(&String::from_utf8_lossy(&rest[..length]));
        for word in ["41 101", "/dev/pts/", "TERM=xterm", "crw--w----"] {
            assert!(shown.contains(word), "{args:?}: {word} is not in\n{shown}");
        }
        assert!(!shown.contains("not a tty"), "{shown}");
    }
}

#[test]
fn the_detach_keys_leave_a_container_as_it_is() {
    let all = services!();
    all.start(
        &["-it", "--name", "shell"],
        "while read line; do echo got $line; done",
    );
    let (_held, before) = terminal();
    let (mut child, mut own, _) = typed(&all, &["attach", "shell"], b"one\n", "got one");
    own.write_all(b"\x10\x11").expect("typed");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    let modes = |terminal: &fs::File| {
        rustix::termios::tcgetattr(terminal)
            .expect("its modes")
            .local_modes
    };
    assert_eq!(
        modes(&own),
        modes(&before),
        "the caller's terminal is as it was"
    );
    let (mut child, mut own, _) = typed(
        &all,
        &["attach", "--detach-keys", "ctrl-x", "shell"],
        b"\x10two\n",
        "got \x10two",
    );
    own.write_all(b"\x18").expect("typed");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert_eq!(all.ps()[0]["State"], "running");
    assert!(all.expect(0, &["logs", "shell"]).0.contains("got one"));
}

#[test]
fn a_named_volume_begins_with_the_images_files_and_outlives_containers() {
    let all = services!();
    let base = crate::support::base("busybox").expect("there was one");
    let context = format!("busybox=oci-layout:{}", base.display());
    let secret = all.0.context().join("secret");
    fs::write(&secret, "of the host").expect("written");
    let files = format!(
        "FROM busybox\nRUN mkdir -p /data/below && echo first >/data/file && ln -s {} /data/link && \\\n chown -R 7:8 /data/below && chown 65532:65532 /data /data/file && chmod 750 /data && ln -s /data /way\nUSER 65532:65532\n",
        secret.display()
    );
    all.0.build(
        &files,
        &[
            "--network",
            "none",
            "-t",
            "full",
            "--build-context",
            &context,
        ],
    );
    let run = |flags: &[&str], script: &str| {
        let args = [
            &["run", "--network", "none"],
            flags,
            &["full", "sh", "-c", script],
        ]
        .concat();
        all.expect(0, &args).0
    };
    let owner = if degree() == Degree::NoSub {
        "65532"
    } else {
        "7"
    };
    let look = "cat /data/file; stat -c '%a %u' /data; stat -c %u /data/below; cat /data/link 2>/dev/null || echo nowhere";
    assert_eq!(
        run(&["-v", "vol:/data"], look),
        format!("first\n750 65532\n{owner}\nnowhere\n")
    );
    run(&["-v", "vol:/data:z"], "echo second >/data/file");
    assert_eq!(
        run(
            &["--mount", "type=volume,src=vol,dst=/data,ro"],
            "cat /data/file; echo x 2>/dev/null >/data/x || echo read-only"
        ),
        "second\nread-only\n"
    );
    assert_eq!(
        run(&["-v", "vol2:/way"], "cat /data/file"),
        "first\n",
        "the image's link leads to its own directory"
    );
    assert_eq!(
        run(
            &["-v", "none:/data:nocopy"],
            "ls /data | wc -l; echo mine >/data/x"
        ),
        "0\n"
    );
    assert_eq!(
        run(
            &["-v", "new:/elsewhere/deep:U"],
            "stat -c %u /elsewhere/deep; touch /elsewhere/deep/x"
        ),
        "65532\n"
    );
    let (list, _) = all.expect(0, &["volume", "ls", "-q"]);
    assert_eq!(list, "new\nnone\nvol\nvol2\n");
}

#[test]
fn a_volume_in_use_stays_and_one_that_is_removed_is_gone_whole() {
    let all = services!();
    let run = |volume: &str| {
        let args = ["run", "--network", "none", "-v", volume, "box", "true"];
        all.expect(0, &args);
    };
    run("vol:/data");
    run("other:/data");
    let (list, _) = all.expect(0, &["volume", "ls"]);
    let words: Vec<_> = list.split_whitespace().collect();
    let expected = ["DRIVER", "VOLUME", "NAME", "local", "other", "local", "vol"];
    assert_eq!(words, expected);
    fs::write(all.0.context().join("secret"), "").expect("written");
    all.start(
        &["--name", "user", "-v", "vol:/data", "-v", "./:/data/below"],
        FOREVER,
    );
    assert!(
        all.expect(0, &["exec", "user", "ls", "/data/below"])
            .0
            .contains("secret"),
        "what is below comes after"
    );
    let (_, stderr) = all.expect(2, &["volume", "rm", "vol"]);
    assert!(stderr.contains("a container uses it"), "{stderr}");
    all.expect(2, &["volume", "prune"]);
    assert_eq!(all.expect(0, &["volume", "prune", "-f"]).0, "other\n");
    all.expect(0, &["stop", "user"]);
    let (inspected, _) = all.expect(0, &["volume", "inspect", "vol"]);
    assert!(
        inspected.contains("\"Mountpoint\"") && inspected.contains("volumes/vol/data"),
        "{inspected}"
    );
    assert_eq!(all.expect(0, &["volume", "rm", "vol"]).0, "vol\n");
    all.expect(1, &["volume", "rm", "vol"]);
    assert_eq!(all.expect(0, &["volume", "create", "own"]).0, "own\n");
    all.expect(1, &["volume", "create", "own"]);
    assert_eq!(all.expect(0, &["volume", "ls", "-q"]).0, "own\n");
    all.expect(0, &["volume", "rm", "own"]);
    assert_eq!(
        fs::read_dir(all.0.store().join("volumes"))
            .expect("it is there")
            .count(),
        0
    );
}

#[test]
fn a_container_may_be_in_the_network_of_another_and_is_its_own_in_all_else() {
    let all = services!();
    all.start(&["--name", "web"], "echo through >/tmp/page; httpd -p 127.0.0.1:8080 -h /tmp; trap 'exit 0' TERM; while :; do sleep 0.05; done");
    let beside = ["run", "--network", "container:web", "box", "sh", "-c"];
    let run = |script: &str| all.expect(0, &[&beside[..], &[script]].concat()).0;
    until("it listens", || {
        (run("wget -q -O - http://127.0.0.1:8080/page || true") == "through\n").then_some(())
    });
    let alone = all
        .expect(
            0,
            &[
                "run",
                "--network",
                "none",
                "box",
                "sh",
                "-c",
                "wget -q -O - http://127.0.0.1:8080/page || echo nothing",
            ],
        )
        .0;
    assert_eq!(alone, "nothing\n");
    let namespaces = "for n in net pid mnt ipc uts user; do readlink /proc/self/ns/$n; done";
    let (own, its) = (
        run(namespaces),
        all.expect(0, &["exec", "web", "sh", "-c", namespaces]).0,
    );
    let same: Vec<bool> = own.lines().zip(its.lines()).map(|(a, b)| a == b).collect();
    assert_eq!(same, [true, false, false, false, false, false]);
    assert_eq!(
        run("cat /proc/self/status | grep -E '^(CapEff|NoNewPrivs|Seccomp):' | awk '{print $2}'"),
        "0000000000000000\n1\n2\n"
    );
    all.start(&["--name", "side", "--network", "container:web"], FOREVER);
    assert_eq!(
        all.expect(
            0,
            &[
                "exec",
                "side",
                "wget",
                "-q",
                "-O",
                "-",
                "http://127.0.0.1:8080/page"
            ]
        )
        .0,
        "through\n"
    );
    let (_, stderr) = all.expect(125, &["run", "--network", "container:none", "box", "true"]);
    assert!(stderr.contains("none"), "{stderr}");
    all.expect(
        2,
        &[
            "run",
            "--network",
            "container:web",
            "-p",
            "80:80",
            "box",
            "true",
        ],
    );
}
