//! What happens to the stack, and when.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::stack::Stack;
use super::story::{Milestone, Story};

/// Load that needs three replicas of the web service.
const HIGH_RPS: f64 = 45.0;
/// A reaction that has not come by then will not come; the script goes on so that the others can be seen.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time for people to read before the next thing happens.
const PAUSE: Duration = Duration::from_secs(3);

/// How long the demonstration goes on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Length {
    /// Until the spectator ends it; the story repeats.
    UntilStopped,
    /// One story, cut after this long.
    Seconds(Duration),
}

/// Plays the script; cancels `ended` when nothing more is to come.
pub(super) async fn play(
    stack: Stack,
    story: Story,
    length: Length,
    shutdown: CancellationToken,
    ended: CancellationToken,
) -> anyhow::Result<()> {
    let acts = async {
        match length {
            Length::Seconds(limit) => timeout(limit, once(&stack, &story)).await.unwrap_or(Ok(())),
            Length::UntilStopped => loop {
                once(&stack, &story).await?;
                story.tell("again", "the story starts over; Ctrl-C ends it");
            },
        }
    };
    let result = shutdown.run_until_cancelled(acts).await.unwrap_or(Ok(()));
    ended.cancel();
    shutdown.cancelled().await;
    result
}

async fn once(stack: &Stack, story: &Story) -> anyhow::Result<()> {
    story.begin();
    story.tell(
        "begin",
        "the loop watches web, worker, patient and their traffic",
    );
    reached(story, Milestone::Baseline).await;
    tokio::try_join!(load(stack, story), illness(stack, story))?;
    Ok(())
}

/// Load rises and falls again.
async fn load(stack: &Stack, story: &Story) -> anyhow::Result<()> {
    stack.rate("web", HIGH_RPS).await?;
    story.reach(
        Milestone::LoadRises,
        &format!(
            "traffic to web from {} to {HIGH_RPS} requests/s",
            stack.base_rps
        ),
    );
    reached(story, Milestone::OverloadSignal).await;
    reached(story, Milestone::ReplicaAdded).await;
    reached(story, Milestone::AddVerdict).await;
    stack.rate("web", stack.base_rps).await?;
    story.reach(
        Milestone::LoadFalls,
        &format!("traffic to web back to {} requests/s", stack.base_rps),
    );
    reached(story, Milestone::ReplicaRemoved).await;
    reached(story, Milestone::RemoveVerdict).await;
    Ok(())
}

/// The patient hangs, logs errors, and leaks.
async fn illness(stack: &Stack, story: &Story) -> anyhow::Result<()> {
    tokio::time::sleep(PAUSE).await;
    stack.patient("hang").await?;
    story.reach(
        Milestone::Hang,
        "patient was told to hang: it takes requests and answers none",
    );
    reached(story, Milestone::HangSignal).await;
    reached(story, Milestone::Restarted).await;
    reached(story, Milestone::Recovered).await;
    reached(story, Milestone::RestartVerdict).await;
    tokio::time::sleep(PAUSE).await;
    stack.patient("errors?per_s=20").await?;
    story.reach(Milestone::Errors, "patient was told to log 20 errors/s");
    reached(story, Milestone::ErrorSignal).await;
    stack.patient("errors/stop").await?;
    tokio::time::sleep(PAUSE).await;
    stack.patient("leak?mb_per_s=4").await?;
    story.reach(
        Milestone::Leak,
        "patient was told to leak 4 MB/s; its limit is 96 MB",
    );
    reached(story, Milestone::LeakSignal).await;
    reached(story, Milestone::LeakRestarted).await;
    reached(story, Milestone::LeakVerdict).await;
    Ok(())
}

async fn reached(story: &Story, milestone: Milestone) {
    if timeout(PATIENCE, story.reached(milestone)).await.is_err() {
        story.tell(
            "waited",
            &format!(
                "{} has not come in {} s",
                milestone.what(),
                PATIENCE.as_secs()
            ),
        );
    }
}
