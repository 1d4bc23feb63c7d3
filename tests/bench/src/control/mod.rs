//! What a decision over a whole fleet costs, by the size of the fleet. Processor time of the measuring thread.
//!
//! A planning tick looks at every service anew, as after a change of leader; between two of them only what changed is looked at.

mod fleet;

use std::process::Command;

use control::{Config, Core, Event};
use units::{Generation, Mode};

use crate::process::{memory_mb, thread_time};
use fleet::Fleet;

/// Nodes; each holds [`fleet::CONTAINERS`].
const NODES: [usize; 5] = [100, 316, 1_000, 3_162, 10_000];
const TICK_SECONDS: f64 = 1.0;
const MEMORY_MB: f64 = 2_000.0;

/// Measures each size in a process of its own, so that none has the memory of the one before.
pub(crate) fn run() {
    println!(
        "\n  {:>6} {:>10} {:>9} {:>13} {:>12} {:>11} {:>9} {:>9}",
        "nodes",
        "containers",
        "written",
        "inventory, s",
        "forecasts, s",
        "tick, s",
        "n log n",
        "MB"
    );
    let mut first = None;
    let mut last = Measured::default();
    for nodes in NODES {
        last = measured(nodes);
        let growth = last.tick_s / n_log_n(nodes);
        let first = *first.get_or_insert(growth);
        println!(
            "  {nodes:>6} {:>10} {:>9} {:>13.3} {:>12.3} {:>11.3} {:>8.2}x {:>9.0}",
            nodes * fleet::CONTAINERS,
            last.written,
            last.inventory_s,
            last.forecasts_s,
            last.tick_s,
            growth / first,
            last.memory_mb,
        );
    }
    println!(
        "\n  written: entries and commands; inventory: every node speaks once; forecasts: every service has one"
    );
    println!(
        "  tick: every service is looked at; n log n: its cost by that, against the smallest fleet\n"
    );
    tell("planning tick, s", last.tick_s, TICK_SECONDS);
    tell("memory, MB", last.memory_mb, MEMORY_MB);
}

/// One size, measured here and printed for [`run`] to read.
pub(crate) fn one(nodes: usize) {
    let fleet = Fleet::of(nodes);
    let config = Config {
        max_mode: Mode::Act,
        ..Config::default()
    };
    let mut core = Core::new(config);
    core.handle(fleet.now(), Event::Recovered);
    fleet.warm(&mut core);
    let (inventory_s, _) = timed(|| fleet.tell_inventories(&mut core));
    let (forecasts_s, _) = timed(|| fleet.tell_forecasts(&mut core, fleet.now()));
    let (tick_s, effects) = timed(|| core.handle(fleet.now(), Event::Leading(Generation(1))));
    let (memory_mb, _) = memory_mb(std::process::id());
    println!(
        "{inventory_s} {forecasts_s} {tick_s} {memory_mb} {}",
        effects.len()
    );
}

#[derive(Default)]
struct Measured {
    inventory_s: f64,
    forecasts_s: f64,
    tick_s: f64,
    memory_mb: f64,
    written: usize,
}

fn measured(nodes: usize) -> Measured {
    let myself = std::env::current_exe().unwrap();
    let words = ["control", "--nodes", &nodes.to_string()];
    let said = Command::new(myself).args(words).output().unwrap();
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
    let said = String::from_utf8(said.stdout).unwrap();
    let figures: Vec<f64> = said
        .split_whitespace()
        .map(|word| word.parse().unwrap())
        .collect();
    let [inventory_s, forecasts_s, tick_s, memory_mb, written] = figures[..] else {
        panic!("{said}");
    };
    Measured {
        inventory_s,
        forecasts_s,
        tick_s,
        memory_mb,
        written: written as usize,
    }
}

fn timed<T>(run: impl FnOnce() -> T) -> (f64, T) {
    let begun = thread_time();
    let result = run();
    ((thread_time() - begun).as_secs_f64(), result)
}

fn n_log_n(nodes: usize) -> f64 {
    let containers = (nodes * fleet::CONTAINERS) as f64;
    containers * containers.log2()
}

fn tell(what: &str, measured: f64, reach: f64) {
    let met = if measured <= reach { "yes" } else { "NO" };
    println!(
        "  {what:<40} {measured:>10.2} {:>12} {met:>4}",
        format!("<= {reach}")
    );
}
