//! Ordinary life: deploys, replicas more and fewer, a cron job, a backup. Every signal worth a look is a false one.

use std::time::{Duration, Instant};

use e2e::faults::FaultStack;
use e2e::faults::stack::SERVICES;
use e2e::homeostat::Homeostat;
use units::Severity;

use super::table::said;
use super::watch::Watch;
use super::{STACK, warm};

/// Of an hour; in a shorter run all of it comes closer together, and lasts as long.
const CRON_JOBS: u32 = 12;
const CRON_SECONDS: &str = "15";
const BACKUP_SECONDS: &str = "60";
/// Replicas of the pool beside its five, while it is scaled up.
const MORE_REPLICAS: [usize; 2] = [5, 6];

/// One thing that operators do.
#[derive(Debug, Clone, Copy)]
enum Act {
    Cron(u32),
    Deploy,
    ScaleUp,
    ScaleDown,
    Backup,
}

/// Lives for so long, and prints the signals that came.
pub(crate) async fn run(length: Duration) {
    let dir = tempfile::tempdir().unwrap();
    // Before the stack, as it can be removed only after it.
    let image = NewImage::default();
    let stack = FaultStack::up(STACK, &SERVICES).await;
    image.make(&stack);
    let homeostat = Homeostat::start(&["up", "--mode", "observe"], dir.path(), &[]);
    warm(&homeostat).await;
    let mut watch = Watch::new(&homeostat, &stack);
    watch.look().await;
    let warming = watch.all().len();
    let began = Instant::now();
    let mut acted = Vec::new();
    let mut due = plan(length).into_iter().peekable();
    while began.elapsed() < length {
        while let Some((_, act)) = due.next_if(|(at, _)| *at <= began.elapsed()) {
            eprintln!("bench: {} s: {act:?}", began.elapsed().as_secs());
            acted.push((began.elapsed(), act));
            do_it(act, &stack, &image).await;
        }
        watch.look().await;
        watch.rest().await;
    }
    let seen = &watch.all()[warming..];
    let worth_a_look = seen
        .iter()
        .filter(|seen| seen.severity >= Severity::Warning);
    println!(
        "\nordinary life, {} s: {} false signals of severity warning or above, {} of severity info; {warming} of any while it warmed up",
        length.as_secs(),
        worth_a_look.clone().count(),
        seen.len() - worth_a_look.count(),
    );
    for seen in seen {
        let at = seen.at - began;
        let last = acted.iter().rev().find(|(acted, _)| *acted <= at);
        println!(
            "  {:>5} s, {}: worst {}, last said: {}",
            at.as_secs(),
            last.map_or("before all".to_owned(), |(acted, act)| format!(
                "{} s after {act:?}",
                (at - *acted).as_secs()
            )),
            seen.severity,
            said(&seen.signal),
        );
    }
}

/// What is done when, oldest first.
fn plan(length: Duration) -> Vec<(Duration, Act)> {
    let share = |of_all: f64| length.mul_f64(of_all);
    let mut plan: Vec<(Duration, Act)> = (0..CRON_JOBS)
        .map(|number| {
            let at = (f64::from(number) + 0.5) / f64::from(CRON_JOBS);
            (share(at), Act::Cron(number))
        })
        .collect();
    plan.extend([
        (share(0.17), Act::Deploy),
        (share(0.34), Act::ScaleUp),
        (share(0.50), Act::Backup),
        (share(0.67), Act::ScaleDown),
        (share(0.84), Act::Deploy),
    ]);
    plan.sort_by_key(|(at, _)| *at);
    plan
}

async fn do_it(act: Act, stack: &FaultStack, image: &NewImage) {
    match act {
        Act::Cron(number) => stack.start_job(
            "cron",
            number as usize,
            &[
                "--seconds",
                CRON_SECONDS,
                "--burn-millicores",
                "300",
                "--write-mb-per-s",
                "2",
            ],
        ),
        // New first, then the old one goes, as most tools do it.
        Act::Deploy => {
            let old = usize::from(image.deployed.replace(!image.deployed.get()));
            stack.start_from(&image.name, "web", 1 - old);
            stack.stop("web", old);
        }
        Act::ScaleUp => {
            for replica in MORE_REPLICAS {
                stack.start("pool", replica);
            }
        }
        Act::ScaleDown => {
            for replica in MORE_REPLICAS {
                stack.stop("pool", replica);
            }
        }
        Act::Backup => stack.exec_job(
            "store",
            &["--seconds", BACKUP_SECONDS, "--write-mb-per-s", "20"],
        ),
    }
}

/// The same application under another image id, as a new release has it.
struct NewImage {
    name: String,
    /// Whether the second replica is the one that runs.
    deployed: std::cell::Cell<bool>,
}

impl Default for NewImage {
    fn default() -> Self {
        NewImage {
            name: format!("{STACK}:next"),
            deployed: std::cell::Cell::new(false),
        }
    }
}

impl NewImage {
    fn make(&self, stack: &FaultStack) {
        let change = ["--change", "LABEL homeostat-demo.release=next"];
        let container = stack.container("web", 0);
        docker(&["commit", change[0], change[1], &container, &self.name]);
    }
}

impl Drop for NewImage {
    fn drop(&mut self) {
        docker(&["image", "rm", "--force", &self.name]);
    }
}

fn docker(words: &[&str]) {
    let ran = std::process::Command::new("docker").args(words).output();
    assert!(ran.is_ok(), "docker {words:?}: {ran:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_has_all_of_it_in_order() {
        let plan = plan(Duration::from_secs(3600));
        assert_eq!(plan.len(), 17);
        assert!(plan.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        assert!(plan.last().unwrap().0 < Duration::from_secs(3600));
    }
}
