//! What one read tells of all containers at once: whether anything can have moved for one of them.
//!
//! A container's network and its waiting for I/O go on while it computes nothing, so they cannot be passed over because it rests.
//! But each of its interfaces has its other end on the host, where one file counts all of them; and no cgroup waits without the
//! one above it. Two reads a tick so save two for each container for which nothing moved.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use formats::kernel::{self, NetCounters, Pressure};

use super::kept::{Buffer, Kept};
use super::layout::Host;

/// Network interfaces that are remembered at most: beyond them each container's own table is read.
const LINKS_MAX: usize = 16 * 1024;
/// Cgroups above containers that are read: a host has one or a few. Beyond them each container's own file is read.
const PARENTS_MAX: usize = 16;

/// The state of a host's interfaces and of the cgroups above its containers at one tick.
#[derive(Debug)]
pub(crate) struct Overview {
    host: Host,
    net: Kept,
    /// The host's interfaces by name.
    links: HashMap<Box<[u8]>, Link>,
    /// Those that have their other end elsewhere, by the number that end has there.
    by_far_end: HashMap<u32, NetCounters>,
    parents: HashMap<PathBuf, Parent>,
    ticks: u64,
}

#[derive(Debug)]
struct Link {
    /// Number of the other end, in the namespace that end is in.
    far_end: Option<u32>,
    seen: u64,
}

#[derive(Debug)]
struct Parent {
    file: Kept,
    /// Time in which some task under it waited for I/O, in microseconds.
    waited_us: Option<u64>,
}

impl Overview {
    /// Of this host; nothing is known before the first [`Overview::look`].
    pub(crate) fn new(host: Host) -> Overview {
        Overview {
            net: Kept::open(&host.process_file(1, "net/dev")),
            host,
            links: HashMap::new(),
            by_far_end: HashMap::new(),
            parents: HashMap::new(),
            ticks: 0,
        }
    }

    /// Reads what all containers have in common. Call it once a tick, before their own files.
    pub(crate) fn look(&mut self, buffer: &mut Buffer) {
        self.ticks += 1;
        self.look_at_links(buffer);
        for parent in self.parents.values_mut() {
            let text = parent.file.read(buffer);
            parent.waited_us = text.and_then(|text| Pressure::parse(text).some_us);
        }
    }

    /// What the interfaces with these numbers have sent and received together, by the host's ends of them: what one end has sent
    /// the other has received. `None` when not all of them have an end on the host.
    pub(super) fn network(&self, interfaces: &[u32]) -> Option<NetCounters> {
        let mut sum: Option<NetCounters> = None;
        for interface in interfaces {
            let counters = *self.by_far_end.get(interface)?;
            sum = Some(sum.unwrap_or_default().saturating_add(counters));
        }
        sum.map(from_the_far_end)
    }

    /// For how long some task under the cgroup above this one waited for I/O, in microseconds. The first question about a
    /// cgroup is answered from the next tick on.
    pub(super) fn waited_above(&mut self, directory: &Path) -> Option<u64> {
        let above = directory.parent()?;
        if let Some(parent) = self.parents.get(above) {
            return parent.waited_us;
        }
        if self.parents.len() < PARENTS_MAX {
            let parent = Parent {
                file: Kept::open(&above.join("io.pressure")),
                waited_us: None,
            };
            self.parents.insert(above.to_owned(), parent);
        }
        None
    }

    fn look_at_links(&mut self, buffer: &mut Buffer) {
        self.by_far_end.clear();
        let Some(table) = self.net.read(buffer) else {
            return;
        };
        for interface in kernel::interfaces(table) {
            if !self.links.contains_key(interface.name) {
                if self.links.len() >= LINKS_MAX {
                    continue;
                }
                let far_end = far_end(&self.host, interface.name);
                let seen = self.ticks;
                let link = Link { far_end, seen };
                self.links.insert(interface.name.into(), link);
            }
            let Some(link) = self.links.get_mut(interface.name) else {
                continue;
            };
            link.seen = self.ticks;
            if let Some(far_end) = link.far_end {
                self.by_far_end.insert(far_end, interface.counters);
            }
        }
        let ticks = self.ticks;
        self.links.retain(|_, link| link.seen == ticks);
    }
}

/// The numbers of a process's interfaces, loopback aside: those that hear a multicast address, which is every one that is up.
pub(super) fn interfaces(host: &Host, pid: i64) -> Vec<u32> {
    /// A table longer than this has more interfaces than any container should; only its first are known then.
    const TABLE_BYTES_MAX: usize = 64 * 1024;
    let Ok(table) = std::fs::read(host.process_file(pid, "net/dev_mcast")) else {
        return Vec::new();
    };
    let mut numbers = kernel::multicast_interfaces(&table[..table.len().min(TABLE_BYTES_MAX)]);
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

fn far_end(host: &Host, name: &[u8]) -> Option<u32> {
    let name = std::str::from_utf8(name).ok()?;
    let directory = host.path(Path::new("/sys/class/net")).join(name);
    let number = |file: &str| -> Option<u32> {
        let text = std::fs::read_to_string(directory.join(file)).ok()?;
        text.trim().parse().ok()
    };
    let far_end = number("iflink")?;
    (Some(far_end) != number("ifindex")).then_some(far_end)
}

fn from_the_far_end(near: NetCounters) -> NetCounters {
    NetCounters {
        rx_bytes: near.tx_bytes,
        rx_packets: near.tx_packets,
        rx_errors: near.tx_errors,
        rx_drops: near.tx_drops,
        tx_bytes: near.rx_bytes,
        tx_packets: near.rx_packets,
        tx_errors: near.rx_errors,
        tx_drops: near.rx_drops,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const HEAD: &str = "Inter-| Receive | Transmit\n face |bytes packets\n";

    struct Root(tempfile::TempDir);

    impl Root {
        fn new() -> Root {
            let root = Root(tempfile::tempdir().unwrap());
            root.write("proc/1/mountinfo", "");
            root.write("proc/1/net/dev", HEAD);
            root
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn host(&self) -> Host {
            Host::open(self.0.path()).unwrap()
        }
    }

    #[test]
    fn the_far_end_of_a_container_is_found_among_the_hosts_interfaces() {
        let root = Root::new();
        root.write("sys/class/net/veth1/iflink", "12\n");
        root.write("sys/class/net/veth1/ifindex", "13\n");
        root.write("sys/class/net/eth0/iflink", "2\n");
        root.write("sys/class/net/eth0/ifindex", "2\n");
        let table = format!(
            "{HEAD}  eth0: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n veth1: 100 1 0 0 0 0 0 0 200 2 0 0 0 0 0 0\n"
        );
        root.write("proc/1/net/dev", &table);
        let mut overview = Overview::new(root.host());
        assert_eq!(overview.network(&[12]), None, "nobody looked yet");
        overview.look(&mut Buffer::default());
        let seen = overview.network(&[12]).unwrap();
        assert_eq!((seen.rx_bytes, seen.tx_packets), (200, 1));
        assert_eq!(overview.network(&[2]), None, "no end of its own");
        assert_eq!(overview.network(&[12, 14]), None, "one is elsewhere");
        assert_eq!(overview.network(&[]), None);
        root.write("proc/1/net/dev", HEAD);
        overview.look(&mut Buffer::default());
        assert_eq!(overview.network(&[12]), None, "it is gone");
        assert!(overview.links.is_empty());
    }

    #[test]
    fn the_interfaces_of_a_process_are_told_once_each() {
        let root = Root::new();
        root.write(
            "proc/7/net/dev_mcast",
            "12   eth0  1  0  333300000001\n12   eth0  1  0  01005e000001\n15   eth1  1  0  01005e000001\n",
        );
        assert_eq!(interfaces(&root.host(), 7), [12, 15]);
        assert!(interfaces(&root.host(), 8).is_empty());
    }

    #[test]
    fn waiting_above_is_known_from_the_next_tick_on() {
        let root = Root::new();
        root.write(
            "docker/io.pressure",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=7\n",
        );
        let child = root.0.path().join("docker/c1");
        let mut overview = Overview::new(root.host());
        assert_eq!(overview.waited_above(&child), None);
        overview.look(&mut Buffer::default());
        assert_eq!(overview.waited_above(&child), Some(7));
        let alone = root.0.path().join("other/c2");
        assert_eq!(overview.waited_above(&alone), None);
        overview.look(&mut Buffer::default());
        assert_eq!(overview.waited_above(&alone), None, "there is no file");
    }
}
