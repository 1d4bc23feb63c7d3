//! Deliveries against receivers that speak the protocols with their errors and limits.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bus::NewRecord;
use hmac::{Hmac, KeyInit, Mac};
use kit::config::HumanDuration;
use notifier::{Config, Kind};
use sha2::Sha256;
use support::{
    Answer, DEADLINE, Got, Receiver, Running, SIGNING_SECRET, eventually, log, publish,
    publish_signals, signal,
};
use units::SignalPhase::{Open, Resolve, Update};
use units::{
    Action, ActionKind, Cause, Check, ContainerId, ContainerName, Expectation, Generation,
    JournalEntry, Mode, NodeId, Phase, Plan, PlanEntry, PlanId, ServiceId, Severity, Step,
    Timestamp,
};

fn header<'a>(got: &'a Got, name: &str) -> &'a str {
    got.headers[name].to_str().unwrap()
}

fn plan(phase: Phase) -> JournalEntry {
    let at = Timestamp::from_millis(1_790_000_005_000);
    let service = ServiceId::from("web");
    JournalEntry::Plan(Box::new(PlanEntry {
        at,
        plan: Plan {
            relocation: None,
            preemption: None,
            id: PlanId::of(&service, "restart", at),
            generation: Generation(3),
            service,
            kind: ActionKind::Restart,
            mode: Mode::Act,
            created_at: at,
            deadline: at + Duration::from_secs(60),
            cause: Cause {
                signals: Vec::new(),
                reason: "it hangs".to_owned(),
            },
            steps: vec![Step {
                node: NodeId::from("node-a"),
                action: Action::Restart {
                    container: ContainerId::from("4f1d2c3b4a59"),
                    name: ContainerName::from("web"),
                    grace: Duration::from_secs(10),
                },
            }],
            expected: Expectation {
                text: "the signal resolves".to_owned(),
                check: Check::NoOverload,
                within: Duration::from_secs(60),
            },
            alternatives: Vec::new(),
            undo_of: None,
            approval: None,
            update: None,
            traceparent: None,
        },
        phase,
        outcomes: Vec::new(),
        verdict: None,
    }))
}

#[tokio::test]
async fn a_webhook_is_signed_tried_again_with_the_same_id_and_kept_in_order() {
    let receiver =
        Receiver::start(Kind::Webhook, &[Answer::Status(500), Answer::Status(502)]).await;
    let bus = log().await;
    let running = Running::start(&bus, &[("ops", receiver.sink())]);
    publish(&bus, &signal("web", Open, 0)).await;
    receiver.wait_taken(1).await;
    publish(&bus, &signal("web", Resolve, 9_000)).await;
    assert_eq!(
        receiver.wait_taken(2).await,
        ["signal.opened", "signal.resolved"]
    );

    let got = receiver.got();
    assert_eq!(got.len(), 4, "two of them in vain");
    let id = header(&got[0], "webhook-id");
    assert!(got[..3].iter().all(|it| header(it, "webhook-id") == id));
    assert_ne!(header(&got[3], "webhook-id"), id);
    for it in &got {
        let key = STANDARD
            .decode(SIGNING_SECRET.strip_prefix("whsec_").unwrap())
            .unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        let signed = format!(
            "{}.{}.",
            header(it, "webhook-id"),
            header(it, "webhook-timestamp")
        );
        mac.update(signed.as_bytes());
        mac.update(&it.raw);
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        assert_eq!(header(it, "webhook-signature"), expected);
        assert_eq!(header(it, "content-type"), "application/json");
    }
    assert_eq!(
        running.metric("homeostat_delivery_failures_total{sink=\"ops\",reason=\"server_error\"}"),
        Some(2.0)
    );
    running.stop().await;
}

#[tokio::test]
async fn slack_is_paced_and_its_retry_after_is_honoured() {
    let receiver = Receiver::start(Kind::Slack, &[Answer::RetryAfter(429, 2)]).await;
    let bus = log().await;
    let running = Running::start(&bus, &[("team", receiver.sink())]);
    publish_signals(&bus, &[signal("a", Open, 0), signal("b", Open, 0)]).await;
    receiver.wait_taken(2).await;
    let got = receiver.got();
    assert!(
        got[1].at - got[0].at >= Duration::from_secs(2),
        "the pause it asked for"
    );
    assert!(
        got[2].at - got[1].at >= Duration::from_millis(900),
        "one message a second"
    );
    running.stop().await;
}

#[tokio::test]
async fn what_queues_for_slack_goes_out_in_one_message() {
    let receiver = Receiver::start(Kind::Slack, &[]).await;
    let bus = log().await;
    let running = Running::start(&bus, &[("team", receiver.sink())]);
    for index in 0..16 {
        publish(&bus, &signal(&format!("service-{index}"), Open, 0)).await;
    }
    let delivered = "homeostat_deliveries_total{sink=\"team\",result=\"delivered\"}";
    eventually("all told", || running.metric(delivered) == Some(16.0)).await;
    let taken = receiver.taken();
    assert!(taken.len() <= 6, "{taken:?}");
    let digest = taken
        .iter()
        .find(|text| text.contains("notifications: "))
        .unwrap();
    assert!(digest.contains("[critical] hang: service-"), "{digest}");
    running.stop().await;
}

#[tokio::test]
async fn pagerduty_gets_triggers_changes_and_resolves_of_one_incident() {
    let receiver = Receiver::start(Kind::PagerDuty, &[]).await;
    let bus = log().await;
    let running = Running::start(&bus, &[("duty", receiver.sink())]);
    publish(&bus, &signal("web", Open, 0)).await;
    receiver.wait_taken(1).await;
    publish(&bus, &plan(Phase::Suggested)).await;
    publish(&bus, &plan(Phase::Decided)).await;
    receiver.wait_taken(2).await;
    publish(&bus, &signal("web", Resolve, 9_000)).await;
    assert_eq!(
        receiver.wait_taken(3).await,
        ["trigger", "change", "resolve"]
    );
    let got = receiver.got();
    assert_eq!(got[1].path, "/v2/change/enqueue");
    assert_eq!(got[0].body["dedup_key"], got[2].body["dedup_key"]);
    assert!(got[0].body["dedup_key"].is_string());
    running.stop().await;
}

#[tokio::test]
async fn a_resolve_whose_trigger_was_refused_is_not_sent() {
    let receiver =
        Receiver::start(Kind::PagerDuty, &[Answer::Status(202), Answer::Status(400)]).await;
    let bus = log().await;
    let running = Running::start(&bus, &[("duty", receiver.sink())]);
    // What is there when reading begins might have been told by a process that was killed; this is not about that.
    publish(&bus, &signal("first", Open, 0)).await;
    receiver.wait_got(1).await;
    publish(&bus, &signal("web", Open, 0)).await;
    receiver.wait_got(2).await;
    publish(&bus, &signal("web", Resolve, 9_000)).await;
    publish(&bus, &signal("db", Open, 0)).await;
    receiver.wait_taken(2).await;
    let got = receiver.got();
    assert_eq!(got.len(), 3);
    assert_eq!(got[2].body["payload"]["component"], "db");
    let failed = "homeostat_deliveries_total{sink=\"duty\",result=\"failed\"}";
    assert_eq!(running.metric(failed), Some(1.0));
    let suppressed =
        "homeostat_deliveries_suppressed_total{sink=\"duty\",reason=\"trigger_undelivered\"}";
    assert_eq!(running.metric(suppressed), Some(1.0));
    running.stop().await;
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_in_time_is_tried_again() {
    let slow = Answer::Slow(Duration::from_secs(5));
    let receiver = Receiver::start(Kind::Webhook, &[slow]).await;
    let bus = log().await;
    let running = Running::start(&bus, &[("ops", receiver.sink())]);
    publish(&bus, &signal("web", Open, 0)).await;
    assert_eq!(receiver.wait_taken(1).await, ["signal.opened"]);
    let no_answer = "homeostat_delivery_failures_total{sink=\"ops\",reason=\"no_answer\"}";
    assert_eq!(running.metric(no_answer), Some(1.0));
    running.stop().await;
}

#[tokio::test]
async fn a_sink_that_is_gone_is_left_alone() {
    let receiver = Receiver::start(Kind::Webhook, &vec![Answer::Status(410); 50]).await;
    let bus = log().await;
    let running = Running::start(&bus, &[("ops", receiver.sink())]);
    for index in 0..20 {
        publish(&bus, &signal(&format!("service-{index}"), Open, 0)).await;
    }
    let failed = "homeostat_deliveries_total{sink=\"ops\",result=\"failed\"}";
    eventually("all given up", || running.metric(failed) == Some(20.0)).await;
    assert_eq!(receiver.got().len(), 5, "a few refusals are enough");
    running.stop().await;
}

#[tokio::test]
async fn what_was_not_delivered_before_the_end_is_delivered_after_it() {
    let receiver = Receiver::start(Kind::Webhook, &[Answer::RetryAfter(503, 600)]).await;
    let bus = log().await;
    let running = Running::start(&bus, &[("ops", receiver.sink())]);
    publish(&bus, &signal("web", Open, 0)).await;
    let first = receiver.wait_got(1).await;
    running.stop().await;

    let again = Running::start(&bus, &[("ops", receiver.sink())]);
    assert_eq!(receiver.wait_taken(1).await, ["signal.opened"]);
    let got = receiver.got();
    assert_eq!(
        header(&got[1], "webhook-id"),
        header(&first[0], "webhook-id")
    );
    again.stop().await;
}

#[tokio::test]
async fn a_new_process_resolves_what_the_one_before_it_opened_and_repeats_nothing() {
    let receiver = Receiver::start(Kind::Webhook, &[]).await;
    let bus = log().await;
    let sinks = [("ops", receiver.sink())];
    let running = Running::start(&bus, &sinks);
    // Critical once, so the sink knows of it; its end is told although it is a warning by then.
    let mut opened = [signal("web", Open, 0), signal("web", Update, 1_000)];
    opened[1].severity = Severity::Warning;
    publish(&bus, &opened[0]).await;
    receiver.wait_taken(1).await;
    publish(&bus, &opened[1]).await;
    receiver.wait_taken(2).await;
    running.stop().await;

    let mut sink = receiver.sink();
    sink.min_severity = Severity::Critical;
    let again = Running::start(&bus, &[("ops", sink)]);
    let mut resolve = signal("web", Resolve, 9_000);
    resolve.severity = Severity::Warning;
    publish_signals(&bus, &[opened[0].clone(), opened[1].clone(), resolve]).await;
    let taken = receiver.wait_taken(3).await;
    assert_eq!(
        taken,
        ["signal.opened", "signal.changed", "signal.resolved"]
    );
    again.stop().await;
}

#[tokio::test]
async fn one_sink_that_is_away_does_not_hold_up_another() {
    let away = Receiver::start(Kind::Webhook, &vec![Answer::RetryAfter(503, 600); 9]).await;
    let there = Receiver::start(Kind::Webhook, &[]).await;
    let bus = log().await;
    let running = Running::start(&bus, &[("away", away.sink()), ("there", there.sink())]);
    publish_signals(&bus, &[signal("a", Open, 0), signal("b", Open, 0)]).await;
    there.wait_taken(2).await;
    assert_eq!(away.taken(), [""; 0]);
    let waiting = "homeostat_delivery_queue{sink=\"away\"}";
    eventually("one waits", || running.metric(waiting) == Some(1.0)).await;
    running.stop().await;
}

#[tokio::test]
async fn records_nobody_can_read_are_put_aside() {
    let receiver = Receiver::start(Kind::Webhook, &[]).await;
    let bus = log().await;
    let running = Running::start(&bus, &[("ops", receiver.sink())]);
    for _ in 0..2 {
        let record = NewRecord {
            topic: wire::topic::SIGNALS.into(),
            key: "k".into(),
            value: "{half".into(),
            headers: Vec::new(),
            partition: None,
        };
        bus.produce(record).await.unwrap();
    }
    publish(&bus, &signal("web", Open, 0)).await;
    receiver.wait_taken(1).await;
    let put_aside =
        "homeostat_decode_failures_total{topic=\"homeostat.signals\",reason=\"no_schema\"}";
    assert_eq!(running.metric(put_aside), Some(2.0));
    running.stop().await;
}

#[tokio::test]
async fn what_is_too_old_is_not_told_and_neither_is_its_end() {
    let receiver = Receiver::start(Kind::Webhook, &[]).await;
    let bus = log().await;
    publish(&bus, &signal("web", Open, 0)).await;
    let sinks = [("ops".to_owned(), receiver.sink())].into_iter().collect();
    let max_age = HumanDuration::from_secs(4);
    let written = Instant::now();
    eventually("it is older than that", || {
        written.elapsed() > Duration::from_secs(5)
    })
    .await;
    let running = Running::with(&bus, Config { sinks, max_age });
    let stale = "homeostat_deliveries_suppressed_total{sink=\"ops\",reason=\"stale\"}";
    eventually("seen", || running.metric(stale) == Some(1.0)).await;
    publish_signals(
        &bus,
        &[signal("web", Resolve, 9_000), signal("db", Open, 0)],
    )
    .await;
    assert_eq!(receiver.wait_taken(1).await, ["signal.opened"]);
    assert_eq!(receiver.got()[0].body["data"]["service"], "db");
    running.stop().await;
}

#[tokio::test]
async fn without_sinks_it_waits_for_its_end() {
    let running = Running::start(&log().await, &[]);
    running.stop().await;
}

#[tokio::test]
async fn a_sink_that_cannot_be_used_is_named() {
    let mut sink = Receiver::start(Kind::Slack, &[]).await.sink();
    sink.url = None;
    let context = kit::Context::new(log().await, "notifier", "node-a");
    let sinks = [("team".to_owned(), sink)].into_iter().collect();
    let config = Config {
        sinks,
        ..Config::default()
    };
    let error = notifier::run(config, context).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "notifier.sinks.team.url: a slack sink needs the address of its incoming webhook; \
         `homeostat config check` lists all problems"
    );
}

#[tokio::test]
async fn a_probe_says_whether_a_sink_takes_messages() {
    let receiver = Receiver::start(Kind::Slack, &[Answer::Status(404)]).await;
    let sinks = [("team".to_owned(), receiver.sink())].into_iter().collect();
    let config = Config {
        sinks,
        ..Config::default()
    };
    let refused = notifier::probe(&config, "team")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.starts_with("sink team did not take the test message: gone: 404"),
        "{refused}"
    );
    assert!(!refused.contains("secret-part"), "{refused}");
    let receipt = tokio::time::timeout(DEADLINE, notifier::probe(&config, "team")).await;
    assert_eq!(receipt.unwrap().unwrap().kind, "slack");
    let unknown = notifier::probe(&config, "tema")
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(unknown, "there is no sink tema; configured are: team");
}

/// Whenever it is killed, everything is told, and in order: ids are the same each time, so what is told twice is seen.
#[tokio::test]
async fn killed_at_any_moment_it_loses_nothing_and_keeps_the_order() {
    const SIGNALS: usize = 40;
    let receiver = Receiver::start(Kind::Webhook, &[]).await;
    let bus = log().await;
    let service = |index| format!("service-{index}");
    let mut waits = kit::backoff::Backoff::new(
        Duration::from_millis(120),
        Duration::from_millis(240),
        0x6e6f_7469_6679,
    );
    for phase in [Open, Resolve] {
        for index in 0..SIGNALS {
            publish(&bus, &signal(&service(index), phase, 9_000)).await;
        }
        let told = || {
            let got = receiver.got();
            let of_phase = got.iter().filter(|it| match phase {
                Open | Update => it.body["type"] == "signal.opened",
                Resolve => it.body["type"] == "signal.resolved",
            });
            of_phase
                .map(|it| header(it, "webhook-id").to_owned())
                .collect::<BTreeSet<_>>()
        };
        let end = Instant::now() + DEADLINE;
        while told().len() < SIGNALS {
            assert!(Instant::now() < end, "{} of {SIGNALS} told", told().len());
            let running = Running::start(&bus, &[("ops", receiver.sink())]);
            let life = waits.next().unwrap_or_default();
            tokio::time::sleep(life).await;
            running.kill().await;
        }
        assert_eq!(told().len(), SIGNALS, "nothing that did not happen is told");
    }
    let mut ended = BTreeSet::new();
    for got in receiver.got() {
        let service = got.body["data"]["service"].as_str().unwrap().to_owned();
        match got.body["type"].as_str() {
            Some("signal.resolved") => {
                ended.insert(service);
            }
            _ => assert!(
                !ended.contains(&service),
                "{service} was opened after its end"
            ),
        }
    }
}
