//! From a load step to a new replica running, and from a hang to the restart begun: five times each.

use std::time::Duration;

use console::api::ServiceStatus;
use e2e::homeostat::Homeostat;
use e2e::stack::Stack;
use e2e::wait::until;

use crate::engine::{Events, now};
use crate::median;

const TIMES: usize = 5;
const HIGH_RPS: f64 = 45.0;
const STACK: &str = "bench-reaction";
const DEADLINE: Duration = Duration::from_secs(120);
/// History before the first step, and between a step and the next.
const LEARN: Duration = Duration::from_secs(40);

pub(crate) async fn run() {
    let dir = tempfile::tempdir().unwrap();
    let stack = Stack::up(STACK);
    let homeostat = Homeostat::start(
        &["up", "--mode", "act"],
        dir.path(),
        &[
            ("controller.scale.down_window", "10s"),
            ("controller.scale.verdict_within", "10s"),
            ("controller.heal.backoff", "1s"),
            ("controller.heal.backoff_reset", "2s"),
            ("controller.heal.verdict_within", "20s"),
            ("controller.heal.hourly", "100"),
            ("controller.budget.service_hourly", "200"),
            ("controller.budget.global_hourly", "500"),
        ],
    );
    homeostat.ready().await;
    let events = Events::of(STACK);
    let mut load = Vec::new();
    let mut hang = Vec::new();
    for _ in 0..TIMES {
        tokio::time::sleep(LEARN).await;
        load.push(load_step(&stack, &homeostat, &events).await);
        tokio::time::sleep(LEARN).await;
        hang.push(hang_once(&stack, &events).await);
    }
    println!("\nreaction at one-second samples, median of {TIMES}");
    println!("  {:<40} {:>8} {:>9}   each", "", "measured", "to reach");
    row("load step to new replica running", &load, 15.0);
    row("hang to restart begun", &hang, 10.0);
}

async fn load_step(stack: &Stack, homeostat: &Homeostat, events: &Events) -> f64 {
    let began = now();
    stack.rate("web", HIGH_RPS).await;
    let took = tokio::task::block_in_place(|| {
        events.first(began, DEADLINE, |event| {
            event.is("start") && event.is_replica()
        })
    });
    stack.rate("web", stack.base_rps()).await;
    until("web is back at one replica", DEADLINE * 2, || async {
        let services: Vec<ServiceStatus> = homeostat.ask("services").await?;
        services
            .iter()
            .any(|service| service.service.as_str() == "web" && service.replicas == 1)
            .then_some(())
    })
    .await;
    took
}

async fn hang_once(stack: &Stack, events: &Events) -> f64 {
    let patient = stack.container("patient");
    let began = now();
    stack.patient("hang").await;
    let took = tokio::task::block_in_place(|| {
        events.first(began, DEADLINE, |event| {
            event.is("kill") && event.container() == patient
        })
    });
    until("the patient answers again", DEADLINE, || async {
        stack.patient_answers().await.then_some(())
    })
    .await;
    took
}

fn row(what: &str, measured: &[f64], reach: f64) {
    let each: Vec<String> = measured
        .iter()
        .map(|seconds| format!("{seconds:.1}"))
        .collect();
    println!(
        "  {what:<40} {:>6.1} s {reach:>7.0} s   {}",
        median(measured),
        each.join(" ")
    );
}
