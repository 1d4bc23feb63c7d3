//! The demonstration is the whole loop on real containers: it ends well only if every reaction came.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use e2e::homeostat::{output, root};

#[test]
fn the_demonstration_sees_every_reaction_and_leaves_nothing_behind() {
    let script = root().join("deploy/demo/stack.sh");
    let ran = output(&[
        "demo",
        "--seconds",
        "240",
        "--stack",
        script.to_str().unwrap(),
        "--set",
        "console.listen=127.0.0.1:0",
        "--set",
        "telemetry.log=warn",
    ]);
    let said = String::from_utf8_lossy(&ran.stdout);
    let complained = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}\n{complained}");
    assert!(said.contains("every expected reaction came"), "{said}");
    assert_eq!(left(&["ps", "--all"]), "", "containers are left");
    assert_eq!(left(&["network", "ls"]), "", "networks are left");
}

fn left(what: &[&str]) -> String {
    let listed = Command::new("docker")
        .args(what)
        .args(["--quiet", "--filter", "label=io.homeostat.demo=demo"])
        .output()
        .unwrap();
    assert!(listed.status.success());
    String::from_utf8(listed.stdout).unwrap()
}
