//! The miner: lines in, templates out.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use units::{LogSeverity, Timestamp};

use crate::bucket::{Difference, bucket_of, only_difference, same_beside, widen, words_max};
use crate::settings::Settings;
use crate::template::{Counts, Template, TemplateId, cut};
use crate::token::Tokens;
use crate::{header, json, mask};

/// Messages whose template is remembered, for each template that is kept. When there are more, all are forgotten: they are found
/// again by comparing.
const REMEMBERED_PER_TEMPLATE: usize = 4;
/// One in so many templates is forgotten when there are too many, so that forgetting is rare.
const FORGET_ONE_IN: usize = 16;
/// Templates with one number of tokens and one first token; a message unlike all is compared with as many. Where random text
/// makes more, a quarter of them is forgotten, the least useful first.
const BUCKET_MAX: usize = 128;
const FORGET_OF_BUCKET: usize = BUCKET_MAX / 4;
/// Lines of silence that a template with twice the lines may have more.
const LINES_PER_DOUBLING: u64 = 65_536;

/// Whether a line's template was there before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Novelty {
    /// It was.
    Known,
    /// It was not: nothing like this line is remembered.
    New,
    /// This line was unlike all before it in one word, and by it that position was found to be a value: the template now stands
    /// for several, which it absorbed. [`TemplateMiner::resolve`] tells what became of them.
    Merged,
}

/// What a line was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// Its template.
    pub id: TemplateId,
    /// Whether that was there before.
    pub novelty: Novelty,
}

/// Finds templates, online: no line is looked at twice.
///
/// A template holds about 0.2 KiB, 32 bytes and the text of each token, and an example of at most 512 bytes; its remembered
/// messages and aliases some 0.3 KiB more. At the default bounds no template takes more than 8 KiB; ordinary ones take less than
/// 1 KiB.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TemplateMiner {
    settings: Settings,
    templates: BTreeMap<TemplateId, Template>,
    /// By number of tokens and first token; oldest template first.
    buckets: BTreeMap<(u32, u64), Vec<TemplateId>>,
    /// Templates of messages seen, by their signature.
    remembered: BTreeMap<u64, TemplateId>,
    /// What absorbed a template; as many as templates are kept, the oldest is forgotten first.
    aliases: BTreeMap<TemplateId, TemplateId>,
    alias_order: VecDeque<TemplateId>,
    lines: u64,
    evicted: u64,
    merged: u64,
    #[serde(skip)]
    tokens: Tokens,
}

impl TemplateMiner {
    /// A miner that knows nothing. Settings outside their bounds are moved to the nearest one.
    pub fn new(settings: Settings) -> Self {
        TemplateMiner {
            settings: settings.clamped(),
            templates: BTreeMap::new(),
            buckets: BTreeMap::new(),
            remembered: BTreeMap::new(),
            aliases: BTreeMap::new(),
            alias_order: VecDeque::new(),
            lines: 0,
            evicted: 0,
            merged: 0,
            tokens: Tokens::default(),
        }
    }

    /// Finds the template of `line`, written at `at` with the level `severity`; makes one if there is none.
    pub fn observe(&mut self, at: Timestamp, severity: LogSeverity, line: &str) -> Match {
        self.lines += 1;
        let line = first_line(line, self.settings.max_line_bytes);
        let mut tokens = std::mem::take(&mut self.tokens);
        mask::tokenise(message(line), self.settings.max_tokens, &mut tokens);
        let counts = Counts {
            lines: 1,
            first_seen: at,
            last_seen: at,
            severity,
        };
        let signature = tokens.signature();
        let found = match self.recall(signature, &counts) {
            Some(id) => Match {
                id,
                novelty: Novelty::Known,
            },
            None => self.assign(signature, &tokens, line, counts),
        };
        self.tokens = tokens;
        found
    }

    /// The template of a message that is remembered, this line counted.
    fn recall(&mut self, signature: u64, counts: &Counts) -> Option<TemplateId> {
        let id = self.resolve(*self.remembered.get(&signature)?);
        let template = self.templates.get_mut(&id)?;
        template.add(counts);
        template.last_line = self.lines;
        Some(id)
    }

    /// Compares a message with the templates of its bucket, and makes a new one where it is like none.
    fn assign(&mut self, signature: u64, tokens: &Tokens, line: &str, counts: Counts) -> Match {
        let bucket = bucket_of(&tokens.all);
        let like = self.most_alike(bucket, tokens);
        let found = match like {
            Some((id, difference)) => {
                self.join(bucket, id, difference, tokens, &counts);
                Match {
                    id,
                    novelty: Novelty::Known,
                }
            }
            None => self.create(bucket, signature, tokens, line, counts),
        };
        if self.remembered.len() >= self.settings.max_templates * REMEMBERED_PER_TEMPLATE {
            self.remembered.clear();
        }
        self.remembered.insert(signature, found.id);
        found
    }

    /// The template that has to change least to take the message; the oldest of equals.
    fn most_alike(&self, bucket: (u32, u64), tokens: &Tokens) -> Option<(TemplateId, Difference)> {
        let ids = self.buckets.get(&bucket)?.iter();
        let templates = ids.filter_map(|id| self.templates.get(id));
        templates
            .filter_map(|template| Some((template.id, Difference::between(template, tokens)?)))
            .min_by_key(|(_, difference)| *difference)
    }

    /// Adds a message to a template that is like it.
    fn join(
        &mut self,
        bucket: (u32, u64),
        id: TemplateId,
        difference: Difference,
        tokens: &Tokens,
        counts: &Counts,
    ) {
        let Some(template) = self.templates.get_mut(&id) else {
            return;
        };
        template.add(counts);
        template.last_line = self.lines;
        if difference.widened == 0 {
            return;
        }
        widen(template, tokens);
        let widened = template.clone();
        let twins = self.others(bucket, id, |other| same_beside(&widened, other, None));
        self.absorb(bucket, id, &twins);
    }

    fn create(
        &mut self,
        bucket: (u32, u64),
        signature: u64,
        tokens: &Tokens,
        line: &str,
        counts: Counts,
    ) -> Match {
        let mut id = TemplateId(signature);
        // Two messages with one signature: the next free number. Ends, since there are fewer templates than numbers.
        while self.templates.contains_key(&id) {
            id = TemplateId(id.0.wrapping_add(1));
        }
        if self.aliases.remove(&id).is_some() {
            self.alias_order.retain(|alias| *alias != id);
        }
        let mut template = Template::new(id, tokens, line, counts);
        template.last_line = self.lines;
        self.templates.insert(id, template);
        self.buckets.entry(bucket).or_default().push(id);
        let survivor = self.generalise(bucket, id);
        self.evict(bucket, survivor);
        Match {
            id: survivor,
            novelty: match survivor == id {
                true => Novelty::New,
                false => Novelty::Merged,
            },
        }
    }

    /// Takes positions for values in which the template and others, else the same, hold too many words. Answers which template
    /// the given one is part of then.
    fn generalise(&mut self, bucket: (u32, u64), id: TemplateId) -> TemplateId {
        let mut id = id;
        // Each round makes one more position a value.
        for _ in 0..self.settings.max_tokens {
            let Some(template) = self.templates.get(&id).cloned() else {
                return id;
            };
            let Some(index) = self.crowded_position(bucket, &template) else {
                return id;
            };
            let all = self.others(bucket, id, |other| {
                same_beside(&template, other, Some(index))
            });
            let order = self.buckets.get(&bucket).into_iter().flatten();
            let mut members = order.filter(|known| **known == id || all.contains(known));
            let Some(survivor) = members.next().copied() else {
                return id;
            };
            let absorbed: Vec<TemplateId> = members.copied().collect();
            if let Some(template) = self.templates.get_mut(&survivor) {
                template.parts[index].widen();
            }
            self.absorb(bucket, survivor, &absorbed);
            id = survivor;
        }
        id
    }

    /// The first position in which the template and others hold more words than a text does.
    fn crowded_position(&self, bucket: (u32, u64), template: &Template) -> Option<usize> {
        let mut words = vec![1_usize; template.parts.len()];
        for other in self
            .buckets
            .get(&bucket)?
            .iter()
            .filter(|other| **other != template.id)
        {
            let other = self.templates.get(other)?;
            if let Some(index) = only_difference(template, other) {
                words[index] += 1;
            }
        }
        (0..words.len())
            .find(|index| words[*index] > 1 && words[*index] > words_max(template, *index))
    }

    /// The templates of the bucket that `which` picks, `id` not among them.
    fn others(
        &self,
        bucket: (u32, u64),
        id: TemplateId,
        which: impl Fn(&Template) -> bool,
    ) -> Vec<TemplateId> {
        let ids = self.buckets.get(&bucket).into_iter().flatten();
        ids.filter(|other| **other != id && self.templates.get(other).is_some_and(&which))
            .copied()
            .collect()
    }

    /// Makes `survivor` stand for all of `absorbed` too.
    fn absorb(&mut self, bucket: (u32, u64), survivor: TemplateId, absorbed: &[TemplateId]) {
        for id in absorbed {
            let Some(old) = self.templates.remove(id) else {
                continue;
            };
            if let Some(template) = self.templates.get_mut(&survivor) {
                template.add(&old.counts());
                template.last_line = template.last_line.max(old.last_line);
            }
            for target in self.aliases.values_mut().filter(|target| *target == id) {
                *target = survivor;
            }
            if self.aliases.insert(*id, survivor).is_none() {
                self.alias_order.push_back(*id);
            }
            self.merged += 1;
        }
        while self.alias_order.len() > self.settings.max_templates {
            if let Some(oldest) = self.alias_order.pop_front() {
                self.aliases.remove(&oldest);
            }
        }
        if let Some(ids) = self.buckets.get_mut(&bucket) {
            ids.retain(|id| !absorbed.contains(id));
        }
    }

    /// Forgets the least useful templates where there are too many, of the bucket or of all, never `newest`.
    fn evict(&mut self, bucket: (u32, u64), newest: TemplateId) {
        let of_bucket = self.buckets.get(&bucket).map_or(&[][..], Vec::as_slice);
        if of_bucket.len() > BUCKET_MAX {
            let members = of_bucket.iter().filter_map(|id| self.templates.get(id));
            let least = least_useful(members, newest, FORGET_OF_BUCKET);
            self.forget(&least);
        }
        if self.templates.len() > self.settings.max_templates {
            let count = self.settings.max_templates / FORGET_ONE_IN;
            let least = least_useful(self.templates.values(), newest, count);
            self.forget(&least);
        }
    }

    fn forget(&mut self, least: &[TemplateId]) {
        for id in least {
            self.templates.remove(id);
            self.evicted += 1;
        }
        let kept = &self.templates;
        self.aliases.retain(|_, target| kept.contains_key(target));
        let aliases = &self.aliases;
        self.alias_order.retain(|alias| aliases.contains_key(alias));
        self.remembered
            .retain(|_, id| kept.contains_key(id) || aliases.contains_key(id));
        self.buckets.retain(|_, ids| {
            ids.retain(|id| kept.contains_key(id));
            !ids.is_empty()
        });
    }

    /// The template that stands for `id` now: itself, or what absorbed it.
    pub fn resolve(&self, id: TemplateId) -> TemplateId {
        self.aliases.get(&id).copied().unwrap_or(id)
    }

    /// A template, or what absorbed it; `None` once it was evicted.
    pub fn template(&self, id: TemplateId) -> Option<&Template> {
        self.templates.get(&self.resolve(id))
    }

    /// All templates, in the order of their ids.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.templates.values()
    }

    /// Lines seen.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Templates forgotten because there were too many.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Templates that became part of another.
    pub fn merged(&self) -> u64 {
        self.merged
    }

    /// Bytes the whole state holds, about: nodes of the maps are counted as twice what is in them.
    pub fn memory_bytes(&self) -> usize {
        let templates: usize = self.templates.values().map(Template::memory_bytes).sum();
        let pairs = self.remembered.len() + self.aliases.len() * 2 + self.templates.len() * 2;
        templates + pairs * 2 * size_of::<(u64, u64)>()
    }
}

/// All of the state; the tokens of the last line are none of it.
impl PartialEq for TemplateMiner {
    fn eq(&self, other: &Self) -> bool {
        let of = |miner: &Self| (miner.settings, miner.lines, miner.evicted, miner.merged);
        of(self) == of(other)
            && self.templates == other.templates
            && self.buckets == other.buckets
            && self.remembered == other.remembered
            && self.aliases == other.aliases
            && self.alias_order == other.alias_order
    }
}

/// The `count` templates that would be missed least: long unseen, with few lines.
fn least_useful<'a>(
    templates: impl Iterator<Item = &'a Template>,
    newest: TemplateId,
    count: usize,
) -> Vec<TemplateId> {
    let usefulness = |template: &Template| {
        let doublings = u64::from(template.counts().lines.max(1).ilog2());
        template
            .last_line
            .saturating_add(doublings * LINES_PER_DOUBLING)
    };
    let mut ranked: Vec<(u64, TemplateId)> = templates
        .filter(|template| template.id != newest)
        .map(|template| (usefulness(template), template.id))
        .collect();
    ranked.sort_unstable();
    ranked.truncate(count);
    ranked.into_iter().map(|(_, id)| id).collect()
}

/// The message in a line, behind its header, be it in JSON or not.
fn message(line: &str) -> &str {
    let message = header::message(line);
    json::message(message).map_or(message, header::message)
}

/// The first line of a text, at most `bytes_max` long; a long one ends at its last blank within that, lest half a word be taken
/// for one.
fn first_line(text: &str, bytes_max: usize) -> &str {
    let whole = text.len();
    let text = cut(text, bytes_max);
    match memchr::memchr(b'\n', text.as_bytes()) {
        Some(end) => &text[..end],
        None if text.len() == whole => text,
        None => text.rfind(' ').map_or(text, |blank| &text[..blank]),
    }
}
