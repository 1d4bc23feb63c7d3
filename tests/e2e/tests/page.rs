//! The console's page in a real browser.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::time::Duration;

use e2e::homeostat::Homeostat;
use e2e::wait::until;

const SOON: Duration = Duration::from_secs(120);

#[tokio::test]
async fn the_page_shows_the_services_of_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    let stack = e2e::stack::Stack::up("e2e-page");
    let homeostat = Homeostat::start(&["up"], dir.path(), &[]);
    homeostat.ready().await;
    until("the browser shows the worker", SOON, || async {
        let page = rendered(&homeostat.console());
        (page.contains("<td>worker</td>") && page.contains("as of ")).then_some(())
    })
    .await;
    drop(stack);
}

/// The page as the browser has it after its scripts ran for a while.
fn rendered(url: &str) -> String {
    let profile = tempfile::tempdir().unwrap();
    let ran = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--virtual-time-budget=5000", "--dump-dom", url])
        .output()
        .unwrap_or_else(|error| {
            panic!("chromium: {error}; install it with deploy/setup/need-tests.sh")
        });
    String::from_utf8_lossy(&ran.stdout).into_owned()
}
