//! Our own test modules, one topic each, as compiled by this package's build script.
use std::path::Path;

/// The folder with the compiled modules, `NAME.so` for each `NAME.c` here.
pub fn dir() -> &'static Path {
    Path::new(concat!(env!("OUT_DIR"), "/modules"))
}
