//! Small containers of a test's own: an image with one static program ([`writer`](../writer/writer.rs)), without a registry.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::homeostat::root;

/// Outside `io.homeostat`, where every label says something to Homeostat.
const LABEL: &str = "homeostat-e2e";
const ENGINE: &str = "unix:///var/run/docker.sock";

static COUNT: AtomicU32 = AtomicU32::new(0);

/// An image with its versions, and the containers made from them. All of them are removed with this value.
pub struct Containers {
    name: String,
    engine: String,
    versions: Mutex<Vec<String>>,
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
            versions: Mutex::default(),
        };
        containers.import(&containers.name, &[]);
        containers
    }

    /// Imports the program under a name, with these lines of a Dockerfile.
    fn import(&self, name: &str, changes: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        let archive = build(dir.path());
        let mut import = self.command();
        import.args(["import", "-c", r#"ENTRYPOINT ["/writer"]"#]);
        for change in changes {
            import.args(["-c", change]);
        }
        complete(import.arg(archive).arg(name));
    }

    /// Makes another version of the image, with these lines of a Dockerfile, and gives its reference: one whose registry refuses at
    /// once, since nobody listens there.
    pub fn version(&self, tag: &str, changes: &[&str]) -> String {
        let reference = format!("localhost:1/{}:{tag}", self.name);
        self.import(&reference, changes);
        self.versions.lock().unwrap().push(reference.clone());
        reference
    }

    /// The address of the engine.
    pub fn engine(&self) -> &str {
        &self.engine
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
        self.run_of(&self.name, name, options, order)
    }

    /// The same, of a version of the image.
    pub fn run_of(&self, image: &str, name: &str, options: &[&str], order: &[&str]) -> String {
        let mut run = self.command();
        run.args(["run", "--detach", "--name", &self.name(name)]);
        run.args(["--label", &format!("{LABEL}={}", self.name)]);
        complete(run.args(options).arg(image).args(order))
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

    /// What `docker ps` says of those of them that this further filter lets through, in this format: a line each.
    pub fn listed(&self, filter: &str, format: &str) -> Vec<String> {
        let own = format!("label={LABEL}={}", self.name);
        let listed = complete(
            self.command()
                .args(["ps", "--no-trunc", "--format", format])
                .args(["--filter", &own, "--filter", filter]),
        );
        listed.lines().map(ToOwned::to_owned).collect()
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
        let versions = self
            .versions
            .lock()
            .map_or_else(|_| Vec::new(), |it| it.clone());
        let images = versions.iter().chain([&self.name]);
        output(self.command().args(["image", "rm", "--force"]).args(images));
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
