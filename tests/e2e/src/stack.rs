//! The demo stack, under a name of the test's own.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use crate::homeostat::root;

/// A running stack; removed when dropped, with whatever the loop added to it.
pub struct Stack {
    name: String,
    said: BTreeMap<String, String>,
}

impl Stack {
    /// Starts the stack.
    pub fn up(name: &str) -> Stack {
        call("down", name);
        let said = call("up", name);
        let said = said.lines().filter_map(|line| line.split_once('='));
        Stack {
            name: name.to_owned(),
            said: said
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        }
    }

    /// The name of one of its containers.
    pub fn container(&self, role: &str) -> String {
        format!("{}-{role}", self.name)
    }

    /// Sets the requests a second to a target.
    pub async fn rate(&self, target: &str, rps: f64) {
        post(&format!(
            "http://{}/rate?target={target}&rps={rps}",
            self.said["TRAFFIC_CONTROL"]
        ))
        .await;
    }

    /// Requests a second to the web service that leave one replica three quarters idle.
    pub fn base_rps(&self) -> f64 {
        self.said["BASE_RPS"].parse().unwrap()
    }

    /// Tells the patient what to suffer from.
    pub async fn patient(&self, what: &str) {
        post(&format!("http://{}/{what}", self.said["PATIENT"])).await;
    }

    /// Does the patient answer requests?
    pub async fn patient_answers(&self) -> bool {
        let client = reqwest::Client::builder()
            .timeout(std::time::Duration::from_secs(2))
            .build()
            .unwrap();
        let answer = client
            .get(format!("http://{}/", self.said["PATIENT"]))
            .send()
            .await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        call("down", &self.name);
    }
}

pub(crate) async fn post(url: &str) {
    let client = reqwest::Client::builder()
        .timeout(std::time::Duration::from_secs(5))
        .build()
        .unwrap();
    let answer = client.post(url).send().await.unwrap();
    assert!(
        answer.status().is_success(),
        "{url} answers {}",
        answer.status()
    );
}

fn call(verb: &str, name: &str) -> String {
    let output = Command::new(root().join("deploy/demo/stack.sh"))
        .args([verb, name])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "stack.sh {verb} {name}: {}",
        output.status
    );
    String::from_utf8(output.stdout).unwrap()
}
