//! Files of a cgroup or a process. Whatever they hold, each parser reads what it knows and leaves the rest.
#![no_main]

use formats::kernel::{
    CpuStat, IoStat, MemoryEvents, MemoryStat, Operations, Pressure, cfs_limit, cpu_max, find,
    interfaces, limit, net_dev, number,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = CpuStat::parse(data);
    let _ = CpuStat::parse_cpuacct(data);
    let _ = MemoryStat::parse_v1(data);
    let _ = MemoryStat::parse_v2(data);
    let _ = MemoryEvents::parse(data);
    let _ = Operations::parse(data);
    let _ = IoStat::parse(data);
    let _ = Pressure::parse(data);
    let _ = (number(data), limit(data), net_dev(data));
    let _ = find(data, [b"usage_usec", b"anon"]);
    assert!(interfaces(data).count() <= data.len());
    let (quota, period) = data.split_at(data.len() / 2);
    for cores in [cfs_limit(quota, period), cpu_max(data)]
        .into_iter()
        .flatten()
    {
        assert!(cores.is_finite() && cores >= 0.0, "{cores} cores");
    }
});
