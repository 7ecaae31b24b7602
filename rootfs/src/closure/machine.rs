//! What ELF files of a processor look like, and what its loaders assume.
//!
//! Invariant: nothing here comes from the machine that rbuild runs on, so the answer is the same everywhere.

/// How numbers of a file are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    /// 64-bit class.
    pub(super) wide: bool,
    /// Most significant byte first.
    pub(super) big: bool,
}

/// The kind of machine that a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Machine {
    /// Class and byte order.
    pub(super) shape: Shape,
    /// `e_machine`.
    pub(super) number: u16,
}

/// What a processor of a kind may be able to do, as the loader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cpu {
    /// Subdirectories of `glibc-hwcaps`, best first.
    pub(super) subdirs: &'static [&'static str],
    /// What `$PLATFORM` stands for (AT_PLATFORM, or glibc's own word for it); without one, the path is dropped.
    pub(super) platform: Option<&'static str>,
}

/// What is known about a kind of machine.
#[derive(Debug)]
pub(super) struct Known {
    machine: Machine,
    /// As the OCI image specification names it (GOARCH).
    pub(super) architecture: &'static str,
    /// Debian's directory below /lib.
    triplet: &'static str,
    /// Where glibc's loader is.
    pub(super) glibc: &'static str,
    /// The architecture in names of musl's loader.
    pub(super) musl: &'static str,
    /// `flags` of its entries in ld.so.cache (glibc, sysdeps/unix/sysv/linux/*/dl-cache.h).
    pub(super) cache_flags: i32,
    /// The least able first.
    pub(super) cpus: &'static [Cpu],
}

const NARROW: Shape = Shape {
    wide: false,
    big: false,
};
const WIDE: Shape = Shape {
    wide: true,
    big: false,
};
const WIDE_BIG: Shape = Shape {
    wide: true,
    big: true,
};

const fn cpu(subdirs: &'static [&'static str], platform: Option<&'static str>) -> Cpu {
    Cpu { subdirs, platform }
}

/// glibc, sysdeps/x86/cpu-features.c: Intel's processors have a platform of their own from AVX2 on.
const X86_64: &[Cpu] = &[
    cpu(&[], Some("x86_64")),
    cpu(&["x86-64-v2"], Some("x86_64")),
    cpu(&["x86-64-v3", "x86-64-v2"], Some("x86_64")),
    cpu(&["x86-64-v3", "x86-64-v2"], Some("haswell")),
    cpu(&["x86-64-v4", "x86-64-v3", "x86-64-v2"], Some("x86_64")),
    cpu(&["x86-64-v4", "x86-64-v3", "x86-64-v2"], Some("haswell")),
    cpu(&["x86-64-v4", "x86-64-v3", "x86-64-v2"], Some("xeon_phi")),
];
const POWER: &[Cpu] = &[
    cpu(&[], Some("power8")),
    cpu(&["power9"], Some("power9")),
    cpu(&["power10", "power9"], Some("power10")),
];
const S390: &[Cpu] = &[
    cpu(&[], Some("zEC12")),
    cpu(&["z13"], Some("z13")),
    cpu(&["z14", "z13"], Some("z14")),
    cpu(&["z15", "z14", "z13"], Some("z15")),
    cpu(&["z16", "z15", "z14", "z13"], Some("z16")),
];

macro_rules! known {
    ($shape:expr, $number:expr, $architecture:expr, $triplet:expr, $glibc:expr, $musl:expr, $flags:expr, $cpus:expr) => {
        Known {
            machine: Machine {
                shape: $shape,
                number: $number,
            },
            architecture: $architecture,
            triplet: $triplet,
            glibc: $glibc,
            musl: $musl,
            cache_flags: $flags,
            cpus: $cpus,
        }
    };
}

#[rustfmt::skip]
const KNOWN: &[Known] = &[
    known!(WIDE, 62, "amd64", "x86_64-linux-gnu", "/lib64/ld-linux-x86-64.so.2", "x86_64", 0x0303, X86_64),
    known!(WIDE, 183, "arm64", "aarch64-linux-gnu", "/lib/ld-linux-aarch64.so.1", "aarch64", 0x0a03, &[cpu(&[], Some("aarch64"))]),
    known!(NARROW, 3, "386", "i386-linux-gnu", "/lib/ld-linux.so.2", "i386", 0x0003, &[cpu(&[], Some("i586")), cpu(&[], Some("i686"))]),
    known!(NARROW, 40, "arm", "arm-linux-gnueabihf", "/lib/ld-linux-armhf.so.3", "armhf", 0x0903, &[cpu(&[], Some("v7l")), cpu(&[], Some("v8l"))]),
    known!(WIDE, 21, "ppc64le", "powerpc64le-linux-gnu", "/lib64/ld64.so.2", "powerpc64le", 0x0503, POWER),
    known!(WIDE_BIG, 22, "s390x", "s390x-linux-gnu", "/lib/ld64.so.1", "s390x", 0x0403, S390),
    known!(WIDE, 243, "riscv64", "riscv64-linux-gnu", "/lib/ld-linux-riscv64-lp64d.so.1", "riscv64", 0x1003, &[cpu(&[], None)]),
    known!(WIDE, 258, "loong64", "loongarch64-linux-gnu", "/lib64/ld-linux-loongarch-lp64d.so.1", "loongarch64", 0x1203, &[cpu(&[], None)]),
];

impl Machine {
    /// What is known about it.
    pub(super) fn known(self) -> Option<&'static Known> {
        KNOWN.iter().find(|known| known.machine == self)
    }

    /// The OCI name of the architecture, or `e_machine` as a number.
    pub(super) fn name(self) -> String {
        self.known().map_or_else(
            || format!("ELF machine {}", self.number),
            |known| known.architecture.to_owned(),
        )
    }

    /// The processors that the answer must hold for, the least able first.
    pub(super) fn cpus(self) -> &'static [Cpu] {
        const ANY: &[Cpu] = &[cpu(&[], None)];
        self.known().map_or(ANY, |known| known.cpus)
    }

    /// Where a glibc looks whose loader is not there to be asked.
    pub(super) fn usual_dirs(self) -> Vec<Vec<u8>> {
        let triplet = self.known().map(|known| known.triplet);
        let multiarch = triplet
            .into_iter()
            .flat_map(|triplet| [format!("/lib/{triplet}/"), format!("/usr/lib/{triplet}/")]);
        let plain: &[&str] = match self.shape.wide {
            true => &["/lib64/", "/usr/lib64/", "/lib/", "/usr/lib/"],
            false => &["/lib/", "/usr/lib/"],
        };
        let plain = plain.iter().map(|&directory| directory.to_owned());
        multiarch.chain(plain).map(String::into_bytes).collect()
    }
}
