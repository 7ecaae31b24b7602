//! Measures one layer of 20,000 small files and a 500 MB file against `tar cf - | sha256sum` of the same tree.
//!
//! `cargo run --release -p rbuild-rootfs --example layer_bench -- DIR` makes the tree in DIR once and reuses it.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

extern crate rbuild_rootfs as rootfs;

use std::error::Error;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rootfs::copy::{CopyPlan, CopyRequest, CopySource, Owner, Parents, Rules, Verdict, plan};
use rootfs::digests::FileDigests;
use rootfs::{DirTree, LayerIndex, LayerTimes, LayerWriter, Ownership, Root, Time};

fn main() -> Result<(), Box<dyn Error>> {
    let base = std::env::args()
        .nth(1)
        .ok_or("name a directory for the tree and the layer")?;
    let tree = Path::new(&base).join("tree");
    if !tree.exists() {
        make(&tree)?;
    }
    for round in 1..=3 {
        println!("round {round}");
        report("tar cf - | sha256sum", || {
            let script = "tar cf - -C \"$0\" . | sha256sum > /dev/null";
            Command::new("sh")
                .args(["-c", script])
                .arg(&tree)
                .status()
                .map_err(Into::into)
        })?;
        measure(&tree, Path::new(&base))?;
    }
    Ok(())
}

fn measure(tree: &Path, base: &Path) -> Result<(), Box<dyn Error>> {
    let context = DirTree::new(Root::open(tree)?, Ownership::Recorded);
    let plan = report("plan (the walk)", || planned(&context))?;
    let sink = report("layer to nowhere", || {
        let mut layer = LayerWriter::new(std::io::sink(), LayerTimes::Recorded);
        plan.write_layer(&mut layer)?;
        Ok(layer.finish()?)
    })?;
    let finished = report("layer to a file", || {
        let mut layer =
            LayerWriter::new(File::create(base.join("layer.tar"))?, LayerTimes::Recorded);
        plan.write_layer(&mut layer)?;
        Ok(layer.finish()?)
    })?;
    assert_eq!(sink.index.diff_id, finished.index.diff_id);
    let stored = report("index encode", || {
        Ok(finished.index.decode().stored().bytes())
    })?;
    let loaded = report("index decode", || Ok(LayerIndex::decode(&stored)?))?;
    println!(
        "  {} entries, {} bytes of index",
        loaded.records.len(),
        stored.len()
    );
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let now = Time {
        secs: i64::try_from(now.as_secs())?,
        nanos: 0,
    };
    let cold = FileDigests::new();
    let first = report("content digest, cold", || Ok(plan.digest(&cold, now)?))?;
    if !cold.has_news() {
        return Err("nothing was remembered: the tree is too new, run again".into());
    }
    cold.store(true, &mut File::create(base.join("memo"))?)?;
    let warm = report("memo load", || {
        let stored = File::open(base.join("memo"))?;
        Ok(FileDigests::load(Some(stored), &rootfs::Scratch::default()))
    })?;
    let second = report("plan and digest, warm", || {
        Ok(planned(&context)?.digest(&warm, now)?)
    })?;
    assert_eq!(first, second);
    Ok(())
}

fn planned(context: &DirTree) -> Result<CopyPlan<'_>, Box<dyn Error>> {
    let request = CopyRequest {
        sources: &[CopySource::Path(".")],
        destination: "/",
        owner: Owner::Root,
        chmod: None,
        parents: Parents::Dropped,
        unpack: false,
        date: &|time| time,
        scratch: rootfs::Scratch::default(),
    };
    let keep = |_: &rootfs::TreePath, _| Verdict::Keep;
    Ok(plan(
        &request,
        context,
        None,
        &Rules {
            glob: &|pattern, name| pattern == name,
            ignore: &keep,
            exclude: &keep,
        },
    )?)
}

fn report<T>(
    what: &str,
    run: impl FnOnce() -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    let start = Instant::now();
    let result = run()?;
    let took: Duration = start.elapsed();
    println!("  {what:<24}{:>9.1} ms", took.as_secs_f64() * 1000.0);
    Ok(result)
}

/// 200 directories of 100 files of 3,200 bytes, and 500 MB in one.
fn make(tree: &Path) -> Result<(), Box<dyn Error>> {
    for directory in 0..200 {
        let directory = tree.join(format!("d{directory:03}"));
        fs::create_dir_all(&directory)?;
        for file in 0..100 {
            fs::write(directory.join(format!("f{file:03}")), [b'x'; 3200])?;
        }
    }
    let mut big = File::create(tree.join("big"))?;
    let mut block = vec![0_u8; 1 << 20];
    for number in 0..500_u32 {
        block.iter_mut().zip(0_u32..).for_each(|(byte, at)| {
            *byte = (at.wrapping_mul(2_654_435_761).wrapping_add(number) >> 13) as u8
        });
        big.write_all(&block)?;
    }
    Ok(())
}
