//! The loop in the simulated world: a sample of seeds holds, the same seed decides the same, and the world notices when something is
//! wrong. `homeostat simulate loop --seeds A..B` runs as many as one likes.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::time::Duration;

use sim::world::{Flaw, Invariant, Mix, Options, Run, run, run_all};

/// Seeds that are run here, each for this long; a minute at most on two slow cores without optimisation.
const SAMPLE: u64 = 200;
const SAMPLE_LASTS: Duration = Duration::from_secs(600);
/// A mistake made on purpose must show within so many seeds.
const FOUND_WITHIN: u64 = 200;
/// Seeds of which only leaders go wrong.
const OF_LEADERS: u64 = 60;
/// Seeds in which hosts are lost.
const OF_LOSSES: u64 = 10;

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn short() -> Options {
    Options {
        duration: SAMPLE_LASTS,
        ..Options::acting()
    }
}

#[test]
fn a_sample_of_seeds_breaks_nothing_and_comes_to_rest() {
    holds(SAMPLE, &short());
}

#[test]
fn leaders_that_stand_still_with_a_decision_break_nothing() {
    let options = Options {
        mix: Mix::Leaders,
        ..short()
    };
    holds(OF_LEADERS, &options);
}

#[test]
fn hosts_that_are_lost_and_come_back_break_nothing_and_come_to_rest() {
    let options = Options {
        duration: SAMPLE_LASTS,
        ..Options::losing()
    };
    let (taken_over, fenced) = holds(OF_LOSSES, &options);
    assert!(taken_over > 0 && fenced > 0, "{taken_over}, {fenced}");
}

/// Returns how many containers were made in the place of some of lost hosts, and how many their own hosts stopped.
fn holds(seeds: u64, options: &Options) -> (u64, u64) {
    let failed = Mutex::new(Vec::new());
    let acted = Mutex::new(0);
    let of_losses = Mutex::new((0, 0));
    run_all(0..seeds, options, threads(), &|run: Run| {
        *acted.lock().unwrap() += run.commands;
        {
            let mut of_losses = of_losses.lock().unwrap();
            of_losses.0 += run.taken_over;
            of_losses.1 += run.fenced;
        }
        if run.broken.is_some() || run.unconverged.is_some() {
            failed.lock().unwrap().push(run);
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(
        acted.into_inner().unwrap() > seeds,
        "the loop has work to do"
    );
    of_losses.into_inner().unwrap()
}

#[test]
fn the_same_seed_writes_the_same_journal_byte_for_byte() {
    let options = Options {
        duration: Duration::from_secs(1_800),
        ..Options::acting()
    };
    let hashes: Vec<u64> = (0..6)
        .map(|seed| run(seed, &options).journal_hash)
        .collect();
    let again = Mutex::new(vec![0; 6]);
    run_all(0..6, &options, threads(), &|run: Run| {
        again.lock().unwrap()[run.seed as usize] = run.journal_hash;
    });
    assert_eq!(hashes, again.into_inner().unwrap());
    let distinct: std::collections::BTreeSet<u64> = hashes.iter().copied().collect();
    assert_eq!(
        distinct.len(),
        hashes.len(),
        "each seed is a world of its own"
    );
}

/// Asserts that some seed shows the mistake as this invariant.
fn shows(options: &Options, invariant: Invariant) {
    let found = (0..FOUND_WITHIN).any(|seed| {
        let broken = run(seed, options).broken;
        broken.is_some_and(|broken| broken.invariant == invariant)
    });
    assert!(
        found,
        "{invariant} is not found to be broken with {:?}",
        options.flaws
    );
}

fn flawed(flaws: &[Flaw]) -> Options {
    Options {
        duration: Duration::from_secs(1_800),
        // What is looked for happens among the faults.
        rest_within: Duration::from_secs(1),
        flaws: flaws.to_vec(),
        ..Options::acting()
    }
}

#[test]
fn touching_what_did_not_opt_in_shows() {
    let flaws = [
        Flaw::Unaudited,
        Flaw::TakesAllForWilling,
        Flaw::IgnoresLabels,
    ];
    shows(&flawed(&flaws), Invariant::OptIn);
}

#[test]
fn acting_twice_or_late_shows() {
    for flaw in [
        Flaw::RunsTwice,
        Flaw::ForgetsWhatItBegan,
        Flaw::IgnoresDeadlines,
    ] {
        shows(&flawed(&[flaw]), Invariant::Once);
    }
}

#[test]
fn obeying_a_leader_that_was_superseded_shows() {
    let options = Options {
        mix: Mix::Leaders,
        ..flawed(&[Flaw::ObeysOldLeaders])
    };
    shows(&options, Invariant::Once);
}

#[test]
fn exceeding_the_budgets_shows_and_the_auditor_finds_it_too() {
    let mut options = flawed(&[Flaw::Unaudited]);
    options.promised.budget.node_concurrent = 1;
    options.promised.budget.service_hourly = 3;
    shows(&options, Invariant::Budgets);
    options.flaws.clear();
    shows(&options, Invariant::Audit);
}

#[test]
fn acting_against_a_common_cause_shows() {
    let mut options = flawed(&[]);
    options.core.breaker.services_min = 1_000;
    shows(&options, Invariant::Budgets);
}

#[test]
fn breaking_what_a_policy_promises_shows() {
    shows(
        &flawed(&[Flaw::Unaudited, Flaw::TakesNoPromise]),
        Invariant::Capacity,
    );
}

#[test]
fn stopping_what_is_asked_for_shows() {
    let mut options = flawed(&[]);
    options.core.scale.idle_after = Duration::from_secs(20);
    let found = (0..FOUND_WITHIN).any(|seed| {
        let broken = run(seed, &options).broken;
        broken.is_some_and(|it| it.what.contains("stops what was asked for"))
    });
    assert!(found, "a service that is stopped too soon is not noticed");
}

#[test]
fn what_is_idle_is_stopped_and_started_again() {
    let options = Options {
        story_lines: 100_000,
        ..flawed(&[])
    };
    let found = (0..FOUND_WITHIN).any(|seed| {
        let story = run(seed, &options).story;
        let began = |what: &str| story.iter().any(|line| line.contains(what));
        began("begins worker-stop") && began("begins worker-restart")
    });
    assert!(found, "no worker rests in between");
}

#[test]
fn replicas_go_for_more_important_services() {
    // Of 300 seeds those in which it was seen: it takes a full world and a growing service.
    let options = Options {
        rest_within: Duration::from_secs(1),
        ..Options::acting()
    };
    let found = [98, 129, 192]
        .into_iter()
        .any(|seed| run(seed, &options).preempted > 0);
    assert!(found, "nobody makes room for anybody");
}

#[test]
fn acting_without_a_journal_or_in_quarantine_shows() {
    let flaws = [Flaw::Unaudited, Flaw::JournalsNothing];
    shows(&flawed(&flaws), Invariant::Journaled);
    let mut options = flawed(&[]);
    options.core.ledger.losses = 1_000;
    shows(&options, Invariant::Journaled);
}

#[test]
fn acting_beside_people_shows() {
    shows(&flawed(&[Flaw::SeesNoPeople]), Invariant::People);
    let mut options = flawed(&[]);
    options.core.people_hold = Duration::ZERO;
    shows(&options, Invariant::People);
}

#[test]
fn a_leader_that_knows_nothing_of_the_one_before_shows() {
    let mut options = flawed(&[Flaw::Unaudited, Flaw::ReadsNoJournal]);
    options.rest_within = Duration::from_secs(1_200);
    let found = (0..FOUND_WITHIN).any(|seed| {
        let run = run(seed, &options);
        let lost = |unrest: String| unrest.contains("plans are not over");
        let twice = |broken: sim::world::Broken| broken.invariant == Invariant::Restart;
        run.unconverged.is_some_and(lost) || run.broken.is_some_and(twice)
    });
    assert!(found, "a plan that nobody ends is not noticed");
}

#[test]
fn acting_on_what_is_not_known_any_more_shows() {
    let mut options = flawed(&[]);
    options.core.telemetry_stale = Duration::from_secs(3_600);
    shows(&options, Invariant::Telemetry);
}

fn losing(flaws: &[Flaw]) -> Options {
    Options {
        mix: Mix::Losses,
        ..flawed(flaws)
    }
}

#[test]
fn two_of_what_may_run_once_show() {
    // Of 200 seeds two in which it is seen early.
    let options = losing(&[Flaw::NeverFences]);
    let found = [6, 12].into_iter().any(|seed| {
        let broken = run(seed, &options).broken;
        broken.is_some_and(|it| it.invariant == Invariant::Failover && it.what.ends_with(" run"))
    });
    assert!(found, "two that must not run at once are not noticed");
}

#[test]
fn taking_over_from_many_hosts_at_once_shows() {
    let mut options = losing(&[]);
    options.core.failover.nodes_share = 1.0;
    shows(&options, Invariant::Failover);
}

#[test]
fn a_loop_that_only_looks_on_does_not_come_to_rest() {
    let mut options = short();
    options.core.max_mode = units::Mode::Observe;
    options.rest_within = Duration::from_secs(900);
    assert!((0..FOUND_WITHIN).any(|seed| run(seed, &options).unconverged.is_some()));
}
