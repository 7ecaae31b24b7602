//! COPY and ADD, each rule once into a layer over a view and once into a directory, with the same result expected.

extern crate rbuild_rootfs as rootfs;

mod common;

use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

use common::{Fixture, Tar};
use rootfs::copy::{CopyError, CopyRequest, CopySource, Owner, Parents, Rules, Verdict, plan};
use rootfs::listing::{Detail, Listing};
use rootfs::{
    DirTree, LayerTimes, LayerWriter, Ownership, Root, Scratch, Time, Tree as _, TreePath, View,
};

const NOW: Time = Time {
    secs: 1_700_000_000,
    nanos: 0,
};

/// A request with the usual defaults.
struct Copy<'c> {
    sources: Vec<&'c str>,
    destination: &'c str,
    owner: Owner,
    chmod: Option<&'c dyn Fn(u32, bool) -> u32>,
    parents: bool,
    unpack: bool,
    link: bool,
    inline: Option<&'c str>,
    ignore: &'c dyn Fn(&TreePath, bool) -> Verdict,
    exclude: &'c dyn Fn(&TreePath, bool) -> Verdict,
}

fn copy<'c>(sources: &[&'c str], destination: &'c str) -> Copy<'c> {
    Copy {
        sources: sources.to_vec(),
        destination,
        owner: Owner::Root,
        chmod: None,
        parents: false,
        unpack: false,
        link: false,
        inline: None,
        ignore: &|_, _| Verdict::Keep,
        exclude: &|_, _| Verdict::Keep,
    }
}

/// `*` and `?` only: the real matcher lives in another crate.
fn glob(pattern: &str, name: &str) -> bool {
    match (pattern.chars().next(), name.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => {
            glob(&pattern[1..], name)
                || name
                    .chars()
                    .next()
                    .is_some_and(|first| glob(pattern, &name[first.len_utf8()..]))
        }
        (Some('?'), Some(first)) => glob(&pattern[1..], &name[first.len_utf8()..]),
        (Some(wanted), Some(given)) if wanted == given => {
            glob(&pattern[wanted.len_utf8()..], &name[given.len_utf8()..])
        }
        _ => false,
    }
}

impl Copy<'_> {
    /// Runs the request over `base` in both ways and returns the one listing.
    fn over(&self, fixture: &Fixture, base: Tar) -> Result<String, CopyError> {
        let base = base.end();
        let lower = fixture
            .unpack(&base, &View::new())
            .expect("the base unpacks");
        let view = View::of([&lower.index.decode()]).expect("the base applies");
        let context = DirTree::new(
            Root::open(&fixture.outside("context")).expect("opened"),
            self.on_disk(),
        );
        let mut sources: Vec<CopySource<'_>> = self
            .sources
            .iter()
            .map(|path| CopySource::Path(path))
            .collect();
        sources.extend(self.inline.map(|content| CopySource::Inline {
            name: "EOF",
            content: content.as_bytes(),
        }));
        let request = CopyRequest {
            sources: &sources,
            destination: self.destination,
            owner: self.owner,
            chmod: self.chmod,
            parents: if self.parents {
                Parents::Kept
            } else {
                Parents::Dropped
            },
            unpack: self.unpack,
            date: &|time| time,
            scratch: Scratch::default(),
        };
        let rules = Rules {
            glob: &glob,
            ignore: self.ignore,
            exclude: self.exclude,
        };
        let tree = fixture.tree();
        let into_tree = plan(&request, &context, (!self.link).then_some(&tree), &rules);
        let into_layer = plan(&request, &context, (!self.link).then_some(&view), &rules);
        let (into_tree, into_layer) = match (into_tree, into_layer) {
            (Ok(tree), Ok(layer)) => (tree.dated(NOW), layer.dated(NOW)),
            (Err(tree), Err(layer)) => {
                assert_eq!(tree.to_string(), layer.to_string());
                fixture.check_canary();
                return Err(tree);
            }
            (tree, layer) => panic!(
                "a directory and a view disagree: {:?} {:?}",
                tree.err(),
                layer.err()
            ),
        };
        let mut layer = LayerWriter::new(Vec::new(), LayerTimes::Recorded);
        into_layer.write_layer(&mut layer)?;
        let layer = layer.finish()?;
        let mut view = view;
        view.push(&layer.index.decode())
            .expect("our own layer applies");
        // --link decides without the destination, so only the layer can be right.
        if !self.link {
            into_tree.write_tree(tree.root(), Ownership::PLAIN)?;
            assert_eq!(
                names(&tree),
                names(&view),
                "a directory and a view disagree"
            );
        }
        fixture.check_canary();
        Ok(names(&view))
    }

    fn on_disk(&self) -> Ownership {
        if self.owner == Owner::Kept {
            Ownership::PLAIN
        } else {
            Ownership::Recorded
        }
    }
}

fn names(tree: &dyn rootfs::Tree) -> String {
    let listing = Listing::of(tree, Detail::Names)
        .expect("listed")
        .to_string();
    // The first line is the root, whose mode is the fixture's.
    listing
        .lines()
        .skip(1)
        .map(|line| format!("{line}\n"))
        .collect()
}

fn context() -> Fixture {
    let fixture = Fixture::new();
    let base = fixture.outside("context");
    std::fs::create_dir_all(base.join("dir/sub")).expect("made");
    for (name, content) in [
        ("a.txt", "a"),
        ("b.txt", "bb"),
        ("c.md", "ccc"),
        ("dir/one", "1"),
        ("dir/sub/two", "22"),
    ] {
        std::fs::write(base.join(name), content).expect("written");
        mode(&base.join(name), 0o640);
    }
    mode(&base.join("dir"), 0o750);
    mode(&base.join("dir/sub"), 0o711);
    fixture
}

fn mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
}

#[test]
fn a_file_goes_to_its_new_name() {
    assert_eq!(
        copy(&["a.txt"], "/x/y")
            .over(&context(), Tar::new().dir("e", 0o700))
            .expect("copied"),
        "d 0700 0:0 /e\nd 0755 0:0 /x\n- 0640 0:0 1 /x/y\n"
    );
}

#[test]
fn a_trailing_slash_or_an_existing_directory_keeps_the_name() {
    for destination in ["/e/", "/e", "/e/."] {
        let listing = copy(&["a.txt"], destination)
            .over(&context(), Tar::new().dir("e", 0o700))
            .expect("copied");
        assert_eq!(
            listing, "d 0700 0:0 /e\n- 0640 0:0 1 /e/a.txt\n",
            "{destination}"
        );
    }
}

#[test]
fn a_directory_gives_its_contents_with_modes_and_the_host_user_forgotten() {
    let fixture = context();
    std::os::unix::fs::chown(fixture.outside("context/dir/one"), Some(1234), Some(1234))
        .expect("chown");
    let listing = copy(&["dir"], "/app")
        .over(&fixture, Tar::new().dir("e", 0o755))
        .expect("copied");
    assert_eq!(
        listing,
        "d 0755 0:0 /app\n- 0640 0:0 1 /app/one\nd 0711 0:0 /app/sub\n- 0640 0:0 2 /app/sub/two\nd 0755 0:0 /e\n"
    );
}

#[test]
fn copy_from_stage_keeps_ownership() {
    let fixture = context();
    std::os::unix::fs::chown(fixture.outside("context/dir/one"), Some(1234), Some(77))
        .expect("chown");
    let mut request = copy(&["dir"], "/app");
    request.owner = Owner::Kept;
    let listing = request
        .over(&fixture, Tar::new().owned("app", b'5', 0o700, 9, 9))
        .expect("copied");
    assert!(
        listing.contains("d 0700 9:9 /app\n"),
        "an existing destination keeps its owner: {listing}"
    );
    assert!(listing.contains("- 0640 1234:77 1 /app/one\n"), "{listing}");
}

#[test]
fn chown_applies_to_everything_that_is_created() {
    let mut request = copy(&["dir"], "/x/app/");
    request.owner = Owner::Given {
        uid: 65_532,
        gid: 7,
    };
    let listing = request
        .over(&context(), Tar::new().dir("x", 0o755))
        .expect("copied");
    assert_eq!(listing.matches("65532:7").count(), 4, "{listing}");
    assert!(
        listing.contains("d 0755 0:0 /x\n"),
        "what exists is not chowned: {listing}"
    );
}

#[test]
fn chmod_applies_to_files_and_directories() {
    let mut request = copy(&["dir"], "/app");
    request.chmod = Some(&|_, is_dir| if is_dir { 0o751 } else { 0o604 });
    let listing = request.over(&context(), Tar::new()).expect("copied");
    assert_eq!(
        listing,
        "d 0755 0:0 /app\n- 0604 0:0 1 /app/one\nd 0751 0:0 /app/sub\n- 0604 0:0 2 /app/sub/two\n"
    );
}

#[test]
fn wildcards_match_per_component_and_may_match_nothing() {
    let listing = copy(&["*.txt"], "/o/")
        .over(&context(), Tar::new())
        .expect("copied");
    assert_eq!(
        listing,
        "d 0755 0:0 /o\n- 0640 0:0 1 /o/a.txt\n- 0640 0:0 2 /o/b.txt\n"
    );
    let listing = copy(&["c.md", "*.none"], "/o/")
        .over(&context(), Tar::new())
        .expect("copied");
    assert_eq!(listing, "d 0755 0:0 /o\n- 0640 0:0 3 /o/c.md\n");
    assert_eq!(
        copy(&["d*/o?e"], "/o/")
            .over(&context(), Tar::new())
            .expect("copied"),
        "d 0755 0:0 /o\n- 0640 0:0 1 /o/one\n"
    );
}

#[test]
fn a_pattern_goes_on_only_in_directories() {
    for pattern in ["*/one", "*/*/two", "*/one/../one"] {
        let listing = copy(&[pattern], "/o/")
            .over(&context(), Tar::new())
            .expect("files that match a directory's pattern are passed over");
        assert!(listing.contains("/o/"), "{pattern}: {listing}");
    }
    let error = copy(&["a.txt/one"], "/o/")
        .over(&context(), Tar::new())
        .expect_err("there is nothing below a file");
    assert_eq!(error.to_string(), "find '/a.txt/one' in the source");
}

#[test]
fn many_sources_need_a_directory() {
    for sources in [&["a.txt", "b.txt"][..], &["*.txt"]] {
        assert!(matches!(
            copy(sources, "/o").over(&context(), Tar::new()),
            Err(CopyError::ManySources { .. })
        ));
    }
}

#[test]
fn a_missing_source_is_named_with_its_neighbour() {
    let error = copy(&["dir/oen"], "/o")
        .over(&context(), Tar::new())
        .expect_err("missing");
    assert_eq!(
        error.to_string(),
        "find '/dir/oen' in the source; did you mean '/dir/one'?"
    );
}

#[test]
fn s35_sources_are_clamped_and_errors_name_context_paths_only() {
    let fixture = context();
    assert!(
        copy(&["../../a.txt"], "/o")
            .over(&fixture, Tar::new())
            .is_ok(),
        ".. of the context is the context"
    );
    let error = copy(&["../outside/canary"], "/o")
        .over(&fixture, Tar::new())
        .expect_err("not in the context");
    assert!(!error.to_string().contains("tmp"), "{error}");
    symlink(fixture.canary(), fixture.outside("context/leak")).expect("made");
    let error = copy(&["leak"], "/o")
        .over(&fixture, Tar::new())
        .expect_err("followed inside the context only");
    assert_eq!(error.to_string(), "find '/leak' in the source");
}

#[test]
fn a_link_named_as_a_source_is_followed_and_a_nested_one_is_copied() {
    let fixture = context();
    symlink("dir", fixture.outside("context/to-dir")).expect("made");
    symlink("../a.txt", fixture.outside("context/dir/up")).expect("made");
    let listing = copy(&["to-dir"], "/o")
        .over(&fixture, Tar::new())
        .expect("copied");
    assert!(
        listing.contains("l 0777 0:0 /o/up -> ../a.txt\n"),
        "{listing}"
    );
    assert!(listing.contains("/o/sub/two"), "{listing}");
}

#[test]
fn destination_links_are_followed_inside_the_root() {
    for (link, target) in [
        ("abs", "/real"),
        ("rel", "real"),
        ("chain", "abs2"),
        ("up", "../../../real"),
    ] {
        let base = Tar::new()
            .dir("real", 0o755)
            .symlink("abs2", "/real")
            .symlink(link, target);
        let destination = format!("/{link}/");
        let listing = copy(&["a.txt"], &destination)
            .over(&context(), base)
            .expect("copied");
        assert!(listing.contains("/real/a.txt\n"), "{link}: {listing}");
    }
    let fixture = context();
    let listing = copy(&["a.txt"], "/esc/f")
        .over(&fixture, Tar::new().symlink("esc", &fixture.canary_dir()))
        .expect("copied");
    assert!(
        listing.contains(&format!("{}/f\n", fixture.canary_dir())),
        "made inside the root: {listing}"
    );
}

#[test]
fn every_replacement_pair_has_a_result() {
    let base = || {
        Tar::new()
            .dir("d", 0o755)
            .dir("d/x", 0o700)
            .file("d/x/old", b"")
            .file("f", b"old")
            .symlink("l", "d/x")
            .symlink("dangling", "nowhere")
    };
    // A file over a file, and over a link inside a copied directory, replaces it.
    assert!(
        copy(&["b.txt"], "/f")
            .over(&context(), base())
            .expect("copied")
            .contains("- 0640 0:0 2 /f\n")
    );
    // A file to a link goes where the link leads; a dangling one makes its target.
    assert!(
        copy(&["b.txt"], "/l")
            .over(&context(), base())
            .expect("copied")
            .contains("/d/x/b.txt\n")
    );
    assert!(
        copy(&["b.txt"], "/dangling")
            .over(&context(), base())
            .expect("copied")
            .contains("- 0640 0:0 2 /nowhere\n")
    );
    // Directory over file and file over directory are errors, at the top and below.
    assert!(matches!(
        copy(&["dir"], "/f").over(&context(), base()),
        Err(CopyError::DirectoryOverFile { .. })
    ));
    assert!(matches!(
        copy(&["a.txt"], "/f/").over(&context(), base()),
        Err(CopyError::DirectoryOverFile { .. })
    ));
    let nested = |kind: &str| {
        let fixture = context();
        let tree = fixture.outside("context/tree");
        std::fs::create_dir(&tree).expect("made");
        match kind {
            "file" => std::fs::write(tree.join("x"), "new").expect("written"),
            "link" => symlink("new-target", tree.join("x")).expect("made"),
            _ => {
                std::fs::create_dir(tree.join("x")).expect("made");
                std::fs::write(tree.join("x/new"), "new").expect("written");
            }
        }
        fixture
    };
    let there = |kind: &str| match kind {
        "file" => Tar::new().dir("d", 0o755).file("d/x", b"old"),
        "link" => Tar::new()
            .dir("d", 0o755)
            .dir("r", 0o755)
            .symlink("d/x", "../r"),
        "dangling" => Tar::new().dir("d", 0o755).symlink("d/x", "../r"),
        _ => Tar::new()
            .dir("d", 0o755)
            .dir("d/x", 0o700)
            .file("d/x/old", b""),
    };
    for (source, existing, result) in [
        ("file", "file", Ok("- 0644 0:0 3 /d/x\n")),
        ("file", "link", Ok("- 0644 0:0 3 /d/x\n")),
        ("file", "dir", Err("a directory is there")),
        ("link", "file", Ok("l 0777 0:0 /d/x -> new-target\n")),
        ("link", "link", Ok("l 0777 0:0 /d/x -> new-target\n")),
        ("link", "dir", Err("a directory is there")),
        ("dir", "file", Err("a file is there")),
        ("dir", "dir", Ok("/d/x/old\n")),
        ("dir", "link", Ok("- 0644 0:0 3 /r/new\n")),
        ("dir", "dangling", Err("a file is there")),
    ] {
        let outcome = copy(&["tree"], "/d")
            .over(&nested(source), there(existing))
            .map_err(|error| error.to_string());
        match (outcome, result) {
            (Ok(listing), Ok(line)) => assert!(
                listing.contains(line),
                "{source} over {existing}: {listing}"
            ),
            (Err(error), Err(text)) => {
                assert!(error.contains(text), "{source} over {existing}: {error}")
            }
            (outcome, _) => panic!("{source} over {existing}: {outcome:?}"),
        }
    }
}

#[test]
fn link_ignores_the_destination() {
    let mut request = copy(&["a.txt"], "/l/f");
    request.link = true;
    let listing = request
        .over(&context(), Tar::new().dir("r", 0o755))
        .expect("copied");
    assert_eq!(listing, "d 0755 0:0 /l\n- 0640 0:0 1 /l/f\nd 0755 0:0 /r\n");
}

#[test]
fn parents_keep_the_path_from_the_pivot_on() {
    let mut request = copy(&["dir/sub/two"], "/o");
    request.parents = true;
    let listing = request.over(&context(), Tar::new()).expect("copied");
    assert_eq!(
        listing,
        "d 0755 0:0 /o\nd 0750 0:0 /o/dir\nd 0711 0:0 /o/dir/sub\n- 0640 0:0 2 /o/dir/sub/two\n"
    );
    let mut request = copy(&["dir/./sub/two"], "/o/");
    request.parents = true;
    let listing = request.over(&context(), Tar::new()).expect("copied");
    assert_eq!(
        listing,
        "d 0755 0:0 /o\nd 0711 0:0 /o/sub\n- 0640 0:0 2 /o/sub/two\n"
    );
    let mut request = copy(&["**/t*o"], "/o/");
    request.parents = true;
    assert!(
        request
            .over(&context(), Tar::new())
            .expect("copied")
            .contains("/o/dir/sub/two\n")
    );
}

#[test]
fn an_ignored_directory_is_made_only_for_what_is_kept_in_it() {
    let keep_two = |path: &TreePath, is_dir: bool| match path.file_name() {
        Some(b"two") => Verdict::Keep,
        _ if is_dir => Verdict::SkipButDescend,
        _ => Verdict::Skip,
    };
    let mut request = copy(&["."], "/o/");
    request.ignore = &keep_two;
    let listing = request.over(&context(), Tar::new()).expect("copied");
    assert_eq!(
        listing,
        "d 0755 0:0 /o\nd 0750 0:0 /o/dir\nd 0711 0:0 /o/dir/sub\n- 0640 0:0 2 /o/dir/sub/two\n"
    );
    let mut request = copy(&["a.txt"], "/o/");
    request.ignore = &|_, _| Verdict::Skip;
    assert!(matches!(
        request.over(&context(), Tar::new()),
        Err(CopyError::IgnoredSource { .. })
    ));
}

#[test]
fn excludes_are_relative_to_what_is_copied() {
    let mut request = copy(&["dir"], "/o/");
    request.exclude = &|path, _| {
        if path.as_bytes() == b"sub" {
            Verdict::Skip
        } else {
            Verdict::Keep
        }
    };
    assert_eq!(
        request.over(&context(), Tar::new()).expect("copied"),
        "d 0755 0:0 /o\n- 0640 0:0 1 /o/one\n"
    );
}

#[test]
fn inline_files_are_roots_and_0644() {
    let mut request = copy(&[], "/o/");
    request.inline = Some("hello\n");
    assert_eq!(
        request.over(&context(), Tar::new()).expect("copied"),
        "d 0755 0:0 /o\n- 0644 0:0 6 /o/EOF\n"
    );
}

#[test]
fn f33_sockets_are_skipped_and_fifos_never_opened() {
    let fixture = context();
    let _socket =
        std::os::unix::net::UnixListener::bind(fixture.outside("context/dir/sock")).expect("bound");
    rustix_fifo(&fixture.outside("context/dir/pipe"));
    let listing = copy(&["dir"], "/o")
        .over(&fixture, Tar::new())
        .expect("copied");
    assert!(
        listing.contains("p 0600 0:0 /o/pipe\n") && !listing.contains("sock"),
        "{listing}"
    );
}

fn rustix_fifo(path: &Path) {
    let made = std::process::Command::new("mkfifo")
        .args(["-m", "600"])
        .arg(path)
        .status()
        .expect("mkfifo");
    assert!(made.success());
}

#[test]
fn hard_links_within_one_copy_stay_hard_links() {
    let fixture = context();
    std::fs::hard_link(
        fixture.outside("context/dir/one"),
        fixture.outside("context/dir/sub/same"),
    )
    .expect("linked");
    let listing = copy(&["dir"], "/o")
        .over(&fixture, Tar::new())
        .expect("copied");
    assert!(
        listing.contains("- 0640 0:0 1 /o/sub/same = /o/one\n"),
        "{listing}"
    );
    assert_eq!(
        std::fs::metadata(fixture.path("o/one"))
            .expect("made")
            .nlink(),
        2
    );
}

#[test]
fn times_of_the_source_and_of_the_instruction_are_kept() {
    let fixture = context();
    copy(&["dir"], "/o/p")
        .over(&fixture, Tar::new())
        .expect("copied");
    let time = |path: std::path::PathBuf| std::fs::metadata(path).expect("there").mtime();
    assert_eq!(time(fixture.path("o")), NOW.secs);
    assert_eq!(
        time(fixture.path("o/p/sub")),
        time(fixture.outside("context/dir/sub"))
    );
    assert_eq!(
        time(fixture.path("o/p/one")),
        time(fixture.outside("context/dir/one"))
    );
}

fn archive() -> Vec<u8> {
    Tar::new()
        .owned("bin", b'5', 0o750, 5, 6)
        .entry("bin/tool", b'0', "", 0o4755, b"tool")
        .hardlink("bin/same", "bin/tool")
        .symlink("l", "/etc")
        .end()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).expect("in memory");
    encoder.finish().expect("in memory")
}

#[test]
fn add_unpacks_archives_that_are_known_by_their_content() {
    let zstd = zstd::encode_all(&archive()[..], 1).expect("in memory");
    let mut bzip2 = Vec::new();
    let plain = archive();
    let mut packed = bzip2::read::BzEncoder::new(&plain[..], bzip2::Compression::fast());
    std::io::Read::read_to_end(&mut packed, &mut bzip2).expect("in memory");
    for data in [archive(), gzip(&archive()), bzip2, zstd] {
        let fixture = context();
        std::fs::write(fixture.outside("context/no-extension"), data).expect("written");
        let mut request = copy(&["no-extension"], "/opt");
        request.unpack = true;
        let listing = request.over(&fixture, Tar::new()).expect("added");
        let expected = "d 0755 0:0 /opt\nd 0750 5:6 /opt/bin\n- 4755 0:0 4 /opt/bin/same\n- 4755 0:0 4 /opt/bin/tool = /opt/bin/same\nl 0777 0:0 /opt/l -> /etc\n";
        assert_eq!(listing, expected);
        assert_eq!(
            std::fs::read(fixture.path("opt/bin/tool")).expect("file"),
            b"tool"
        );
    }
}

#[test]
fn add_copies_what_is_no_archive() {
    let fixture = context();
    std::fs::write(fixture.outside("context/x.tar.gz"), gzip(b"just text")).expect("written");
    let mut request = copy(&["x.tar.gz"], "/opt/");
    request.unpack = true;
    assert!(
        request
            .over(&fixture, Tar::new())
            .expect("copied")
            .contains("/opt/x.tar.gz\n")
    );
    let fixture = context();
    std::fs::write(fixture.outside("context/x.xz"), b"\xfd7zXZ\0...").expect("written");
    let mut request = copy(&["x.xz"], "/opt/");
    request.unpack = true;
    assert!(
        request
            .over(&fixture, Tar::new())
            .expect("copied")
            .contains("/opt/x.xz\n")
    );
}

#[test]
fn a_hard_link_of_an_archive_to_the_root_is_refused() {
    for target in ["", ".", "/", "missing", "bin"] {
        let fixture = context();
        let tar = Tar::new().dir("bin", 0o755).hardlink("h", target).end();
        std::fs::write(fixture.outside("context/a"), tar).expect("written");
        let mut request = copy(&["a"], "/");
        request.unpack = true;
        let outcome = request.over(&fixture, Tar::new());
        let refused = matches!(
            outcome,
            Err(CopyError::ArchiveLink { .. } | CopyError::Archive { .. })
        );
        assert!(refused, "{target}: {outcome:?}");
    }
}

#[test]
fn s09_an_added_archive_cannot_escape() {
    let canary = context();
    for target in [
        canary.canary_dir(),
        "../../../..".to_owned(),
        "/".to_owned(),
    ] {
        let fixture = context();
        let tar = Tar::new()
            .symlink("out", &target)
            .file("out/f", b"x")
            .hardlink("h", "out/f")
            .dir("out/sub", 0o777)
            .end();
        std::fs::write(fixture.outside("context/a"), tar).expect("written");
        let mut request = copy(&["a"], "/opt/");
        request.unpack = true;
        request.over(&fixture, Tar::new()).expect("scoped");
    }
    canary.check_canary();
    let fixture = context();
    std::fs::write(
        fixture.outside("context/a"),
        Tar::new().file("../x", b"").end(),
    )
    .expect("written");
    let mut request = copy(&["a"], "/opt/");
    request.unpack = true;
    assert!(matches!(
        request.over(&fixture, Tar::new()),
        Err(CopyError::Archive { .. })
    ));
}

#[test]
fn a_deletion_marker_in_a_context_is_refused_by_the_layer() {
    let fixture = context();
    std::fs::write(fixture.outside("context/dir/.wh.etc"), "").expect("written");
    assert!(matches!(
        copy(&["dir"], "/o").over(&fixture, Tar::new()),
        Err(CopyError::Layer(_))
    ));
}

#[test]
fn the_same_copy_gives_the_same_layer() {
    let fixture = context();
    let layer = || {
        let context = DirTree::new(
            Root::open(&fixture.outside("context")).expect("opened"),
            Ownership::Recorded,
        );
        let sources = [CopySource::Path(".")];
        let request = CopyRequest {
            sources: &sources,
            destination: "/o/",
            owner: Owner::Root,
            chmod: None,
            parents: Parents::Dropped,
            unpack: false,
            date: &|time| time,
            scratch: Scratch::default(),
        };
        let rules = Rules {
            glob: &glob,
            ignore: &|_, _| Verdict::Keep,
            exclude: &|_, _| Verdict::Keep,
        };
        let mut layer = LayerWriter::new(Vec::new(), LayerTimes::Limited(NOW.secs));
        plan(&request, &context, None, &rules)
            .expect("planned")
            .write_layer(&mut layer)
            .expect("written");
        layer.finish().expect("finished")
    };
    let (first, second) = (layer(), layer());
    assert_eq!(first.output, second.output);
    assert_eq!(
        first.index.diff_id.digest(),
        &image::Digest::of(&first.output)
    );
    let path = TreePath::scoped("o/a.txt").expect("valid");
    assert!(
        View::of([&first.index.decode()])
            .expect("applies")
            .node(&path)
            .expect("looked")
            .is_some_and(|meta| meta.mtime <= NOW)
    );
}

#[test]
fn s18_an_archive_that_only_grows_is_stopped() {
    let fixture = context();
    // 1 GiB of zeros: about 32 KiB as zstd.
    let header = Tar::new()
        .header_only("zeros", b'0', 1 << 30)
        .raw(&[])
        .end();
    let stream = std::io::Read::chain(
        &header[..512],
        std::io::Read::take(std::io::repeat(0), 1 << 30),
    );
    let file = std::fs::File::create(fixture.outside("context/bomb")).expect("made");
    zstd::stream::copy_encode(stream, file, 1).expect("compressed");
    let mut request = copy(&["bomb"], "/o/");
    request.unpack = true;
    let error = request.over(&fixture, Tar::new()).expect_err("refused");
    assert!(matches!(error, CopyError::Archive { .. }), "{error}");
}

#[test]
fn redirects_have_everything_but_contents() {
    let fixture = context();
    std::fs::hard_link(
        fixture.outside("context/dir/one"),
        fixture.outside("context/dir/again"),
    )
    .expect("linked");
    let tree = DirTree::new(
        Root::open(&fixture.outside("context")).expect("opened"),
        Ownership::Recorded,
    );
    let request = CopyRequest {
        sources: &[CopySource::Path("dir")],
        destination: "/",
        owner: Owner::Root,
        chmod: None,
        parents: Parents::Dropped,
        unpack: false,
        date: &|time| time,
        scratch: Scratch::default(),
    };
    let rules = Rules {
        glob: &glob,
        ignore: &|_, _| Verdict::Keep,
        exclude: &|_, _| Verdict::Keep,
    };
    let planned = plan(&request, &tree, None, &rules).expect("planned");
    let outline = planned.outline().expect("in memory");
    let other = Fixture::new();
    planned
        .write_redirects(&other.root(), Ownership::Squashed)
        .expect("written");
    for (name, from, size, bits) in [
        ("again", "/dir/again", 1, 0o640),
        ("one", "/dir/again", 1, 0o640),
        ("sub/two", "/dir/sub/two", 2, 0o640),
    ] {
        let path = other.path(name);
        let stat = std::fs::metadata(&path).expect("made");
        assert_eq!((stat.len(), stat.mode() & 0o7777), (size, bits), "{name}");
        assert!(
            std::fs::read(&path)
                .expect("read")
                .iter()
                .all(|byte| *byte == 0)
        );
        let mut value = [0; 64];
        let length = rustix::fs::getxattr(&path, "user.overlay.redirect", &mut value[..])
            .expect("a redirect");
        assert_eq!(&value[..length], from.as_bytes());
    }
    // What was planned is known again, and known to be another thing.
    planned.unchanged().expect("nothing changed");
    let kept = planned.detach();
    std::fs::write(fixture.outside("context/dir/sub/two"), "33").expect("written");
    let planned = kept.attach(&tree);
    assert_eq!(planned.outline().expect("in memory"), outline);
    let error = planned.unchanged().expect_err("changed");
    assert!(
        matches!(&error, CopyError::Changed { path } if path.to_string() == "/dir/sub/two"),
        "{error}"
    );
}
