//! Records on disk while the log is away: samples, series, links and events. Log lines have a spool of their own.
//!
//! The spool blocks on the disk, so it goes to a blocking thread for each operation and comes back with the result; nothing
//! happens here while the log takes records.

use spool::{DroppedTag, EntryId, Limits, Recovery, Spool, SpoolError};

use crate::freight::{self, Cargo, Load};
use crate::{Error, blocking};

/// Entries sent from the shelf at once: enough to drain a day in minutes, few enough that fresh records do not wait.
pub(crate) const TAKEN_MAX: usize = 4;

/// The spool, and what is out of it.
#[derive(Debug)]
pub(crate) struct Shelf {
    spool: Option<Spool>,
    /// Entries there and not delivered; none means that nothing need be asked of the disk.
    entries: u64,
    /// Events among them: later ones queue behind.
    events: u64,
}

/// What laying something down gave.
#[derive(Debug, Default)]
pub(crate) struct Laid {
    /// What had to be dropped for it, or could not be laid down.
    pub(crate) dropped: Vec<Cargo>,
    /// Why something could not be laid down.
    pub(crate) error: Option<SpoolError>,
}

/// An entry on its way out.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) id: EntryId,
    pub(crate) load: Load,
}

impl Shelf {
    /// Opens the spool, with what an earlier run left in it.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub(crate) fn open(
        directory: &std::path::Path,
        limits: Limits,
    ) -> Result<(Shelf, Recovery), SpoolError> {
        let (mut spool, recovery) = Spool::open(directory, limits)?;
        let mut events = 0;
        spool.pending_tags(|pending| {
            let cargo = Cargo::from_tag(pending.tag);
            if cargo.is_some_and(|cargo| cargo.event_ns().is_some()) {
                events += 1;
            }
        })?;
        let shelf = Shelf {
            spool: Some(spool),
            entries: recovery.entries_kept,
            events,
        };
        Ok((shelf, recovery))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Whether events wait here, so that a newer one must wait behind them.
    pub(crate) fn holds_events(&self) -> bool {
        self.events > 0
    }

    /// Lays records down and waits until the disk has them.
    ///
    /// # Errors
    /// When the thread panics.
    pub(crate) async fn lay_down(&mut self, loads: Vec<Load>) -> Result<Laid, Error> {
        let events = loads.iter().filter(|it| it.cargo.event_ns().is_some());
        let events = events.count() as u64;
        let (laid, kept) = self
            .with("spool records", move |spool| lay_down(spool, loads))
            .await?;
        self.entries += kept;
        self.events += events;
        self.forget(&laid.dropped);
        Ok(laid)
    }

    /// The oldest record that is not out yet, and what was found damaged before it.
    ///
    /// # Errors
    /// When the thread panics.
    pub(crate) async fn take(&mut self) -> Result<(Option<Taken>, Laid), Error> {
        let (taken, laid) = self.with("read the spool", take).await?;
        self.forget(&laid.dropped);
        Ok((taken, laid))
    }

    /// A record taken out has arrived, or never can.
    ///
    /// # Errors
    /// When the thread panics.
    pub(crate) async fn delivered(&mut self, id: EntryId, cargo: &Cargo) -> Result<(), Error> {
        self.forget(std::slice::from_ref(cargo));
        let is_empty = self.is_empty();
        self.with("mark the spool", move |spool| {
            spool.delivered(id);
            // Written when it is worth it; a crash before gives a few records twice.
            if is_empty || id.get().is_multiple_of(64) {
                let _ = spool.flush_mark();
            }
        })
        .await
    }

    /// Drops what is too old.
    ///
    /// # Errors
    /// When the thread panics.
    pub(crate) async fn enforce(&mut self) -> Result<Laid, Error> {
        let laid = self
            .with("clear the spool", |spool| match spool.enforce(now()) {
                Ok(tags) => Laid {
                    dropped: cargoes(tags),
                    error: None,
                },
                Err(error) => Laid {
                    dropped: Vec::new(),
                    error: Some(error),
                },
            })
            .await?;
        self.forget(&laid.dropped);
        Ok(laid)
    }

    fn forget(&mut self, gone: &[Cargo]) {
        self.entries = self.entries.saturating_sub(gone.len() as u64);
        let events = gone.iter().filter(|cargo| cargo.event_ns().is_some());
        let events = events.count();
        self.events = self.events.saturating_sub(events as u64);
    }

    async fn with<T: Send + 'static>(
        &mut self,
        work: &'static str,
        act: impl FnOnce(&mut Spool) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let mut spool = self
            .spool
            .take()
            .expect("each use puts the spool back before the next can begin");
        let (spool, result) = blocking(work, move || {
            let result = act(&mut spool);
            (spool, result)
        })
        .await?;
        self.spool = Some(spool);
        Ok(result)
    }
}

/// Gives what was dropped, and how many entries there are more.
fn lay_down(spool: &mut Spool, loads: Vec<Load>) -> (Laid, u64) {
    let mut laid = Laid::default();
    let mut kept = 0;
    for load in loads {
        let payload = freight::to_payload(&load.record);
        match spool.append(&load.cargo.to_tag(), &[&payload], now()) {
            Ok(_) => kept += 1,
            Err(error) => {
                // It was never counted as there, so it is not to be counted as gone from there.
                kept += 1;
                laid.dropped.push(load.cargo);
                laid.error = Some(error);
            }
        }
        laid.dropped.extend(cargoes(spool.take_dropped()));
    }
    if let Err(error) = spool.sync() {
        laid.error = Some(error);
    }
    (laid, kept)
}

fn take(spool: &mut Spool) -> (Option<Taken>, Laid) {
    let mut laid = Laid::default();
    let taken = match spool.next() {
        Ok(taken) => taken,
        Err(error) => {
            laid.error = Some(error);
            None
        }
    };
    laid.dropped = cargoes(spool.take_dropped());
    let taken = taken.and_then(|entry| {
        let record = freight::from_payload(&entry.payload);
        let cargo = Cargo::from_tag(&entry.tag);
        match (record, cargo) {
            (Some(record), Some(cargo)) => Some(Taken {
                id: entry.id,
                load: Load { record, cargo },
            }),
            (_, cargo) => {
                // Another version wrote it: nothing here can send it.
                spool.delivered(entry.id);
                laid.dropped.push(cargo.unwrap_or(Cargo::Rows(1)));
                None
            }
        }
    });
    (taken, laid)
}

fn cargoes(tags: Vec<DroppedTag>) -> Vec<Cargo> {
    tags.into_iter()
        .map(|dropped| Cargo::from_tag(&dropped.tag).unwrap_or(Cargo::Rows(1)))
        .collect()
}

fn now() -> u64 {
    u64::try_from(kit::now().as_millis()).unwrap_or(0)
}
