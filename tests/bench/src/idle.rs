//! What `homeostat up` costs beside twenty idle containers, against `docker stats` over the same containers.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use e2e::homeostat::Homeostat;

use crate::process::memory_mb;

const CONTAINERS: usize = 20;
const LABEL: &str = "io.homeostat.demo=bench-idle";
const SETTLE: Duration = Duration::from_secs(30);
const MEASURE: Duration = Duration::from_secs(60);
/// The kernel counts processor time in these.
const TICKS_PER_SECOND: f64 = 100.0;

pub(crate) async fn run() {
    let _containers = Containers::start();
    let dir = tempfile::tempdir().unwrap();
    let homeostat = Homeostat::start(&["up"], dir.path(), &[]);
    homeostat.ready().await;
    tokio::time::sleep(SETTLE).await;
    let own = over(MEASURE, || cpu_seconds(homeostat.pid())).await;
    let (resident_mb, peak_mb) = memory_mb(homeostat.pid());
    drop(homeostat);

    let engine = engine_pid();
    let mut stats = docker_stats();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let client = stats.id();
    let incumbent = over(MEASURE / 2, || cpu_seconds(client) + cpu_seconds(engine)).await;
    let _ = stats.kill();
    let _ = stats.wait();
    let engine_alone = over(MEASURE / 2, || cpu_seconds(engine)).await;
    let incumbent = (incumbent - engine_alone).max(f64::MIN_POSITIVE);

    println!(
        "\n`homeostat up` beside {CONTAINERS} idle containers, {} s",
        MEASURE.as_secs()
    );
    println!("  {:<40} {:>8} {:>9}", "", "measured", "to reach");
    println!(
        "  {:<40} {:>6.2} % {:>7} %   of one core",
        "CPU",
        own * 100.0,
        3
    );
    println!(
        "  {:<40} {:>5.1} MB {:>6} MB   peak {peak_mb:.1} MB",
        "resident memory", resident_mb, 60
    );
    println!(
        "  {:<40} {:>6.2} ×             docker stats, client and engine: {:.1} % of a core",
        "CPU against docker stats",
        own / incumbent,
        incumbent * 100.0
    );
}

/// Share of one core used over a time.
async fn over(time: Duration, used: impl Fn() -> f64) -> f64 {
    let (began, before) = (Instant::now(), used());
    tokio::time::sleep(time).await;
    (used() - before) / began.elapsed().as_secs_f64()
}

fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / TICKS_PER_SECOND
}

fn engine_pid() -> u32 {
    let found = Command::new("pidof")
        .args(["-s", "dockerd"])
        .output()
        .unwrap();
    String::from_utf8(found.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

fn docker_stats() -> Child {
    Command::new("docker")
        .arg("stats")
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Twenty containers that do nothing; removed when dropped.
struct Containers;

impl Containers {
    fn start() -> Containers {
        Containers::remove();
        for number in 0..CONTAINERS {
            let name = format!("bench-idle-{number}");
            let ran = Command::new("docker")
                .args([
                    "run",
                    "--detach",
                    "--name",
                    &name,
                    "--label",
                    LABEL,
                    "--no-healthcheck",
                ])
                .args(["homeostat-demo:latest", "patient"])
                .stdout(Stdio::null())
                .status()
                .unwrap();
            assert!(ran.success(), "docker run {name}");
        }
        Containers
    }

    fn remove() {
        let listed = Command::new("docker")
            .args([
                "ps",
                "--all",
                "--quiet",
                "--filter",
                &format!("label={LABEL}"),
            ])
            .output()
            .unwrap();
        let ids = String::from_utf8(listed.stdout).unwrap();
        if ids.trim().is_empty() {
            return;
        }
        Command::new("docker")
            .args(["rm", "--force"])
            .args(ids.split_whitespace())
            .stdout(Stdio::null())
            .status()
            .unwrap();
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        Containers::remove();
    }
}
