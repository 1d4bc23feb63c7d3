//! Turning the tree into a configuration type, with the place of every error.
//!
//! Serde stops at the first error. [`load`](super::load) calls this again and again, each time with the values
//! already found wrong left out ([`Findings`]), until the rest can be read.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde::de::value::StringDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};

use super::fault::{Fault, What};
use super::secret;
use super::tree::{Entry, Kind, Node, Path, interpret};

/// What is known to be wrong so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Values to leave out, because they or their keys were reported.
    dead: RefCell<BTreeSet<Path>>,
    /// Keys that the type does not have, with those it has.
    unknown: RefCell<Vec<(Path, &'static [&'static str])>>,
}

impl Findings {
    pub(super) fn bury(&self, path: Path) {
        self.dead.borrow_mut().insert(path);
    }

    pub(super) fn is_dead(&self, path: &Path) -> bool {
        self.dead.borrow().contains(path)
    }

    /// True when something below the path, or above it, was left out.
    pub(super) fn touches(&self, path: &Path) -> bool {
        let dead = self.dead.borrow();
        dead.iter()
            .any(|it| it.starts_with(path) || path.starts_with(it))
    }

    pub(super) fn take_unknown(&self) -> Vec<(Path, &'static [&'static str])> {
        self.unknown.take()
    }
}

/// Reads one value.
#[derive(Clone)]
pub(super) struct De<'a> {
    pub(super) node: &'a Node,
    pub(super) path: Path,
    pub(super) findings: &'a Findings,
}

impl<'a> De<'a> {
    fn key(&self, entry: &'a Entry) -> De<'a> {
        De {
            node: &entry.value,
            path: self.path.key(&entry.key),
            findings: self.findings,
        }
    }

    /// Reads with `read`, after a variable's text has become a value of its own.
    fn interpreted<R>(
        &self,
        text: &str,
        read: impl FnOnce(De<'_>) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        self.standing_in(interpret(text, &self.node.origin), read)
    }

    fn standing_in<R>(
        &self,
        node: Node,
        read: impl FnOnce(De<'_>) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        read(De {
            node: &node,
            path: self.path.clone(),
            findings: self.findings,
        })
    }

    fn any<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.kind {
            Kind::Bool(truth) => visitor.visit_bool(*truth),
            Kind::Integer(number) => visitor.visit_i64(*number),
            Kind::Float(number) => visitor.visit_f64(*number),
            Kind::Text(text) => visitor.visit_str(text),
            Kind::Raw(text) => self.interpreted(text, |it| it.any(visitor)),
            Kind::Array(items) => visitor.visit_seq(Items {
                of: self,
                rest: items.iter().enumerate(),
            }),
            Kind::Table(entries) => visitor.visit_map(Entries {
                of: self,
                rest: entries.iter(),
                value: None,
            }),
        }
    }

    fn text<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Fault> {
        // Only a quoted text is more than itself: `007` and `true` are texts where a text is asked for.
        if let Kind::Raw(text) = &self.node.kind
            && !text.trim_start().starts_with(['"', '\''])
        {
            return visitor.visit_str(text);
        }
        self.any(visitor)
    }

    /// A variable may hold `["a", "b"]` or `a,b`.
    fn items<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Fault> {
        let Kind::Raw(text) = &self.node.kind else {
            return self.any(visitor);
        };
        let origin = &self.node.origin;
        let mut node = interpret(text, origin);
        if !matches!(node.kind, Kind::Array(_)) {
            let parts = text.split(',').map(str::trim).filter(|it| !it.is_empty());
            let parts = parts.map(|part| Node {
                kind: Kind::Raw(part.to_owned()),
                origin: origin.clone(),
            });
            node.kind = Kind::Array(parts.collect());
        }
        self.standing_in(node, |it| it.any(visitor))
    }

    /// Unknown keys are noted here, all at once and whether or not the type refuses them itself.
    fn structure<'de, V: Visitor<'de>>(
        &self,
        keys: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if let Kind::Raw(text) = &self.node.kind {
            return self.interpreted(text, |it| it.structure(keys, visitor));
        }
        if let Kind::Table(entries) = &self.node.kind {
            for entry in entries {
                let path = self.path.key(&entry.key);
                if !keys.contains(&entry.key.as_str()) && !self.findings.is_dead(&path) {
                    self.findings.bury(path.clone());
                    self.findings.unknown.borrow_mut().push((path, keys));
                }
            }
        }
        self.any(visitor)
    }

    fn choice<'de, V: Visitor<'de>>(
        &self,
        choices: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.node.kind {
            Kind::Text(text) => visitor.visit_enum(Choice {
                name: text.clone(),
                choices,
                content: None,
            }),
            Kind::Raw(text) => {
                let node = interpret(text, &self.node.origin);
                if matches!(node.kind, Kind::Table(_)) {
                    return self.standing_in(node, |it| it.choice(choices, visitor));
                }
                visitor.visit_enum(Choice {
                    name: text.trim().to_owned(),
                    choices,
                    content: None,
                })
            }
            Kind::Table(entries) if entries.len() == 1 => visitor.visit_enum(Choice {
                name: entries[0].key.clone(),
                choices,
                content: Some(self.key(&entries[0])),
            }),
            Kind::Table(_) => Err(de::Error::invalid_type(Unexpected::Map, &"one choice")),
            Kind::Bool(truth) => Err(What::UnknownChoice(truth.to_string(), choices).into()),
            Kind::Integer(number) => Err(What::UnknownChoice(number.to_string(), choices).into()),
            Kind::Float(number) => Err(What::UnknownChoice(number.to_string(), choices).into()),
            Kind::Array(_) => Err(de::Error::invalid_type(Unexpected::Seq, &"one choice")),
        }
    }
}

impl<'de> Deserializer<'de> for De<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.any(visitor).map_err(|fault| fault.at(&self.path))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.text(visitor).map_err(|fault| fault.at(&self.path))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let path = self.path.clone();
        let read = if let Kind::Raw(text) = &self.node.kind
            && name == secret::TOKEN
            && !text.trim_start().starts_with('{')
        {
            visitor.visit_str(text)
        } else {
            visitor.visit_newtype_struct(self)
        };
        read.map_err(|fault| fault.at(&path))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.items(visitor).map_err(|fault| fault.at(&self.path))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        keys: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.structure(keys, visitor)
            .map_err(|fault| fault.at(&self.path))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        choices: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.choice(choices, visitor)
            .map_err(|fault| fault.at(&self.path))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct map
        identifier ignored_any
    }
}

struct Items<'a, I> {
    of: &'a De<'a>,
    rest: I,
}

impl<'de, 'a, I: Iterator<Item = (usize, &'a Node)>> SeqAccess<'de> for Items<'a, I> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        for (index, node) in self.rest.by_ref() {
            let path = self.of.path.index(index);
            if !self.of.findings.is_dead(&path) {
                let at = path.clone();
                let findings = self.of.findings;
                let item = seed.deserialize(De {
                    node,
                    path,
                    findings,
                });
                // Serde may hold the whole item before it judges it, as it does with tagged choices.
                return item.map(Some).map_err(|fault| fault.at(&at));
            }
        }
        Ok(None)
    }
}

struct Entries<'a, I> {
    of: &'a De<'a>,
    rest: I,
    value: Option<De<'a>>,
}

impl<'de, 'a, I: Iterator<Item = &'a Entry>> MapAccess<'de> for Entries<'a, I> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        for entry in self.rest.by_ref() {
            let value = self.of.key(entry);
            if self.of.findings.is_dead(&value.path) {
                continue;
            }
            let key: StringDeserializer<Fault> = entry.key.clone().into_deserializer();
            let path = value.path.clone();
            self.value = Some(value);
            // A key no field has is told by its name; any other refusal is of the key itself.
            let read = seed.deserialize(key).map(Some);
            return read.map_err(|fault| match matches!(fault.what, What::UnknownKey(..)) {
                true => fault,
                false => fault.at(&path),
            });
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        match self.value.take() {
            Some(value) => {
                let at = value.path.clone();
                seed.deserialize(value).map_err(|fault| fault.at(&at))
            }
            None => Err(de::Error::custom("a value was asked for before its key")),
        }
    }
}

struct Choice<'a> {
    name: String,
    choices: &'static [&'static str],
    content: Option<De<'a>>,
}

impl<'de, 'a> EnumAccess<'de> for Choice<'a> {
    type Error = Fault;
    type Variant = Content<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Content<'a>), Fault> {
        if !self.choices.contains(&self.name.as_str()) {
            return Err(de::Error::unknown_variant(&self.name, self.choices));
        }
        let name: StringDeserializer<Fault> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, Content(self.content)))
    }
}

struct Content<'a>(Option<De<'a>>);

impl<'de> VariantAccess<'de> for Content<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        match self.0 {
            None => Ok(()),
            Some(content) => Err(
                Fault::from(What::Other("this choice takes no value".to_owned())).at(&content.path),
            ),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(self.content()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.content()?.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        keys: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.content()?.deserialize_struct("", keys, visitor)
    }
}

impl<'a> Content<'a> {
    fn content(self) -> Result<De<'a>, Fault> {
        let missing = || Fault::from(What::Other("this choice takes a value".to_owned()));
        self.0.ok_or_else(missing)
    }
}
