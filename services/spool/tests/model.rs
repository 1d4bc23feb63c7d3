//! The spool against a model in memory, through any order of calls, restarts and crashes.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use spool::{DropReason, DroppedTag, EntryId, Limits, Spool};
use tempfile::TempDir;

const BYTES_MAX: u64 = 20_000;
const AGE_MAX_MS: u64 = 60_000;
const ENTRY_MAX: u64 = 32 + 40 + 6_000;

fn limits() -> Limits {
    Limits::new(BYTES_MAX, Duration::from_millis(AGE_MAX_MS), 4_096).unwrap()
}

#[derive(Clone, Debug)]
enum Call {
    Append {
        tag: usize,
        payload: usize,
        after_ms: u64,
    },
    Sync,
    Next,
    Deliver {
        which: usize,
    },
    Rewind,
    FlushMark,
    Enforce {
        after_ms: u64,
    },
    Reopen,
    Crash {
        keep: u64,
        garbage: Vec<u8>,
    },
}

fn call() -> impl Strategy<Value = Call> {
    let payload = prop_oneof![8 => 0_usize..400, 1 => 0_usize..6_000];
    prop_oneof![
        12 => (0_usize..40, payload, 0_u64..2_000).prop_map(|(tag, payload, after_ms)| Call::Append { tag, payload, after_ms }),
        3 => Just(Call::Sync),
        12 => Just(Call::Next),
        10 => (0_usize..100).prop_map(|which| Call::Deliver { which }),
        1 => Just(Call::Rewind),
        2 => Just(Call::FlushMark),
        1 => (0_u64..40_000).prop_map(|after_ms| Call::Enforce { after_ms }),
        1 => Just(Call::Reopen),
        1 => (any::<u64>(), prop::collection::vec(any::<u8>(), 0..50)).prop_map(|(keep, garbage)| Call::Crash { keep, garbage }),
    ]
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    at_unix_ms: u64,
    tag: Vec<u8>,
    payload: Vec<u8>,
}

struct Rig {
    directory: TempDir,
    spool: Option<Spool>,
    now_unix_ms: u64,
    /// What is undelivered and not dropped.
    pending: BTreeMap<u64, Entry>,
    /// What was delivered since the directory was last opened; a restart may give it again.
    delivered: BTreeMap<u64, Entry>,
    /// The lowest id `next` may give.
    cursor: u64,
    taken: Vec<u64>,
    next_id: u64,
    durable_end: u64,
    /// The newest segment at the last sync, and its length then.
    synced: (PathBuf, u64),
}

fn segments(directory: &Path) -> Vec<(PathBuf, u64)> {
    let mut found: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "segment")
        })
        .map(|path| (path.clone(), fs::metadata(&path).unwrap().len()))
        .collect();
    found.sort();
    found
}

fn first_id(path: &Path) -> u64 {
    path.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

impl Rig {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path(), limits()).unwrap().0;
        let mut rig = Self {
            directory,
            spool: Some(spool),
            now_unix_ms: 1_700_000_000_000,
            pending: BTreeMap::new(),
            delivered: BTreeMap::new(),
            cursor: 0,
            taken: Vec::new(),
            next_id: 0,
            durable_end: 0,
            synced: (PathBuf::new(), 0),
        };
        rig.note_synced();
        rig
    }

    fn spool(&mut self) -> &mut Spool {
        self.spool.as_mut().unwrap()
    }

    fn newest(&self) -> (PathBuf, u64) {
        segments(self.directory.path()).pop().unwrap()
    }

    fn note_synced(&mut self) {
        self.synced = self.newest();
        self.durable_end = self.next_id;
    }

    fn run(&mut self, call: Call) {
        match call {
            Call::Append {
                tag,
                payload,
                after_ms,
            } => self.append(tag, payload, after_ms),
            Call::Sync => {
                self.spool().sync().unwrap();
                self.note_synced();
            }
            Call::Next => self.next(),
            Call::Deliver { which } => self.deliver(which),
            Call::Rewind => {
                self.spool().rewind();
                self.cursor = 0;
            }
            Call::FlushMark => self.spool().flush_mark().unwrap(),
            Call::Enforce { after_ms } => {
                self.now_unix_ms += after_ms;
                let now = self.now_unix_ms;
                let dropped = self.spool().enforce(now).unwrap();
                self.note_dropped(dropped);
                assert!(
                    self.pending
                        .values()
                        .all(|entry| now - entry.at_unix_ms <= AGE_MAX_MS)
                );
            }
            Call::Reopen => {
                self.spool = None;
                let all = self.next_id;
                self.open(all);
            }
            Call::Crash { keep, garbage } => self.crash(keep, &garbage),
        }
        self.check();
    }

    fn append(&mut self, tag: usize, payload: usize, after_ms: u64) {
        self.now_unix_ms += after_ms;
        let fill = self.next_id as u8;
        let entry = Entry {
            at_unix_ms: self.now_unix_ms,
            tag: vec![fill; tag],
            payload: vec![!fill; payload],
        };
        let (left, right) = entry.payload.split_at(payload / 3);
        let id = self
            .spool
            .as_mut()
            .unwrap()
            .append(&entry.tag, &[left, right], entry.at_unix_ms)
            .unwrap();
        assert_eq!(id.get(), self.next_id);
        self.next_id += 1;
        self.pending.insert(id.get(), entry);
        let dropped = self.spool().take_dropped();
        self.note_dropped(dropped);
        // A segment begun makes those before it safe.
        let newest = self.newest().0;
        if newest != self.synced.0 {
            self.durable_end = self.durable_end.max(first_id(&newest));
        }
    }

    fn note_dropped(&mut self, dropped: Vec<DroppedTag>) {
        for dropped in dropped {
            let (id, entry) = self
                .pending
                .pop_first()
                .expect("only what is pending is dropped");
            assert_eq!(
                (dropped.id.get(), dropped.at_unix_ms, dropped.tag),
                (id, entry.at_unix_ms, entry.tag)
            );
            match dropped.reason {
                DropReason::Size => {}
                DropReason::Age => {
                    assert!(self.now_unix_ms - entry.at_unix_ms >= AGE_MAX_MS / 8 * 7 - 1)
                }
                DropReason::Damage => panic!("nothing is damaged here"),
            }
        }
    }

    fn next(&mut self) {
        let taken = self.spool().next().unwrap();
        let expected = self
            .pending
            .range(self.cursor..)
            .next()
            .map(|(id, entry)| (*id, entry.clone()));
        let got = taken.map(|taken| {
            let entry = Entry {
                at_unix_ms: taken.at_unix_ms,
                tag: taken.tag,
                payload: taken.payload,
            };
            (taken.id.get(), entry)
        });
        assert_eq!(got, expected);
        if let Some((id, _)) = got {
            self.cursor = id + 1;
            self.taken.push(id);
        }
    }

    /// Tells a delivery of something taken, perhaps told or dropped before.
    fn deliver(&mut self, which: usize) {
        if self.taken.is_empty() {
            self.spool().delivered(EntryId::new(u64::MAX));
            return;
        }
        let id = self.taken[self.taken.len() - 1 - which % self.taken.len().min(8)];
        self.spool().delivered(EntryId::new(id));
        if let Some(entry) = self.pending.remove(&id) {
            self.delivered.insert(id, entry);
        }
    }

    /// The machine stops: of the newest segment there is what was synced, and perhaps more, and perhaps rubbish after it.
    fn crash(&mut self, keep: u64, garbage: &[u8]) {
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(self.directory.path()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        let (newest, length) = self.newest();
        let safe = if newest == self.synced.0 {
            self.synced.1
        } else {
            0
        };
        let kept = safe + keep % (length - safe + 1);
        let path = copy.path().join(newest.file_name().unwrap());
        let mut bytes = fs::read(&path).unwrap();
        bytes.truncate(usize::try_from(kept).unwrap());
        if kept < length {
            bytes.extend(garbage);
        }
        fs::write(&path, bytes).unwrap();
        self.spool = None;
        self.directory = copy;
        let durable_end = self.durable_end;
        self.open(durable_end);
    }

    /// Opens again: all that was pending below `durable_end` is there, and nothing that never was.
    fn open(&mut self, durable_end: u64) {
        let (mut spool, recovery) = Spool::open(self.directory.path(), limits()).unwrap();
        let mut found = BTreeMap::new();
        let mut last = None;
        spool
            .pending_tags(|shown| {
                let id = shown.id.get();
                assert!(last.replace(id).is_none_or(|last| last < id));
                let entry = self
                    .pending
                    .get(&id)
                    .or_else(|| self.delivered.get(&id))
                    .expect("it was appended");
                assert_eq!(
                    (shown.at_unix_ms, shown.tag),
                    (entry.at_unix_ms, entry.tag.as_slice())
                );
                found.insert(id, entry.clone());
            })
            .unwrap();
        for id in self.pending.keys().filter(|id| **id < durable_end) {
            assert!(found.contains_key(id), "entry {id} was synced");
        }
        assert_eq!(recovery.entries_kept, found.len() as u64);
        assert_eq!((recovery.segments_damaged, recovery.entries_lost), (0, 0));
        self.spool = Some(spool);
        // Every id below the next that is not pending is done with; the next is above all that is kept.
        let now_unix_ms = self.now_unix_ms;
        let probe = self.spool().append(b"", &[], now_unix_ms).unwrap().get();
        assert!(
            found.keys().all(|id| *id < probe) && probe >= durable_end && probe <= self.next_id
        );
        self.pending = found;
        self.pending.insert(
            probe,
            Entry {
                at_unix_ms: self.now_unix_ms,
                tag: Vec::new(),
                payload: Vec::new(),
            },
        );
        self.next_id = probe + 1;
        let dropped = self.spool().take_dropped();
        self.note_dropped(dropped);
        self.delivered.clear();
        self.taken.clear();
        self.cursor = 0;
        self.spool().sync().unwrap();
        self.note_synced();
    }

    fn check(&mut self) {
        let on_disk: u64 = segments(self.directory.path())
            .iter()
            .map(|(_, bytes)| bytes)
            .sum();
        let pending = self.pending.len() as u64;
        let oldest = self
            .pending
            .first_key_value()
            .map(|(_, entry)| entry.at_unix_ms);
        let spool = self.spool();
        assert_eq!(spool.bytes(), on_disk);
        assert!(on_disk <= BYTES_MAX + ENTRY_MAX);
        assert_eq!(
            (spool.len(), spool.is_empty(), spool.lost()),
            (pending, pending == 0, 0)
        );
        match (spool.oldest_unix_ms(), oldest) {
            (None, None) => {}
            (Some(told), Some(oldest)) => {
                assert!(told <= oldest && oldest - told <= AGE_MAX_MS / 8)
            }
            differing => panic!("{differing:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn the_spool_does_what_the_model_does(calls in prop::collection::vec(call(), 1..200)) {
        let mut rig = Rig::new();
        for call in calls {
            rig.run(call);
        }
    }
}
