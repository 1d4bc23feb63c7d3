//! A node's series at one time, read from their names and labels.

use serde::{Deserialize, Serialize};
use units::{NodeMetric, Point};

/// Disks whose time is looked at; of more the later ones are left.
const DISKS_MAX: usize = 64;

/// Counters of one page, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Totals {
    /// Of all cores and modes together.
    pub(crate) cpu: f64,
    pub(crate) idle: f64,
    pub(crate) stolen: f64,
    pub(crate) cpu_some: Option<f64>,
    pub(crate) memory_full: Option<f64>,
    pub(crate) io_some: Option<f64>,
    pub(crate) io_full: Option<f64>,
}

/// One page of a node's series.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) totals: Option<Totals>,
    pub(crate) tasks: Option<f64>,
    pub(crate) memory_total: Option<f64>,
    pub(crate) memory_available: Option<f64>,
    pub(crate) disks: Vec<Disk>,
    pub(crate) disk_times: Vec<DiskTime>,
    pub(crate) files_open: Option<f64>,
    pub(crate) files_max: Option<f64>,
}

/// For how long a disk has had I/O under way, a counter in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DiskTime {
    pub(crate) disk: String,
    pub(crate) busy_s: f64,
}

/// One file system.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) mount: String,
    pub(crate) bytes: f64,
    pub(crate) bytes_free: f64,
    pub(crate) inodes: f64,
    pub(crate) inodes_free: f64,
}

impl Page {
    /// Reads the points of one node and time; those it does not know are left.
    pub(crate) fn read(points: &[Point]) -> Self {
        let mut page = Page::default();
        let mut totals = Totals::default();
        for point in points {
            let value = point.value;
            let of = |metric: NodeMetric| point.name == metric.name();
            if of(NodeMetric::Cpu) {
                totals.cpu += value;
                match label(&point.labels, "mode") {
                    Some("idle" | "iowait") => totals.idle += value,
                    Some("steal") => totals.stolen += value,
                    Some(_) | None => {}
                }
            } else if of(NodeMetric::Pressure) {
                let which = label(&point.labels, "resource").zip(label(&point.labels, "tasks"));
                match which {
                    Some(("cpu", "some")) => totals.cpu_some = Some(value),
                    Some(("memory", "full")) => totals.memory_full = Some(value),
                    Some(("io", "some")) => totals.io_some = Some(value),
                    Some(("io", "full")) => totals.io_full = Some(value),
                    Some(_) | None => {}
                }
            } else if of(NodeMetric::TasksRunning) {
                page.tasks = Some(value);
            } else if of(NodeMetric::MemoryTotal) {
                page.memory_total = Some(value);
            } else if of(NodeMetric::MemoryAvailable) {
                page.memory_available = Some(value);
            } else if of(NodeMetric::FilesOpen) {
                page.files_open = Some(value);
            } else if of(NodeMetric::FilesMax) {
                page.files_max = Some(value);
            } else if of(NodeMetric::DiskIo) {
                let disk = label(&point.labels, "disk");
                let room = page.disk_times.len() < DISKS_MAX;
                page.disk_times
                    .extend(disk.filter(|_| room).map(|disk| DiskTime {
                        disk: disk.to_owned(),
                        busy_s: value,
                    }));
            } else {
                page.disk(point);
            }
        }
        page.totals = (totals.cpu > 0.0).then_some(totals);
        page
    }

    fn disk(&mut self, point: &Point) {
        let field: fn(&mut Disk) -> &mut f64 = match &*point.name {
            name if name == NodeMetric::FilesystemBytes.name() => |disk| &mut disk.bytes,
            name if name == NodeMetric::FilesystemFree.name() => |disk| &mut disk.bytes_free,
            name if name == NodeMetric::FilesystemInodes.name() => |disk| &mut disk.inodes,
            name if name == NodeMetric::FilesystemInodesFree.name() => |disk| &mut disk.inodes_free,
            _ => return,
        };
        let Some(mount) = label(&point.labels, "mount") else {
            return;
        };
        let known = self.disks.iter().position(|disk| disk.mount == mount);
        let index = known.unwrap_or_else(|| {
            self.disks.push(Disk {
                mount: mount.to_owned(),
                ..Disk::default()
            });
            self.disks.len() - 1
        });
        *field(&mut self.disks[index]) = point.value;
    }

    /// Whether nothing in it is judged.
    pub(crate) fn tells_nothing(&self) -> bool {
        self.totals.is_none()
            && self.memory_total.is_none()
            && self.disks.is_empty()
            && self.files_open.is_none()
    }
}

/// The value of a label; labels are written as `name="value"`, joined by commas.
pub(crate) fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = labels;
    while !rest.is_empty() {
        let (key, value) = rest.split_once("=\"")?;
        let end = end_of_value(value)?;
        if key == name {
            return Some(&value[..end]);
        }
        rest = value[end + 1..].trim_start_matches(',');
    }
    None
}

/// Where the quote is that ends a value; quotes and backslashes in it follow a backslash.
fn end_of_value(value: &str) -> Option<usize> {
    let mut escaped = false;
    value.char_indices().find_map(|(index, letter)| {
        let ends = letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        ends.then_some(index)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_by_name_whatever_is_in_them() {
        let labels = r#"mount="/a\",b=\"c",resource="cpu",tasks="some""#;
        assert_eq!(label(labels, "resource"), Some("cpu"));
        assert_eq!(label(labels, "tasks"), Some("some"));
        assert_eq!(label(labels, "mount"), Some(r#"/a\",b=\"c"#));
        assert_eq!(label(labels, "b"), None);
        assert_eq!(label("", "b"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_labels_make_it_panic(labels in "\\PC*", name in "[a-z]{0,3}") {
            let _ = label(&labels, &name);
        }

        #[test]
        fn written_labels_are_read_back(pairs in proptest::collection::btree_map("[a-z]{1,6}", "[a-z,=/]{0,8}", 0..5)) {
            let written: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}=\"{v}\"")).collect();
            let written = written.join(",");
            for (name, value) in &pairs {
                proptest::prop_assert_eq!(label(&written, name), Some(value.as_str()));
            }
        }
    }
}
