//! The templates of many services: a miner for each, shared by its containers, and which of its templates are new.
//!
//! A template is new when its service had been learnt before, and ordinarily makes none. Learning takes ten minutes from the
//! first line on, and again from each image that no container of the service ran before: after a deploy everything may be new.
//! A service that goes on making templates is not learnt yet, however long it has been.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{LogLine, NodeInventory, ServiceId, Timestamp};

use crate::miner::{Novelty, TemplateMiner};
use crate::settings::Settings;
use crate::template::{Template, TemplateId};

/// Before a template can be new, its service logs for this long.
const LEARNING: Duration = Duration::from_secs(600);
/// A template is new for this long after its first line; then it belongs to the service.
const NEW_FOR: Duration = Duration::from_secs(600);
/// So many templates made within [`CHURN_WITHIN`] say that new ones are nothing special here …
const CHURN_MIN: usize = 3;
const CHURN_WITHIN: Duration = Duration::from_secs(3_600);
/// … but those of the last minute do not count: one trouble shows itself in several templates.
const OF_ONE_TROUBLE: Duration = Duration::from_secs(60);
/// Times of births that are kept; the oldest are dropped.
const BIRTHS_KEPT: usize = 32;
/// Templates that are new at one time; further ones are taken for known.
const NEW_MAX: usize = 32;
/// Ids of templates there have been: one that was forgotten and comes back is not new. The oldest are dropped.
const IDS_KEPT: usize = 512;
/// Images of a service that are told apart; the oldest are dropped, and would be a deploy when they come back.
const IMAGES_KEPT: usize = 8;

/// Services with a miner. When there are more, the one whose last line is oldest is given up, and learnt anew when it logs again.
const SERVICES_MAX: usize = 256;
/// Bytes of all miners together, about; beyond it services are given up in the same way, save the one that logs.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bounds of the miner of one service.
const OF_SERVICE: Settings = Settings {
    max_templates: 128,
    max_tokens: 48,
    max_line_bytes: 1_024,
};

/// What a line was found to be.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Its template, this line counted.
    pub template: &'a Template,
    /// Whether that is new to its service.
    pub standing: Standing,
    /// Lines of its service so far, this one among them.
    pub lines: u64,
}

/// Whether a template is new to its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is not, or the service has not been learnt yet.
    Known,
    /// No line of the service was like it until some minutes ago at most.
    New,
}

/// How much a catalog holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CatalogCounts {
    /// Services with a miner.
    pub services: usize,
    /// Templates of all of them.
    pub templates: usize,
    /// Bytes they hold, about.
    pub bytes: usize,
    /// Templates forgotten for want of room, by the miners there are.
    pub evicted: u64,
    /// Services given up for want of room, since the beginning.
    pub given_up: u64,
}

/// The templates of the services of one partition.
///
/// Its state is serialisable; one that was written and read back goes on exactly as before. It holds at most 256 services with
/// 128 templates each, and about 16 MiB of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalog {
    services: BTreeMap<ServiceId, ServiceTemplates>,
    given_up: u64,
}

impl Catalog {
    /// Finds the template of a line. None where the miner had no room for it, which its bounds do not let happen.
    pub fn observe(&mut self, line: &LogLine) -> Option<Seen<'_>> {
        if !self.services.contains_key(&line.service) {
            self.services
                .insert(line.service.clone(), ServiceTemplates::starting(line.at));
            self.make_room(&line.service);
        }
        let service = self.services.get_mut(&line.service)?;
        let (id, standing, novelty) = service.observe(line);
        if novelty != Novelty::Known {
            service.bytes = service.miner.memory_bytes();
            self.make_room(&line.service);
        }
        let service = self.services.get(&line.service)?;
        Some(Seen {
            template: service.miner.template(id)?,
            standing,
            lines: service.miner.lines(),
        })
    }

    /// Takes a node's heartbeat: a service that runs an image it never ran before is learnt anew.
    pub fn inventory(&mut self, inventory: &NodeInventory) {
        for record in &inventory.containers {
            let Some(service) = self.services.get_mut(&record.service) else {
                continue;
            };
            let digest = record.spec.as_ref().map(|spec| spec.image_digest.as_str());
            let image = match digest {
                Some(digest) if !digest.is_empty() => digest,
                Some(_) | None => record.image.as_str(),
            };
            service.runs(image, inventory.at);
        }
    }

    /// Forgets the services that are not known any more.
    pub fn retain(&mut self, known: impl Fn(&ServiceId) -> bool) {
        self.services.retain(|service, _| known(service));
    }

    /// How much it holds.
    pub fn counts(&self) -> CatalogCounts {
        let mut counts = CatalogCounts {
            services: self.services.len(),
            given_up: self.given_up,
            ..CatalogCounts::default()
        };
        for service in self.services.values() {
            counts.templates += service.miner.templates().count();
            counts.bytes += service.bytes;
            counts.evicted += service.miner.evicted();
        }
        counts
    }

    /// Gives up services while there is too much, those first that have logged nothing for longest, never `current`.
    fn make_room(&mut self, current: &ServiceId) {
        let bytes = |service: &ServiceTemplates| service.bytes;
        let mut held: usize = self.services.values().map(bytes).sum();
        // Ends: each round gives up one service.
        while self.services.len() > SERVICES_MAX || held > BYTES_MAX {
            let others = self.services.iter().filter(|(id, _)| *id != current);
            let Some((oldest, service)) = others.min_by_key(|(_, service)| service.last_at) else {
                return;
            };
            held -= service.bytes;
            let oldest = oldest.clone();
            self.services.remove(&oldest);
            self.given_up += 1;
        }
    }
}

/// The templates of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ServiceTemplates {
    miner: TemplateMiner,
    /// From when on a template that was never seen is new.
    learnt_at: Timestamp,
    last_at: Timestamp,
    /// Hashes of the images its containers ran, the newest last.
    images: VecDeque<u64>,
    ids: VecDeque<TemplateId>,
    /// When templates were made since it was learnt.
    births: VecDeque<Timestamp>,
    /// The new ones, and since when.
    new: BTreeMap<TemplateId, Timestamp>,
    bytes: usize,
}

impl ServiceTemplates {
    fn starting(at: Timestamp) -> Self {
        ServiceTemplates {
            miner: TemplateMiner::new(OF_SERVICE),
            learnt_at: at + LEARNING,
            last_at: at,
            images: VecDeque::new(),
            ids: VecDeque::new(),
            births: VecDeque::new(),
            new: BTreeMap::new(),
            bytes: 0,
        }
    }

    fn observe(&mut self, line: &LogLine) -> (TemplateId, Standing, Novelty) {
        let found = self.miner.observe(line.at, line.severity, &line.text);
        self.last_at = line.at;
        // A time of day that was set back must not make learning last longer.
        self.learnt_at = self.learnt_at.min(line.at + LEARNING);
        match found.novelty {
            Novelty::Known => {}
            Novelty::Merged => {
                let miner = &self.miner;
                self.new.retain(|id, _| miner.resolve(*id) == *id);
            }
            Novelty::New => self.born(found.id, line.at),
        }
        let since = self.new.get(&found.id).copied();
        let standing = match since {
            None => Standing::Known,
            Some(since) if line.at.since(since) < NEW_FOR => Standing::New,
            Some(_) => {
                self.new.remove(&found.id);
                Standing::Known
            }
        };
        (found.id, standing, found.novelty)
    }

    /// A template was made: it is new unless it was forgotten before, or the service is still being learnt.
    fn born(&mut self, id: TemplateId, at: Timestamp) {
        let came_back = self.ids.contains(&id);
        if !came_back {
            push_bounded(&mut self.ids, id, IDS_KEPT);
        }
        if at < self.learnt_at {
            return;
        }
        let churn = self.births.iter().filter(|born| {
            let age = at.since(**born);
            (OF_ONE_TROUBLE..CHURN_WITHIN).contains(&age)
        });
        let churns = churn.count() >= CHURN_MIN;
        push_bounded(&mut self.births, at, BIRTHS_KEPT);
        self.new.retain(|_, since| at.since(*since) < NEW_FOR);
        if !came_back && !churns && self.new.len() < NEW_MAX {
            self.new.insert(id, at);
        }
    }

    fn runs(&mut self, image: &str, at: Timestamp) {
        let image = crate::token::hash(image.as_bytes());
        if self.images.contains(&image) {
            return;
        }
        if !self.images.is_empty() {
            self.learnt_at = at + LEARNING;
            self.births.clear();
            self.new.clear();
        }
        push_bounded(&mut self.images, image, IMAGES_KEPT);
    }
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, kept: usize) {
    if queue.len() >= kept {
        queue.pop_front();
    }
    queue.push_back(item);
}
