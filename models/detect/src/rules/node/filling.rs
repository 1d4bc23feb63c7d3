//! A file system that fills up: when nothing will be left at the present pace.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{Severity, Steady};

use super::Check;
use crate::gate::Proof;
use crate::rules::page::Disk;
use crate::rules::trend::{push, trend};
use crate::text::{bytes, duration, percent};

/// The window: ten minutes, one value each twenty seconds; half of it must be there. What is written within a minute or two, as by a
/// backup, is not told by it.
const VALUES: usize = 30;
const STEP: Duration = Duration::from_secs(20);
/// It is told when nothing is left within this time …
const HORIZON: Duration = Duration::from_secs(30 * 60);
/// … and less than this share is left.
const LEFT_MAX: f64 = 0.5;
/// The window must have grown by this share of all there is.
const GROWN_MIN: f64 = 0.01;
/// File systems and inode tables followed on one node; of more the later ones are left.
const FOLLOWED_MAX: usize = 32;

/// What can run out on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Of {
    Space,
    Inodes,
}

/// How the file systems of a node fill.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Fillings(Vec<Filling>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Filling {
    mount: String,
    of: Of,
    used: VecDeque<(Steady, f32)>,
}

impl Fillings {
    /// Takes the file systems of a page, and gives those that will be full soon. Those that are gone are forgotten.
    pub(super) fn advance(&mut self, run: Steady, disks: &[Disk]) -> Vec<Check> {
        self.0
            .retain(|known| disks.iter().any(|disk| disk.mount == known.mount));
        let mut checks = Vec::new();
        for disk in disks {
            let numbers = [
                (Of::Space, disk.bytes, disk.bytes_free),
                (Of::Inodes, disk.inodes, disk.inodes_free),
            ];
            for (of, all, free) in numbers {
                if all > 0.0 {
                    checks.extend(self.follow(run, &disk.mount, of, (all, free)));
                }
            }
        }
        checks
    }

    fn follow(
        &mut self,
        run: Steady,
        mount: &str,
        of: Of,
        (all, free): (f64, f64),
    ) -> Option<Check> {
        let known = self
            .0
            .iter()
            .position(|it| it.mount == mount && it.of == of);
        let index = match known {
            Some(index) => index,
            None if self.0.len() < FOLLOWED_MAX => {
                self.0.push(Filling {
                    mount: mount.to_owned(),
                    of,
                    used: VecDeque::new(),
                });
                self.0.len() - 1
            }
            None => return None,
        };
        let filling = &mut self.0[index];
        let newest = filling.used.back();
        if newest.is_none_or(|(last, _)| run.since(*last) >= STEP) {
            push(&mut filling.used, VALUES, run, all - free);
        }
        let rise = trend(&filling.used, VALUES / 2)?;
        if rise.per_second <= 0.0 || rise.grown < GROWN_MIN * all || free > LEFT_MAX * all {
            return None;
        }
        let left = Duration::from_secs_f64((free / rise.per_second).min(1e9));
        Some(check(mount, of, free, left))
    }
}

fn check(mount: &str, of: Of, free: f64, left: Duration) -> Check {
    let what = match of {
        Of::Space => format!("{} are left at {mount}", bytes(free)),
        Of::Inodes => format!("{free:.0} inodes are left at {mount}"),
    };
    let reached = HORIZON.as_secs_f64() / left.as_secs_f64().max(1.0);
    Check {
        reached,
        severity: Severity::Warning,
        said: format!(
            "short of disk soon: {what}, and at this pace none in about {}",
            duration(left)
        ),
        proof: Proof::derived(
            "node_disk_time_left_seconds",
            "s",
            left.as_secs_f64(),
            (HORIZON.as_secs_f64(), 1e9),
        ),
    }
}

/// From this share on of the file descriptors there may be, programs soon cannot open any.
const FILES_OPEN_MAX: f64 = 0.9;
const FILES_OPEN_CRITICAL: f64 = 0.98;

/// The file descriptors of the whole node.
pub(super) fn files(open: f64, most: f64) -> Option<Check> {
    let share = (most > 0.0).then(|| open / most)?;
    Some(Check {
        reached: share / FILES_OPEN_MAX,
        severity: match share >= FILES_OPEN_CRITICAL {
            true => Severity::Critical,
            false => Severity::Warning,
        },
        said: format!(
            "short of file descriptors: {} of {most:.0} are in use",
            percent(share)
        ),
        proof: Proof::derived("node_files_open_share", "1", share, (0.0, FILES_OPEN_MAX)),
    })
}
