//! A registry of images on this machine, for the engines of the hosts: Debian's `docker-registry`.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bus::testing::free_port;

use crate::wait::until;

const READY: Duration = Duration::from_secs(30);

/// A registry that anybody in the hosts' network may push to and pull from, without TLS. Killed when dropped.
pub struct Registry {
    address: String,
    process: Child,
}

impl Registry {
    /// Starts one at an address of this machine, with everything it keeps in a directory, and waits until it answers.
    pub(super) async fn start(dir: &Path, machine: Ipv4Addr) -> Registry {
        let address = format!("{machine}:{}", free_port().unwrap());
        let config = dir.join("registry.yml");
        let storage = dir.join("registry");
        let text = format!(
            "version: 0.1\nlog: {{ level: warn }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: \"{address}\" }}\n",
            storage.display()
        );
        std::fs::write(&config, text).unwrap();
        let log = dir.join("registry.txt");
        let out = File::create(&log).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start docker-registry: {error}"));
        let registry = Registry { address, process };
        let what = format!("the registry answers, see {}", log.display());
        until(&what, READY, || async {
            let url = format!("http://{}/v2/", registry.address);
            let answer = reqwest::get(url).await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        registry
    }

    /// Where it listens: address and port.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// How an image of this name is called so that engines find it here, such as `shop:1`.
    pub fn reference(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
