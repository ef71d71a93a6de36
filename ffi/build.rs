//! Compiles the C shims for the variadic and long-double entry points of the module API.
fn main() {
    println!("cargo:rerun-if-changed=shims.c");
    println!("cargo:rerun-if-changed=shims.h");
    println!("cargo:rerun-if-changed=../include");
    cc::Build::new()
        .file("shims.c")
        .include("../include")
        .flag("-std=gnu11")
        .opt_level(2)
        .compile("backplane_shims");
}
