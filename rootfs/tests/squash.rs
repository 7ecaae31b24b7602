//! Layers made one must be the tree that they made together.

extern crate rbuild_rootfs as rootfs;

use std::io::{Cursor, Read};
use std::sync::Arc;

use rootfs::listing::{Detail, Listing};
use rootfs::{
    Entry, Kind, LayerContents, LayerIndex, LayerTimes, LayerWriter, Time, Tree, TreePath, View,
};

/// The layers' tars, in memory.
struct Tars(Vec<Vec<u8>>);

impl LayerContents for Tars {
    fn open(&self, layer: usize, offset: u64, len: u64) -> std::io::Result<Box<dyn Read + '_>> {
        let mut stream = Cursor::new(&self.0[layer]);
        stream.set_position(offset);
        Ok(Box::new(stream.take(len)))
    }
}

fn path(text: &str) -> TreePath {
    TreePath::scoped(text).expect("valid")
}

/// A layer from words: `d PATH`, `f PATH CONTENT`, `l PATH TARGET`, `h PATH TARGET`, `w PATH`, `o PATH`.
fn layer(lines: &[&str]) -> (LayerIndex, Vec<u8>) {
    let mut writer = LayerWriter::new(Vec::new(), LayerTimes::Recorded);
    for (number, line) in lines.iter().enumerate() {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default();
        let (kind, at, rest) = (word(), path(word()), word());
        let entry = |kind| Entry {
            uid: 1000 + number as u32,
            mtime: Time {
                secs: number as i64,
                nanos: 0,
            },
            ..Entry::new(at.clone(), kind, 0o755)
        };
        let written = match kind {
            "d" => writer.append(entry(Kind::Dir)),
            "l" => writer.append(entry(Kind::Symlink(rest.into()))),
            "h" => writer.append(entry(Kind::Hardlink(path(rest)))),
            "w" => writer.append(entry(Kind::Whiteout)),
            "o" => writer.append(entry(Kind::Opaque)),
            _ => {
                let mut entry = entry(Kind::File {
                    size: rest.len() as u64,
                });
                entry
                    .xattrs
                    .insert(b"user.note".to_vec(), rest.as_bytes().to_vec());
                writer.append_stream(entry, rest.as_bytes())
            }
        };
        written.expect("written");
    }
    let finished = writer.finish().expect("finished");
    (finished.index.decode(), finished.output)
}

fn view(layers: &[(LayerIndex, Vec<u8>)]) -> View {
    let tars = layers.iter().map(|(_, tar)| tar.clone()).collect();
    View::of(layers.iter().map(|(index, _)| index))
        .expect("applies")
        .with_contents(Arc::new(Tars(tars)))
}

fn listing(tree: &dyn Tree) -> String {
    Listing::of(tree, Detail::Contents)
        .expect("listed")
        .to_string()
}

fn names(index: &LayerIndex) -> Vec<String> {
    let name = |record: &rootfs::layer::Record| {
        let mark = match record.entry.kind {
            Kind::Whiteout => "-",
            Kind::Opaque => "=",
            _ => "",
        };
        format!("{mark}{}", record.entry.path)
    };
    index.records.iter().map(name).collect()
}

/// Squashes what lies above the first `base` layers and checks that the tree stays; returns the names of the one layer.
fn squash(layers: &[(LayerIndex, Vec<u8>)], base: usize) -> Vec<String> {
    let whole = view(layers);
    let mut writer = LayerWriter::new(Vec::new(), LayerTimes::Recorded);
    whole
        .write_changes(&view(&layers[..base]), &mut writer)
        .expect("squashed");
    let one = writer.finish().expect("finished");
    let index = one.index.decode();
    let names = names(&index);
    let mut stack = layers[..base].to_vec();
    stack.push((index, one.output));
    assert_eq!(listing(&view(&stack)), listing(&whole));
    names
}

fn stack() -> Vec<(LayerIndex, Vec<u8>)> {
    vec![
        layer(&[
            "d a",
            "f a/old 1",
            "f a/kept 2",
            "d b",
            "f b/x 3",
            "f gone 4",
            "d empty",
            "l link a",
        ]),
        layer(&["w a", "w gone", "f new 5", "h b/also new", "f tmp 6"]),
        layer(&[
            "d a",
            "f a/kept 7",
            "w tmp",
            "f gone 8",
            "w empty",
            "f link 9",
        ]),
    ]
}

#[test]
fn what_hides_files_of_the_base_stays_and_what_hid_files_of_the_squashed_layers_goes() {
    assert_eq!(
        squash(&stack(), 1),
        [
            "-/empty", "/a", "-/a/old", "/a/kept", "/b", "/b/also", "/gone", "/link", "/new"
        ]
    );
}

#[test]
fn all_layers_in_one_hide_nothing() {
    assert_eq!(
        squash(&stack(), 0),
        [
            "/a", "/a/kept", "/b", "/b/also", "/b/x", "/gone", "/link", "/new"
        ]
    );
    assert_eq!(squash(&stack()[..1], 1), [""; 0]);
}

#[test]
fn the_order_of_the_steps_does_not_show() {
    let steps = [&["f x 1"][..], &["f y 1", "d z"], &["f z/deep 2"]];
    let one = |order: &[usize]| {
        let layers: Vec<_> = order.iter().map(|n| layer(steps[*n])).collect();
        squash(&layers, 0)
    };
    assert_eq!(one(&[0, 1, 2]), one(&[1, 2, 0]));
}

/// Two stacks and what is otherwise in the second.
fn changes(one: &[&[&str]], two: &[&[&str]]) -> Vec<String> {
    let stack = |layers: &[&[&str]]| {
        let made: Vec<_> = layers.iter().map(|lines| layer(lines)).collect();
        view(&made)
    };
    let found = stack(one).changes_to(&stack(two)).expect("it can be read");
    let told = |change: &rootfs::Change| match (&change.before, &change.after) {
        (None, _) => format!("+ {}", change.path),
        (_, None) => format!("- {}", change.path),
        _ => format!("~ {} {:?}", change.path, change.aspects),
    };
    found.iter().map(told).collect()
}

#[test]
fn trees_are_compared_whatever_layers_they_are_made_of() {
    let (one, two): (&[&str], &[&str]) = (&["d a", "f a/b x"], &["d a", "f a/b x", "f a/c y"]);
    assert_eq!(changes(&[two], &[two]), Vec::<String>::new());
    assert_eq!(changes(&[one], &[two]), ["+ /a/c"]);
    assert_eq!(
        changes(&[two], &[two, &["w a"]]),
        ["- /a", "- /a/b", "- /a/c"]
    );
    // What is hidden by a whiteout and made again is the same.
    assert_eq!(
        changes(&[two], &[two, &["o a"], &["d a", "f a/b x", "f a/c y"]]),
        Vec::<String>::new()
    );
    assert_eq!(
        changes(&[&["f a x", "l b x"]], &[&["f a y", "l b y"]]),
        ["~ /a [Content, Attributes]", "~ /b [Target]"]
    );
    assert_eq!(
        changes(&[&["f a x"]], &[&["d a"]]),
        ["~ /a [Kind, Attributes]"]
    );
}

#[test]
fn capabilities_are_an_aspect_of_their_own() {
    let of = |value: Option<&[u8]>| {
        let mut writer = LayerWriter::new(Vec::new(), LayerTimes::Recorded);
        let mut entry = Entry::new(path("p"), Kind::File { size: 1 }, 0o755);
        if let Some(value) = value {
            let name = b"security.capability".to_vec();
            entry.xattrs.insert(name, value.to_vec());
        }
        writer.append_stream(entry, &b"x"[..]).expect("written");
        let finished = writer.finish().expect("finished");
        view(&[(finished.index.decode(), finished.output)])
    };
    let found = of(None)
        .changes_to(&of(Some(b"\x01")))
        .expect("it can be read");
    assert_eq!(found[0].aspects, [rootfs::Aspect::Capabilities]);
    assert_eq!(
        of(Some(b"\x01"))
            .changes_to(&of(Some(b"\x01")))
            .expect("read"),
        []
    );
}
