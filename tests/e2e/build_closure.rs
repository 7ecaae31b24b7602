//! `# rbuild:closure` and `--closure`: programs that are copied into an image start there, and a build whose entry point could
//! not start fails with what it would say. Every image here is really started, under keep-id with a read-only root.

use std::fs;

use crate::support::Place;

/// A test's place, and the flag that shows it the base `debian`.
struct Site {
    place: Place,
    context: String,
}

macro_rules! site {
    () => {{
        let layout = requires!(base "debian");
        Site {
            place: Place::new(),
            context: format!("debian=oci-layout:{}", layout.display()),
        }
    }};
}

impl Site {
    fn args<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        let own = [
            "build",
            "--progress",
            "plain",
            "--build-context",
            &self.context,
        ];
        own.into_iter()
            .chain(args.iter().copied())
            .chain(["."])
            .collect()
    }

    fn build(&self, containerfile: &str, args: &[&str]) -> (String, String) {
        self.place.write("Containerfile", containerfile);
        self.place.expect(0, &self.args(args))
    }

    /// What a build that fails says.
    fn refused(&self, containerfile: &str, args: &[&str]) -> String {
        self.place.write("Containerfile", containerfile);
        self.place.expect(1, &self.args(args)).1
    }

    fn runs(&self, args: &[&str]) -> String {
        let own = ["run", "--read-only", "t"];
        let all: Vec<&str> = own.into_iter().chain(args.iter().copied()).collect();
        self.place.expect(0, &all).0
    }

    /// One line for each file of the image `t`, without its digest.
    fn files(&self) -> Vec<String> {
        let (listed, _) = self.place.expect(0, &["inspect", "--files", "t"]);
        listed.lines().map(str::to_owned).collect()
    }
}

const BASH: &str = "FROM debian AS b
FROM scratch
COPY --from=b /bin/bash /bin/bash
USER 65532:65532
ENTRYPOINT [\"/bin/bash\", \"-c\", \"echo started as $UID\"]
";

fn asking(containerfile: &str) -> String {
    containerfile.replace("COPY --from=b", "# rbuild:closure\nCOPY --from=b")
}

#[test]
fn a_dynamic_program_from_a_stage_starts_from_scratch() {
    let site = site!();
    requires!(execution);
    site.build(&asking(BASH), &["-t", "t", "--package-records", "off"]);
    assert_eq!(site.runs(&[]), "started as 65532\n");
    let files = site.files();
    for link in ["/lib -> usr/lib", "/lib64 -> usr/lib64"] {
        let line = format!("l 0777 0:0 {link}");
        assert!(files.contains(&line), "{line} is not in {files:#?}");
    }
    assert!(files.len() < 40, "more than it needs: {files:#?}");
}

#[test]
fn auto_is_the_same_image_without_a_word_in_the_file() {
    let site = site!();
    let (asked, _) = site.build(&asking(BASH), &["-t", "t"]);
    let (auto, _) = site.build(BASH, &["-t", "t", "--closure", "auto"]);
    assert_eq!(asked, auto);
    let (cached, shown) = site.build(BASH, &["-t", "t", "--closure", "auto"]);
    assert_eq!(cached, auto);
    assert!(shown.contains("(cached)"), "{shown}");
}

#[test]
fn an_entry_point_without_its_loader_fails_the_build_with_the_line_to_write() {
    let site = site!();
    let said = site.refused(BASH, &[]);
    for part in [
        "exec /bin/bash: no such file or directory: its interpreter /lib64/ld-linux-x86-64.so.2 is not there",
        "--> Containerfile:3:1",
        "help: write on the line above: # rbuild:closure",
    ] {
        assert!(said.contains(part), "{part:?} is missing in {said}");
    }
    site.build(BASH, &["--closure", "off"]);
}

#[test]
fn an_entry_point_without_a_library_fails_with_the_loaders_sentence() {
    let site = site!();
    let file = "FROM debian AS b
FROM scratch
COPY --from=b /lib64 /lib64
COPY --from=b /lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 /lib/x86_64-linux-gnu/libc.so.6 /lib/x86_64-linux-gnu/
COPY --from=b /bin/bash /bin/bash
USER 65532:65532
ENTRYPOINT [\"/bin/bash\"]
";
    let said = site.refused(file, &["-t", "t"]);
    let sentence = "/bin/bash: error while loading shared libraries: libtinfo.so.6: cannot open shared object file: No such file or directory";
    assert!(said.contains(sentence), "{said}");
    // The program itself says the same.
    requires!(execution);
    site.build(file, &["-t", "t", "--closure", "off"]);
    let output = site
        .place
        .rbuild()
        .args(["run", "t"])
        .output()
        .expect("it starts");
    assert!(!output.status.success());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains(sentence), "{stderr}");
}

#[test]
fn a_script_without_its_shell_and_a_name_that_is_not_in_path_fail() {
    let site = site!();
    site.place
        .write_program("run.sh", "#!/bin/bash\necho hello\n");
    let file = "FROM scratch\nCOPY run.sh /\nUSER 1:1\nCMD [\"/run.sh\"]\n";
    let said = site.refused(file, &[]);
    let sentence =
        "exec /run.sh: no such file or directory: its interpreter /bin/bash is not there";
    assert!(said.contains(sentence), "{said}");
    let said = site.refused("FROM scratch\nUSER 1:1\nCMD [\"nginx\"]\n", &[]);
    let sentence = "exec: \"nginx\": executable file not found in $PATH";
    assert!(said.contains(sentence), "{said}");
}

#[test]
fn a_program_for_another_processor_than_the_image_fails() {
    let site = site!();
    let (own, other) = match std::env::consts::ARCH {
        "x86_64" => ("amd64", "arm64"),
        _ => ("arm64", "amd64"),
    };
    fs::copy("/bin/true", site.place.context().join("true")).expect("a program");
    let file = "FROM scratch\nCOPY true /true\nUSER 1:1\nCMD [\"/true\"]\n";
    let said = site.refused(file, &["--platform", &format!("linux/{other}")]);
    let sentence = format!("/true: Exec format error: it is for {own}, not for {other}");
    assert!(said.contains(&sentence), "{said}");
}

#[test]
fn an_image_that_names_no_program_is_built_and_it_says_so() {
    let site = site!();
    let (_, shown) = site.build("FROM scratch\nUSER 1:1\n", &["-t", "t"]);
    assert!(shown.contains("neither ENTRYPOINT nor CMD"), "{shown}");
}

#[test]
fn what_the_image_has_is_never_replaced() {
    let site = site!();
    site.place.write("libtinfo", "not that one");
    let file = "FROM debian AS b
FROM scratch
COPY libtinfo /lib/x86_64-linux-gnu/libtinfo.so.6
# rbuild:closure
COPY --from=b /bin/bash /usr/bin/sh
USER 65532:65532
";
    let said = site.refused(file, &["-t", "t"]);
    let sentence = "/usr/bin/sh: /lib/x86_64-linux-gnu/libtinfo.so.6: file too short";
    assert!(said.contains(sentence), "{said}");
}

#[test]
fn a_real_lib_directory_in_the_image_stays_and_gets_what_is_needed() {
    let site = site!();
    requires!(execution);
    site.place.write("mine", "mine");
    let file = asking(BASH).replace("FROM scratch\n", "FROM scratch\nCOPY mine /lib/mine\n");
    site.build(&file, &["-t", "t"]);
    assert_eq!(site.runs(&[]), "started as 65532\n");
    let files = site.files();
    assert!(
        files.iter().any(|line| line.starts_with("d 0755 0:0 /lib")),
        "{files:#?}"
    );
}

#[test]
fn owners_and_modes_of_what_is_added_are_those_of_the_stage() {
    let site = site!();
    let file = asking(BASH).replace("--from=b", "--from=b --chown=7:8 --chmod=500");
    site.build(&file, &["-t", "t"]);
    let files = site.files();
    let of = |path: &str| {
        let found = files.iter().find(|line| line.contains(path));
        found
            .unwrap_or_else(|| panic!("{path} is not in {files:#?}"))
            .clone()
    };
    assert!(of("/bin/bash ").starts_with("- 0500 7:8 "));
    assert!(of("/libtinfo.so.6.").starts_with("- 0644 0:0 "));
}

#[test]
fn a_directory_brings_what_its_programs_need_and_also_adds_paths() {
    let site = site!();
    requires!(execution);
    let file = "FROM debian AS b
RUN mkdir -p /app/bin && cp /bin/bash /app/bin/sh && printf '#!/bin/cat\\nI am read\\n' >/app/bin/read && chmod 755 /app/bin/read
FROM scratch
# rbuild:closure also=/usr/bin/env
COPY --from=b /app /app
USER 65532:65532
CMD [\"/app/bin/sh\", \"-c\", \"/app/bin/read && /usr/bin/env X=1 /app/bin/sh -c 'echo $X'\"]
";
    site.build(file, &["-t", "t"]);
    assert_eq!(site.runs(&[]), "#!/bin/cat\nI am read\n1\n");
}

#[test]
fn another_state_of_the_stage_is_another_closure() {
    let site = site!();
    requires!(execution);
    let file = |line: &str| asking(BASH).replace("FROM scratch", &format!("{line}\nFROM scratch"));
    site.build(&file("RUN true"), &["-t", "t"]);
    let before = site.files();
    let swap = "RUN printf x >>/lib/x86_64-linux-gnu/libtinfo.so.6";
    site.build(&file(swap), &["-t", "t"]);
    let after = site.files();
    assert_ne!(before, after, "the same libtinfo as before");
    assert_eq!(site.runs(&[]), "started as 65532\n");
}

#[test]
fn a_program_that_lacks_a_library_in_its_own_stage_fails_where_it_is_copied() {
    let site = site!();
    requires!(execution);
    let file = asking(BASH).replace(
        "FROM scratch",
        "RUN rm /lib/x86_64-linux-gnu/libtinfo.so.6*\nFROM scratch",
    );
    let file = file.replace("ENTRYPOINT", "# ");
    let said = site.refused(&file, &[]);
    assert!(
        said.contains("libtinfo.so.6: cannot open shared object file"),
        "{said}"
    );
    assert!(said.contains("--> Containerfile:5:1"), "{said}");
}

#[test]
fn a_directory_of_the_host_is_no_root_to_take_libraries_from() {
    let site = site!();
    fs::create_dir(site.place.context().join("d")).expect("a directory");
    let file = "FROM scratch\n# rbuild:closure\nCOPY --from=d x /x\nUSER 1:1\n";
    let context = format!("d={}", site.place.context().join("d").display());
    let said = site.refused(file, &["--build-context", &context]);
    assert!(
        said.contains("a directory of the host is no root file system"),
        "{said}"
    );
    assert!(said.contains("--> Containerfile:2:1"), "{said}");
}

#[test]
fn file_capabilities_are_carried_by_what_is_copied_and_by_what_is_added() {
    let place = Place::new();
    // vfs_ns_cap_data version 2 (linux/capability.h): cap_net_bind_service=ep, no root id.
    let capability = "0100000200040000000000000000000000000000";
    let script = r#"
import io, sys, tarfile
out, capability = sys.argv[1:]
with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
    for name in ["one", "two"]:
        info = tarfile.TarInfo("cap/" + name)
        info.size, info.mode = 1, 0o755
        info.pax_headers = {"SCHILY.xattr.security.capability": bytes.fromhex(capability).decode()}
        tar.addfile(info, io.BytesIO(b"x"))
"#;
    crate::build_oracle::python(
        script,
        &[place.context().join("cap.tar").into(), capability.into()],
    );
    let file = "FROM scratch AS a\nADD cap.tar /\nFROM scratch\n# rbuild:closure also=/cap/two\nCOPY --from=a /cap/one /cap/one\nUSER 1:1\n";
    place.build(file, &["-t", "t"]);
    let (files, _) = place.expect(0, &["inspect", "--files", "t"]);
    for name in ["/cap/one", "/cap/two"] {
        let line = files
            .lines()
            .find(|line| line.contains(name))
            .unwrap_or_default();
        // Version 2, effective; cap_net_bind_service.
        let carried = r"security.capability=\x01\x00\x00\x02\x00\x04\x00";
        assert!(line.contains(carried), "{name}: {files}");
    }
}
