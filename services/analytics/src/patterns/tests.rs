//! A service learns, what breaks its pattern is found, and whoever goes on from a checkpoint finds the same.

use detect::{NodeWatch, Settings};
use train::{Artefact, Averager, History, Pasts, Renewal, TrainSettings, renew, train};
use units::{Metric, Severity, Signal, SignalKind, SignalPhase};

use super::*;
use crate::checkpoint::{self, Positions, Slot};
use crate::core::{Core, Effect, Event};

#[path = "../../tests/story/mod.rs"]
mod story;
use story::{Life, Mood, SERVICE, STEP_S, at};

const HOUR_S: i64 = 3_600;

fn step(core: &mut Core, life: &mut Life, mood: Mood) -> Vec<Effect> {
    let rows = life.step(mood);
    let event = Event::Samples {
        rows,
        traceparent: None,
    };
    core.handle(life.now(), NodeWatch::Other, event)
}

fn run(core: &mut Core, life: &mut Life, seconds: i64, mood: Mood) -> Vec<Effect> {
    (0..seconds / STEP_S)
        .flat_map(|_| step(core, life, mood))
        .collect()
}

fn rows(effects: &[Effect]) -> Vec<Averaged> {
    let row = |effect: &Effect| match effect {
        Effect::Learn(row) => Some(row.clone()),
        Effect::Signal(_) | Effect::Forecast { .. } => None,
    };
    effects.iter().filter_map(row).collect()
}

fn unusual(effects: &[Effect]) -> Vec<&Signal> {
    let signals = effects.iter().filter_map(|effect| match effect {
        Effect::Signal(signal) => Some(signal),
        Effect::Forecast { .. } | Effect::Learn(_) => None,
    });
    let unusual = signals.filter(|signal| signal.kind == SignalKind::UnusualPattern);
    unusual.collect()
}

fn history(rows: &[Averaged]) -> History {
    let mut pasts = Pasts::new(100_000);
    rows.iter().for_each(|row| pasts.push(row));
    pasts.get(&SERVICE.into()).unwrap().history()
}

fn model(history: &History, present: Option<&Artefact>) -> Arc<Artefact> {
    let how = (TrainSettings::default(), 1);
    match renew(&SERVICE.into(), history, how, present, at(0)).unwrap() {
        Renewal::Taken { artefact, .. } => Arc::new(*artefact),
        Renewal::Kept { why, .. } => panic!("it was not taken: {why}"),
    }
}

/// A core that lived for four hours and has a model of them.
fn learned() -> (Core, Life, Arc<Artefact>) {
    let mut core = Core::new(Settings::default());
    let mut life = Life::new(7);
    let effects = run(&mut core, &mut life, 4 * HOUR_S, Mood::Ordinary);
    assert!(unusual(&effects).is_empty(), "there was no model");
    let rows = rows(&effects);
    assert_eq!(
        rows.len(),
        2 * 4 * 360,
        "one for each ten seconds and container"
    );
    let model = model(&history(&rows), None);
    core.handle(
        life.now(),
        NodeWatch::Other,
        Event::Model(Arc::clone(&model)),
    );
    (core, life, model)
}

#[test]
fn a_broken_relation_is_found_and_ordinary_life_is_not() {
    let (mut core, mut life, _) = learned();
    let ordinary = run(&mut core, &mut life, 6 * HOUR_S, Mood::Ordinary);
    assert_eq!(unusual(&ordinary), Vec::<&Signal>::new());
    let broken_at = life.now();
    let broken = run(&mut core, &mut life, 300, Mood::Idle);
    let others = broken.iter().filter(|effect| {
        matches!(effect, Effect::Signal(signal) if signal.kind != SignalKind::UnusualPattern)
    });
    assert_eq!(others.count(), 0, "each metric is in its range");
    let found = unusual(&broken);
    let open = found.first().unwrap();
    assert_eq!(open.phase, SignalPhase::Open);
    assert_eq!(open.severity, Severity::Info);
    assert_eq!(open.subject.to_string(), "shop-web-1");
    let waited = open.opened_at.since(broken_at);
    assert!(waited <= Duration::from_secs(120), "{waited:?}");
    assert_eq!(open.evidence.len(), 3);
    let cpu = open
        .evidence
        .iter()
        .find(|it| it.metric == Some(Metric::CpuUsage))
        .unwrap();
    assert_eq!(cpu.unit, "cores");
    assert!(cpu.observed < cpu.expected_low, "{open:#?}");
    assert!(found.iter().all(|signal| signal.id == open.id));
    let after = run(&mut core, &mut life, 600, Mood::Ordinary);
    let phases: Vec<_> = unusual(&after).iter().map(|it| it.phase).collect();
    assert_eq!(phases.last(), Some(&SignalPhase::Resolve));
    assert_eq!(core.counts().patterns.models, 1);
}

/// The same samples, once without a break and once with the state written and read back every half a minute.
#[test]
fn whoever_goes_on_from_a_checkpoint_tells_the_same() {
    let (core, life, model) = learned();
    let tell = |interrupted: Option<()>| {
        let (mut core, mut life) = (core.clone(), life.clone());
        let mut told = Vec::new();
        for number in 0..60 {
            let mood = match number {
                10..30 => Mood::Idle,
                _ => Mood::Ordinary,
            };
            told.extend(run(&mut core, &mut life, 30, mood));
            if interrupted.is_some() {
                let records =
                    checkpoint::write(0, Slot::A, Positions::default(), &core, life.now());
                core = checkpoint::read(0, &records).unwrap().unwrap().core;
                core.handle(
                    life.now(),
                    NodeWatch::Other,
                    Event::Model(Arc::clone(&model)),
                );
            }
        }
        told
    };
    let expected = tell(None);
    let phases: Vec<_> = unusual(&expected).iter().map(|it| it.phase).collect();
    assert_eq!(phases.first(), Some(&SignalPhase::Open));
    assert_eq!(phases.last(), Some(&SignalPhase::Resolve));
    assert_eq!(tell(Some(())), expected);
}

#[test]
fn a_model_that_was_compared_with_nothing_is_not_scored_by() {
    let (core, _, good) = learned();
    let mut life = Life::new(7);
    let effects = run(
        &mut Core::new(Settings::default()),
        &mut life,
        HOUR_S,
        Mood::Ordinary,
    );
    let history = history(&rows(&effects));
    let settings = TrainSettings::default();
    let of = |second: i64, judged: usize| {
        let mut trained = train(&history, &settings, 1).unwrap();
        trained.held_back.rows = judged;
        let service = ServiceId::from(SERVICE);
        let how = (settings, 1);
        Arc::new(Artefact::new(
            service,
            &history,
            trained,
            how,
            None,
            at(second),
        ))
    };
    let mut patterns = Patterns::default();
    patterns.take(&of(0, 10));
    assert_eq!(patterns.model(&SERVICE.into()), None);
    let (newer, older) = (of(20, 100), of(10, 100));
    patterns.take(&newer);
    patterns.take(&older);
    assert_eq!(patterns.model(&SERVICE.into()), Some(&newer));
    assert_eq!(core.model(&SERVICE.into()), Some(&good));
}

#[test]
fn what_is_held_is_bounded_and_what_is_gone_is_forgotten() {
    let mut patterns = Patterns::default();
    let mut life = Life::new(3);
    for _ in 0..100 {
        for sample in life.step(Mood::Ordinary) {
            if let Some(row) = patterns.observe(&sample) {
                assert_eq!(patterns.score(&row), None, "there is no model");
            }
        }
    }
    assert_eq!(patterns.before.len(), 2);
    assert!(
        patterns
            .before
            .values()
            .all(|it| it.rows.len() == Recent::ROWS)
    );
    let bytes = postcard::to_stdvec(&patterns).unwrap().len() / 2;
    assert!(bytes < 1_400, "{bytes} bytes for each container");
    patterns.retain(|_, _| false);
    assert_eq!(patterns, Patterns::default());
}

/// After a silence, what was before does not count.
#[test]
fn rows_from_before_a_silence_are_not_those_before_the_next() {
    let (_, mut life, model) = learned();
    let mut patterns = Patterns::default();
    patterns.take(&model);
    let row = |patterns: &mut Patterns, life: &mut Life, mood| loop {
        let ended = life.step(mood).iter().find_map(|sample| {
            let row = patterns.observe(sample)?;
            (sample.name.as_str() == "shop-web-1").then_some(row)
        });
        if let Some(row) = ended {
            return row;
        }
    };
    let first = row(&mut patterns, &mut life, Mood::Ordinary);
    patterns.score(&first);
    let later = Averaged {
        at: first.at + GAP_MAX + Averager::STEP,
        ..first.clone()
    };
    patterns.score(&later);
    assert_eq!(patterns.before[&first.container].rows.len(), 1);
}
