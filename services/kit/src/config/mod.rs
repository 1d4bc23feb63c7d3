//! Configuration: one TOML file, `HOMEOSTAT__SECTION__KEY` variables over it, flags over both.
//!
//! [`load`] never stops at the first error: it names every one with its place, and what would be right. Unknown
//! keys are errors. Secrets come from files or the environment ([`Secret`]) and are shown as `***`.
//!
//! A configuration type is a plain serde structure with `#[serde(default, deny_unknown_fields)]`, a `Default`,
//! and [`Validate`] for what its types cannot say.

mod de;
mod duration;
mod fault;
mod host;
mod load;
mod problem;
mod secret;
mod show;
mod tree;

use std::fmt;
use std::path::PathBuf;

use crate::boot;

pub use duration::HumanDuration;
pub use host::is_host;
pub use load::load;
pub use problem::{Invalid, Origin, Problem, Problems};
pub use secret::Secret;
pub use show::{Loaded, Shown};

/// Variables that begin with this set a key: `HOMEOSTAT__TELEMETRY__LOG=debug` sets `telemetry.log`.
pub const ENV_PREFIX: &str = "HOMEOSTAT__";

/// Checks what the types of a configuration cannot say.
pub trait Validate {
    /// Everything that is wrong, with keys relative to this value.
    fn problems(&self) -> Vec<Invalid>;
}

/// The problems of a part, with its key put before theirs: `under("telemetry", &self.telemetry)`.
pub fn under(key: &str, part: &impl Validate) -> Vec<Invalid> {
    let problems = part.problems().into_iter();
    problems.map(|problem| problem.under(key)).collect()
}

/// Where a configuration comes from; later ones win.
#[derive(Clone, Default)]
pub struct Sources {
    /// The TOML file. None: defaults, environment and flags only.
    pub file: Option<PathBuf>,
    /// The environment; only names that begin with [`ENV_PREFIX`] set keys, secrets may name any.
    pub env: Vec<(String, String)>,
    /// Keys set on the command line, as dotted key and value.
    pub flags: Vec<(String, String)>,
}

/// Names only: any variable may hold a secret.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.env.iter().map(|(name, _)| name);
        let keys = self.flags.iter().map(|(key, _)| key);
        f.debug_struct("Sources")
            .field("file", &self.file)
            .field("env", &names.collect::<Vec<_>>())
            .field("flags", &keys.collect::<Vec<_>>())
            .finish()
    }
}

impl Sources {
    /// This process's environment. Names and values that are no UTF-8 are left out.
    pub fn from_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        let env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Sources { file, env, flags }
    }
}

/// The log's own settings; its texts give the problem and, after a semicolon, what would be right.
impl Validate for bus::BusConfig {
    fn problems(&self) -> Vec<Invalid> {
        let problems = bus::BusConfig::problems(self).into_iter();
        let problems = problems.map(|error| {
            let bus::BusError::Config { key, problem } = error else {
                return Invalid::new("", boot::chain(&error));
            };
            match problem.split_once("; ") {
                Some((message, suggestion)) => Invalid::new(key, message).suggest(suggestion),
                None => Invalid::new(key, problem),
            }
        });
        problems.collect()
    }
}
