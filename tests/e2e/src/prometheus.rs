//! A real Prometheus (Debian's package) that scrapes given processes, and a checker that runs every query of a dashboard
//! on it.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

/// How often targets are scraped.
const SCRAPE_INTERVAL: &str = "1s";
/// What `$__rate_interval` stands for: four scrapes and some, as Grafana makes it.
const RATE_INTERVAL: &str = "10s";
/// How far back the queries look.
const RANGE: Duration = Duration::from_secs(60);
const STEP: &str = "2s";
/// Starting, and the first scrape of every target, take at most this long.
const START_DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(200);

/// A Prometheus of our own. Ends, and leaves nothing behind, when dropped.
#[derive(Debug)]
pub struct Prometheus {
    process: Child,
    address: SocketAddr,
    targets: usize,
    client: reqwest::Client,
    _dir: TempDir,
}

/// What became of a dashboard's queries.
#[derive(Debug, Default)]
pub struct Report {
    /// How many were run.
    pub queries: usize,
    /// Those that Prometheus refused, with what it said.
    pub errors: Vec<String>,
    /// Those without any number, that are not allowed to be.
    pub empty: Vec<String>,
    /// Entries of the allow-list that had numbers after all, or that no panel has: the list is to be shortened.
    pub needlessly_allowed: Vec<String>,
}

/// A panel whose queries may be empty, and why.
#[derive(Debug, Clone, Copy)]
pub struct MayBeEmpty {
    /// The panel's title.
    pub panel: &'static str,
    /// Why a healthy loop has nothing to show there.
    pub reason: &'static str,
}

impl Prometheus {
    /// Starts a Prometheus that scrapes these targets, each under its job, and waits until all of them are up.
    ///
    /// # Errors
    /// When the program is not installed or does not start, or a target does not answer in time.
    pub async fn start(jobs: &[(&str, SocketAddr)]) -> Result<Self> {
        let dir = tempfile::tempdir().context("cannot make a directory for Prometheus")?;
        let config = dir.path().join("prometheus.yml");
        fs::write(&config, configuration(jobs)).context("cannot write prometheus.yml")?;
        let address = free_address()?;
        let log = fs::File::create(dir.path().join("log"))?;
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                dir.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start prometheus: install Debian's package prometheus")?;
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(30))
            .build()?;
        let mut started = Prometheus {
            process,
            address,
            targets: jobs.len(),
            client,
            _dir: dir,
        };
        started.wait_until_up().await?;
        Ok(started)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs every query of a dashboard over the last minute.
    ///
    /// # Errors
    /// When the dashboard cannot be read or Prometheus does not answer.
    pub async fn check(&self, dashboard: &Path, may_be_empty: &[MayBeEmpty]) -> Result<Report> {
        let text = fs::read_to_string(dashboard)
            .with_context(|| format!("cannot read {}", dashboard.display()))?;
        let dashboard: Value = serde_json::from_str(&text)?;
        let mut report = Report::default();
        let mut excused = vec![false; may_be_empty.len()];
        for panel in panels(&dashboard) {
            let title = panel["title"].as_str().unwrap_or("(no title)");
            for target in panel["targets"].as_array().into_iter().flatten() {
                let query = substitute(target["expr"].as_str().unwrap_or_default());
                report.queries += 1;
                match self.query_range(&query).await? {
                    Answer::Refused(why) => report.errors.push(format!("{title}: {query}: {why}")),
                    Answer::Numbers => {}
                    Answer::Nothing => match may_be_empty.iter().position(|it| it.panel == title) {
                        Some(index) => excused[index] = true,
                        None => report.empty.push(format!("{title}: {query}")),
                    },
                }
            }
        }
        for (entry, excused) in may_be_empty.iter().zip(excused) {
            if !excused {
                report.needlessly_allowed.push(entry.panel.to_owned());
            }
        }
        Ok(report)
    }

    /// The newest value of the first series an expression gives.
    ///
    /// # Errors
    /// When Prometheus does not answer or refuses the expression.
    pub async fn value(&self, expression: &str) -> Result<Option<f64>> {
        let answer = self.get("query", &[("query", expression)]).await?;
        ensure!(
            answer["status"] == "success",
            "{expression}: {}",
            answer["error"]
        );
        let value = answer["data"]["result"][0]["value"][1].as_str();
        Ok(value.and_then(|text| text.parse().ok()))
    }

    async fn query_range(&self, query: &str) -> Result<Answer> {
        let end_ms = kit::now().as_millis();
        let start_ms = end_ms - RANGE.as_millis() as i64;
        let seconds = |ms: i64| format!("{:.3}", ms as f64 / 1_000.0);
        let (start, end) = (seconds(start_ms), seconds(end_ms));
        let parameters = [
            ("query", query),
            ("start", &start),
            ("end", &end),
            ("step", STEP),
        ];
        let answer = self.get("query_range", &parameters).await?;
        if answer["status"] != "success" {
            return Ok(Answer::Refused(answer["error"].to_string()));
        }
        let series = answer["data"]["result"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let samples = series
            .iter()
            .flat_map(|it| it["values"].as_array().into_iter().flatten());
        // A quotient of nothing by nothing is a sample, but not a number.
        let mut values = samples.filter_map(|it| it[1].as_str()?.parse::<f64>().ok());
        Ok(if values.any(f64::is_finite) {
            Answer::Numbers
        } else {
            Answer::Nothing
        })
    }

    async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let url = format!("http://{}/api/v1/{path}", self.address);
        let response = self.client.get(url).query(parameters).send().await?;
        Ok(response.json().await?)
    }

    async fn wait_until_up(&mut self) -> Result<()> {
        let end = Instant::now() + START_DEADLINE;
        loop {
            if let Some(status) = self.process.try_wait()? {
                let log = fs::read_to_string(self._dir.path().join("log")).unwrap_or_default();
                bail!("prometheus ended with {status}: {log}");
            }
            let up = self.value("count(up == 1)").await;
            if matches!(up, Ok(Some(up)) if up as usize == self.targets) {
                return Ok(());
            }
            ensure!(
                Instant::now() < end,
                "not every target is up in time: {up:?} of {}",
                self.targets
            );
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Report {
    /// Fails with everything that is wrong.
    ///
    /// # Errors
    /// When a query was refused, or is empty without being allowed to.
    pub fn ok(&self) -> Result<()> {
        ensure!(self.queries > 0, "the dashboard has no queries");
        ensure!(
            self.errors.is_empty() && self.empty.is_empty(),
            "refused:\n{}\nempty:\n{}",
            self.errors.join("\n"),
            self.empty.join("\n")
        );
        Ok(())
    }
}

enum Answer {
    Refused(String),
    Nothing,
    Numbers,
}

/// The dashboard of the loop in this checkout.
pub fn loop_dashboard() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dashboards/homeostat-loop.json")
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let panels = dashboard["panels"].as_array().into_iter().flatten();
    panels.filter(|panel| panel["type"] != "row")
}

/// What Grafana does with variables when everything is selected.
fn substitute(query: &str) -> String {
    query
        .replace("$__rate_interval", RATE_INTERVAL)
        .replace("$__interval", STEP)
        .replace("$job", ".+")
        .replace("$instance", ".+")
}

fn configuration(jobs: &[(&str, SocketAddr)]) -> String {
    let mut text = format!(
        "global: {{scrape_interval: {SCRAPE_INTERVAL}, scrape_timeout: {SCRAPE_INTERVAL}}}\n"
    );
    text.push_str("scrape_configs:\n");
    for (job, address) in jobs {
        text.push_str(&format!(
            "- job_name: {job}\n  static_configs: [{{targets: [\"{address}\"]}}]\n"
        ));
    }
    text
}

/// Prometheus takes no port 0, so one is found free a moment before.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port on loopback")?;
    Ok(listener.local_addr()?)
}

#[cfg(test)]
#[path = "prometheus_tests.rs"]
mod tests;
