//! A loaded configuration, and what it consists of.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::problem::Origin;
use super::secret::MASK;
use super::tree::{Node, Path, Step};

/// A configuration that is complete and valid.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    /// The configuration.
    pub value: T,
    origins: Origins,
}

/// One key as `homeostat config show` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The full dotted key.
    pub key: String,
    /// Its value as TOML would have it, `unset` for what has none, `***` for a secret.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

impl<T> Loaded<T> {
    pub(super) fn new(value: T, origins: Origins) -> Self {
        Loaded { value, origins }
    }

    /// Where a key comes from; a part of what was set as a whole comes from there too.
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(&Path::parse(key))
    }
}

impl<T: Serialize> Loaded<T> {
    /// Every key, by name, with secrets masked.
    pub fn show(&self) -> Vec<Shown> {
        let value = serde_json::to_value(&self.value);
        let mut shown = Vec::new();
        match value {
            Ok(value) => self.show_value(&Path::default(), &value, &mut shown),
            // A configuration type is made of strings, numbers, arrays and tables with text keys.
            Err(error) => shown.push(Shown {
                key: String::new(),
                value: format!("cannot be shown: {error}"),
                origin: Origin::Default,
            }),
        }
        shown
    }

    fn show_value(&self, path: &Path, value: &Value, shown: &mut Vec<Shown>) {
        match value {
            Value::Object(entries) if !entries.is_empty() => {
                for (key, value) in entries {
                    self.show_value(&path.key(key), value, shown);
                }
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                for (index, item) in items.iter().enumerate() {
                    self.show_value(&path.index(index), item, shown);
                }
            }
            leaf => shown.push(Shown {
                key: path.to_string(),
                value: render(path, leaf),
                origin: self.origins.get(path),
            }),
        }
    }
}

fn render(path: &Path, leaf: &Value) -> String {
    match leaf {
        Value::Null => "unset".to_owned(),
        Value::String(text) if text == MASK => MASK.to_owned(),
        Value::String(_) if names_a_secret(path) => MASK.to_owned(),
        other => other.to_string(),
    }
}

/// Free tables, such as the properties passed on to a client library, have secrets under names of their own.
pub(super) fn names_a_secret(path: &Path) -> bool {
    let Some(Step::Key(name)) = path.steps().last() else {
        return false;
    };
    let name = name.to_lowercase();
    let is_place = ["location", "file", "path", "env"]
        .iter()
        .any(|it| name.ends_with(it));
    let is_secret = [
        "password",
        "secret",
        "token",
        "credential",
        "jaas",
        "oauthbearer.config",
    ]
    .iter()
    .any(|it| name.contains(it))
        || name.ends_with("key")
        || name.ends_with("pem");
    is_secret && !is_place
}

/// Where each value of the tree comes from.
#[derive(Debug, Clone, Default)]
pub(super) struct Origins {
    places: BTreeMap<Path, Place>,
}

#[derive(Debug, Clone)]
struct Place {
    origin: Origin,
    is_leaf: bool,
}

impl Origins {
    pub(super) fn of(root: &Node) -> Self {
        let mut places = BTreeMap::new();
        root.walk(&Path::default(), &mut |path, node| {
            let place = Place {
                origin: node.origin.clone(),
                is_leaf: node.is_leaf(),
            };
            places.insert(path.clone(), place);
        });
        places.remove(&Path::default());
        Origins { places }
    }

    /// The value's own place, else that of the text it is a part of.
    pub(super) fn get(&self, path: &Path) -> Origin {
        if let Some(place) = self.places.get(path) {
            return place.origin.clone();
        }
        let mut above = path.parent();
        while let Some(path) = above {
            if let Some(place) = self.places.get(&path).filter(|it| it.is_leaf) {
                return place.origin.clone();
            }
            above = path.parent();
        }
        Origin::Default
    }
}
