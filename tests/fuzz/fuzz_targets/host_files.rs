//! Files of /proc that tell of the whole machine.
#![no_main]

use formats::host::{
    DISKS_MAX, FileHandles, LoadAverage, MOUNTS_MAX, MemInfo, Stat, disks, mounts,
    physical_interfaces, uptime_secs,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = Stat::parse(data);
    let _ = MemInfo::parse(data);
    let _ = LoadAverage::parse(data);
    let _ = FileHandles::parse(data);
    if let Some(uptime) = uptime_secs(data) {
        assert!(uptime.is_finite() && uptime >= 0.0);
    }
    assert!(disks(data).count() <= DISKS_MAX);
    assert!(mounts(data).len() <= MOUNTS_MAX);
    assert!(physical_interfaces(data).count() <= data.len());
});
