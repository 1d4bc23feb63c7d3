//! Pages of applications in both formats, and the label that names them.
#![no_main]

use formats::scrape::{Format, Limits, TARGETS_MAX, parse, targets};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    bytes_max: 4096,
    series_max: 16,
    series_bytes_max: 256,
};

fuzz_target!(|data: &[u8]| {
    for format in [Format::Prometheus, Format::OpenMetrics] {
        let mut given = 0;
        parse(data, format, &LIMITS, |point| {
            given += 1;
            let _ = point.labels.identity();
            assert!(point.labels.iter().count() <= LIMITS.series_bytes_max);
        });
        assert!(given <= LIMITS.series_max);
    }
    if let Ok(label) = std::str::from_utf8(data)
        && let Ok(found) = targets(label)
    {
        assert!(found.len() <= TARGETS_MAX);
        for target in found {
            let path = target.path();
            assert!(path.starts_with('/') && !path.contains([' ', '\r', '\n']));
        }
    }
});
