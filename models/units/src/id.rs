//! Identities. Each is its own type, so that a node is never passed where a service is meant.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps the text as it is.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                $name(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl $name {
            /// The text as it is shared by the clones of this id.
            pub fn shared(&self) -> &Arc<str> {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                $name(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// A Docker host, by the name the operator gave it (default: its host name).
    NodeId
);
text_id!(
    /// A service: all replicas of the same thing. Label, else compose project/service, else the name.
    ServiceId
);
text_id!(
    /// The engine's full container id.
    ContainerId
);
text_id!(
    /// The container's name without the leading slash.
    ContainerName
);
text_id!(
    /// What a signal is about, the same each time it opens: kind and subject, hashed to 16 hex digits.
    Fingerprint
);
text_id!(
    /// One opening of a signal: fingerprint and opening time.
    SignalId
);
text_id!(
    /// One plan: service, kind of action and the time of the decision.
    PlanId
);
text_id!(
    /// One update of one service: the service and when it was ordered.
    UpdateId
);
text_id!(
    /// One step of one plan. The same step always has the same id, so a duplicate is recognised.
    CommandId
);

impl ContainerId {
    /// The first twelve characters, as `docker ps` shows them.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl Fingerprint {
    /// Hashes the parts with FNV-1a (64 bit); a separator keeps `ab`+`c` and `a`+`bc` apart.
    pub fn of(parts: &[&str]) -> Self {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0100_0000_01b3;
        let mut hash = OFFSET;
        for part in parts {
            for byte in part.bytes().chain([0x1f]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(PRIME);
            }
        }
        Fingerprint::new(format!("{hash:016x}"))
    }
}

impl SignalId {
    /// The id of the opening of `fingerprint` at `opened_at`.
    pub fn of(fingerprint: &Fingerprint, opened_at: Timestamp) -> Self {
        SignalId::new(format!("{fingerprint}-{}", opened_at.as_millis()))
    }
}

impl PlanId {
    /// The id of the plan of this `kind` for `service` decided at `decided_at`.
    pub fn of(service: &ServiceId, kind: &str, decided_at: Timestamp) -> Self {
        PlanId::new(format!("{service}-{kind}-{}", decided_at.as_millis()))
    }
}

impl UpdateId {
    /// The id of the update of `service` ordered at `at`.
    pub fn of(service: &ServiceId, at: Timestamp) -> Self {
        UpdateId::new(format!("{service}-{}", at.as_millis()))
    }
}

impl CommandId {
    /// The id of step `index` of `plan`.
    pub fn of(plan: &PlanId, index: usize) -> Self {
        CommandId::new(format!("{plan}.{index}"))
    }
}

/// The fencing token: rises with every change of leader. An actuator refuses what is older than the newest it saw.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_keep_parts_apart_and_do_not_change() {
        assert_ne!(Fingerprint::of(&["ab", "c"]), Fingerprint::of(&["a", "bc"]));
        assert_eq!(
            Fingerprint::of(&["hang", "web"]),
            Fingerprint::of(&["hang", "web"])
        );
        assert_eq!(Fingerprint::of(&[]).as_str(), "cbf29ce484222325");
    }

    #[test]
    fn short_ids_never_panic() {
        assert_eq!(ContainerId::from("abc").short(), "abc");
        assert_eq!(
            ContainerId::from("0123456789abcdef").short(),
            "0123456789ab"
        );
    }
}
