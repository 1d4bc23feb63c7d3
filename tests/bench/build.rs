//! Builds what the containers of the collector's bench run: one static binary, so that an image needs nothing else.

use std::path::Path;
use std::process::Command;

const SOURCE: &str = "probe/probe.rs";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    let rustc = std::env::var("RUSTC").expect("cargo names the compiler");
    let out = std::env::var("OUT_DIR").expect("cargo names the folder for what is made");
    let built = Command::new(rustc)
        .args(["--edition", "2024", "-C", "opt-level=2"])
        .args(["-C", "strip=symbols", "-C", "target-feature=+crt-static"])
        .arg("-o")
        .arg(Path::new(&out).join("probe"))
        .arg(SOURCE)
        .status();
    assert!(
        built.is_ok_and(|status| status.success()),
        "the containers' binary does not build; does this host have a static C library (Debian: libc6-dev)?"
    );
}
