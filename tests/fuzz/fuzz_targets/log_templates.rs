//! Templates of lines: each line has one, in any order of lines, within the bounds, and a second miner finds the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use logs::{Novelty, Settings, TemplateMiner};
use units::{LogSeverity, Timestamp};

/// Few, so that templates are merged and forgotten within one input.
const SETTINGS: Settings = Settings {
    max_templates: 16,
    max_tokens: 16,
    max_line_bytes: 256,
};
const EXAMPLE_BYTES_MAX: usize = 512;
const TEMPLATE_BYTES_MAX: usize = 8 * 1024;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut miner = TemplateMiner::new(SETTINGS);
    let mut other = TemplateMiner::new(SETTINGS);
    for (number, line) in (0..).zip(text.split('\n')) {
        let at = Timestamp::from_millis(number);
        let found = miner.observe(at, LogSeverity::Info, line);
        assert_eq!(other.observe(at, LogSeverity::Info, line), found);
        let template = miner.template(found.id).expect("a line has a template");
        assert_eq!(template.id(), found.id, "a line's template stands for itself");
        assert!(template.example().len() <= EXAMPLE_BYTES_MAX);
        assert!(template.memory_bytes() <= TEMPLATE_BYTES_MAX);
        assert_eq!(template.counts().last_seen, at);
        if found.novelty == Novelty::New {
            assert_eq!(template.counts().lines, 1);
            assert!(line.starts_with(template.example()));
        }
        // The same line again is of the same template, which is known by then.
        let again = miner.observe(at, LogSeverity::Info, line);
        assert_eq!((again.id, again.novelty), (found.id, Novelty::Known));
        other.observe(at, LogSeverity::Info, line);
        assert!(miner.templates().count() <= SETTINGS.max_templates);
    }
    assert!(miner == other, "the same lines make the same miner");
});
