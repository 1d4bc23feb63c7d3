//! What became of commands.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Attachment, CommandId, ContainerId, Image, Limits, NodeId, PlanId, Timestamp};

/// An engine may tell the end of a container so much later than it answers that it stopped it. Whoever starts one again needs longer.
const ENGINE_PLAY: Duration = Duration::from_secs(2);
/// What a command takes at most where the clock it is timed by was set back meanwhile.
const TURNED: Duration = Duration::from_secs(60);

/// Why an actuator would not carry a command out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The container's labels, or this actuator's ceiling, do not allow it.
    NotOptedIn,
    /// A newer leader has spoken.
    StaleGeneration,
    /// Its deadline has passed.
    Expired,
    /// The container to be made would be privileged, share the host's namespaces or bind-mount host paths; or one to be made again
    /// cannot be made as it is.
    Unsafe,
    /// Only containers Homeostat made are removed.
    NotOurs,
    /// The new limit is below what is in use.
    BelowUse,
    /// This node has no key, or another one, for what moves between nodes.
    NoKey,
}

impl Refusal {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Refusal::NotOptedIn => "not_opted_in",
            Refusal::StaleGeneration => "stale_generation",
            Refusal::Expired => "expired",
            Refusal::Unsafe => "unsafe",
            Refusal::NotOurs => "not_ours",
            Refusal::BelowUse => "below_use",
            Refusal::NoKey => "no_key",
        }
    }
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum OutcomeResult {
    /// Done.
    Succeeded {
        /// The container that was made, when one was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        created: Option<ContainerId>,
        /// The limits before, when they were changed: what an undo restores.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous: Option<Limits>,
        /// The image that was pulled, when one was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image: Option<Image>,
        /// How a container is made, in base64, sealed, when that was asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sealed: Option<String>,
        /// The networks it was taken out of, when it was: what an undo restores.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        networks: Vec<Attachment>,
    },
    /// Not begun, on purpose.
    Refused {
        /// Why.
        refusal: Refusal,
        /// In words.
        reason: String,
    },
    /// Begun, and the engine did not do it.
    Failed {
        /// What the engine said.
        error: String,
    },
    /// The container was gone.
    Vanished,
    /// The actuator was ended in the middle; the engine's state does not tell whether it was done.
    Interrupted,
}

impl OutcomeResult {
    /// The words of all results.
    pub const WORDS: [&str; 5] = ["succeeded", "refused", "failed", "vanished", "interrupted"];

    /// Its word.
    pub const fn as_str(&self) -> &'static str {
        match self {
            OutcomeResult::Succeeded { .. } => "succeeded",
            OutcomeResult::Refused { .. } => "refused",
            OutcomeResult::Failed { .. } => "failed",
            OutcomeResult::Vanished => "vanished",
            OutcomeResult::Interrupted => "interrupted",
        }
    }
}

/// What became of a command, from the actuator that got it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which command.
    pub command: CommandId,
    /// Of which plan.
    pub plan: PlanId,
    /// By which node.
    pub node: NodeId,
    /// When it was begun; when it was refused, if it was.
    pub began_at: Timestamp,
    /// When it ended.
    pub at: Timestamp,
    /// What became of it.
    #[serde(flatten)]
    pub result: OutcomeResult,
    /// W3C trace context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// What else is to be known of how it went, in words. Absent in older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Outcome {
    /// Whether an end that its node tells of can have come of it: it was while this was at work, or as soon after as engines tell of such.
    /// Where the node's clock was set back meanwhile, which shows in that this ended before it began, the end is told by the clock of
    /// before or by the one of after.
    pub fn covers(&self, ended: Timestamp) -> bool {
        let until = self.at + ENGINE_PLAY;
        if self.at >= self.began_at {
            return (self.began_at..=until).contains(&ended);
        }
        (self.began_at..=self.began_at + TURNED).contains(&ended)
            || (self.at - TURNED..=until).contains(&ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(began_s: u64, at_s: u64, ended_s: u64) -> bool {
        let secs = |it: u64| Timestamp::EPOCH + Duration::from_secs(it);
        let outcome = Outcome {
            command: CommandId::of(&PlanId::from("p"), 0),
            plan: PlanId::from("p"),
            node: NodeId::from("a"),
            began_at: secs(began_s),
            at: secs(at_s),
            result: OutcomeResult::Vanished,
            traceparent: None,
            note: None,
        };
        outcome.covers(secs(ended_s))
    }

    #[test]
    fn an_end_comes_of_a_command_that_was_at_work() {
        assert!(!covers(1000, 1003, 999));
        assert!(covers(1000, 1003, 1000) && covers(1000, 1003, 1005));
        assert!(!covers(1000, 1003, 1006));
    }

    #[test]
    fn an_end_is_told_by_the_clock_of_before_or_after_it_was_set_back() {
        assert!(covers(1000, 700, 1000) && covers(1000, 700, 1010));
        assert!(covers(1000, 700, 699) && covers(1000, 700, 702));
        assert!(!covers(1000, 700, 800), "somebody stopped it later");
        assert!(!covers(1000, 700, 999) && !covers(1000, 700, 600));
    }
}
