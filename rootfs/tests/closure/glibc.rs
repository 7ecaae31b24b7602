//! glibc's rules where no loader of this machine can be asked: another root, its cache, its processors, its versions.

use std::os::unix::fs::PermissionsExt as _;

use rootfs::closure::{Closure, Settings};

use crate::forge::{ARM64, Forge, I386};
use crate::tree::{Place, fatal, files, glibc_loader, missing, notes, plain, reason};

const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
const DEFAULT: &str = "/usr/lib/x86_64-linux-gnu";

fn program(needed: &[&str]) -> Forge {
    Forge::program(LOADER, needed)
}

#[test]
fn case_03_links_are_kept_with_merged_usr() {
    let place = Place::new();
    place
        .link("/lib", "usr/lib")
        .link("/lib64", "usr/lib64")
        .link("/bin", "usr/bin")
        .link(
            "/usr/lib64/ld-linux-x86-64.so.2",
            "/lib/x86_64-linux-gnu/ld-2.so",
        )
        .elf("/usr/lib/x86_64-linux-gnu/ld-2.so", &glibc_loader())
        .link("/usr/lib/x86_64-linux-gnu/libz.so.1", "libz.so.1.2")
        .link("/usr/lib/x86_64-linux-gnu/libz.so.1.2", "../libz.so.1.2.13")
        .elf(
            "/usr/lib/libz.so.1.2.13",
            &Forge::library(&["ld-linux-x86-64.so.2"]),
        )
        .elf("/usr/bin/prog", &program(&["libz.so.1"]))
        .link("/usr/bin/alias", "prog");
    let closure = place.closure("/usr/bin/prog");
    let expected = [
        "/lib -> usr/lib",
        "/lib64 -> usr/lib64",
        "/usr/lib/libz.so.1.2.13",
        "/usr/lib/x86_64-linux-gnu/ld-2.so",
        "/usr/lib/x86_64-linux-gnu/libz.so.1 -> libz.so.1.2",
        "/usr/lib/x86_64-linux-gnu/libz.so.1.2 -> ../libz.so.1.2.13",
        "/usr/lib64/ld-linux-x86-64.so.2 -> /lib/x86_64-linux-gnu/ld-2.so",
    ];
    assert_eq!(files(&closure), expected);
    assert!(closure.starts());
    let said = "libz.so.1 needed by /usr/bin/prog, found in a directory of the loader";
    assert_eq!(reason(&closure, "/usr/lib/libz.so.1.2.13"), said);
    assert_eq!(
        reason(&closure, "/lib64"),
        "link to /usr/lib/x86_64-linux-gnu/ld-2.so"
    );

    let mut more: Vec<String> = expected.map(str::to_owned).to_vec();
    more.extend(["/bin -> usr/bin", "/usr/bin/alias -> prog", "/usr/bin/prog"].map(str::to_owned));
    more.sort();
    let closure = place.closure("/bin/alias");
    let mut own = files(&closure);
    own.sort();
    assert_eq!(own, more);
    assert_eq!(reason(&closure, "/usr/bin/prog"), "/bin/alias leads to it");
}

#[test]
fn case_04_the_loader_is_where_the_program_says() {
    let place = Place::new();
    place
        .elf("/opt/x/ld.so", &glibc_loader())
        .elf("/prog", &Forge::program("/opt/x/ld.so", &[]))
        .elf("/lost", &Forge::program("/opt/y/ld.so", &[]));
    assert_eq!(files(&place.closure("/prog")), ["/opt/x/ld.so"]);
    let lost = place.closure("/lost");
    assert_eq!(missing(&lost), ["/opt/y/ld.so"]);
    assert_eq!(
        fatal(&lost),
        ["/lost: /opt/y/ld.so: No such file or directory"]
    );
}

#[test]
fn case_05_a_library_is_taken_once_under_all_of_its_names() {
    let place = Place::with_glibc();
    place
        .elf(
            &format!("{DEFAULT}/liba.so.1"),
            &Forge::library(&["libc1.so.1"]),
        )
        .elf(
            &format!("{DEFAULT}/libb.so.1"),
            &Forge::library(&["libreal.so.1"]),
        )
        .elf(
            &format!("{DEFAULT}/libc1.so.1"),
            &Forge::library(&[]).soname("libreal.so.1"),
        )
        .elf("/usr/lib/libreal.so.1", &Forge::library(&[]))
        .elf("/prog", &program(&["liba.so.1", "libb.so.1"]));
    // libb's libreal.so.1 is met after liba's libc1.so.1, whose SONAME it is.
    let expected = [
        LOADER,
        "/usr/lib/x86_64-linux-gnu/liba.so.1",
        "/usr/lib/x86_64-linux-gnu/libb.so.1",
        "/usr/lib/x86_64-linux-gnu/libc1.so.1",
    ];
    assert_eq!(plain(&place.closure("/prog")), expected);
}

#[test]
fn case_08_another_processor_may_need_another_library() {
    let place = Place::with_glibc();
    let hwcaps = format!("{DEFAULT}/glibc-hwcaps");
    place
        .elf(&format!("{DEFAULT}/libz.so.1"), &Forge::library(&[]))
        .elf(
            &format!("{hwcaps}/x86-64-v3/libz.so.1"),
            &Forge::library(&["libextra.so.1"]),
        )
        .elf(&format!("{DEFAULT}/libextra.so.1"), &Forge::library(&[]))
        .elf(
            &format!("{hwcaps}/power9/libz.so.1"),
            &Forge::library(&["libno.so.1"]),
        )
        .elf("/prog", &program(&["libz.so.1"]))
        .elf(
            &format!("{hwcaps}/x86-64-v2/libonly.so.1"),
            &Forge::library(&[]),
        )
        .elf("/narrow", &program(&["libonly.so.1"]));
    let own = plain(&place.closure("/prog"));
    let expected = [
        LOADER.to_owned(),
        format!("{hwcaps}/x86-64-v3/libz.so.1"),
        format!("{DEFAULT}/libextra.so.1"),
        format!("{DEFAULT}/libz.so.1"),
    ];
    assert_eq!(own, expected);
    // On the least processor it does not start.
    assert_eq!(missing(&place.closure("/narrow")), ["libonly.so.1"]);
}

#[test]
fn platform_stands_for_every_word_that_it_may_be() {
    let place = Place::with_glibc();
    place
        .elf("/opt/x86_64/libp.so.1", &Forge::library(&[]))
        .elf("/opt/haswell/libp.so.1", &Forge::library(&[]))
        .elf("/opt/xeon_phi/libp.so.1", &Forge::library(&[]))
        .elf("/opt/i686/libp.so.1", &Forge::library(&[]))
        .elf(
            "/prog",
            &program(&["libp.so.1"]).runpath("/opt/${PLATFORM}"),
        );
    let expected = [
        LOADER,
        "/opt/haswell/libp.so.1",
        "/opt/x86_64/libp.so.1",
        "/opt/xeon_phi/libp.so.1",
    ];
    assert_eq!(plain(&place.closure("/prog")), expected);
}

/// A cache in the newer format with one entry.
fn cache(name: &str, path: &str, flags: u32) -> Vec<u8> {
    let mut data = b"glibc-ld.so.cache1.1".to_vec();
    let strings = 48 + 24;
    for number in [1, (name.len() + path.len() + 2) as u32, 2, 0] {
        data.extend(number.to_le_bytes());
    }
    data.resize(48, 0);
    for number in [flags, strings, strings + name.len() as u32 + 1, 0, 0, 0] {
        data.extend(number.to_le_bytes());
    }
    for text in [name, path] {
        data.extend(text.as_bytes());
        data.push(0);
    }
    data
}

#[test]
fn the_cache_of_the_root_belongs_to_what_is_only_found_through_it() {
    let place = Place::with_glibc();
    place
        .elf("/opt/lib/libz.so.1", &Forge::library(&[]))
        .elf("/prog", &program(&["libz.so.1"]))
        .write(
            "/etc/ld.so.cache",
            cache("libz.so.1", "/opt/lib/libz.so.1", 0x0303),
        );
    let closure = place.closure("/prog");
    assert_eq!(
        plain(&closure),
        ["/etc/ld.so.cache", LOADER, "/opt/lib/libz.so.1"]
    );
    assert_eq!(
        reason(&closure, "/etc/ld.so.cache"),
        "/opt/lib/libz.so.1 is found through it"
    );

    // The same file is found without: it is not needed.
    let usual = format!("{DEFAULT}/libz.so.1");
    let place = Place::with_glibc();
    place
        .elf(&usual, &Forge::library(&[]))
        .elf("/prog", &program(&["libz.so.1"]))
        .write("/etc/ld.so.cache", cache("libz.so.1", &usual, 0x0303));
    let closure = place.closure("/prog");
    assert_eq!(plain(&closure), [LOADER.to_owned(), usual.clone()]);
    assert!(reason(&closure, &usual).ends_with("found in ld.so.cache"));

    // Of another kind of library, and one that avoids the default directories.
    place.write(
        "/etc/ld.so.cache",
        cache("libz.so.1", "/opt/lib/libz.so.1", 0x0003),
    );
    assert_eq!(
        plain(&place.closure("/prog")),
        [LOADER.to_owned(), usual.clone()]
    );
    place.write("/etc/ld.so.cache", cache("libz.so.1", &usual, 0x0303));
    let avoids = Forge {
        flags_1: 0x800,
        ..program(&["libz.so.1"])
    };
    place.elf("/avoids", &avoids);
    assert_eq!(missing(&place.closure("/avoids")), ["libz.so.1"]);
}

#[test]
fn a_library_that_only_ldconfig_would_find_is_missing_and_explained() {
    let place = Place::with_glibc();
    place
        .elf("/opt/lib/libz.so.1", &Forge::library(&[]))
        .elf("/prog", &program(&["libz.so.1"]))
        .write(
            "/etc/ld.so.conf",
            "# all of them\ninclude ld.so.conf.d/*.conf\n",
        )
        .write("/etc/ld.so.conf.d/opt.conf", "/opt/lib # here\n")
        .write("/etc/ld.so.conf.d/loop.conf", "include /etc/ld.so.conf\n");
    let closure = place.closure("/prog");
    assert_eq!(missing(&closure), ["libz.so.1"]);
    let said = "/opt/lib/libz.so.1: it is in a directory of /etc/ld.so.conf, but not in /etc/ld.so.cache: ldconfig puts it there";
    assert_eq!(notes(&closure), [said]);
}

#[test]
fn ld_library_path_comes_between_rpath_and_runpath() {
    let place = Place::with_glibc();
    for directory in ["/r", "/e", "/d"] {
        place.elf(&format!("{directory}/libz.so.1"), &Forge::library(&[]));
    }
    place
        .elf("/old", &program(&["libz.so.1"]).rpath("/r"))
        .elf("/new", &program(&["libz.so.1"]).runpath("/r").rpath("/d"));
    let settings = Settings {
        library_path: b"relative:/none;/e".to_vec(),
        ..Settings::default()
    };
    let library = |files: Vec<String>| files.into_iter().find(|file| file.ends_with("/libz.so.1"));
    let library = |closure: &Closure| library(plain(closure)).expect("it");
    let with = |program: &str| library(&place.closure_with(program, settings.clone()));
    let without = |program: &str| library(&place.closure(program));
    assert_eq!(
        (with("/old"), without("/old")),
        ("/r/libz.so.1".to_owned(), "/r/libz.so.1".to_owned())
    );
    assert_eq!(
        (with("/new"), without("/new")),
        ("/e/libz.so.1".to_owned(), "/r/libz.so.1".to_owned())
    );
    let said = notes(&place.closure_with("/new", settings.clone()));
    assert!(
        said[0].contains("\"relative\"") && said[0].contains("working directory"),
        "{said:?}"
    );
}

#[test]
fn case_19_files_of_another_machine_are_passed_over() {
    let place = Place::new();
    let arm = |forge: Forge| forge.machine(ARM64, true, false);
    place
        .elf(
            "/lib/ld-linux-aarch64.so.1",
            &arm(Forge::library(&[]).soname("ld-linux-aarch64.so.1")),
        )
        .elf("/lib/aarch64-linux-gnu/libz.so.1", &Forge::library(&[]))
        .elf(
            "/usr/lib/aarch64-linux-gnu/libz.so.1",
            &Forge::library(&[]).machine(I386, false, false),
        )
        .elf("/lib/libz.so.1", &arm(Forge::library(&[])))
        .elf(
            "/prog",
            &arm(Forge::program("/lib/ld-linux-aarch64.so.1", &["libz.so.1"])),
        );
    assert_eq!(
        plain(&place.closure("/prog")),
        ["/lib/ld-linux-aarch64.so.1", "/lib/libz.so.1"]
    );
    let wanted = |architecture: &str| Settings {
        architecture: Some(architecture.to_owned()),
        ..Settings::default()
    };
    assert!(place.closure_with("/prog", wanted("arm64")).starts());
    let wrong = place.closure_with("/prog", wanted("amd64"));
    assert_eq!(
        fatal(&wrong),
        ["/prog: Exec format error: it is for arm64, not for amd64"]
    );
    std::fs::remove_file(place.on_disk("/lib/libz.so.1")).expect("it");
    let narrow = place.closure("/prog");
    assert_eq!(
        fatal(&narrow),
        ["/prog: libz.so.1: wrong ELF class: ELFCLASS32"]
    );
}

#[test]
fn big_endian_files_are_read() {
    let place = Place::new();
    let big = |forge: Forge| forge.machine(crate::forge::S390X, true, true);
    let program = Forge {
        requires: vec![("libz.so.1".to_owned(), "V_2".to_owned())],
        ..Forge::program("/lib/ld64.so.1", &["libz.so.1"])
    };
    let library = Forge {
        defines: vec!["V_1".to_owned(), "V_2".to_owned()],
        ..Forge::library(&[])
    };
    place
        .elf("/lib/ld64.so.1", &big(Forge::library(&[])))
        .elf("/usr/lib/s390x-linux-gnu/libz.so.1", &big(library.clone()))
        .elf("/prog", &big(program));
    let closure = place.closure("/prog");
    assert!(closure.starts(), "{:?}", closure.findings);
    assert_eq!(plain(&closure).len(), 2);
    place.elf(
        "/usr/lib/s390x-linux-gnu/libz.so.1",
        &big(Forge {
            defines: vec!["V_1".to_owned()],
            ..library
        }),
    );
    let said = "/usr/lib/s390x-linux-gnu/libz.so.1: version `V_2' not found (required by /prog)";
    assert_eq!(fatal(&place.closure("/prog")), [said]);
}

#[test]
fn case_20_notes_about_dlopen_are_followed() {
    let place = Place::with_glibc();
    let noted = |name: &str, priority: &str| {
        format!(
            r#"{{"soname":["{name}.so.9","{name}.so.1"],"priority":"{priority}","feature":"f"}}"#
        )
    };
    let list = [
        noted("libr", "required"),
        noted("libs", "suggested"),
        noted("libn", "recommended"),
    ];
    let program = Forge {
        dlopen: Some(format!("[{}]", list.join(","))),
        ..program(&[]).runpath("/opt")
    };
    place
        .elf("/prog", &program)
        .elf(
            "/opt/libr.so.1",
            &Forge::library(&["libdeep.so.1"]).rpath("/opt"),
        )
        .elf("/opt/libdeep.so.1", &Forge::library(&[]))
        .elf("/opt/libs.so.1", &Forge::library(&[]));
    let closure = place.closure("/prog");
    assert_eq!(
        plain(&closure),
        [LOADER, "/opt/libdeep.so.1", "/opt/libr.so.1"]
    );
    assert_eq!(
        reason(&closure, "/opt/libr.so.1"),
        "libr.so.1 opened by /prog, found in RUNPATH of /prog"
    );
    assert!(closure.starts());
    assert!(
        notes(&closure)[0].contains("libn.so.9 or libn.so.1"),
        "{:?}",
        notes(&closure)
    );
    std::fs::remove_file(place.on_disk("/opt/libr.so.1")).expect("it");
    assert_eq!(missing(&place.closure("/prog")), ["libr.so.9"]);
}

#[test]
fn a_library_can_be_asked_about_like_a_program() {
    let place = Place::with_glibc();
    place
        .elf("/plugin.so", &Forge::library(&["libz.so.1"]))
        .elf(&format!("{DEFAULT}/libz.so.1"), &Forge::library(&[]));
    assert_eq!(
        plain(&place.closure("/plugin.so")),
        [format!("{DEFAULT}/libz.so.1")]
    );
}

#[test]
fn case_20_filters_are_loaded_and_only_an_auxiliary_one_may_be_missing() {
    let place = Place::with_glibc();
    let filter = |tag| Forge {
        filters: vec![(tag, "libreal.so".to_owned())],
        ..Forge::library(&[])
    };
    let (auxiliary, standard) = (0x7fff_fffd, 0x7fff_ffff);
    place.elf("/prog", &program(&["libf.so"]));
    place.elf("/usr/lib/libf.so", &filter(auxiliary));
    let closure = place.closure("/prog");
    assert!(closure.starts(), "{closure:?}");
    place.elf("/usr/lib/libf.so", &filter(standard));
    assert_eq!(missing(&place.closure("/prog")), ["libreal.so"]);
    place.elf("/usr/lib/libreal.so", &Forge::library(&[]));
    let closure = place.closure("/prog");
    assert!(closure.starts(), "{closure:?}");
    assert_eq!(
        reason(&closure, "/usr/lib/libreal.so"),
        "libreal.so needed by /usr/lib/libf.so, found in a directory of the loader"
    );
}

#[test]
fn case_20_what_ld_so_preload_names_is_loaded_first_and_may_be_missing() {
    let place = Place::with_glibc();
    place.elf("/prog", &program(&["libneeded.so"]));
    place.elf("/usr/lib/libneeded.so", &Forge::library(&[]));
    place.elf("/opt/early.so", &Forge::library(&["libmore.so"]));
    place.elf("/usr/lib/libmore.so", &Forge::library(&[]));
    place.write(
        "/etc/ld.so.preload",
        "/opt/early.so:/opt/none.so # /opt/comment.so\n",
    );
    let closure = place.closure("/prog");
    assert!(closure.starts(), "{closure:?}");
    let plain = plain(&closure);
    for file in ["/etc/ld.so.preload", "/opt/early.so", "/usr/lib/libmore.so"] {
        assert!(
            plain.contains(&file.to_owned()),
            "{file} is not in {plain:?}"
        );
    }
    let ignored = "ERROR: ld.so: object '/opt/none.so' from /etc/ld.so.preload cannot be preloaded (cannot open shared object file: No such file or directory): ignored.";
    assert_eq!(notes(&closure), [format!("/prog: {ignored}")]);
}

#[test]
fn case_20_a_program_with_rights_of_its_own_is_told_of_and_trusts_no_environment() {
    let place = Place::with_glibc();
    place.elf("/prog", &program(&["libx.so"]));
    place.elf("/opt/libx.so", &Forge::library(&[]));
    let settings = || Settings {
        library_path: b"/opt".to_vec(),
        ..Settings::default()
    };
    assert!(place.closure_with("/prog", settings()).starts());
    let mode = std::fs::Permissions::from_mode(0o4755);
    std::fs::set_permissions(place.on_disk("/prog"), mode).expect("its mode");
    let closure = place.closure_with("/prog", settings());
    assert_eq!(missing(&closure), ["libx.so"]);
    assert!(
        notes(&closure)[0].contains("it has set-user-ID"),
        "{closure:?}"
    );
}
