//! Compiles the test modules with the Makefile beside this file.
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=.");
    println!("cargo:rerun-if-changed=../include");
    println!("cargo:rerun-if-env-changed=CC");
    let out = std::env::var("OUT_DIR").expect("cargo names the output folder");
    let status = Command::new("make")
        .args(["-s", &format!("OUT={out}/modules")])
        .status()
        .expect("make runs");
    assert!(status.success(), "the test modules do not build");
}
