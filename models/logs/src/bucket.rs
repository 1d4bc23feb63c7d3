//! Which of the templates of one bucket a message belongs to, and which of them are values of one another.
//!
//! A bucket holds the templates with the same number of tokens and the same first token, as the two upper levels of Drain's tree.

use crate::shape::precedes_a_value;
use crate::template::{Part, Template};
use crate::token::{Kind, Token, Tokens};

/// At least this share of a template's tokens must agree, one in …
const AGREE_ONE_IN: usize = 2;
/// So many different words in one position make it a value …
pub(crate) const WORDS_MAX: usize = 7;
/// … and so many where a value is likely: behind `=` or a preposition, or in quotes.
pub(crate) const WORDS_BEHIND_KEY_MAX: usize = 4;

/// A bucket's name: the number of tokens, and the first one; names share one bucket.
pub(crate) fn bucket_of(tokens: &[Token]) -> (u32, u64) {
    let first = tokens.first().map_or(0, |first| match first.kind {
        Kind::Ident => 2,
        Kind::Wild | Kind::Partial | Kind::Plain => first.hash,
    });
    (u32::try_from(tokens.len()).unwrap_or(u32::MAX), first)
}

/// How a message differs from a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Difference {
    /// Positions that have to become values.
    pub(crate) widened: usize,
    /// Positions where the template's value agrees with what is no value by its form.
    loose: usize,
}

impl Difference {
    /// `None` where they are not of one statement: two plain words differ, or too much does.
    pub(crate) fn between(template: &Template, tokens: &Tokens) -> Option<Difference> {
        let mut difference = Difference {
            widened: 0,
            loose: 0,
        };
        for (index, (part, token)) in template.parts.iter().zip(&tokens.all).enumerate() {
            if part.hash == token.hash {
                continue;
            }
            match (part.kind, token.kind) {
                (Kind::Wild, _) => difference.loose += 1,
                (Kind::Ident, Kind::Ident | Kind::Wild) if index > 0 => difference.widened += 1,
                (Kind::Ident | Kind::Plain | Kind::Partial, _) => return None,
            }
        }
        let agree = template.parts.len() - difference.widened;
        (agree * AGREE_ONE_IN >= template.parts.len()).then_some(difference)
    }
}

/// Takes the positions of `template` that differ from `tokens` for values.
pub(crate) fn widen(template: &mut Template, tokens: &Tokens) {
    for (part, token) in template.parts.iter_mut().zip(&tokens.all) {
        if part.hash != token.hash && part.kind != Kind::Wild {
            part.widen();
        }
    }
}

/// The one position where two templates of a bucket hold different words that may be values. The first says what a line is
/// about: only names may be values there.
pub(crate) fn only_difference(one: &Template, other: &Template) -> Option<usize> {
    let mut found = None;
    for (index, (left, right)) in one.parts.iter().zip(&other.parts).enumerate() {
        if left.hash == right.hash {
            continue;
        }
        let words = left.kind != Kind::Wild && right.kind != Kind::Wild;
        let subject = index == 0 && !(left.kind == Kind::Ident && right.kind == Kind::Ident);
        if found.is_some() || subject || !words || key(left) != key(right) {
            return None;
        }
        found = Some(index);
    }
    found
}

/// How many different words a position may hold and still be text.
pub(crate) fn words_max(template: &Template, index: usize) -> usize {
    let before = index.checked_sub(1).map(|before| &template.parts[before]);
    let behind_value_word = before.is_some_and(|part| precedes_a_value(part.text.as_bytes()));
    let quoted = template.parts[index].text.starts_with(['"', '\'']);
    if behind_value_word || quoted || key(&template.parts[index]).is_some() {
        WORDS_BEHIND_KEY_MAX
    } else {
        WORDS_MAX
    }
}

/// Whether two templates of a bucket are the same, whatever stands at `beside`.
pub(crate) fn same_beside(one: &Template, other: &Template, beside: Option<usize>) -> bool {
    let mut pairs = one.parts.iter().zip(&other.parts).enumerate();
    pairs.all(|(index, (left, right))| Some(index) == beside || left.hash == right.hash)
}

fn key(part: &Part) -> Option<&str> {
    part.text.rfind('=').map(|equals| &part.text[..equals])
}
