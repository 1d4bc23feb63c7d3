//! Values that must not be seen.

use std::cell::RefCell;
use std::fmt;
use std::path::Path;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What stands for a secret wherever it would be shown.
pub(super) const MASK: &str = "***";
/// Under this name a secret asks a deserialiser for its value, so that ours can hand over a variable's text as it
/// stands and not as the number it may look like.
pub(super) const TOKEN: &str = "kit::config::Secret";
/// Secrets longer than this are refused; what is longer is not a password but the wrong file.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

pub(super) const LITERAL: &str = "a secret must not stand in the configuration itself";
pub(super) const HELP: &str = "use { file = \"/path/to/file\" } or { env = \"NAME\" }, or set the key by its HOMEOSTAT__ variable";

/// A password, token or key. In a file it is written `{ file = "/path" }` or `{ env = "NAME" }`; its
/// `HOMEOSTAT__` variable may hold it as it is. It is read when the configuration is loaded, and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret from elsewhere, as in tests.
    pub fn new(secret: impl Into<String>) -> Self {
        Secret(secret.into())
    }

    /// The value, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(MASK)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_newtype_struct(TOKEN, Written)
    }
}

/// What deserialising a secret may use. Serde carries no context, so it stands beside the thread while a
/// configuration is loaded.
#[derive(Default)]
struct Surroundings {
    /// Texts that came by variables, and so may be secrets as they stand.
    literals: Vec<String>,
    /// What `{ env = "NAME" }` looks in.
    env: Vec<(String, String)>,
}

thread_local! {
    static SURROUNDINGS: RefCell<Surroundings> = RefCell::default();
}

/// Runs `load` such that secrets may be one of `literals` or be found in `env`.
pub(super) fn surrounded<R>(
    literals: Vec<String>,
    env: Vec<(String, String)>,
    load: impl FnOnce() -> R,
) -> R {
    struct Restore(Option<Surroundings>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let before = self.0.take().unwrap_or_default();
            SURROUNDINGS.with(|it| *it.borrow_mut() = before);
        }
    }

    let during = Surroundings { literals, env };
    let _restore = Restore(Some(SURROUNDINGS.with(|it| it.replace(during))));
    load()
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret as { file = \"/path\" } or { env = \"NAME\" }")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<Secret, D::Error> {
        from.deserialize_any(self)
    }

    /// The text is not repeated: it is a secret in the wrong place.
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
        let given = SURROUNDINGS.with(|it| it.borrow().literals.iter().any(|known| known == text));
        match given {
            true => not_empty(text.to_owned()).map_err(E::custom),
            false => Err(E::custom(LITERAL)),
        }
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Secret, E> {
        Err(E::custom(LITERAL))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Secret, E> {
        Err(E::custom(LITERAL))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Secret, E> {
        Err(E::custom(LITERAL))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Secret, E> {
        Err(E::custom(LITERAL))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Secret, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            let place = map.next_value::<String>()?;
            if found.is_some() {
                return Err(de::Error::custom("a secret has one place, `file` or `env`"));
            }
            found = Some(match key.as_str() {
                "file" => read_file(Path::new(&place)).map_err(de::Error::custom)?,
                "env" => read_env(&place).map_err(de::Error::custom)?,
                other => return Err(de::Error::unknown_field(other, &["file", "env"])),
            });
        }
        found.ok_or_else(|| de::Error::custom("a secret names its place, `file` or `env`"))
    }
}

/// One line end is taken off: editors and `echo` add it, and no service wants it.
fn read_file(path: &Path) -> Result<Secret, String> {
    let refuse = |error: std::io::Error| {
        format!(
            "the secret's file {} cannot be read: {error}",
            path.display()
        )
    };
    let length_bytes = std::fs::metadata(path).map_err(refuse)?.len();
    if length_bytes > MAX_SECRET_BYTES {
        return Err(format!(
            "the secret's file {} is larger than {MAX_SECRET_BYTES} bytes",
            path.display()
        ));
    }
    let text = std::fs::read_to_string(path).map_err(refuse)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    not_empty(text.to_owned()).map_err(|_| format!("the secret's file {} is empty", path.display()))
}

fn read_env(name: &str) -> Result<Secret, String> {
    let text = SURROUNDINGS.with(|it| {
        let env = &it.borrow().env;
        let found = env.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    });
    let text = text.ok_or_else(|| format!("the secret's variable {name} is not set"))?;
    not_empty(text).map_err(|_| format!("the secret's variable {name} is empty"))
}

fn not_empty(text: String) -> Result<Secret, &'static str> {
    match text.is_empty() {
        true => Err("a secret must not be empty"),
        false => Ok(Secret(text)),
    }
}
