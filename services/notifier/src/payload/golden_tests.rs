//! Payloads byte for byte against `tests/golden/payloads`, and within the limits of those who read them.
//!
//! After a change on purpose: `HOMEOSTAT_BLESS=1 cargo test -p notifier golden`, then read the difference.

use std::path::PathBuf;

use serde_json::Value;

use super::*;
use crate::examples;

const ROUTING_KEY: &str = "0123456789abcdef0123456789abcdef";

fn compare(name: &str, message: &Message) {
    let value: Value = serde_json::from_slice(&message.body).unwrap();
    assert!(value.is_object());
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/golden/payloads")
        .join(format!("{name}.json"));
    if std::env::var_os("HOMEOSTAT_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, [&message.body, &b"\n"[..]].concat()).unwrap();
    }
    let expected =
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let body = String::from_utf8_lossy(&message.body);
    assert_eq!(
        body,
        String::from_utf8_lossy(expected.trim_ascii_end()),
        "{name}"
    );
}

#[test]
fn golden_payloads_are_unchanged() {
    for (name, notice) in examples::all() {
        compare(&format!("webhook-{name}"), &webhook::message(&notice));
        compare(&format!("slack-{name}"), &slack::message(&notice));
        let message = pagerduty::message(&notice, ROUTING_KEY);
        compare(&format!("pagerduty-{name}"), &message.unwrap());
    }
}

#[test]
fn a_digest_says_each_in_a_line_within_the_limits() {
    let notices: Vec<_> = examples::all()
        .into_iter()
        .map(|(_, notice)| notice)
        .collect();
    let notices: Vec<_> = notices.iter().collect();
    compare("slack-digest", &slack::digest(&notices));
    let monstrous = examples::monstrous();
    let many: Vec<_> = monstrous
        .iter()
        .cycle()
        .take(crate::lane::MAX_DIGEST)
        .collect();
    let post: Value = serde_json::from_slice(&slack::digest(&many).body).unwrap();
    assert_eq!(slack::complaints(&post), [""; 0]);
}

#[test]
fn a_suggestion_is_no_change_for_pagerduty() {
    let entry = PlanEntry {
        phase: Phase::Suggested,
        ..examples::plan_entry()
    };
    let notice = Notice::Plan(std::sync::Arc::new(entry));
    assert_eq!(pagerduty::message(&notice, ROUTING_KEY), None);
}

#[test]
fn only_a_suggestion_says_how_it_is_approved() {
    for (phase, says) in [(Phase::Suggested, true), (Phase::Decided, false)] {
        let entry = PlanEntry {
            phase,
            ..examples::plan_entry()
        };
        let command = format!("homeostat actions approve {}", entry.plan.id);
        let message = slack::message(&Notice::Plan(std::sync::Arc::new(entry)));
        let body = String::from_utf8_lossy(&message.body).into_owned();
        assert_eq!(body.contains(&command), says, "{body}");
    }
}

#[test]
fn whatever_a_container_says_payloads_stay_within_the_limits() {
    for notice in examples::monstrous() {
        let body = webhook::message(&notice).body;
        assert!(
            body.len() <= webhook::MAX_BODY_BYTES,
            "webhook of {} bytes",
            body.len()
        );

        let post: Value = serde_json::from_slice(&slack::message(&notice).body).unwrap();
        assert_eq!(slack::complaints(&post), [""; 0], "{}", notice.event_type());

        let event = pagerduty::message(&notice, ROUTING_KEY).unwrap();
        assert!(event.body.len() <= pagerduty::MAX_BODY_BYTES);
        let event: Value = serde_json::from_slice(&event.body).unwrap();
        let summary = event["payload"]["summary"].as_str().unwrap_or("resolve");
        assert!(summary.chars().count() <= 1_024);
        let key = event["dedup_key"].as_str().unwrap_or("change");
        assert!(key.len() <= 255);
    }
}

#[test]
fn nothing_from_a_container_reaches_slack_as_markup() {
    for (_, notice) in examples::all() {
        let post = String::from_utf8(slack::message(&notice).body).unwrap();
        assert!(!post.contains("<!channel>"), "{post}");
        let markup = post.matches('<').count();
        assert_eq!(markup, post.matches("<!date^").count(), "{post}");
    }
}
