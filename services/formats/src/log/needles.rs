//! Several strings looked for at once.

use aho_corasick::{AhoCorasick, Input, MatchKind, Span, packed};

/// A set of strings to find, earliest first; of two that begin at the same place, the one given first.
#[derive(Debug)]
pub(super) struct Needles {
    /// Compares many bytes in one step; there is none on a processor without such instructions.
    vector: Option<packed::Searcher>,
    automaton: AhoCorasick,
}

/// One of the strings, found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hit {
    /// Its index in the set.
    pub(super) needle: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Needles {
    /// At most 64 strings of at least three bytes: that many are found by vector instructions.
    pub(super) fn new(needles: &[&str]) -> Needles {
        debug_assert!(needles.len() <= 64 && needles.iter().all(|needle| needle.len() >= 3));
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostFirst)
            .build(needles)
            .expect("a few short strings are far from the size an automaton may have");
        Needles {
            vector: packed::Searcher::new(needles),
            automaton,
        }
    }

    /// The first that begins at `from` or later; `None` too when `from` lies behind the end.
    pub(super) fn find(&self, text: &[u8], from: usize) -> Option<Hit> {
        if from >= text.len() {
            return None;
        }
        let span = Span::from(from..text.len());
        let found = match &self.vector {
            Some(vector) => vector.find_in(text, span),
            None => self.automaton.find(Input::new(text).span(span)),
        }?;
        Some(Hit {
            needle: found.pattern().as_usize(),
            start: found.start(),
            end: found.end(),
        })
    }

    /// All that begin in the text, those within others too.
    pub(super) fn all<'t>(&'t self, text: &'t [u8]) -> impl Iterator<Item = Hit> + 't {
        let mut from = 0;
        std::iter::from_fn(move || {
            let hit = self.find(text, from)?;
            from = hit.start + 1;
            Some(hit)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_ways_find_what_a_plain_search_finds(text in "(abc|cab|a|b|c|bca|xyz| ){0,40}") {
            const SET: [&str; 3] = ["abc", "cab", "bca"];
            let mut needles = Needles::new(&SET);
            let plain: Vec<usize> = (0..text.len())
                .filter(|at| SET.iter().any(|needle| text[*at..].starts_with(needle)))
                .collect();
            let starts = |needles: &Needles| -> Vec<usize> {
                needles.all(text.as_bytes()).map(|hit| hit.start).collect()
            };
            prop_assert_eq!(&starts(&needles), &plain);
            needles.vector = None;
            prop_assert_eq!(&starts(&needles), &plain);
        }
    }
}
