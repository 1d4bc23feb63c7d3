//! What a miner promises, on lines of every kind.
#![allow(clippy::unwrap_used)]

use logs::{Match, Novelty, Settings, TemplateId, TemplateMiner};
use proptest::prelude::*;
use units::{LogSeverity, Timestamp};

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(second * 1_000)
}

fn see(miner: &mut TemplateMiner, line: &str) -> Match {
    miner.observe(at(0), LogSeverity::Info, line)
}

fn text(miner: &TemplateMiner, id: TemplateId) -> String {
    miner.template(id).unwrap().text()
}

fn few() -> Settings {
    Settings {
        max_templates: 16,
        ..Settings::default()
    }
}

#[test]
fn values_make_no_new_template() {
    let mut miner = TemplateMiner::new(Settings::default());
    let first = see(
        &mut miner,
        "took 12 ms to send 5.2 KB to 10.0.0.7:80 for user ann",
    );
    let again = see(
        &mut miner,
        "took 7 s to send 11 MB to 10.0.0.9:8080 for user bob",
    );
    assert_eq!(first.novelty, Novelty::New);
    assert_eq!((again.id, again.novelty), (first.id, Novelty::Known));
    assert_eq!(
        text(&miner, first.id),
        "took <*> to send <*> to <*> for user <*>"
    );
}

#[test]
fn one_word_apart_is_two_templates() {
    let mut miner = TemplateMiner::new(Settings::default());
    let started = see(&mut miner, "VM Started (Lifecycle Event)");
    let paused = see(&mut miner, "VM Paused (Lifecycle Event)");
    assert_ne!(started.id, paused.id);
    assert_eq!(paused.novelty, Novelty::New);
}

#[test]
fn a_position_of_many_words_becomes_a_value_and_old_ids_still_resolve() {
    let mut miner = TemplateMiner::new(Settings::default());
    let names = ["ann", "bob", "cid", "dan", "eva"];
    let seen: Vec<Match> = names
        .iter()
        .map(|name| see(&mut miner, &format!("login of {name} refused")))
        .collect();
    assert!(seen[..4].iter().all(|seen| seen.novelty == Novelty::New));
    assert_eq!(seen[4].novelty, Novelty::Merged);
    assert_eq!(seen[4].id, seen[0].id);
    assert_eq!(text(&miner, seen[0].id), "login of <*> refused");
    assert!(seen.iter().all(|one| miner.resolve(one.id) == seen[0].id));
    assert_eq!(miner.template(seen[0].id).unwrap().counts().lines, 5);
    assert_eq!(
        see(&mut miner, "login of fay refused").novelty,
        Novelty::Known
    );
    assert_eq!(miner.merged(), 4);
}

#[test]
fn the_value_of_a_key_stays_legible() {
    let mut miner = TemplateMiner::new(Settings::default());
    let mut last = None;
    for user in ["root", "ftp", "git", "mail", "news"] {
        last = Some(see(&mut miner, &format!("refused; tty=ssh user={user}")));
    }
    assert_eq!(text(&miner, last.unwrap().id), "refused; tty=ssh user=<*>");
}

#[test]
fn quoted_values_are_values_and_quoted_messages_are_not() {
    let mut miner = TemplateMiner::new(Settings::default());
    let one = see(&mut miner, r#"lock taken, tag="View Lock", by=ui"#);
    let other = see(&mut miner, r#"lock taken, tag="a \"b\" c", by=ui"#);
    assert_eq!(one.id, other.id);
    assert_eq!(text(&miner, one.id), "lock taken, tag=<*> by=ui");
    let started = see(&mut miner, r#"level=info msg="cart started""#);
    let stopped = see(&mut miner, r#"level=info msg="cart stopped""#);
    assert_ne!(started.id, stopped.id);
}

#[test]
fn lists_of_any_length_are_one_value() {
    let mut miner = TemplateMiner::new(Settings::default());
    let short = see(&mut miner, "delete blk_1");
    let long = see(&mut miner, &format!("delete {}", "blk_-77 ".repeat(300)));
    assert_eq!(short.id, long.id);
}

#[test]
fn a_template_keeps_rate_example_and_level() {
    let mut miner = TemplateMiner::new(Settings::default());
    miner.observe(
        at(20),
        LogSeverity::Info,
        "2026-01-02 03:04:05 INFO disk 1 is slow",
    );
    let seen = miner.observe(at(10), LogSeverity::Error, "disk 2 is slow");
    miner.observe(at(30), LogSeverity::Info, "disk 3 is slow");
    let template = miner.template(seen.id).unwrap();
    let counts = template.counts();
    assert_eq!((counts.lines, counts.severity), (3, LogSeverity::Error));
    assert_eq!((counts.first_seen, counts.last_seen), (at(10), at(30)));
    assert_eq!(
        template.example(),
        "2026-01-02 03:04:05 INFO disk 1 is slow"
    );
}

#[test]
fn the_message_inside_json_is_what_counts() {
    let mut miner = TemplateMiner::new(Settings::default());
    let one = see(
        &mut miner,
        r#"{"ts":1,"level":"info","msg":"cart 7 is full","by":"ann"}"#,
    );
    let other = see(&mut miner, r#"{"ts":2,"msg":"cart 8 is full"}"#);
    assert_eq!(one.id, other.id);
    assert_eq!(text(&miner, one.id), "cart <*> is full");
}

#[test]
fn the_least_useful_are_forgotten_and_counted() {
    let mut miner = TemplateMiner::new(few());
    let often: Vec<_> = (0..9)
        .map(|_| see(&mut miner, "a line that comes often"))
        .collect();
    for word in 0..500_u32 {
        let letters: String = word
            .to_string()
            .bytes()
            .map(|digit| char::from(digit + 50))
            .collect();
        see(
            &mut miner,
            &format!("{letters} begins {letters} and ends {letters}"),
        );
        assert!(miner.templates().count() <= 16);
    }
    assert_eq!(miner.evicted() as usize + miner.templates().count(), 501);
    assert_eq!(
        see(&mut miner, "a line that comes often"),
        Match {
            id: often[0].id,
            novelty: Novelty::Known,
        }
    );
}

#[test]
fn random_text_of_one_form_takes_no_more_than_its_bucket() {
    let mut miner = TemplateMiner::new(Settings::default());
    let mut state = 1_u64;
    for _ in 0..1_000 {
        let mut word = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let letters = (0..6).map(|at| char::from(b'a' + (state >> (16 + at * 5)) as u8 % 26));
            letters.collect::<String>()
        };
        let line = format!("dump {} {} {}", word(), word(), word());
        see(&mut miner, &line);
        assert!(miner.templates().count() <= 128);
    }
    assert!(miner.evicted() > 0);
}

/// Lines that share words, so that templates meet, widen, merge and are evicted.
fn speech() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => prop::sample::select(vec!["disk", "user", "for", "is", "full", "a.b", "c.d", "state=", "()", "12", "ms", "up", "down"])
            .prop_map(str::to_owned),
        1 => "[a-z]{1,3}",
        1 => "\\PC{1,6}",
    ];
    prop::collection::vec(word, 0..7).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn no_text_is_too_odd(lines in prop::collection::vec(any::<String>(), 1..20)) {
        let mut miner = TemplateMiner::new(few());
        for line in &lines {
            let seen = see(&mut miner, line);
            prop_assert!(miner.template(seen.id).is_some());
        }
    }

    #[test]
    fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..6_000)) {
        let mut miner = TemplateMiner::new(few());
        for line in String::from_utf8_lossy(&bytes).split('\n') {
            see(&mut miner, line);
            see(&mut miner, &format!("2026-01-02 03:04:05 INFO [{line}"));
            see(&mut miner, &format!("Jan 2 03:04:05 {line}"));
            see(&mut miner, &format!("{{\"msg\":\"{line}\"}}"));
        }
    }

    #[test]
    fn bounds_hold(lines in prop::collection::vec("[a-z ]{0,300}", 1..60)) {
        let settings = Settings { max_templates: 16, max_tokens: 8, max_line_bytes: 100 };
        let mut miner = TemplateMiner::new(settings);
        for line in &lines {
            see(&mut miner, line);
            prop_assert!(miner.templates().count() <= 16);
            prop_assert!(miner.memory_bytes() < 16 * 6 * 1_024);
        }
        for template in miner.templates() {
            prop_assert!(template.text().split(' ').count() <= 9);
            prop_assert!(template.example().len() <= 100);
        }
    }

    #[test]
    fn what_was_said_again_is_known(lines in prop::collection::vec(speech(), 1..15)) {
        let mut miner = TemplateMiner::new(Settings::default());
        for line in &lines {
            let first = see(&mut miner, line);
            let again = see(&mut miner, line);
            prop_assert_eq!(again, Match { id: first.id, novelty: Novelty::Known });
        }
        let counted: u64 = miner.templates().map(|template| template.counts().lines).sum();
        prop_assert_eq!(counted, miner.lines());
    }

    #[test]
    fn a_state_goes_on_as_if_never_written(
        before in prop::collection::vec(speech(), 0..60),
        after in prop::collection::vec(speech(), 0..60),
    ) {
        let mut miner = TemplateMiner::new(few());
        for line in &before {
            see(&mut miner, line);
        }
        let bytes = postcard::to_stdvec(&miner).unwrap();
        let mut restored: TemplateMiner = postcard::from_bytes(&bytes).unwrap();
        for line in &after {
            prop_assert_eq!(see(&mut miner, line), see(&mut restored, line));
        }
        prop_assert_eq!(
            postcard::to_stdvec(&miner).unwrap(),
            postcard::to_stdvec(&restored).unwrap()
        );
    }
}
