//! Samples: a tick on a fixed schedule, a row for every container.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use units::{
    ContainerId, ContainerState, Limits, Metric, MetricRow, NodeId, Sample, Steady, Timestamp,
};

use crate::cgroup::{Buffer, Host, LimitFiles, Overview, Reader};
use crate::events::{Counted, Instruments, Refused, SamplesLost, Ticked, TicksMissed, Unreadable};
use crate::extras::Extras;
use crate::freight::Cargo;
use crate::outbox::{BATCH_ROWS_MAX, Outbox, Parcel};
use crate::roster::{Engine, Member, Process, Roster};
use crate::tally::Tally;
use crate::{Error, blocking};

/// Limits are read anew each so many ticks, each container's at another, and whenever the engine tells of a change.
const LIMITS_EVERY_TICKS: u64 = 30;

/// Reads the containers of a node.
pub(crate) struct Sampler {
    pub(crate) node: NodeId,
    pub(crate) host: Host,
    pub(crate) interval: Duration,
    pub(crate) partitions: u32,
    pub(crate) roster: watch::Receiver<Arc<Roster>>,
    pub(crate) outbox: Outbox,
    pub(crate) meta: wire::Meta,
    pub(crate) instruments: Instruments,
    pub(crate) extras: Arc<Extras>,
    pub(crate) tally: Arc<Tally>,
}

enum Event {
    Shutdown,
    RosterChanged,
    Tick,
}

impl Sampler {
    /// Samples until `shutdown`, or until nobody tells what to sample any more.
    ///
    /// # Errors
    /// When reading panics.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut readers = Readers::new(self.node.clone(), self.host.clone());
        let mut next = Instant::now();
        loop {
            match self.next(&shutdown, next).await {
                Event::Shutdown => return Ok(()),
                // At once rather than with the next tick: descriptors of the dead pin their cgroup and network.
                Event::RosterChanged => {
                    let roster = Arc::clone(&self.roster.borrow_and_update());
                    readers = blocking("open cgroups", move || {
                        readers.reconcile(&roster);
                        readers
                    })
                    .await?;
                    let roster = Arc::clone(&self.roster.borrow());
                    self.forget_gone(&roster);
                    count(&roster).emit(&self.instruments);
                }
                Event::Tick => {
                    let span = tracing::info_span!("sample", node = %self.node);
                    readers = self.tick(readers).instrument(span).await?;
                    next = self.schedule(next);
                }
            }
        }
    }

    async fn next(&mut self, shutdown: &CancellationToken, next: Instant) -> Event {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Event::Shutdown,
            changed = self.roster.changed() => match changed {
                Ok(()) => Event::RosterChanged,
                Err(_) => Event::Shutdown,
            },
            () = tokio::time::sleep_until(next) => Event::Tick,
        }
    }

    fn forget_gone(&self, roster: &Roster) {
        let there: BTreeSet<ContainerId> = roster.members.iter().map(|it| it.id.clone()).collect();
        self.extras.keep_only(&there);
        self.tally.keep_only(&there);
    }

    /// The next tick of the schedule that is not past yet.
    fn schedule(&self, due: Instant) -> Instant {
        let late = Instant::now().saturating_duration_since(due);
        let missed = late.as_nanos() / self.interval.as_nanos().max(1);
        let missed = u64::try_from(missed).unwrap_or(u64::MAX);
        if missed > 0 {
            TicksMissed { ticks: missed }.emit(&self.instruments);
        }
        let steps = u32::try_from(missed).unwrap_or(u32::MAX).saturating_add(1);
        due + self.interval.saturating_mul(steps)
    }

    async fn tick(&mut self, mut readers: Readers) -> Result<Readers, Error> {
        let started = Instant::now();
        let roster = Arc::clone(&self.roster.borrow());
        let (extras, tally) = (Arc::clone(&self.extras), Arc::clone(&self.tally));
        let packer = Packer {
            partitions: self.partitions,
            meta: self
                .meta
                .within(kit::trace::traceparent(&tracing::Span::current())),
            instruments: self.instruments.clone(),
        };
        // Packed where it was read: a thread that has just woken up does the next thing for less than another would.
        let (readers, parcels) = blocking("read cgroups", move || {
            let mut rows = readers.read(&roster, kit::now());
            fill(&mut rows, &extras, &tally);
            Ticked {
                rows: rows.len(),
                took: started.elapsed(),
            }
            .emit(&packer.instruments);
            (readers, packer.pack(&mut rows))
        })
        .await?;
        for parcel in parcels {
            self.outbox.send(parcel).await;
        }
        Ok(readers)
    }
}

/// Makes records of rows.
struct Packer {
    partitions: u32,
    meta: wire::Meta,
    instruments: Instruments,
}

impl Packer {
    /// One batch a partition: analytics reads a service's replicas in one place.
    fn pack(&self, rows: &mut [Sample]) -> Vec<Parcel> {
        let partition_of =
            |row: &Sample| bus::partition_of(row.service.as_str().as_bytes(), self.partitions);
        rows.sort_by_cached_key(partition_of);
        let mut parcels = Vec::new();
        for group in rows.chunk_by(|a, b| {
            Arc::ptr_eq(a.service.shared(), b.service.shared())
                || partition_of(a) == partition_of(b)
        }) {
            let partition = partition_of(&group[0]);
            let batches = group.chunks(BATCH_ROWS_MAX);
            parcels.extend(batches.filter_map(|batch| self.pack_batch(batch, partition)));
        }
        parcels
    }

    fn pack_batch(&self, batch: &[Sample], partition: u32) -> Option<Parcel> {
        match wire::encode_samples(batch, partition, &self.meta) {
            Ok(record) => {
                let containers = batch.iter().map(|row| row.container.clone()).collect();
                Some(Parcel::rows(record, partition, Cargo::Samples(containers)))
            }
            Err(error) => {
                let rows = batch.len() as u64;
                Refused {
                    topic: wire::topic::SAMPLES,
                    rows,
                    problem: &error,
                }
                .emit(&self.instruments);
                SamplesLost { rows }.emit(&self.instruments);
                None
            }
        }
    }
}

fn count(roster: &Roster) -> Counted {
    Counted {
        by_state: ContainerState::ALL.map(|state| {
            (
                state,
                roster.members.iter().filter(|it| it.state == state).count(),
            )
        }),
    }
}

/// The open files of every running container.
struct Readers {
    node: NodeId,
    host: Host,
    by_id: HashMap<ContainerId, Run>,
    overview: Overview,
    buffer: Buffer,
    ticks: u64,
}

struct Run {
    process: Process,
    /// Absent when its files could not be opened.
    reader: Option<Reader>,
    limits: LimitFiles,
    told: Limits,
    /// When its process began, by the clock that never steps.
    began: Option<Steady>,
}

impl Readers {
    fn new(node: NodeId, host: Host) -> Self {
        Readers {
            node,
            overview: Overview::new(host.clone()),
            host,
            by_id: HashMap::new(),
            buffer: Buffer::default(),
            ticks: 0,
        }
    }

    /// Closes what has ended, opens what has started.
    fn reconcile(&mut self, roster: &Roster) {
        let running: HashSet<(&ContainerId, Process)> = roster
            .members
            .iter()
            .filter_map(|member| Some((&member.id, member.process?)))
            .collect();
        self.by_id
            .retain(|id, run| running.contains(&(id, run.process)));
        for member in &roster.members {
            let Some(process) = member.process else {
                continue;
            };
            match self.by_id.get_mut(&member.id) {
                Some(run) if run.told != member.limits => {
                    run.told = member.limits;
                    run.limits = LimitFiles::Read;
                }
                Some(_) => {}
                None => {
                    let run = self.open(member, process);
                    self.by_id.insert(member.id.clone(), run);
                }
            }
        }
    }

    fn open(&self, member: &Member, process: Process) -> Run {
        let opened = Reader::open(&self.host, process.pid, member.id.as_str(), process.network);
        if let Err(error) = &opened {
            Unreadable {
                container: &member.name,
                error,
            }
            .emit();
        }
        Run {
            process,
            reader: opened.ok(),
            limits: LimitFiles::Read,
            told: member.limits,
            began: self.host.began(process.pid),
        }
    }

    /// A row for every container whose state can be vouched for.
    fn read(&mut self, roster: &Roster, now: Timestamp) -> Vec<Sample> {
        self.ticks += 1;
        self.overview.look(&mut self.buffer);
        let steady = kit::steady();
        let mut rows = Vec::with_capacity(roster.members.len());
        for (ticks, member) in (self.ticks..).zip(&roster.members) {
            let refresh = ticks.is_multiple_of(LIMITS_EVERY_TICKS);
            let mut metrics = MetricRow::default();
            if let Some(run) = self.by_id.get_mut(&member.id)
                && let Some(reader) = &mut run.reader
            {
                let limits = if refresh {
                    LimitFiles::Read
                } else {
                    run.limits
                };
                run.limits = LimitFiles::Recall;
                let overview = &mut self.overview;
                reader.read(limits, overview, &mut self.buffer, &mut metrics);
            }
            // Limits are recalled even when the files are gone; usage is not.
            let was_read = metrics
                .get(Metric::CpuUsage)
                .or(metrics.get(Metric::MemoryUsage))
                .is_some();
            match roster.engine {
                Engine::Answering => {}
                // Without the engine, only what the kernel still counts is known to be so.
                Engine::Away if was_read => {}
                Engine::Away => continue,
            }
            let began = self.by_id.get(&member.id).and_then(|run| run.began);
            describe(member, &mut metrics);
            // The host's clock may have been stepped since the engine noted the start, so that is the second best.
            let uptime = match (began, member.started_at) {
                (Some(began), Some(_)) => Some(steady.since(began)),
                (None, Some(started_at)) => Some(now.since(started_at)),
                (_, None) => None,
            };
            metrics.set_opt(Metric::Uptime, uptime.map(|it| it.as_secs_f64()));
            rows.push(self.row(member, now, steady, metrics));
        }
        rows
    }

    fn row(&self, member: &Member, now: Timestamp, steady: Steady, metrics: MetricRow) -> Sample {
        Sample {
            at: now,
            steady,
            node: self.node.clone(),
            service: member.service.clone(),
            container: member.id.clone(),
            name: member.name.clone(),
            state: member.state,
            health: member.health,
            metrics,
        }
    }
}

/// What others know of the same containers.
fn fill(rows: &mut [Sample], extras: &Extras, tally: &Tally) {
    let (extras, tally) = (extras.look(), tally.look());
    for row in rows {
        extras.fill(&row.container, row.steady, &mut row.metrics);
        tally.fill(&row.container, &mut row.metrics);
    }
}

/// What the engine said, as metrics.
fn describe(member: &Member, metrics: &mut MetricRow) {
    metrics.set(Metric::Restarts, member.restarts as f64);
    metrics.set_opt(Metric::ExitCode, member.exit_code.map(|code| code as f64));
}

#[cfg(test)]
mod tests {
    use super::*;
    use units::{ContainerName, HealthState, ServiceId};

    fn member(state: ContainerState) -> Member {
        Member {
            id: ContainerId::from("abc"),
            name: ContainerName::from("web-1"),
            service: ServiceId::from("web"),
            state,
            health: HealthState::None,
            restarts: 2,
            exit_code: (state == ContainerState::Exited).then_some(137),
            started_at: (state == ContainerState::Running).then_some(Timestamp::from_millis(1_000)),
            process: None,
            limits: Limits::default(),
            addresses: Arc::from([]),
            scrape: Arc::from([]),
        }
    }

    fn readers() -> Readers {
        Readers::new(
            NodeId::from("node-a"),
            Host::open(std::path::Path::new("/")).unwrap(),
        )
    }

    #[test]
    fn a_container_that_does_not_run_has_a_row_without_usage() {
        let roster = Roster {
            engine: Engine::Answering,
            members: vec![member(ContainerState::Exited)],
        };
        let rows = readers().read(&roster, Timestamp::from_millis(5_000));
        let metrics: Vec<_> = rows[0].metrics.iter().collect();
        assert_eq!(
            metrics,
            [(Metric::Restarts, 2.0), (Metric::ExitCode, 137.0)]
        );
    }

    #[test]
    fn uptime_is_since_the_last_start() {
        let roster = Roster {
            engine: Engine::Answering,
            members: vec![member(ContainerState::Running)],
        };
        let rows = readers().read(&roster, Timestamp::from_millis(5_000));
        assert_eq!(rows[0].metrics.get(Metric::Uptime), Some(4.0));
        assert_eq!(rows[0].metrics.get(Metric::ExitCode), None);
    }

    #[test]
    fn without_the_engine_nothing_is_said_that_the_kernel_does_not_say() {
        let roster = Roster {
            engine: Engine::Away,
            members: vec![member(ContainerState::Running)],
        };
        assert!(
            readers()
                .read(&roster, Timestamp::from_millis(5_000))
                .is_empty()
        );
    }
}
