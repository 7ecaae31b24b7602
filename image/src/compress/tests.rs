//! Round trips, determinism, and everything that a hostile stream may try.

use std::io::{Cursor, Write};

use super::*;

fn threads(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

fn sample(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len)
        .map(|at| {
            if at % 7 < 3 {
                noise()
            } else {
                (at / 1000) as u8
            }
        })
        .collect()
}

fn packed(compression: Compression, input: &[u8], n: usize) -> Vec<u8> {
    let mut out = Vec::new();
    compress(compression, &mut Cursor::new(input), &mut out, threads(n)).unwrap();
    out
}

fn unpack(
    declared: Option<Compression>,
    limits: Limits,
    bytes: &[u8],
    step: usize,
) -> io::Result<Vec<u8>> {
    let mut decompressor = Decompressor::new(declared, limits, Vec::new());
    for chunk in bytes.chunks(step) {
        decompressor.write_all(chunk)?;
    }
    decompressor.finish()
}

fn plain(declared: Compression, bytes: &[u8]) -> io::Result<Vec<u8>> {
    unpack(Some(declared), Limits::default(), bytes, 4096)
}

#[test]
fn bytes_do_not_depend_on_the_number_of_threads_and_come_back() {
    for len in [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3_500_000] {
        let input = sample(len);
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let one = packed(compression, &input, 1);
            assert_eq!(
                one,
                packed(compression, &input, 2),
                "{compression} of {len} bytes"
            );
            assert_eq!(
                one,
                packed(compression, &input, 5),
                "{compression} of {len} bytes"
            );
            assert!(plain(compression, &one).unwrap() == input);
            assert!(unpack(None, Limits::default(), &one, 1 << 16).unwrap() == input);
        }
    }
}

#[test]
fn s18_reading_byte_by_byte_gives_the_same() {
    let input = sample(20_000);
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let bytes = packed(compression, &input, 2);
        assert!(unpack(Some(compression), Limits::default(), &bytes, 1).unwrap() == input);
    }
}

#[test]
fn s18_concatenated_members_and_frames_are_one_stream() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let mut bytes = packed(compression, b"hello ", 1);
        bytes.extend(packed(compression, b"world", 1));
        assert_eq!(plain(compression, &bytes).unwrap(), b"hello world");
    }
    let mut skippable = b"\x50\x2a\x4d\x18\x03\0\0\0abc".to_vec();
    skippable.extend(packed(Compression::Zstd, b"x", 1));
    assert_eq!(plain(Compression::Zstd, &skippable).unwrap(), b"x");
}

#[test]
fn s18_truncation_at_any_place_is_found() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let bytes = packed(compression, &sample(3000), 1);
        for len in 0..bytes.len() {
            assert!(
                plain(compression, &bytes[..len]).is_err(),
                "{compression} cut at {len}"
            );
        }
    }
}

#[test]
fn s18_trailing_garbage_is_refused() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        for garbage in [
            &b"x"[..],
            b"garbage that is longer than a header",
            &[0; 600],
        ] {
            let mut bytes = packed(compression, b"hello", 1);
            bytes.extend(garbage);
            assert!(
                plain(compression, &bytes).is_err(),
                "{compression} followed by {garbage:?}"
            );
        }
    }
}

#[test]
fn s18_a_flipped_bit_is_found() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let mut bytes = packed(compression, &sample(3000), 1);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        assert!(plain(compression, &bytes).is_err());
    }
}

#[test]
fn s18_bombs_stop_at_the_limits() {
    let zeros = vec![0; 8 << 20];
    let limits = Limits {
        bytes: 4 << 20,
        ..Limits::default()
    };
    let ratio = Limits {
        ratio: 100,
        ratio_from: 1 << 20,
        ..Limits::default()
    };
    for compression in [Compression::Gzip, Compression::Zstd] {
        let bytes = packed(compression, &zeros, 1);
        let error = |limits| {
            let error = unpack(Some(compression), limits, &bytes, 4096).unwrap_err();
            *error
                .get_ref()
                .unwrap()
                .downcast_ref::<DecompressError>()
                .unwrap()
        };
        assert_eq!(error(limits), DecompressError::TooLarge { limit: 4 << 20 });
        assert_eq!(error(ratio), DecompressError::RatioTooHigh { limit: 100 });
        assert!(plain(compression, &bytes).unwrap() == zeros);
    }
}

#[test]
fn s18_a_huge_zstd_window_is_refused() {
    // Magic, no single segment, window descriptor 0xa8: 2^31 bytes (RFC 8878, 3.1.1.1.2), then an empty last block.
    let bytes = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
    assert!(plain(Compression::Zstd, &bytes).is_err());
}

#[test]
fn s21_another_format_than_the_declared_one_is_refused() {
    let formats = [Compression::None, Compression::Gzip, Compression::Zstd];
    for (declared, actual) in formats
        .iter()
        .flat_map(|a| formats.iter().map(move |b| (*a, *b)))
    {
        let result = plain(declared, &packed(actual, &sample(2000), 1));
        assert_eq!(
            result.is_ok(),
            declared == actual,
            "declared {declared}, is {actual}"
        );
    }
}

#[test]
fn a_failing_sink_ends_the_threads() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = gzip(&mut io::repeat(0), &mut Full, 1, threads(2)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

/// Inputs that reach every kind of block: noise, text, zeros, short ones, and matches across the borders of blocks.
fn inputs() -> Vec<Vec<u8>> {
    let mut state = 1_u64;
    let mut noise = move |len: usize| -> Vec<u8> {
        let next = |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        };
        (0..len).map(next).collect()
    };
    let mut inputs: Vec<Vec<u8>> = (0..40).map(&mut noise).collect();
    inputs.extend((0..40).map(|len| vec![7; len]));
    let letters = |bytes: Vec<u8>, many: u8| bytes.into_iter().map(|byte| byte % many).collect();
    inputs.extend([1, 2, 3, 16, 60, 255].map(|many| letters(noise(100_000), many)));
    inputs.push(vec![0; 300_000]);
    inputs.push(noise(200_000));
    // Far repetitions, at and beyond the window's end, and over the border of a block.
    for distance in [32_767, 32_768, 32_769, 65_530] {
        let part = noise(distance);
        inputs.push([&part[..], &part, &part[..300]].concat());
    }
    for len in [65_535, 65_536, 65_537, 65_540, (1 << 20) + 1] {
        let part = noise(100);
        inputs.push(part.iter().copied().cycle().take(len).collect());
    }
    inputs
}

#[test]
fn every_kind_of_block_comes_back() {
    for input in inputs() {
        let bytes = packed(Compression::Gzip, &input, 2);
        assert!(plain(Compression::Gzip, &bytes).unwrap() == input);
    }
}
