//! Secrets in a line: what is called clean has none, and what is replaced is marked.
#![no_main]

use std::borrow::Cow;
use std::sync::LazyLock;

use formats::log::redact::{Redactor, Rules, Switch, Verdict};
use libfuzzer_sys::fuzz_target;

static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| {
    let rules = Rules {
        secrets: Switch::On,
        emails: Switch::On,
        cards: Switch::On,
        ..Rules::default()
    };
    Redactor::new(&rules).expect("no patterns of an operator's")
});

fuzz_target!(|data: &[u8]| {
    let clean = REDACTOR.may_match(data) == Verdict::Clean;
    let (text, replaced) = REDACTOR.redact(Cow::Borrowed(data));
    assert!(!clean || replaced == 0, "{replaced} in what is clean");
    if replaced == 0 {
        assert_eq!(&*text, data);
    } else {
        let mark = b"[redacted:";
        assert!(text.windows(mark.len()).any(|window| window == mark));
    }
});
