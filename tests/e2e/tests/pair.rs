//! Two controllers: one leads, the other acts when it does not, and what the old one still says is refused.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use bus::{Bus, From, Tailed};
use e2e::containers::Containers;
use e2e::homeostat::Homeostat;
use e2e::hosts::{Fleet, HostFacts};
use e2e::wait::until;
use rustix::process::Signal;
use units::{Command, CommandId, Generation, Outcome, OutcomeResult};
use wire::{Json, topic};

/// What a node says has come through Kafka, on a busy machine.
const SEEN: Duration = Duration::from_secs(90);
/// A leader is missed, another is elected and has read the topics.
const ELECTED: Duration = Duration::from_secs(120);
/// A move has three steps, each watched for some time.
const MOVED: Duration = Duration::from_secs(300);

fn facts(name: &str) -> HostFacts<'_> {
    HostFacts {
        name,
        zone: "east",
        cost: 1.0,
    }
}

async fn leads(controller: &Homeostat) -> bool {
    controller.metric("homeostat_leader").await == Some(1.0)
}

async fn led_by(controller: &Homeostat, what: &str) {
    until(what, ELECTED, || async {
        leads(controller).await.then_some(())
    })
    .await;
}

async fn read<T: Json>(bus: &Bus, name: &str) -> Vec<T> {
    let mut tail = bus.tail(name, From::Beginning).await.unwrap();
    let mut found = Vec::new();
    loop {
        match tail.next().await.unwrap() {
            Tailed::Record(record) => found.push(wire::decode(&record).unwrap()),
            Tailed::CaughtUp => return found,
        }
    }
}

fn runs(fleet: &Fleet, host: &str) -> bool {
    let words = ["ps", "--quiet", "--filter", "name=^shop$"];
    !fleet.host(host).docker(&words).trim().is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_leader_stands_still_the_other_acts_and_the_old_one_does_nothing_more() {
    let settings = [
        ("controller.people.hold", "5s"),
        ("controller.scale.startup", "5s"),
        ("controller.relocate.soak", "5s"),
    ];
    let fleet = Fleet::start(&[facts("a"), facts("b")], &settings).await;
    let (a, b) = (fleet.host("a"), fleet.host("b"));
    let images = Containers::at(&a.engine());
    b.load(images.image(), &a.engine());
    let run = [
        "run", "--detach", "--name", "shop", "--cpus", "0.2", "--memory", "32m",
    ];
    let labels = ["io.homeostat.mode=act", "io.homeostat.move=true"];
    let labels: Vec<&str> = labels.iter().flat_map(|it| ["--label", it]).collect();
    a.docker(&[&run[..], &labels, &[images.image(), "idle"]].concat());
    led_by(&fleet.controller, "the first leads").await;
    // Who joins may be elected at once.
    let second = fleet.standby().await;
    until("one of the two leads", ELECTED, || async {
        (leads(&fleet.controller).await != leads(&second).await).then_some(())
    })
    .await;
    let (leader, other) = match leads(&second).await {
        true => (&second, &fleet.controller),
        false => (&fleet.controller, &second),
    };

    // It stands still in the middle of what it was told to do, and hears nothing of its successor.
    let drained = fleet.told(&["node", "drain", "a", "--by", "ada"]).await;
    assert!(drained.status.success(), "{drained:?}");
    let bus = Bus::kafka(&fleet.kafka().config()).unwrap();
    until("it began", SEEN, || async {
        let commands: Vec<Command> = read(&bus, topic::COMMANDS).await;
        (!commands.is_empty()).then_some(())
    })
    .await;
    leader.signal(Signal::STOP);
    led_by(other, "the other leads").await;
    leader.signal(Signal::CONT);
    until("it runs on the other host alone", MOVED, || async {
        (runs(&fleet, "b") && !runs(&fleet, "a")).then_some(())
    })
    .await;
    // Joined again, the old one may be elected anew: then it leads by a newer generation.
    until("one of the two leads", ELECTED, || async {
        (leads(leader).await != leads(other).await).then_some(())
    })
    .await;

    let commands: Vec<Command> = read(&bus, topic::COMMANDS).await;
    let generations: BTreeMap<CommandId, Vec<Generation>> =
        commands.into_iter().fold(BTreeMap::new(), |mut all, it| {
            all.entry(it.id).or_default().push(it.generation);
            all
        });
    let outcomes: Vec<Outcome> = read(&bus, topic::OUTCOMES).await;
    let done = outcomes
        .iter()
        .filter(|it| matches!(it.result, OutcomeResult::Succeeded { .. }));
    let mut newest = BTreeMap::new();
    let mut leaders = std::collections::BTreeSet::new();
    for outcome in done {
        let generation = generations[&outcome.command].iter().max().copied().unwrap();
        let before = newest.insert(outcome.node.clone(), generation);
        assert!(
            before.is_none_or(|it| it <= generation),
            "{} was done of generation {generation} after one of {before:?}",
            outcome.command
        );
        leaders.insert(generation);
    }
    assert!(leaders.len() > 1, "both led and acted: {leaders:?}");
}
