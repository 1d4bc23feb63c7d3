//! A controller is killed after each record of a move and of an update, of those that come to their end and of those that go back, one
//! record at a time. Another leads at once: it ends what was begun, leaves no container over, and meanwhile as many serve as before.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use golden::{Played, play_killed};

/// Comes to its end undisturbed, and to the same one whenever the controller is killed.
fn ends_alike(name: &str, expected: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("crash/{name}.script"));
    let script = std::fs::read_to_string(script).unwrap();
    let undisturbed = play_killed(&script, usize::MAX);
    assert_eq!(undisturbed.left, expected, "{}", undisturbed.said);
    let steps = undisturbed.records;
    for after in 1..=steps {
        let Played {
            said,
            records,
            left,
            open,
            fewest,
        } = play_killed(&script, after);
        assert!(said.contains("--- killed"), "{name}: after {after}\n{said}");
        assert!(records >= steps, "{name}: after {after}\n{said}");
        assert_eq!(left, expected, "{name}: after {after}\n{said}");
        assert_eq!(open, 0, "{name}: after {after}\n{said}");
        assert_eq!(fewest, undisturbed.fewest, "{name}: after {after}\n{said}");
    }
    println!("{name}: killed after each of {steps} records");
}

#[test]
fn a_move_ends_alike_after_whichever_record_the_controller_is_killed() {
    let expected = [
        "db on node-b: app:1 running",
        "web on node-a: app:1 exited",
        "web on node-b: app:1 running",
    ];
    ends_alike("move", &expected);
}

#[test]
fn an_update_ends_alike_after_whichever_record_the_controller_is_killed() {
    let expected = [
        "web-1 on node-a: app:2 running",
        "web-2 on node-b: app:2 running",
    ];
    ends_alike("update", &expected);
}

#[test]
fn a_move_goes_back_alike_after_whichever_record_the_controller_is_killed() {
    let expected = [
        "db on node-b: app:1 running",
        "web on node-a: app:1 running",
    ];
    ends_alike("move_back", &expected);
}

#[test]
fn an_update_goes_back_alike_after_whichever_record_the_controller_is_killed() {
    let expected = [
        "web-1 on node-a: app:1 running",
        "web-2 on node-b: app:1 running",
    ];
    ends_alike("update_back", &expected);
}
