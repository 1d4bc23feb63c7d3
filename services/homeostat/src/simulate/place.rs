//! `homeostat simulate place`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde::Serialize;
use sim::place::{Failover, Fleet, Policy, Resources, failover, fleet};
use units::{Bytes, Millicores, Ratio};

use super::columns;
use crate::exit::{Failure, complain};
use crate::table::{Output, print, print_json, with_heading};

/// Pods of more cores are left out of a fleet of equal hosts, as in the experiment that this repeats.
const POD_CORES_MAX: u64 = 64;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Hosts of different sizes, for --cpu-load: a CSV file with columns cpu_milli and memory_mib; .gz is unpacked.
    #[arg(long, value_name = "FILE")]
    nodes: Option<PathBuf>,
    /// What is placed, in the order of creation_time where there is such a column: a CSV file with columns cpu_milli and memory_mib.
    #[arg(long, value_name = "FILE")]
    pods: PathBuf,
    /// Who chooses.
    #[arg(long, value_enum, default_value = "homeostat")]
    policy: Chooser,
    /// Cores of each host of a fleet of equal hosts; 96 where it is not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    host_cores: Option<u64>,
    /// Memory of each of them.
    #[arg(long, value_name = "GIB", default_value_t = 384, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    host_memory_gib: u64,
    /// Instead of counting hosts: draw pods up to this share of the nodes' CPU, and let each node die in turn.
    #[arg(long, value_name = "SHARE", value_parser = share, requires = "nodes")]
    cpu_load: Option<Ratio>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Chooser {
    Homeostat,
    BestFit,
    Spread,
    Kube,
}

impl From<Chooser> for Policy {
    fn from(chooser: Chooser) -> Self {
        match chooser {
            Chooser::Homeostat => Policy::Homeostat,
            Chooser::BestFit => Policy::BestFit,
            Chooser::Spread => Policy::Spread,
            Chooser::Kube => Policy::Kube,
        }
    }
}

#[derive(Serialize)]
struct ShownFleet {
    hosts_used: usize,
    lower_bound: usize,
    moves_per_container: f64,
    containers: usize,
}

#[derive(Serialize)]
struct ShownFailover {
    failover_share: f64,
    unplaced: f64,
    hosts_used: f64,
    moves_per_container: f64,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let pods = resources(&options.pods)?;
    let output = match options.json {
        true => Output::Json,
        false => Output::Table,
    };
    let policy = options.policy.into();
    let about = || options.pods.display().to_string();
    match (options.cpu_load, &options.nodes) {
        (Some(load), Some(nodes)) => {
            let nodes = resources(nodes)?;
            let figures = failover(&nodes, &pods, load, policy).with_context(about)?;
            show_failover(&figures, output)
        }
        (Some(_), None) | (None, _) => {
            let host = Resources::new(
                Millicores(options.host_cores.unwrap_or(96) * 1_000),
                Bytes::from_mib(options.host_memory_gib * 1_024),
            );
            let figures = fleet(&suitable(pods, host), host, policy).with_context(about)?;
            show_fleet(&figures, output)
        }
    }
}

/// Pods that an equal host is meant for; how many are not is told.
fn suitable(pods: Vec<Resources>, host: Resources) -> Vec<Resources> {
    let most = Millicores(POD_CORES_MAX * 1_000);
    let all = pods.len();
    let kept: Vec<Resources> = pods
        .into_iter()
        .filter(|pod| pod.cpu <= most && pod.fits(host))
        .collect();
    if kept.len() < all {
        complain(&format!(
            "{} of {all} pods are left out: of more than {POD_CORES_MAX} cores, or larger than a host",
            all - kept.len()
        ));
    }
    kept
}

fn resources(path: &Path) -> anyhow::Result<Vec<Resources>> {
    let rows = columns::read_by(path, ["cpu_milli", "memory_mib"], "creation_time")?;
    Ok(rows
        .into_iter()
        .map(|[cpu_milli, memory_mib]| {
            Resources::new(
                Millicores(cpu_milli.round() as u64),
                Bytes((memory_mib * 1_048_576.0).round() as u64),
            )
        })
        .collect())
}

fn show_fleet(figures: &Fleet, output: Output) -> Result<(), Failure> {
    let moves_per_container = figures.moves as f64 / figures.containers as f64;
    match output {
        Output::Json => print_json(&ShownFleet {
            hosts_used: figures.hosts_used,
            lower_bound: figures.lower_bound,
            moves_per_container,
            containers: figures.containers,
        }),
        Output::Table => {
            let mut table = with_heading(&["containers", "hosts", "bound", "moves per container"]);
            table.add_row([
                figures.containers.to_string(),
                figures.hosts_used.to_string(),
                figures.lower_bound.to_string(),
                format!("{moves_per_container:.4}"),
            ]);
            print(&table.to_string())
        }
    }
}

fn show_failover(figures: &Failover, output: Output) -> Result<(), Failure> {
    match output {
        Output::Json => print_json(&ShownFailover {
            failover_share: figures.failover_share,
            unplaced: figures.unplaced,
            hosts_used: figures.hosts_used,
            moves_per_container: figures.moves_per_container,
        }),
        Output::Table => {
            let mut table =
                with_heading(&["hosts used", "may die", "unplaced", "moves per container"]);
            table.add_row([
                format!("{:.2}", figures.hosts_used),
                format!("{:.2} %", 100.0 * figures.failover_share),
                format!("{:.2}", figures.unplaced),
                format!("{:.4}", figures.moves_per_container),
            ]);
            print(&table.to_string())
        }
    }
}

fn share(text: &str) -> Result<Ratio, String> {
    let number: f64 = text
        .parse()
        .map_err(|_| format!("{text:?} is no number; write a share such as 0.95"))?;
    Ratio::new(number).map_err(|error| error.to_string())
}
