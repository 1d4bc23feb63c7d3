//! Images made on a host, that others have from a registry: ordinary ones, and ones that do not run on this machine.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use super::Host;

/// What each has beside the program, so that no two have the same layers.
const BALLAST: u64 = 256 * 1024;
/// Where an ELF file says what machine it is for.
const ELF_MACHINE: usize = 18;

impl Host {
    /// Makes an image like another: with these lines of a Dockerfile, these files, and a layer that is known nowhere else.
    pub fn make_image(
        &self,
        from: &str,
        reference: &str,
        changes: &[&str],
        files: &[(&str, &[u8])],
    ) {
        let made = self.docker(&["create", from]);
        let dir = tempfile::tempdir().unwrap();
        let mut ballast = Vec::new();
        let random = std::fs::File::open("/dev/urandom").unwrap();
        random.take(BALLAST).read_to_end(&mut ballast).unwrap();
        let ballast = ("ballast", ballast.as_slice());
        for (name, bytes) in files.iter().copied().chain([ballast]) {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
            self.docker(&["cp", path.to_str().unwrap(), &format!("{made}:/{name}")]);
        }
        let changes = changes.iter().flat_map(|it| ["--change", it]);
        let commit = ["commit"].into_iter().chain(changes);
        let commit = commit.chain([made.as_str(), reference]);
        self.docker(&commit.collect::<Vec<_>>());
        self.docker(&["rm", &made]);
    }

    /// Gives an image to its registry, and leaves it there alone.
    pub fn hand_over(&self, reference: &str) {
        self.docker(&["push", "--quiet", reference]);
        self.docker(&["image", "rm", reference]);
    }

    /// Makes an image like another that says that it is for another machine.
    pub fn make_foreign_image(&self, from: &str, reference: &str) {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let archive = at("image.tar");
        let tar = |words: &[&str]| {
            let mut tar = Command::new("tar");
            tar.arg("-C").arg(dir.path()).arg("-f").arg(&archive);
            assert!(tar.args(words).status().unwrap().success());
        };
        self.docker(&["save", "--output", archive.to_str().unwrap(), from]);
        tar(&["-x"]);
        let read = |name: &str| -> Value {
            serde_json::from_slice(&std::fs::read(at(name)).unwrap()).unwrap()
        };
        let mut manifest = read("manifest.json");
        let mut config = read(manifest[0]["Config"].as_str().unwrap());
        config["architecture"] = another_machine().0.into();
        manifest[0]["RepoTags"] = json!([reference]);
        manifest[0]["Config"] = "config.json".into();
        std::fs::write(at("config.json"), config.to_string()).unwrap();
        std::fs::write(at("manifest.json"), manifest.to_string()).unwrap();
        let layers = manifest[0]["Layers"].as_array().unwrap().iter();
        let layers: Vec<&str> = layers.map(|it| it.as_str().unwrap()).collect();
        tar(&[&["-c", "config.json", "manifest.json"], &layers[..]].concat());
        self.docker(&["load", "--quiet", "--input", archive.to_str().unwrap()]);
    }

    /// The program of an image, as it would be for another machine.
    pub fn foreign_program(&self, image: &str) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("writer");
        let made = self.docker(&["create", image]);
        self.docker(&["cp", &format!("{made}:/writer"), path.to_str().unwrap()]);
        self.docker(&["rm", &made]);
        let mut program = std::fs::read(&path).unwrap();
        program[ELF_MACHINE] = another_machine().1;
        program
    }
}

/// One that this is not: the word that images have for it, and the number that programs have.
pub fn another_machine() -> (&'static str, u8) {
    match std::env::consts::ARCH {
        "aarch64" => ("amd64", 0x3e),
        _ => ("arm64", 0xb7),
    }
}
