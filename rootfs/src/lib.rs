//! Directory trees and layers, and the copying between them.
#![forbid(unsafe_code)]
