//! Containers of the bench's own, in an image of its own, gone with the value that stands for them.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// On every container of the bench, and on nothing else.
pub(crate) const LABEL: &str = "homeostat-bench=collector";
const IMAGE: &str = "homeostat-bench-collector:latest";
/// Made by build.rs.
const PROBE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/probe"));
/// Starts asked of the engine at once; more are not faster.
const PARALLEL: usize = 4;
/// Containers named in one command.
const REMOVE_AT_ONCE: usize = 50;
/// Looks for containers that an interrupted command still made.
const REMOVE_ROUNDS: usize = 5;
const REMOVE_WAIT: Duration = Duration::from_millis(300);

/// The image, and every container with the bench's label. One at a time.
pub(crate) struct Containers;

impl Containers {
    /// Imports the image, and removes what an earlier run may have left.
    pub(crate) fn new() -> Containers {
        remove_all();
        let others = docker(&["ps", "--quiet"]).lines().count();
        if others > 0 {
            eprintln!(
                "bench: {others} containers that are not the bench's run here too, and are measured with it"
            );
        }
        let containers = Containers;
        import();
        containers
    }

    /// Starts one in the background and gives its id.
    pub(crate) fn run(&self, name: &str, options: &[&str], order: &[&str]) -> String {
        let mut args = vec!["run", "--detach", "--label", LABEL, "--name", name];
        args.extend_from_slice(options);
        args.push(IMAGE);
        args.extend_from_slice(order);
        docker(&args)
    }

    /// Starts `count` of them, numbered.
    pub(crate) fn run_many(&self, count: usize, prefix: &str, options: &[&str], order: &[&str]) {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..PARALLEL {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            break;
                        }
                        self.run(&format!("{prefix}-{number}"), options, order);
                    }
                });
            }
        });
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        remove_all();
        let _gone = command(&["image", "rm", "--force", IMAGE]);
    }
}

/// Starts one in the background that the engine removes when it ends.
pub(crate) fn run_removed(network: &str, order: &[&str]) {
    let mut args = vec!["run", "--detach", "--rm", "--label", LABEL];
    args.extend_from_slice(&["--network", network, IMAGE]);
    args.extend_from_slice(order);
    docker(&args);
}

/// Runs a docker command and gives what it printed; panics with its words when it fails.
pub(crate) fn docker(args: &[&str]) -> String {
    let output = command(args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {args:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn command(args: &[&str]) -> Output {
    let output = Command::new("docker")
        .args(args)
        .stdin(Stdio::null())
        .output();
    output.expect("the docker command is installed")
}

fn import() {
    let folder = tempfile::tempdir().unwrap();
    let probe = folder.path().join("probe");
    std::fs::File::create(&probe)
        .unwrap()
        .write_all(PROBE)
        .unwrap();
    std::fs::set_permissions(&probe, PermissionsExt::from_mode(0o755)).unwrap();
    let archive = folder.path().join("probe.tar");
    let packed = Command::new("tar")
        .arg("-cf")
        .arg(&archive)
        .arg("-C")
        .arg(folder.path())
        .arg("probe")
        .status();
    assert!(packed.unwrap().success(), "the image is not packed");
    let archive = archive.to_string_lossy();
    docker(&["import", "-c", r#"ENTRYPOINT ["/probe"]"#, &archive, IMAGE]);
}

fn remove_all() {
    let filter = format!("label={LABEL}");
    for _ in 0..REMOVE_ROUNDS {
        let listed = command(&["ps", "--all", "--quiet", "--filter", &filter]);
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let ids: Vec<&str> = listed.split_whitespace().collect();
        if ids.is_empty() {
            return;
        }
        std::thread::scope(|scope| {
            for ids in ids.chunks(REMOVE_AT_ONCE) {
                scope.spawn(|| {
                    let mut args = vec!["rm", "--force", "--volumes"];
                    args.extend_from_slice(ids);
                    command(&args)
                });
            }
        });
        std::thread::sleep(REMOVE_WAIT);
    }
    eprintln!("bench: containers are left over; remove those with the label {LABEL}");
}
