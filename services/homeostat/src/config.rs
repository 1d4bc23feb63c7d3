//! The configuration of the product: the components' own, put together.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kit::config::{HumanDuration, Invalid, Loaded, Secret, Validate, under};
use serde::{Deserialize, Serialize};
use units::Mode;

use crate::exit::Failure;
use crate::table::{Output, print, print_json, with_heading};

/// Most partitions a topic may be given: beyond it a small cluster suffers and nothing is gained.
const PARTITIONS_MAX: u32 = 1_024;
/// Partitions over Kafka unless told otherwise: analytics can be spread over as many instances.
const PARTITIONS_KAFKA: u32 = 12;

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    /// The file, if one was named.
    pub(crate) file: Option<PathBuf>,
    /// Keys and values of `--set`.
    pub(crate) flags: Vec<(String, String)>,
}

/// Everything that can be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// This node's name; the host name when absent.
    pub(crate) node: Option<String>,
    /// Directory of what must survive a restart: the local log, positions in container logs, the actuator's ledger.
    pub(crate) state_dir: PathBuf,
    /// How long a process may take to end once it was asked to.
    pub(crate) drain_grace: HumanDuration,
    /// Partitions of the topics that grow with the number of services. Fixed once the topics exist.
    pub(crate) partitions: u32,
    /// The log between the roles.
    pub(crate) bus: bus::BusConfig,
    /// Properties of librdkafka that nobody may see, such as `sasl.password`; each from a file or an environment variable.
    pub(crate) kafka_secrets: BTreeMap<String, Secret>,
    /// Logs and traces of Homeostat itself.
    pub(crate) telemetry: kit::telemetry::Config,
    /// The port for /metrics, /healthz and /readyz.
    pub(crate) admin: kit::admin::Config,
    /// Reading containers.
    pub(crate) collector: collector::Config,
    /// Finding what is out of the ordinary.
    pub(crate) analytics: analytics::Config,
    /// Deciding.
    pub(crate) controller: controller::Config,
    /// Acting.
    pub(crate) actuator: actuator::Config,
    /// Telling people.
    pub(crate) notifier: notifier::Config,
    /// Showing.
    pub(crate) console: console::Config,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            node: None,
            state_dir: PathBuf::from("/var/lib/homeostat"),
            drain_grace: HumanDuration::from_secs(10),
            partitions: PARTITIONS_KAFKA,
            bus: bus::BusConfig::default(),
            kafka_secrets: BTreeMap::new(),
            telemetry: kit::telemetry::Config::default(),
            admin: kit::admin::Config::default(),
            collector: collector::Config::default(),
            analytics: analytics::Config::default(),
            controller: controller::Config::default(),
            actuator: actuator::Config::default(),
            notifier: notifier::Config::default(),
            console: console::Config::default(),
        }
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<Invalid> {
        let mut problems = Vec::new();
        if !(1..=PARTITIONS_MAX).contains(&self.partitions) {
            let message = format!("{} partitions are not possible", self.partitions);
            problems.push(
                Invalid::new("partitions", message)
                    .suggest("write a number from 1 to 1024, such as 12"),
            );
        }
        problems.extend(self.open_secrets());
        problems.extend(under("bus", &self.bus));
        problems.extend(under("telemetry", &self.telemetry));
        problems.extend(under("admin", &self.admin));
        problems.extend(under("collector", &self.collector));
        problems.extend(under("analytics", &self.analytics));
        problems.extend(under("controller", &self.controller));
        problems.extend(under("actuator", &self.actuator));
        problems.extend(under("notifier", &self.notifier));
        problems.extend(under("console", &self.console));
        problems
    }
}

impl Config {
    /// Properties that belong among the secrets.
    fn open_secrets(&self) -> impl Iterator<Item = Invalid> + '_ {
        let secret = |key: &&String| {
            ["password", "secret", "key.pem"]
                .iter()
                .any(|part| key.contains(part))
        };
        self.bus.kafka.properties.keys().filter(secret).map(|key| {
            Invalid::new(
                format!("bus.kafka.properties.{key}"),
                "a secret must not stand here".to_owned(),
            )
            .suggest(format!(
                "write it as kafka_secrets.\"{key}\" = {{ file = \"/run/secrets/kafka\" }}"
            ))
        })
    }

    /// Hands what is said once to the components that need it and were not told otherwise.
    fn spread(mut self) -> Self {
        let local = &mut self.bus.local.dir;
        if *local == bus::LocalConfig::default().dir {
            *local = self.state_dir.join("log");
        }
        for (key, secret) in &self.kafka_secrets {
            self.bus
                .kafka
                .properties
                .insert(key.clone(), secret.expose().to_owned());
        }
        self.collector.node = self.collector.node.or_else(|| self.node.clone());
        self.actuator.node = self.actuator.node.or_else(|| self.node.clone());
        let images = &mut self.actuator.images;
        images.address = images
            .address
            .take()
            .or_else(|| self.collector.address.clone());
        self.collector
            .state_dir
            .get_or_insert_with(|| self.state_dir.join("collector"));
        self.actuator
            .state_dir
            .get_or_insert_with(|| self.state_dir.join("actuator"));
        self
    }
}

/// Loads the configuration of a role.
pub(crate) fn load(sources: Sources) -> Result<Config, Failure> {
    Ok(read(sources)?.value.spread())
}

/// Loads the configuration of `homeostat up`, in which nothing goes beyond `ceiling`.
pub(crate) fn load_up(sources: Sources, ceiling: Mode) -> Result<Config, Failure> {
    let mut config = read(sources)?.value;
    // One process reads every partition, and each costs a batch a tick.
    if config.bus.backend != bus::BackendKind::Kafka && config.partitions == PARTITIONS_KAFKA {
        config.partitions = 1;
    }
    config.controller.max_mode = ceiling;
    config.actuator.max_mode = ceiling;
    Ok(config.spread())
}

/// `homeostat config check`.
pub(crate) fn check(sources: Sources) -> Result<(), Failure> {
    read(sources)?;
    print("the configuration is valid")
}

/// `homeostat config show`.
pub(crate) fn show(sources: Sources, output: Output) -> Result<(), Failure> {
    let shown = read(sources)?.show();
    match output {
        Output::Json => print_json(&shown.iter().map(Setting::from).collect::<Vec<_>>()),
        Output::Table => {
            let mut table = with_heading(&["key", "value", "from"]);
            for setting in &shown {
                table.add_row([
                    setting.key.clone(),
                    setting.value.clone(),
                    setting.origin.to_string(),
                ]);
            }
            print(&table.to_string())
        }
    }
}

/// One setting, for programs.
#[derive(Serialize)]
struct Setting<'a> {
    key: &'a str,
    value: &'a str,
    from: String,
}

impl<'a> From<&'a kit::config::Shown> for Setting<'a> {
    fn from(shown: &'a kit::config::Shown) -> Self {
        Setting {
            key: &shown.key,
            value: &shown.value,
            from: shown.origin.to_string(),
        }
    }
}

fn read(sources: Sources) -> Result<Loaded<Config>, Failure> {
    let sources = kit::config::Sources::from_process(sources.file, sources.flags);
    kit::config::load(&sources).map_err(|problems| Failure::Usage(problems.to_string()))
}
