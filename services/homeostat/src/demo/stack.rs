//! The stack: started and removed by its script, told what to do over HTTP.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use tokio::process::Command;

/// The containers of the stack are local and answer at once.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A running stack.
#[derive(Debug, Clone)]
pub(super) struct Stack {
    script: PathBuf,
    name: String,
    patient: String,
    traffic: String,
    /// Requests a second before the load rises.
    pub(super) base_rps: f64,
}

impl Stack {
    /// Starts it.
    pub(super) async fn up(script: &Path) -> anyhow::Result<Stack> {
        let name = "demo".to_owned();
        let output = match call(script, "up", &name).await {
            Ok(output) => output,
            Err(error) => {
                // What came up before the failure goes again; the first error is the one to tell.
                let _ = call(script, "down", &name).await;
                return Err(error);
            }
        };
        let said: BTreeMap<&str, &str> = output
            .lines()
            .filter_map(|line| line.split_once('='))
            .collect();
        let get = |key: &str| {
            said.get(key)
                .map(|value| (*value).to_owned())
                .ok_or_else(|| anyhow!("{} up did not say {key}", script.display()))
        };
        Ok(Stack {
            script: script.to_owned(),
            patient: get("PATIENT")?,
            traffic: get("TRAFFIC_CONTROL")?,
            base_rps: get("BASE_RPS")?.parse().context("BASE_RPS is no number")?,
            name,
        })
    }

    /// Removes it.
    pub(super) async fn down(&self) -> anyhow::Result<()> {
        call(&self.script, "down", &self.name).await.map(drop)
    }

    /// Sets the requests a second that reach a target.
    pub(super) async fn rate(&self, target: &str, rps: f64) -> anyhow::Result<()> {
        post(&format!(
            "http://{}/rate?target={target}&rps={rps}",
            self.traffic
        ))
        .await
    }

    /// Tells the patient what to suffer from.
    pub(super) async fn patient(&self, what: &str) -> anyhow::Result<()> {
        post(&format!("http://{}/{what}", self.patient)).await
    }
}

async fn post(url: &str) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().timeout(TIMEOUT).build()?;
    let answer = client
        .post(url)
        .send()
        .await
        .with_context(|| format!("no answer from {url}"))?;
    if !answer.status().is_success() {
        bail!("{url} answers {}", answer.status());
    }
    Ok(())
}

async fn call(script: &Path, verb: &str, name: &str) -> anyhow::Result<String> {
    let output = Command::new(script)
        .args([verb, name])
        .stderr(std::process::Stdio::inherit())
        .output()
        .await
        .with_context(|| {
            format!(
                "cannot run {}; name the script with --stack",
                script.display()
            )
        })?;
    if !output.status.success() {
        bail!(
            "{} {verb} {name} failed ({})",
            script.display(),
            output.status
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
