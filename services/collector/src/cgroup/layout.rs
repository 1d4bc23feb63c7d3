//! Where the cgroup files of a process are, from `/proc/self/mountinfo` and `/proc/PID/cgroup`.

use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};

use formats::kernel;
use units::Steady;

/// The host's file system as this process sees it: the root, or a directory under which the host's `/proc` and `/sys` are mounted.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    root: PathBuf,
    mounts: Vec<Mount>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    /// The cgroup that is visible at the mount point; `/` unless only a part is mounted.
    root: String,
    point: PathBuf,
    hierarchy: Hierarchy,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hierarchy {
    V1 { controllers: Vec<String> },
    V2,
}

/// How the host lays out its cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Controllers on v1, no v2 mount.
    V1,
    /// Everything on v2.
    V2,
    /// Controllers on v1, and a v2 mount beside them.
    Hybrid,
    /// No cgroup mount is visible.
    None,
}

impl Flavour {
    /// The word in the inventory.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Flavour::V1 => "v1",
            Flavour::V2 => "v2",
            Flavour::Hybrid => "hybrid",
            Flavour::None => "none",
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where the files of one controller are, and in which dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A v1 directory.
    V1(PathBuf),
    /// A v2 directory.
    V2(PathBuf),
}

/// The directories of one container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Places {
    /// `cpu`: periods, throttling and quota on v1, all of CPU on v2.
    pub(crate) cpu: Option<Place>,
    /// `cpuacct` on v1: usage. Absent on v2, where `cpu` has it.
    pub(crate) cpuacct: Option<PathBuf>,
    /// `memory`.
    pub(crate) memory: Option<Place>,
    /// `blkio` on v1, `io` on v2.
    pub(crate) io: Option<Place>,
    /// `pids`.
    pub(crate) pids: Option<Place>,
    /// The v2 directory, which has the pressure files on v2 and hybrid hosts.
    pub(crate) unified: Option<PathBuf>,
}

/// Why a container's files were not found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocateError {
    /// Its process is gone, or /proc is not readable.
    #[error("cannot read {}", path.display())]
    Process {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The process id belongs to another process by now.
    #[error("process {pid} is in cgroup {cgroup:?}, which is not this container's")]
    Stranger { pid: i64, cgroup: String },
    /// The path leads out of what this process may see.
    #[error(
        "cgroup {cgroup:?} lies outside this process's cgroup namespace; run the collector on the host or with --cgroupns=host"
    )]
    Outside { cgroup: String },
}

impl Host {
    /// Reads the mounts of the host under `root`.
    ///
    /// # Errors
    /// When mountinfo cannot be read.
    pub(crate) fn open(root: &Path) -> io::Result<Host> {
        // Under a prefix, `self` would be looked up in the host's process table, where this process has another number.
        let who = if root == Path::new("/") { "self" } else { "1" };
        let text = std::fs::read_to_string(root.join("proc").join(who).join("mountinfo"))?;
        Ok(Host::parse(root, &text))
    }

    fn parse(root: &Path, mountinfo: &str) -> Host {
        Host {
            root: root.to_owned(),
            mounts: mountinfo
                .lines()
                .filter_map(|line| Mount::parse(root, line))
                .collect(),
        }
    }

    /// A path of the host as this process reaches it.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        under(&self.root, path)
    }

    /// A file of a process.
    pub(crate) fn process_file(&self, pid: i64, name: &str) -> PathBuf {
        self.root.join("proc").join(pid.to_string()).join(name)
    }

    /// When a process began, by the clock that never steps; `None` when it is gone.
    pub(crate) fn began(&self, pid: i64) -> Option<Steady> {
        let text = std::fs::read(self.process_file(pid, "stat")).ok()?;
        let since_boot_ms = kernel::process_start_ms(&text)?;
        Some(Steady::from_millis(since_boot_ms))
    }

    /// How the host lays out its cgroups.
    pub(crate) fn flavour(&self) -> Flavour {
        let v2 = self
            .mounts
            .iter()
            .any(|mount| mount.hierarchy == Hierarchy::V2);
        let v1 = self.mounts.iter().any(|mount| match &mount.hierarchy {
            Hierarchy::V1 { controllers } => {
                controllers.iter().any(|name| !name.starts_with("name="))
            }
            Hierarchy::V2 => false,
        });
        match (v1, v2) {
            (true, false) => Flavour::V1,
            (true, true) => Flavour::Hybrid,
            (false, true) => Flavour::V2,
            (false, false) => Flavour::None,
        }
    }

    /// Finds the directories of the container `id` whose first process is `pid`.
    ///
    /// # Errors
    /// When the process is gone, is not the container's any more, or its cgroup cannot be seen from here.
    pub(crate) fn locate(&self, pid: i64, id: &str) -> Result<Places, LocateError> {
        let path = self.process_file(pid, "cgroup");
        let text = std::fs::read_to_string(&path)
            .map_err(|source| LocateError::Process { path, source })?;
        self.places(pid, id, &text)
    }

    fn places(&self, pid: i64, id: &str, cgroup: &str) -> Result<Places, LocateError> {
        let mut places = Places::default();
        let mut stranger = None;
        for line in cgroup.lines() {
            let Some((controllers, path)) = split_cgroup_line(line) else {
                continue;
            };
            if path.split('/').any(|part| part == "..") {
                let cgroup = path.to_owned();
                return Err(LocateError::Outside { cgroup });
            }
            if !path.contains(id) {
                // A hybrid host may leave a process at the root of hierarchies that Docker does not use.
                stranger.get_or_insert_with(|| path.to_owned());
                continue;
            }
            if controllers.is_empty() {
                places.unified = self.v2_directory(path);
                continue;
            }
            for controller in controllers.split(',') {
                let directory = || self.v1_directory(controller, path);
                match controller {
                    "cpu" => places.cpu = directory().map(Place::V1),
                    "cpuacct" => places.cpuacct = directory(),
                    "memory" => places.memory = directory().map(Place::V1),
                    "blkio" => places.io = directory().map(Place::V1),
                    "pids" => places.pids = directory().map(Place::V1),
                    _ => {}
                }
            }
        }
        if places == Places::default()
            && let Some(cgroup) = stranger
        {
            return Err(LocateError::Stranger { pid, cgroup });
        }
        places.prefer_v2_where_v1_is_not();
        Ok(places)
    }

    fn v1_directory(&self, controller: &str, path: &str) -> Option<PathBuf> {
        self.mounts.iter().find_map(|mount| match &mount.hierarchy {
            Hierarchy::V1 { controllers } if controllers.iter().any(|name| name == controller) => {
                mount.resolve(path)
            }
            Hierarchy::V1 { .. } | Hierarchy::V2 => None,
        })
    }

    fn v2_directory(&self, path: &str) -> Option<PathBuf> {
        self.mounts.iter().find_map(|mount| match mount.hierarchy {
            Hierarchy::V2 => mount.resolve(path),
            Hierarchy::V1 { .. } => None,
        })
    }
}

impl Places {
    fn prefer_v2_where_v1_is_not(&mut self) {
        let Some(unified) = &self.unified else {
            return;
        };
        for place in [
            &mut self.cpu,
            &mut self.memory,
            &mut self.io,
            &mut self.pids,
        ] {
            place.get_or_insert_with(|| Place::V2(unified.clone()));
        }
    }
}

impl Mount {
    /// One line of mountinfo; see proc_pid_mountinfo(5).
    fn parse(host_root: &Path, line: &str) -> Option<Mount> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let root = unescape(before.next()?);
        let point = unescape(before.next()?);
        let mut after = after.split(' ');
        let hierarchy = match after.next()? {
            "cgroup2" => Hierarchy::V2,
            "cgroup" => Hierarchy::V1 {
                controllers: after.nth(1)?.split(',').map(str::to_owned).collect(),
            },
            _ => return None,
        };
        Some(Mount {
            root,
            point: under(host_root, Path::new(&point)),
            hierarchy,
        })
    }

    fn resolve(&self, path: &str) -> Option<PathBuf> {
        let visible = match self.root.as_str() {
            "/" => path,
            root => path.strip_prefix(root)?,
        };
        Some(under(&self.point, Path::new(visible)))
    }
}

/// `id:controllers:path`; the controllers are empty on v2.
fn split_cgroup_line(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once(':')?;
    rest.split_once(':')
}

/// Joins without letting an absolute path replace the base, or `..` leave it.
fn under(base: &Path, path: &Path) -> PathBuf {
    let mut joined = base.to_owned();
    for component in path.components() {
        if let Component::Normal(part) = component {
            joined.push(part);
        }
    }
    joined
}

/// Blanks, tabs, newlines and backslashes stand as three octal digits.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let code = rest
            .get(at + 1..at + 4)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(byte) => {
                plain.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            None => {
                plain.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a";

    const V1_APART: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
38 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
";

    fn host(mountinfo: &str) -> Host {
        Host::parse(Path::new("/"), mountinfo)
    }

    #[test]
    fn v1_with_controllers_apart() {
        let host = host(V1_APART);
        assert_eq!(host.flavour(), Flavour::V1);
        let cgroup = format!(
            "9:name=systemd:/docker/{ID}\n8:pids:/docker/{ID}\n7:blkio:/docker/{ID}\n4:memory:/docker/{ID}\n2:cpuacct:/docker/{ID}\n1:cpu:/docker/{ID}\n"
        );
        let places = host.places(7, ID, &cgroup).unwrap();
        let directory =
            |controller: &str| PathBuf::from(format!("/sys/fs/cgroup/{controller}/docker/{ID}"));
        assert_eq!(places.cpu, Some(Place::V1(directory("cpu"))));
        assert_eq!(places.cpuacct, Some(directory("cpuacct")));
        assert_eq!(places.memory, Some(Place::V1(directory("memory"))));
        assert_eq!(places.io, Some(Place::V1(directory("blkio"))));
        assert_eq!(places.pids, Some(Place::V1(directory("pids"))));
        assert_eq!(places.unified, None);
    }

    #[test]
    fn v1_with_controllers_joined_under_systemd() {
        let host = host(
            "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
             35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
        );
        let scope = format!("/system.slice/docker-{ID}.scope");
        let cgroup = format!("5:cpu,cpuacct:{scope}\n4:memory:{scope}\n");
        let places = host.places(7, ID, &cgroup).unwrap();
        let joined = PathBuf::from(format!("/sys/fs/cgroup/cpu,cpuacct{scope}"));
        assert_eq!(places.cpu, Some(Place::V1(joined.clone())));
        assert_eq!(places.cpuacct, Some(joined));
    }

    #[test]
    fn v2_takes_every_controller_from_one_directory() {
        let host = host("30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n");
        assert_eq!(host.flavour(), Flavour::V2);
        let cgroup = format!("0::/system.slice/docker-{ID}.scope\n");
        let places = host.places(7, ID, &cgroup).unwrap();
        let directory = PathBuf::from(format!("/sys/fs/cgroup/system.slice/docker-{ID}.scope"));
        assert_eq!(places.cpu, Some(Place::V2(directory.clone())));
        assert_eq!(places.memory, Some(Place::V2(directory.clone())));
        assert_eq!(places.cpuacct, None);
        assert_eq!(places.unified, Some(directory));
    }

    #[test]
    fn hybrid_takes_controllers_from_v1_and_pressure_from_v2() {
        let host = host(&format!(
            "{V1_APART}41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
        ));
        assert_eq!(host.flavour(), Flavour::Hybrid);
        let cgroup = format!("4:memory:/docker/{ID}\n1:cpu:/docker/{ID}\n0::/docker/{ID}\n");
        let places = host.places(7, ID, &cgroup).unwrap();
        let unified = PathBuf::from(format!("/sys/fs/cgroup/unified/docker/{ID}"));
        assert!(matches!(places.memory, Some(Place::V1(_))));
        assert_eq!(places.unified, Some(unified.clone()));
        assert_eq!(places.pids, Some(Place::V2(unified)));
    }

    #[test]
    fn a_partial_mount_is_cut_from_the_path() {
        let host = host("30 23 0:26 /outer /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        let places = host
            .places(7, ID, &format!("0::/outer/docker/{ID}\n"))
            .unwrap();
        assert_eq!(
            places.unified,
            Some(PathBuf::from(format!("/sys/fs/cgroup/docker/{ID}")))
        );
    }

    #[test]
    fn a_reused_process_id_is_refused() {
        let error = host(V1_APART)
            .places(7, ID, "4:memory:/user.slice\n0::/\n")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "process 7 is in cgroup \"/user.slice\", which is not this container's"
        );
    }

    #[test]
    fn a_foreign_namespace_is_said() {
        let error = host(V1_APART)
            .places(7, ID, &format!("0::/../{ID}\n"))
            .unwrap_err();
        assert!(error.to_string().contains("--cgroupns=host"), "{error}");
    }

    #[test]
    fn a_host_under_a_prefix_and_escaped_names() {
        let host = Host::parse(
            Path::new("/host"),
            "30 23 0:26 / /sys/fs/my\\040cgroup rw - cgroup2 cgroup2 rw\n",
        );
        let places = host.places(7, ID, &format!("0::/docker/{ID}")).unwrap();
        assert_eq!(
            places.unified,
            Some(PathBuf::from(format!("/host/sys/fs/my cgroup/docker/{ID}")))
        );
        assert_eq!(
            host.process_file(7, "net/dev"),
            PathBuf::from("/host/proc/7/net/dev")
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(mounts in "(?s).{0,300}", cgroup in "(?s).{0,300}") {
            let _ = host(&mounts).places(1, ID, &cgroup);
            let _ = unescape(&mounts);
        }

        #[test]
        fn no_path_leaves_its_base(path in "[a-z./\\\\]{0,60}") {
            prop_assert!(under(Path::new("/base"), Path::new(&path)).starts_with("/base"));
        }
    }
}
