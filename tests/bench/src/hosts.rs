//! Several hosts: from the loss of one to what ran there being healthy elsewhere, and from the loss of the leading controller to the other
//! one leading.

use std::time::{Duration, Instant};

use bus::Bus;
use e2e::homeostat::Homeostat;
use e2e::hosts::{Fleet, HostFacts, running, told};
use e2e::wait::until;

use crate::median;

const TIMES: usize = 5;
const DEADLINE: Duration = Duration::from_secs(120);

pub(crate) async fn run() {
    let settings = [
        ("controller.people.hold", "5s"),
        ("controller.scale.startup", "5s"),
        ("actuator.lease", "6s"),
        ("controller.failover.lease", "6s"),
    ];
    let facts = |name| HostFacts {
        name,
        zone: name,
        cost: 1.0,
    };
    let mut fleet = Fleet::start(&[facts("a"), facts("b"), facts("c")], &settings).await;
    let (lost, once) = hosts_lost(&mut fleet).await;
    let led = leaders_lost(&mut fleet).await;
    println!("\nseveral hosts, median of {TIMES}");
    println!("  {:<48} {:>8} {:>9}   each", "", "measured", "to reach");
    row("host lost to its service healthy elsewhere", &lost, 20.0);
    row("the same of one that may run once", &once, 20.0);
    row("leader killed to the other one leading", &led, 10.0);
}

/// The host of a service, and then that of one that may run once, is killed again and again, and started again.
async fn hosts_lost(fleet: &mut Fleet) -> (Vec<f64>, Vec<f64>) {
    let (_images, image) = fleet.checked_image();
    let bus = Bus::kafka(&fleet.kafka().config()).unwrap();
    let first = fleet.host("a");
    let mut web = ("a".to_owned(), first.run_movable(&image, "web", &[]));
    let singleton = ["io.homeostat.singleton=true"];
    let id = first.run_movable(&image, "once", &singleton);
    let mut once = ("a".to_owned(), id);
    let (mut of_web, mut of_once) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        for is_web in [true, false] {
            fleet.alone("web", &web).await;
            fleet.alone("once", &once).await;
            told(&bus, &[&web.1, &once.1]).await;
            let lost = if is_web {
                web.0.clone()
            } else {
                once.0.clone()
            };
            fleet.host_mut(&lost).cut_power();
            let began = Instant::now();
            if web.0 == lost {
                web = fleet.elsewhere("web", &lost).await;
                if is_web {
                    of_web.push(began.elapsed().as_secs_f64());
                }
            }
            if once.0 == lost {
                once = fleet.elsewhere("once", &lost).await;
                if !is_web {
                    of_once.push(began.elapsed().as_secs_f64());
                }
            }
            back(fleet, &lost).await;
        }
    }
    (of_web, of_once)
}

/// The host is started again. What its engine started again gives way, and is not found healthy the next time.
async fn back(fleet: &mut Fleet, lost: &str) {
    fleet.host_mut(lost).start_again().await;
    let engine = fleet.host(lost).engine();
    until("what ran there before is stopped", DEADLINE, || async {
        let left = ["web", "once"].map(|it| running(&engine, it));
        (left == [0, 0]).then_some(())
    })
    .await;
}

/// The leader of two controllers is killed again and again.
async fn leaders_lost(fleet: &mut Fleet) -> Vec<f64> {
    let mut other = fleet.standby().await;
    let mut took = Vec::new();
    for _ in 0..TIMES {
        until("one of the two leads", DEADLINE, || async {
            let leads = leads(&fleet.controller).await || leads(&other).await;
            leads.then_some(())
        })
        .await;
        if !leads(&fleet.controller).await {
            std::mem::swap(&mut fleet.controller, &mut other);
        }
        fleet.controller.kill_9();
        let began = Instant::now();
        until("the other leads", DEADLINE, || async {
            leads(&other).await.then_some(())
        })
        .await;
        took.push(began.elapsed().as_secs_f64());
        fleet.controller.restart();
        fleet.controller.ready().await;
    }
    took
}

async fn leads(controller: &Homeostat) -> bool {
    controller.metric("homeostat_leader").await == Some(1.0)
}

fn row(what: &str, measured: &[f64], reach: f64) {
    let each = measured.iter().map(|seconds| format!("{seconds:.1}"));
    let each: Vec<String> = each.collect();
    println!(
        "  {what:<48} {:>6.1} s {reach:>7.0} s   {}",
        median(measured),
        each.join(" ")
    );
}
