//! Configuration: one TOML file, `HOMEOSTAT__SECTION__KEY` variables over it, flags over both.
//!
//! [`load`] never stops at the first error: it names every one with its place, and what would be right. Unknown
//! keys are errors. Secrets come from files or the environment ([`Secret`]) and are shown as `***`.
//!
//! A configuration type is a plain serde structure with `#[serde(default, deny_unknown_fields)]`, a `Default`,
//! and [`Validate`] for what its types cannot say.

mod de;
mod duration;
mod load;
mod problem;
mod secret;
mod show;
mod tree;

use std::path::PathBuf;

pub use duration::HumanDuration;
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
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The TOML file. None: defaults, environment and flags only.
    pub file: Option<PathBuf>,
    /// The environment; only names that begin with [`ENV_PREFIX`] set keys, secrets may name any.
    pub env: Vec<(String, String)>,
    /// Keys set on the command line, as dotted key and value.
    pub flags: Vec<(String, String)>,
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
