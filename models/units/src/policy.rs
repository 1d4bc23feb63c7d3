//! What an operator allows, read from a container's labels.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use crate::target::parse_target;
use crate::{
    ContainerName, HaproxyBackend, LimitsPolicy, NetworkAlias, Ratio, ScaleTarget, ServiceId,
    balance, ranges,
};

/// Every label of ours starts with this.
pub const LABEL_PREFIX: &str = "io.homeostat.";
/// Set on containers Homeostat makes: the id of the container they were made from.
pub const LABEL_REPLICA_OF: &str = "io.homeostat.replica-of";
/// Set on containers Homeostat makes: the command that made them.
pub const LABEL_COMMAND: &str = "io.homeostat.command";
/// Set on containers Homeostat makes: the plan that made them.
pub const LABEL_PLAN: &str = "io.homeostat.plan";
/// The backend of HAProxy that a container serves.
pub const LABEL_HAPROXY: &str = "io.homeostat.haproxy";
/// The name in its networks that a container has while it serves.
pub const LABEL_DNS: &str = "io.homeostat.dns";

const PRIORITY_DEFAULT: u32 = 100;
const REPLICAS_MAX: u32 = 1_000;

/// How far Homeostat may go. Ordered: a ceiling is a minimum of two modes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Look only.
    #[default]
    Observe,
    /// Say what it would do.
    Suggest,
    /// Do it.
    Act,
}

impl Mode {
    /// The mode of a word.
    pub fn parse(word: &str) -> Option<Mode> {
        match word {
            "observe" => Some(Mode::Observe),
            "suggest" => Some(Mode::Suggest),
            "act" => Some(Mode::Act),
            _ => None,
        }
    }

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Observe => "observe",
            Mode::Suggest => "suggest",
            Mode::Act => "act",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a service may be scaled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScalePolicy {
    /// Fewest replicas; 0 where it may be stopped while it is idle.
    pub min: u32,
    /// Most replicas.
    pub max: u32,
    /// What to keep.
    pub target: ScaleTarget,
}

impl ScalePolicy {
    /// Whether `service` may come down to none: its label says so, and another service tells when it is wanted again.
    pub fn may_rest(&self, service: &ServiceId) -> bool {
        self.min == 0 && self.target.teller().is_some_and(|it| it != service)
    }

    /// Fewest replicas while it runs at all.
    pub const fn least(&self) -> u32 {
        match self.min {
            0 => 1,
            min => min,
        }
    }
}

/// What the labels of one container allow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// How far to go.
    pub mode: Mode,
    /// May it be restarted?
    pub heal: bool,
    /// May it also be replaced by a new container made the same way, or of the image before? Absent in older records.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recreate: bool,
    /// May another image be rolled out to it when a person orders that? Absent in older records.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub update: bool,
    /// May replicas be added and removed, and how many?
    pub scale: Option<ScalePolicy>,
    /// May its limits be changed in place, and how far?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsPolicy>,
    /// May it be moved to another host?
    pub movable: bool,
    /// No two of it may run at once: its node stops it when it is cut off, before another takes its place. Absent in older records.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub singleton: bool,
    /// Higher survives longer.
    pub priority: u32,
    /// The port it serves on, of those in the container; it permits nothing. Absent in older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<NonZeroU16>,
    /// Which backend of the load balancer it serves. Absent in older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub haproxy: Option<HaproxyBackend>,
    /// The name it has in its networks while it serves. Absent in older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<NetworkAlias>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            mode: Mode::Observe,
            heal: false,
            recreate: false,
            update: false,
            scale: None,
            limits: None,
            movable: false,
            singleton: false,
            priority: PRIORITY_DEFAULT,
            port: None,
            haproxy: None,
            dns: None,
        }
    }
}

/// A label that could not be read. The policy takes the safest reading instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("label {label}={value:?}: {problem}")]
pub struct LabelProblem {
    /// The label's full name.
    pub label: String,
    /// What it says.
    pub value: String,
    /// What is wrong, and what to write.
    pub problem: String,
}

impl Policy {
    /// Reads the labels of a container. Whatever cannot be read is reported and allows nothing.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> (Policy, Vec<LabelProblem>) {
        let mut reader = LabelReader {
            labels,
            problems: Vec::new(),
        };
        let healing = reader.read("heal", Healing::No, Healing::parse);
        let policy = Policy {
            mode: reader.read("mode", Mode::Observe, |word| {
                Mode::parse(word).ok_or("write observe, suggest or act")
            }),
            heal: healing != Healing::No,
            recreate: healing == Healing::Recreates,
            update: reader.read("update", false, parse_switch),
            scale: reader.scale(),
            limits: reader.read_opt("limits", ranges::parse),
            movable: reader.read("move", false, parse_switch),
            singleton: reader.read("singleton", false, parse_switch),
            priority: reader.read("priority", PRIORITY_DEFAULT, |word| {
                word.parse().map_err(|_| "write a whole number such as 100")
            }),
            port: reader.read_opt("port", |word| {
                let number = word.parse();
                number.map_err(|_| "write the port it listens on, from 1 to 65535, such as 8080")
            }),
            haproxy: reader.read_opt("haproxy", balance::parse),
            dns: reader.read_opt("dns", NetworkAlias::parse),
        };
        reader.unknown();
        (policy, reader.problems)
    }
}

impl ServiceId {
    /// The service of a container: our label, else compose's project and service, else the name.
    pub fn from_labels(labels: &BTreeMap<String, String>, name: &ContainerName) -> ServiceId {
        let text = |label: &str| {
            labels
                .get(label)
                .map(String::as_str)
                .filter(|text| !text.is_empty())
        };
        if let Some(service) = text("io.homeostat.service") {
            return ServiceId::from(service);
        }
        match (
            text("com.docker.compose.project"),
            text("com.docker.compose.service"),
        ) {
            (Some(project), Some(service)) => ServiceId::new(format!("{project}/{service}")),
            (_, Some(service)) => ServiceId::from(service),
            (_, None) => ServiceId::from(name.as_str()),
        }
    }
}

/// How far the label `heal` goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Healing {
    No,
    Restarts,
    /// Restarts and what is more than that.
    Recreates,
}

impl Healing {
    fn parse(word: &str) -> Result<Healing, &'static str> {
        match word {
            "false" => Ok(Healing::No),
            "true" => Ok(Healing::Restarts),
            "recreate" => Ok(Healing::Recreates),
            _ => Err("write true, recreate or false"),
        }
    }
}

fn parse_switch(word: &str) -> Result<bool, &'static str> {
    match word {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("write true or false"),
    }
}

/// Of the CPU of a service, or of its own pages, nothing is told while nothing of it runs.
const NO_LOAD_AT_NONE: &str = "a service of which nothing runs tells no load of its own, so the fewest can be 0 only with a target that another service tells, as io.homeostat.scale.target=metric@broker:jobs_waiting=100; write that, or 1 as the fewest, such as 1..8";

fn parse_range(word: &str) -> Result<(u32, u32), &'static str> {
    const HELP: &str = "write the fewest and most replicas as 1..8";
    let (min, max) = word.split_once("..").ok_or(HELP)?;
    let min: u32 = min.trim().parse().map_err(|_| HELP)?;
    let max: u32 = max.trim().parse().map_err(|_| HELP)?;
    if max == 0 {
        return Err("the most replicas must be at least 1; to have none, stop the service");
    }
    if min > max {
        return Err("the fewest replicas must not exceed the most");
    }
    if max > REPLICAS_MAX {
        return Err("more than 1000 replicas are not supported");
    }
    Ok((min, max))
}

/// Keys of ours that say something; anything else under the prefix is a slip of the pen.
/// Labels that somebody reads, here or in the collector.
const KNOWN: [&str; 18] = [
    "service",
    "port",
    "mode",
    "heal",
    "scale",
    "scale.target",
    "limits",
    "move",
    "singleton",
    "priority",
    "scrape",
    "replica-of",
    "command",
    "plan",
    "demo",
    "update",
    "haproxy",
    "dns",
];

struct LabelReader<'a> {
    labels: &'a BTreeMap<String, String>,
    problems: Vec<LabelProblem>,
}

impl LabelReader<'_> {
    fn read<T>(
        &mut self,
        key: &str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> T {
        self.read_opt(key, parse).unwrap_or(default)
    }

    fn read_opt<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        let label = format!("{LABEL_PREFIX}{key}");
        let value = self.labels.get(&label)?;
        match parse(value.trim()) {
            Ok(read) => Some(read),
            Err(problem) => {
                self.problem(label, value.clone(), problem);
                None
            }
        }
    }

    fn problem(&mut self, label: String, value: String, problem: &str) {
        self.problems.push(LabelProblem {
            label,
            value,
            problem: problem.to_owned(),
        });
    }

    fn scale(&mut self) -> Option<ScalePolicy> {
        let target = self
            .read_opt("scale.target", parse_target)
            .unwrap_or(ScaleTarget::Cpu(Ratio::saturating(0.7)));
        let (min, max) = self.read_opt("scale", |word| {
            let (min, max) = parse_range(word)?;
            match min == 0 && target.teller().is_none() {
                true => Err(NO_LOAD_AT_NONE),
                false => Ok((min, max)),
            }
        })?;
        Some(ScalePolicy { min, max, target })
    }

    fn unknown(&mut self) {
        let strangers: Vec<(String, String)> = self
            .labels
            .iter()
            .filter(|(label, _)| {
                label
                    .strip_prefix(LABEL_PREFIX)
                    .is_some_and(|key| !KNOWN.contains(&key))
            })
            .map(|(label, value)| (label.clone(), value.clone()))
            .collect();
        for (label, value) in strangers {
            self.problem(
                label,
                value,
                "unknown label; see the table of labels in the README",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn no_label_allows_nothing() {
        let (policy, problems) = Policy::from_labels(&labels(&[("other", "x")]));
        assert_eq!(policy, Policy::default());
        assert_eq!(policy.mode, Mode::Observe);
        assert!(problems.is_empty());
    }

    #[test]
    fn labels_opt_in() {
        let (policy, problems) = Policy::from_labels(&labels(&[
            ("io.homeostat.mode", "act"),
            ("io.homeostat.heal", "true"),
            ("io.homeostat.scale", "1..8"),
            ("io.homeostat.scale.target", "cpu=60%"),
            ("io.homeostat.limits", "cpu=100m..2"),
        ]));
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(policy.mode, Mode::Act);
        assert!(policy.heal && !policy.recreate);
        let scale = policy.scale.unwrap();
        assert_eq!((scale.min, scale.max), (1, 8));
        assert_eq!(scale.target, ScaleTarget::Cpu(Ratio::new(0.6).unwrap()));
        let limits = policy.limits.unwrap();
        assert_eq!(limits.cpu.unwrap().to_string(), "100m to 2000m");
        assert_eq!(limits.memory, None);
    }

    #[test]
    fn a_port_is_one_that_can_be_listened_on_and_permits_nothing() {
        let read = |port: &str| Policy::from_labels(&labels(&[("io.homeostat.port", port)]));
        let (policy, problems) = read("8080");
        assert!(problems.is_empty(), "{problems:?}");
        let unlabelled = Policy {
            port: None,
            ..policy.clone()
        };
        assert_eq!(policy.port.map(NonZeroU16::get), Some(8080));
        assert_eq!(unlabelled, Policy::default());
        for wrong in ["0", "65536", "http", "8080/tcp", ""] {
            let (policy, problems) = read(wrong);
            assert_eq!(policy, Policy::default());
            assert!(
                problems[0].to_string().contains("such as 8080"),
                "{problems:?}"
            );
        }
    }

    #[test]
    fn a_target_is_a_cpu_share_or_a_promise() {
        let read = |target: &str| {
            Policy::from_labels(&labels(&[
                ("io.homeostat.scale", "1..8"),
                ("io.homeostat.scale.target", target),
            ]))
        };
        let (policy, problems) = read("slo=99.9%");
        assert!(problems.is_empty(), "{problems:?}");
        let Some(ScaleTarget::Slo(share)) = policy.scale.as_ref().map(|scale| scale.target.clone())
        else {
            panic!("{policy:?}");
        };
        assert!((share.get() - 0.001).abs() < 1e-9);
        for (wrong, says) in [
            ("slo=100%", "between 50% and 99.99%"),
            ("slo=0.1%", "between 50% and 99.99%"),
            ("cpu=0%", "between 1% and 100%"),
            ("latency=20ms", "slo=99.9%"),
            ("70%", "cpu=70%"),
        ] {
            let (policy, problems) = read(wrong);
            assert_eq!(
                policy.scale.map(|scale| scale.target.clone()),
                Some(ScaleTarget::Cpu(Ratio::saturating(0.7)))
            );
            assert!(problems[0].to_string().contains(says), "{problems:?}");
        }
    }

    #[test]
    fn none_may_run_only_where_another_service_tells_the_load() {
        let read = |scale: &str, target: Option<&str>| {
            let mut all = labels(&[("io.homeostat.scale", scale)]);
            if let Some(target) = target {
                all.insert("io.homeostat.scale.target".into(), target.into());
            }
            let (policy, problems) = Policy::from_labels(&all);
            (policy.scale, problems)
        };
        let (scale, problems) = read("0..8", Some("metric@queue:jobs_waiting=100"));
        let scale = scale.unwrap();
        assert_eq!(problems, Vec::new());
        assert_eq!((scale.min, scale.max, scale.least()), (0, 8, 1));
        assert!(scale.may_rest(&ServiceId::from("worker")));
        assert!(
            !scale.may_rest(&ServiceId::from("queue")),
            "it would tell its own load"
        );
        for target in [
            None,
            Some("cpu=70%"),
            Some("slo=99.9%"),
            Some("metric:jobs=5"),
        ] {
            let (scale, problems) = read("0..8", target);
            assert_eq!(scale, None);
            assert_eq!(problems.len(), 1, "{problems:?}");
            let said = problems[0].to_string();
            assert!(said.contains("label io.homeostat.scale=\"0..8\""), "{said}");
            assert!(said.contains("metric@broker:jobs_waiting=100"), "{said}");
        }
        let (scale, problems) = read("0..0", Some("metric@queue:jobs_waiting=100"));
        assert_eq!(scale, None);
        assert!(problems[0].to_string().contains("at least 1"));
        let (scale, _) = read("1..8", Some("metric@queue:jobs_waiting=100"));
        assert!(!scale.unwrap().may_rest(&ServiceId::from("worker")));
    }

    #[test]
    fn to_be_recreated_is_opted_into_by_a_word_of_its_own() {
        let (policy, problems) = Policy::from_labels(&labels(&[("io.homeostat.heal", "recreate")]));
        assert!(policy.heal && policy.recreate && problems.is_empty());
        let (policy, problems) = Policy::from_labels(&labels(&[("io.homeostat.heal", "rollback")]));
        assert!(!policy.heal && !policy.recreate);
        assert!(
            problems[0]
                .to_string()
                .contains("write true, recreate or false")
        );
    }

    #[test]
    fn a_policy_of_an_older_record_allows_no_recreation() {
        let old = r#"{"mode":"act","heal":true,"scale":null,"movable":false,"priority":100}"#;
        let policy: Policy = serde_json::from_str(old).unwrap();
        assert!(policy.heal && !policy.recreate);
        assert_eq!(serde_json::to_string(&policy).unwrap(), old);
    }

    #[test]
    fn what_cannot_be_read_allows_nothing_and_is_said() {
        let (policy, problems) = Policy::from_labels(&labels(&[
            ("io.homeostat.mode", "yes"),
            ("io.homeostat.scale", "8..1"),
            ("io.homeostat.limits", "cpu=2..1"),
            ("io.homeostat.heel", "true"),
        ]));
        assert_eq!(policy.mode, Mode::Observe);
        assert_eq!(policy.scale, None);
        assert_eq!(policy.limits, None);
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 4, "{said:?}");
        assert!(said[0].contains("write observe, suggest or act"));
        assert!(said[1].contains("fewest replicas must not exceed"));
        assert!(said[2].contains("least CPU must not exceed"));
        assert!(said[3].contains("unknown label"));
    }

    #[test]
    fn a_policy_of_before_limits_could_be_changed_is_read() {
        let old = r#"{"mode":"act","heal":true,"scale":null,"movable":false,"priority":100}"#;
        let policy: Policy = serde_json::from_str(old).unwrap();
        assert_eq!((policy.mode, policy.limits), (Mode::Act, None));
        assert!(!serde_json::to_string(&policy).unwrap().contains("limits"));
    }

    #[test]
    fn the_service_is_the_label_then_compose_then_the_name() {
        let name = ContainerName::from("shop-web-1");
        let compose = [
            ("com.docker.compose.project", "shop"),
            ("com.docker.compose.service", "web"),
        ];
        assert_eq!(
            ServiceId::from_labels(&labels(&[]), &name).as_str(),
            "shop-web-1"
        );
        assert_eq!(
            ServiceId::from_labels(&labels(&compose), &name).as_str(),
            "shop/web"
        );
        let mut both = labels(&compose);
        both.insert("io.homeostat.service".into(), "front".into());
        assert_eq!(ServiceId::from_labels(&both, &name).as_str(), "front");
    }

    proptest::proptest! {
        #[test]
        fn any_label_text_is_read_without_panic(value in ".*") {
            for key in KNOWN {
                let (policy, _) = Policy::from_labels(&labels(&[(&format!("{LABEL_PREFIX}{key}"), &value)]));
                if key != "mode" || value.trim() != "act" {
                    proptest::prop_assert!(policy.mode != Mode::Act);
                }
            }
        }
    }
}
