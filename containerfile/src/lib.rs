//! Containerfile text to syntax tree with byte spans.
#![forbid(unsafe_code)]
