//! Whatever stands on a topic: it is read as it was written, or refused by an error that names it.
#![allow(clippy::unwrap_used)]

mod common;

use bus::Record;
use bytes::Bytes;
use common::*;
use proptest::prelude::*;
use units::*;
use wire::{DecodeProblem, Json, Meta};

fn meta() -> Meta {
    Meta::new("test/1@node-a").within(signal().traceparent)
}

fn any_metrics() -> impl Strategy<Value = MetricRow> {
    proptest::collection::vec(proptest::option::of(-1e18..1e18f64), Metric::COUNT).prop_map(
        |values| {
            let mut row = MetricRow::default();
            for (metric, value) in Metric::ALL.iter().zip(values) {
                row.set_opt(*metric, value);
            }
            row
        },
    )
}

prop_compose! {
    fn any_sample()(
        at_ms in any::<i64>(), service in ".{0,12}", name in "[a-z]{1,8}", metrics in any_metrics(),
        state in 0..6usize, health in 0..4usize,
    ) -> Sample {
        Sample {
            at: Timestamp::from_millis(at_ms),
            service: ServiceId::from(service.as_str()),
            name: ContainerName::from(name.as_str()),
            state: ContainerState::ALL[state],
            health: HealthState::ALL[health],
            metrics,
            ..sample()
        }
    }
}

prop_compose! {
    fn any_line()(at_ms in any::<i64>(), text in ".*", sequence in any::<u64>(), lost_before in any::<u64>()) -> LogLine {
        LogLine {
            at: Timestamp::from_millis(at_ms),
            text,
            sequence,
            lines: (sequence % 3) as u32,
            lost_before,
            limited_before: lost_before / 2,
            trace_id: sequence.is_multiple_of(2).then(|| format!("{sequence:032x}")),
            raw: lost_before.is_multiple_of(2).then(|| vec![0xff; (sequence % 7) as usize]),
            ..line()
        }
    }
}

/// Reads the record as everything there is; the value of each error is looked at.
fn decode_as_everything(record: &Record) {
    fn check<T>(result: Result<T, wire::DecodeError>) {
        if let Err(error) = result {
            let text = error.to_string();
            assert!(text.contains("offset 42"), "{text}");
            assert!(text.contains("homeostat."), "{text}");
        }
    }
    check(wire::decode_samples(record));
    check(wire::decode_telemetry(record));
    check(wire::decode_series(record));
    check(wire::decode_links(record));
    check(wire::decode_logs(record));
    check(wire::decode::<ContainerEvent>(record));
    check(wire::decode::<NodeInventory>(record));
    check(wire::decode::<Signal>(record));
    check(wire::decode::<Feedback>(record));
    check(wire::decode::<Forecast>(record));
    check(wire::decode::<Command>(record));
    check(wire::decode::<Outcome>(record));
    check(wire::decode::<JournalEntry>(record));
    check(wire::decode::<wire::Checkpoint>(record));
    check(wire::decode::<wire::Claim>(record));
    check(wire::decode::<wire::TrainedModel>(record));
}

proptest! {
    #[test]
    fn samples_come_back_as_they_went(rows in proptest::collection::vec(any_sample(), 1..20)) {
        let record = delivered(wire::encode_samples(&rows, 1, &meta()).unwrap());
        prop_assert_eq!(wire::decode_samples(&record).unwrap(), rows);
    }

    #[test]
    fn lines_come_back_as_they_went(lines in proptest::collection::vec(any_line(), 1..20)) {
        let record = delivered(wire::encode_logs(&lines, 1, &meta()).unwrap());
        prop_assert_eq!(wire::decode_logs(&record).unwrap(), lines);
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_read_but_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..512),
        schema in prop::sample::select(vec!["samples/1", "samples/2", "series/1", "links/1", "logs/1", "logs/2", "event/1", "inventory/1", "signal/1", "feedback/1", "forecast/1", "command/1", "outcome/1", "journal/1", "claim/1", "checkpoint/1", "model/1", "x"]),
    ) {
        let mut record = delivered(wire::encode(&signal(), &meta()));
        record.value = Bytes::from(bytes);
        record.headers[0].1 = Bytes::from(schema);
        decode_as_everything(&record);
    }

    #[test]
    fn damaged_batches_never_panic(position in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut record = delivered(wire::encode_samples(&[sample(), stopped_sample()], 1, &meta()).unwrap());
        let mut bytes = record.value.to_vec();
        let at = position.index(bytes.len());
        bytes[at] = byte;
        record.value = Bytes::from(bytes.clone());
        decode_as_everything(&record);
        bytes.truncate(cut.index(bytes.len()));
        record.value = Bytes::from(bytes);
        decode_as_everything(&record);
    }
}

#[test]
fn headers_carry_the_producer_and_the_trace() {
    let record = delivered(wire::encode(&signal(), &meta()));
    assert_eq!(wire::producer(&record), Some("test/1@node-a"));
    assert_eq!(wire::traceparent(&record), signal().traceparent.as_deref());
    assert_eq!(&record.key[..], signal().fingerprint.as_str().as_bytes());
}

#[test]
fn an_unknown_version_is_named_with_where_it_stands_and_what_to_do() {
    let mut record = delivered(wire::encode(&signal(), &meta()));
    record.headers[0].1 = Bytes::from("signal/9");
    let error = wire::decode::<Signal>(&record).unwrap_err();
    assert!(matches!(
        error.problem,
        DecodeProblem::UnknownVersion { .. }
    ));
    assert_eq!(
        error.to_string(),
        "cannot read homeostat.signals/0 offset 42 (schema signal/9): this reader knows signal/1 to signal/1; upgrade it before its writers"
    );
}

#[test]
fn what_has_no_schema_is_not_ours() {
    let mut record = delivered(wire::encode(&signal(), &meta()));
    record.headers.clear();
    let error = wire::decode::<Signal>(&record).unwrap_err();
    assert_eq!(error.problem.reason(), "no_schema");
}

#[test]
fn a_metric_nobody_read_is_absent_and_not_zero() {
    let rows = vec![stopped_sample()];
    let record = delivered(wire::encode_samples(&rows, 0, &meta()).unwrap());
    let read = wire::decode_samples(&record).unwrap();
    assert_eq!(read[0].metrics.get(Metric::CpuUsage), None);
}

#[test]
fn each_schema_has_its_own_name() {
    let names = [
        ContainerEvent::SCHEMA,
        <NodeInventory as Json>::SCHEMA,
        Signal::SCHEMA,
        Forecast::SCHEMA,
        Command::SCHEMA,
        Outcome::SCHEMA,
        JournalEntry::SCHEMA,
        wire::Claim::SCHEMA,
        wire::Checkpoint::SCHEMA,
    ];
    let unique: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(unique.len(), names.len());
}

/// The steps of a move, of an isolation and back.
fn relocating() -> [Action; 4] {
    let (container, name) = (
        ContainerId::from("0123456789abcdef"),
        ContainerName::from("shop-web-1"),
    );
    [
        Action::Export {
            container: container.clone(),
            name: name.clone(),
        },
        Action::CreateReplica {
            template: container.clone(),
            name: name.clone(),
            image: None,
            origin: Some(Origin {
                node: NodeId::from("node-a"),
                sealed: "c2VhbGVk".to_owned(),
            }),
        },
        Action::Isolate {
            container: container.clone(),
            name: name.clone(),
        },
        Action::Rejoin {
            container,
            name,
            networks: vec![attachment()],
        },
    ]
}

fn attachment() -> Attachment {
    Attachment {
        network: "shop_default".to_owned(),
        aliases: vec!["web".to_owned()],
    }
}

#[test]
fn the_steps_of_a_move_and_what_became_of_them_are_read_as_written() {
    let relocation = Relocation {
        container: ContainerId::from("0123456789abcdef"),
        name: ContainerName::from("shop-web-1"),
        from: NodeId::from("node-a"),
        to: NodeId::from("node-b"),
        at: at(4_000),
        lost: false,
    };
    for action in relocating() {
        let step = Step {
            node: NodeId::from("node-b"),
            action,
        };
        let plan = Plan {
            kind: step.action.kind(),
            steps: vec![step],
            relocation: Some(relocation.clone()),
            ..plan()
        };
        let command = plan.commands().next().unwrap();
        let record = delivered(wire::encode(&command, &meta()));
        assert_eq!(wire::decode::<Command>(&record).unwrap(), command);
    }
    let outcome = Outcome {
        result: OutcomeResult::Succeeded {
            created: None,
            previous: None,
            image: None,
            sealed: Some("c2VhbGVk".to_owned()),
            networks: vec![attachment()],
        },
        ..outcome()
    };
    let record = delivered(wire::encode(&outcome, &meta()));
    assert_eq!(wire::decode::<Outcome>(&record).unwrap(), outcome);
}

#[test]
fn a_plan_says_whom_it_makes_room_for_and_reads_where_none_is_said() {
    let entry = |preemption| {
        let entry = PlanEntry {
            at: at(4_000),
            plan: Plan {
                preemption,
                ..plan()
            },
            phase: Phase::Decided,
            outcomes: Vec::new(),
            verdict: None,
        };
        JournalEntry::Plan(Box::new(entry))
    };
    let room = Preemption {
        service: ServiceId::from("shop/web"),
        priority: 200,
        over: 100,
        frees: NodeCapacity {
            cpu: Millicores(250),
            memory: units::Bytes(1 << 20),
        },
        container: Some(ContainerId::from("0123456789abcdef")),
    };
    for preemption in [
        None,
        Some(Preemption {
            container: None,
            ..room.clone()
        }),
        Some(room),
    ] {
        let entry = entry(preemption);
        let record = delivered(wire::encode(&entry, &meta()));
        let text = std::str::from_utf8(&record.value).unwrap();
        let JournalEntry::Plan(known) = &entry else {
            unreachable!("it is one");
        };
        let is_said = known.plan.preemption.is_some();
        assert_eq!(text.contains("preemption"), is_said, "{text}");
        assert_eq!(wire::decode::<JournalEntry>(&record).unwrap(), entry);
    }
}

#[test]
fn a_command_for_one_node_says_nothing_of_others() {
    let mut command = plan().commands().next().unwrap();
    let mut value = |action: Action| {
        command.action = action;
        let record = wire::encode(&command, &meta());
        serde_json::from_slice::<serde_json::Value>(&record.value).unwrap()
    };
    let [_, create, ..] = relocating();
    let Action::CreateReplica { template, name, .. } = create else {
        unreachable!("the second makes one");
    };
    let plain = value(Action::CreateReplica {
        template,
        name,
        image: None,
        origin: None,
    });
    // As every version before wrote it.
    for key in ["origin", "relocation", "image"] {
        assert!(plain.get(key).is_none(), "{key}: {plain}");
    }
}
