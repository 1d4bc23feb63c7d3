//! Small containers of a test's own: an image with one static program ([`writer`](../writer/writer.rs)), without a registry.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::homeostat::root;

/// Outside `io.homeostat`, where every label says something to Homeostat.
const LABEL: &str = "homeostat-e2e";
const ENGINE: &str = "unix:///var/run/docker.sock";

static COUNT: AtomicU32 = AtomicU32::new(0);

/// An image and the containers made from it. All of them are removed with this value.
pub struct Containers {
    name: String,
    engine: String,
}

impl Containers {
    /// On this machine's engine.
    pub fn new() -> Containers {
        Containers::at(ENGINE)
    }

    /// On the engine at an address such as `unix:///run/docker.sock`.
    pub fn at(engine: &str) -> Containers {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let containers = Containers {
            name: format!("homeostat-e2e-{}-{count}", std::process::id()),
            engine: engine.to_owned(),
        };
        containers.import();
        containers
    }

    fn import(&self) {
        let dir = tempfile::tempdir().unwrap();
        let archive = build(dir.path());
        let mut import = self.command();
        import.args(["import", "-c", r#"ENTRYPOINT ["/writer"]"#]);
        complete(import.arg(archive).arg(&self.name));
    }

    /// The image's name.
    pub fn image(&self) -> &str {
        &self.name
    }

    /// The full name of a container.
    pub fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// The label that every container has, so that it is removed: key and value.
    pub fn label(&self) -> (String, String) {
        (LABEL.to_owned(), self.name.clone())
    }

    /// Starts a container that does as it is told, and gives its id.
    pub fn run(&self, name: &str, options: &[&str], order: &[&str]) -> String {
        let mut run = self.command();
        run.args(["run", "--detach", "--name", &self.name(name)]);
        run.args(["--label", &format!("{LABEL}={}", self.name)]);
        complete(run.args(options).arg(&self.name).args(order))
    }

    /// Runs the program once more inside a container: whether it ended well.
    pub fn exec(&self, name: &str, order: &[&str]) -> bool {
        let mut exec = self.command();
        exec.args(["exec", &self.name(name), "/writer"]).args(order);
        output(&mut exec).status.success()
    }

    /// Any other command about a container; its name comes last.
    pub fn tell(&self, words: &[&str], name: &str) -> String {
        complete(self.command().args(words).arg(self.name(name)))
    }

    /// How many of them run.
    pub fn running(&self) -> usize {
        let filter = format!("label={LABEL}={}", self.name);
        let listed = complete(
            self.command()
                .args(["ps", "--quiet", "--filter", "status=running"])
                .args(["--filter", &filter]),
        );
        listed.lines().count()
    }

    fn command(&self) -> Command {
        let mut command = Command::new("docker");
        command.args(["--host", &self.engine]);
        command
    }
}

impl Default for Containers {
    fn default() -> Self {
        Containers::new()
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        let filter = format!("label={LABEL}={}", self.name);
        let listed = output(
            self.command()
                .args(["ps", "--all", "--quiet", "--filter", &filter]),
        );
        let ids = String::from_utf8_lossy(&listed.stdout).into_owned();
        if !ids.trim().is_empty() {
            output(
                self.command()
                    .args(["rm", "--force", "--volumes"])
                    .args(ids.lines()),
            );
        }
        output(self.command().args(["image", "rm", "--force", &self.name]));
    }
}

/// What it says, however it ends.
pub(crate) fn output(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// What it prints; panics with what it says when it fails.
pub(crate) fn complete(command: &mut Command) -> String {
    let output = output(command);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The program in an archive. Static for the gnu target: the musl one may not be installed.
fn build(dir: &Path) -> PathBuf {
    let source = root().join("tests/e2e/writer/writer.rs");
    let archive = dir.join("writer.tar");
    complete(
        Command::new("rustc")
            .args(["--edition", "2024", "-C", "opt-level=2"])
            .args(["-C", "strip=symbols", "-C", "target-feature=+crt-static"])
            .arg("-o")
            .arg(dir.join("writer"))
            .arg(source),
    );
    complete(
        Command::new("tar")
            .args(["--owner=0", "--group=0", "--mode=755", "-C"])
            .arg(dir)
            .arg("-cf")
            .arg(&archive)
            .arg("writer"),
    );
    archive
}
